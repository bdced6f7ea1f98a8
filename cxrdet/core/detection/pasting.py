"""Objects cut out of one image and put into another one, for sets that have boxes and no masks.

What is pasted is the ellipse inscribed in the box, which suits cells, with a rim that
fades into the ground. Source: D. Dwibedi, I. Misra, M. Hebert, "Cut, paste and learn",
ICCV 2017 (arXiv 1708.01642), and G. Ghiasi et al., "Simple copy-paste", CVPR 2021
(arXiv 2012.07177), with ellipses for masks.
"""
import numpy as np

from cxrdet.core.detection.boxes import box_area, clip_boxes

_TRIES = 20  # places that are tried for an object before it is left out


def pasteable_boxes(boxes: np.ndarray, ignore, size: tuple[int, int], *, max_cover: float = 0.3) -> np.ndarray:
    """Rows of the boxes, (N, 4) float64 xyxy in pixels, that can be taken out of an image of ``size`` (height, width).

    Not taken are boxes that are flagged to be ignored, touch the border (they
    may be cut off), are covered by another box by more than the share
    ``max_cover``, or have a side under 2 px.
    """
    height, width = size
    found = []
    for row, box in enumerate(boxes):
        inside = box[0] >= 1 and box[1] >= 1 and box[2] <= width - 1 and box[3] <= height - 1
        others = np.delete(boxes, row, axis=0)
        covered = _shared(others, box).max(initial=0) > max_cover * box_area(box[None])[0]
        whole = np.rint(box)
        if inside and not covered and not ignore[row] and (whole[2:] - whole[:2] >= 2).all():
            found.append(row)
    return np.array(found, np.int64)


def turned_patch(image: np.ndarray, box, rng: np.random.Generator) -> np.ndarray:
    """The pixels of a box (4 whole numbers, xyxy) in one of eight orientations, equally likely."""
    patch = np.rot90(image[box[1]:box[3], box[0]:box[2]], int(rng.integers(4)))
    return patch[:, ::-1] if rng.random() < 0.5 else patch


def paste_patch(image: np.ndarray, patch: np.ndarray, boxes: np.ndarray, rng: np.random.Generator, *,
                max_cover: float = 0.3, soft: float = 0.2) -> tuple | None:
    """Paste the inscribed ellipse of a patch at a random good place; None where there is none in 20 tries.

    Args:
        image: (H, W, 3) uint8; changed.
        patch: (h, w, 3) uint8.
        boxes: (N, 4) xyxy of what is there; a place is good if none is covered by more than ``max_cover`` of its area.
        soft: Width of the fading rim as a share of the radius, within 0 .. 1; 0 cuts sharply.

    Returns: The box of what was pasted: x1, y1, x2, y2 in whole pixels.
    """
    (height, width), (rows, columns) = image.shape[:2], patch.shape[:2]
    if rows > height or columns > width:
        return None
    for _ in range(_TRIES):
        x, y = (int(rng.integers(room + 1)) for room in (width - columns, height - rows))
        place = (x, y, x + columns, y + rows)
        if (_shared(boxes, place) <= max_cover * box_area(boxes)).all():
            region = image[y:y + rows, x:x + columns]
            opacity = _ellipse(rows, columns, soft)
            region[...] = np.rint(opacity * patch + (1 - opacity) * region).astype(image.dtype)
            return place
    return None


def _shared(boxes: np.ndarray, box) -> np.ndarray:
    x1, y1, x2, y2 = box
    return box_area(clip_boxes(boxes - np.array([x1, y1, x1, y1]), y2 - y1, x2 - x1))


def _ellipse(rows: int, columns: int, soft: float) -> np.ndarray:
    """Opacity (rows, columns, 1): 1 inside, falling to 0 over the rim."""
    y, x = ((np.arange(size) + 0.5) * 2 / size - 1 for size in (rows, columns))
    depth = 1 - np.hypot(x[None, :], y[:, None])
    return (np.clip(depth / soft, 0, 1) if soft else (depth >= 0).astype(np.float64))[..., None]
