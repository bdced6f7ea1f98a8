"""Boxes on pictures, and pictures side by side; images are uint8, BGR as OpenCV reads them.

Colours: M. Okabe and K. Ito, "Color Universal Design", 2008 (https://jfly.uni-koeln.de/color/), told apart with every
common kind of colour blindness. The style of the line goes with each, so that a picture can be read without colour.
"""
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import cv2
import numpy as np

from cxrdet.core.detection.matching import Pairing, as_boxes
from cxrdet.core.terminal import visible

#: Okabe and Ito's colours as BGR: blue, vermillion, bluish green, reddish purple, orange, sky blue, yellow.
PALETTE = ((178, 114, 0), (0, 94, 213), (115, 158, 0), (167, 121, 204), (0, 159, 230), (233, 180, 86), (66, 228, 240))
STYLES = ('solid', 'dashed', 'dotted')
_FONT = cv2.FONT_HERSHEY_DUPLEX
_WHITE, INK = (255, 255, 255), (40, 40, 40)


class Look(NamedTuple):
    """How a box is drawn: colour (BGR, 0..255) and style of the line, one of :data:`STYLES`."""

    color: tuple[int, int, int]
    style: str = 'solid'


#: Prediction beside ground truth: a hit, a false alarm, and ground truth that was missed.
STATES = {'found': Look(PALETTE[2]), 'false alarm': Look(PALETTE[1], 'dashed'), 'missed': Look(PALETTE[0], 'dotted')}
#: What :func:`side_by_side` shows. The ground truth has no colour, since there a colour would mean one of the states.
LEGEND = {'ground truth': Look((70, 70, 70)), **STATES}


def class_look(label: int) -> Look:
    """Look of a class: 21 different ones, seven colours by three styles."""
    label = int(label)
    return Look(PALETTE[label % len(PALETTE)], STYLES[label // len(PALETTE) % len(STYLES)])


def as_picture(image: np.ndarray) -> np.ndarray:
    """A copy (H, W, 3) of a uint8 image of shape (H, W), (H, W, 1) or (H, W, 3); raises ValueError for another."""
    image = np.asarray(image)
    if image.ndim == 3 and image.shape[2] == 1:
        image = image[:, :, 0]
    if image.dtype != np.uint8 or not (image.ndim == 2 or image.ndim == 3 and image.shape[2] == 3) or not image.size:
        raise ValueError(f'expected an image of shape (H, W) or (H, W, 3), uint8, got {image.shape}, {image.dtype}')
    return np.ascontiguousarray(np.repeat(image[..., None], 3, axis=2) if image.ndim == 2 else image.copy())


def input_picture(inputs: np.ndarray) -> np.ndarray:
    """A model's input (3, H, W) as an image (H, W, 3) uint8; one that is not uint8 is stretched to 0..255."""
    image = np.asarray(inputs).transpose(1, 2, 0)
    if image.dtype != np.uint8:
        low, high = float(image.min()), float(image.max())
        image = np.rint((image - low) * (255 / max(high - low, 1e-12))).astype(np.uint8)
    return np.ascontiguousarray(image)


def resized(image: np.ndarray, long_side: int, *, enlarge: bool = True) -> tuple[np.ndarray, float]:
    """The image with a long side of so many pixels, or as it is if it is smaller and not to ``enlarge``; the scale."""
    scale = long_side / max(image.shape[:2])
    if scale > 1 and not enlarge:
        return image, 1.
    size = tuple(max(1, round(side * scale)) for side in image.shape[1::-1])
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC), scale


def draw_boxes(image: np.ndarray, boxes, labels, scores=None, *, classes: Sequence[str] | None = None,
               looks: Sequence[Look] | None = None, names: bool = True, width: int | None = None) -> np.ndarray:
    """Return a copy (H, W, 3) uint8 of ``image`` with its boxes, each with a label above it.

    Args:
        image: (H, W), (H, W, 1) or (H, W, 3) uint8, BGR.
        boxes: (N, 4) xyxy, pixels.
        labels: (N,) int.
        scores: (N,) in [0, 1], written behind the name; the better box is drawn above the other.
        classes: name of each label; without it the number is written.
        looks: N looks that replace those of the classes.
        names: write names and scores.
        width: of the lines in pixels; by default it follows the size of the image.

    Raises: ValueError if shapes or lengths do not fit, or the image is not uint8.
    """
    canvas = as_picture(image)
    boxes, labels = as_boxes(boxes), np.asarray(labels, np.int64).reshape(-1)
    scores = None if scores is None else np.asarray(scores, np.float64).reshape(-1)
    for name, values in (('labels', labels), ('scores', scores), ('looks', looks)):
        if values is not None and len(values) != len(boxes):
            raise ValueError(f'expected one entry of {name} a box, got {len(values)} for {len(boxes)} boxes')
    looks = [class_look(label) for label in labels] if looks is None else looks
    width = width or _line_width(canvas)
    order = list(range(len(boxes)) if scores is None else np.argsort(scores, kind='stable'))
    for i in order:
        _stroke_box(canvas, boxes[i], looks[i], width)
    taken: list[tuple[int, int, int, int]] = []
    for i in reversed(order) if names else ():
        text = str(classes[labels[i]] if classes is not None else labels[i])
        _write_label(canvas, boxes[i], text if scores is None else f'{text} {scores[i]:.2f}', looks[i].color, taken)
    return canvas


def compare_boxes(image: np.ndarray, pairing: Pairing, number: int = 0, *, classes: Sequence[str] | None = None,
                  score_thr: float = 0.5) -> np.ndarray:
    """Return a copy of ``image`` with hits, false alarms and missed objects in the looks of :data:`STATES`.

    Args:
        image: as for :func:`draw_boxes`.
        pairing: of predictions and ground truth, in pixels of the image; a hit
            has an IoU of 0.5 or more. Ignored boxes are not drawn, nor are
            predictions that fall on them.
        number: of the image in the pairing.
        classes: name of each label.
        score_thr: predictions below it are left out.
    """
    taken, shown = pairing.taken(), (pairing.image == number) & (pairing.score >= score_thr)
    missed = (pairing.truth_image == number) & ~pairing.ignore
    missed[taken[shown & (taken >= 0)]] = False
    canvas = draw_boxes(image, pairing.truth_boxes[missed], pairing.truth_label[missed], classes=classes,
                        looks=[STATES['missed']] * int(missed.sum()))
    shown &= ~np.append(pairing.ignore, False)[taken]
    looks = [STATES['found' if index >= 0 else 'false alarm'] for index in taken[shown]]
    return draw_boxes(canvas, pairing.boxes[shown], pairing.label[shown], pairing.score[shown], classes=classes,
                      looks=looks)


def side_by_side(image: np.ndarray, pairing: Pairing, number: int = 0, *, classes: Sequence[str] | None = None,
                 score_thr: float = 0.5) -> np.ndarray:
    """Ground truth at the left, :func:`compare_boxes` at the right, in the looks of :data:`LEGEND`.

    Arguments as for :func:`compare_boxes`.
    """
    mine = (pairing.truth_image == number) & ~pairing.ignore
    left = draw_boxes(image, pairing.truth_boxes[mine], pairing.truth_label[mine], classes=classes,
                      looks=[LEGEND['ground truth']] * int(mine.sum()))
    return grid([left, compare_boxes(image, pairing, number, classes=classes, score_thr=score_thr)], 2)


def grid(pictures: Sequence[np.ndarray], columns: int = 2, *, titles: Sequence[str] | None = None) -> np.ndarray:
    """Return a contact sheet: pictures in rows of ``columns`` on white, each centred in a cell of the largest size.

    Args:
        pictures: images as for :func:`draw_boxes`, of any sizes.
        titles: one line above each picture, cut off with three dots where it is longer than the cell.

    Raises: ValueError if there is no picture or column, or not one title a picture.
    """
    if not pictures or columns < 1:
        raise ValueError(f'expected at least one picture and one column, got {len(pictures)} and {columns}')
    if titles is not None and len(titles) != len(pictures):
        raise ValueError(f'expected one title a picture, got {len(titles)} for {len(pictures)} pictures')
    pictures = [as_picture(picture) for picture in pictures]
    height, width = (max(picture.shape[axis] for picture in pictures) for axis in (0, 1))
    gap = max(4, round(min(height, width) / 60))
    columns, text = min(columns, len(pictures)), _text_height(pictures[0])
    head = 2 * text if titles is not None else 0
    rows = -(-len(pictures) // columns)
    sheet = np.full((rows * (height + head + gap) + gap, columns * (width + gap) + gap, 3), 255, np.uint8)
    for i, picture in enumerate(pictures):
        top, left = gap + i // columns * (height + head + gap) + head, gap + i % columns * (width + gap)
        if titles is not None:
            write(sheet, titles[i], (left, top - round(0.55 * text)), text, width=width)
        top, left = top + (height - picture.shape[0]) // 2, left + (width - picture.shape[1]) // 2
        sheet[top:top + picture.shape[0], left:left + picture.shape[1]] = picture
    return sheet


def draw_legend(picture: np.ndarray, entries: Mapping[str, Look]) -> np.ndarray:
    """Return ``picture`` with a white strip below it that shows each look with its name.

    Args:
        picture: image as for :func:`draw_boxes`.
        entries: name -> look: :data:`LEGEND`, or ``{name: class_look(i) for i, name in enumerate(classes)}``.
    """
    picture = as_picture(picture)
    text = max(7, round(picture.shape[1] / 95))  # height of a capital letter in pixels
    sign, line, width = 4 * text, round(2.4 * text), picture.shape[1]
    places, x, y = [], text, 0
    for name in entries:
        size = sign + text_width(name, text) + 3 * text
        if x > text and x + size > width:
            x, y = text, y + line
        places.append((x, y))
        x += size
    strip = np.full((y + line + text // 2, width, 3), 255, np.uint8)
    for (name, look), (x, y) in zip(entries.items(), places, strict=True):
        top, bottom = y + text // 2, y + line - text // 4
        _stroke_box(strip, (x, top, x + sign, bottom), look, max(2, round(text / 6)))
        write(strip, name, (x + sign + text // 2 + 2, (top + bottom + text) // 2), text)
    return np.concatenate([picture, strip])


def _line_width(image: np.ndarray) -> int:
    return max(1, round(1.8 * (min(image.shape[:2]) / 480) ** 0.7))


def _text_height(image: np.ndarray) -> int:
    """Height of a capital letter in pixels: it grows more slowly than the image."""
    return max(7, round(9 * (min(image.shape[:2]) / 480) ** 0.7))


def _stroke_box(canvas: np.ndarray, box, look: Look, width: int) -> None:
    """Draw the outline of a box with a thin white rim."""
    height, breadth = canvas.shape[:2]
    x1, x2 = (int(np.clip(round(float(v)), 0, breadth - 1)) for v in (box[0], box[2]))
    y1, y2 = (int(np.clip(round(float(v)), 0, height - 1)) for v in (box[1], box[3]))
    corners = [(x1, y1), (x2, y1), (x2, y2), (x1, y2), (x1, y1)]
    pieces = [piece for start, end in zip(corners[:-1], corners[1:], strict=True)
              for piece in _pieces(start, end, look.style, width)]
    width += look.style == 'dotted'
    for color, size in ((_WHITE, width + 2), (look.color, width)):
        for start, end in pieces:
            cv2.line(canvas, start, end, color, size, cv2.LINE_AA)


def _pieces(start: tuple[int, int], end: tuple[int, int], style: str, width: int) -> list:
    """Cut a straight line into its visible parts, with one at either end."""
    if style not in STYLES:
        raise ValueError(f'style must be one of {", ".join(STYLES)}, got "{style}"')
    length = float(np.hypot(end[0] - start[0], end[1] - start[1]))
    if style == 'solid' or length < 6:
        return [(start, end)]
    on, off = (min(5 * width + 3, 0.3 * length), 4 * width + 5) if style == 'dashed' else (0, 3 * width + 2)
    count = max(1, int((length - on) / (on + off)))
    starts = np.linspace(0, length - on, count + 1) / length
    points = [[tuple(round(a + float(t) * (b - a)) for a, b in zip(start, end, strict=True)) for t in part]
              for part in (starts, starts + on / length)]
    return list(zip(*points, strict=True))


def _write_label(canvas: np.ndarray, box, text: str, color: tuple[int, int, int], taken: list) -> None:
    """Write at that corner of the box where the fewest other labels stand."""
    height, pad = _text_height(canvas), max(2, round(_text_height(canvas) / 3))
    size = (text_width(text, height) + 2 * pad, height + 2 * pad)
    x1, y1, x2, y2 = (round(float(v)) for v in box)
    corners = [(x1 - pad // 2, y1 - size[1]), (x1, y1), (x2 - size[0], y1 - size[1]), (x1, y2), (x1, y2 - size[1])]
    places = []
    for x, y in corners:
        inside = [int(np.clip(v, 0, max(end - part, 0))) for v, end, part in
                  zip((x, y), canvas.shape[1::-1], size, strict=True)]
        places.append((*inside, inside[0] + size[0], inside[1] + size[1]))
    x, y, right, bottom = min(places, key=lambda place: sum(_shared(place, other) for other in taken))
    taken.append((x, y, right, bottom))
    cv2.rectangle(canvas, (x, y), (right - 1, bottom - 1), color, cv2.FILLED)
    brightness = (0.114, 0.587, 0.299) @ np.array(color)
    write(canvas, text, (x + pad, y + pad + height - 1), height, (0, 0, 0) if brightness > 140 else _WHITE)


def _shared(one: tuple[int, int, int, int], other: tuple[int, int, int, int]) -> int:
    return max(0, min(one[2], other[2]) - max(one[0], other[0])) * max(0, min(one[3], other[3]) - max(one[1], other[1]))


def _scale(height: int) -> tuple[float, int]:
    thickness = max(1, round(height / 13))
    return cv2.getFontScaleFromHeight(_FONT, height, thickness), thickness


def text_width(text: str, height: int) -> int:
    """In pixels, of a line as :func:`write` writes it."""
    scale, thickness = _scale(height)
    return cv2.getTextSize(visible(text, one_line=True), _FONT, scale, thickness)[0][0]


def write(canvas: np.ndarray, text: str, origin: tuple[int, int], height: int, color: tuple[int, int, int] = INK,
          width: float = np.inf) -> None:
    """Write a line into ``canvas`` from its left lower corner, with capital letters of ``height`` pixels; what is
    longer than ``width`` is cut off with three dots.
    """
    end, shown = len(text), text
    while end and text_width(shown, height) > width:
        end -= 1
        shown = f'{text[:end]}...'
    scale, thickness = _scale(height)
    cv2.putText(canvas, visible(shown, one_line=True), origin, _FONT, scale, color, thickness, cv2.LINE_AA)
