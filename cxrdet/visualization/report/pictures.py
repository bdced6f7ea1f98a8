"""Pictures for the gallery of the report: which images, and what is drawn on them."""
from collections import Counter
from collections.abc import Callable, Sequence

import cv2
import numpy as np

from cxrdet.core.classification.diagnosis import wrong_images
from cxrdet.core.detection.diagnosis import worst_images
from cxrdet.core.detection.error_types import ERROR_TYPES, HIT, ErrorTable, error_table
from cxrdet.core.detection.matching import Pairing
from cxrdet.core.diagnosis import listed
from cxrdet.visualization.boxes import STATES, draw_boxes, resized
from cxrdet.visualization.report.content import Picture

BOX_KINDS = {'missed': 'missed', 'background': 'nothing is there', 'localisation': 'badly placed',
             'classification': 'wrong class', 'both': 'badly placed and wrong class', 'duplicate': 'twice'}
LABEL_KINDS = {'missed': 'missed', 'false': 'false alarm'}
_MOST_NAMES = 4
LONG_SIDE, _QUALITY = 600, 80
_MOST_BYTES = 7 * 2 ** 20  # of all pictures; base64 adds a third


def choose(marks: Sequence[set], most: int) -> list[int]:
    """Which images to show, in their order: half of ``most`` are the first ones, the others those that add pairs of
    class and kind of error which are still rare, so that every filter finds something. ``marks`` are the pairs of each
    image, the worst first; images without any are left out.
    """
    able = [i for i, mark in enumerate(marks) if mark]
    chosen = able[:(most + 1) // 2]
    seen = Counter(pair for i in chosen for pair in marks[i])
    rest = able[len(chosen):]
    while rest and len(chosen) < most:
        best = min(rest, key=lambda i: (min(seen[pair] for pair in marks[i]), i))
        rest.remove(best)
        chosen.append(best)
        seen.update(marks[best])
    return sorted(chosen)


def detection_pictures(pairing: Pairing, images: Sequence[str], classes: Sequence[str],
                       read: Callable[[str], np.ndarray], *, score_thr: float, most: int) -> list[Picture]:
    """Up to ``most`` images with the most errors, with found, false and missed boxes; only errors are named.
    ``read`` gives the image of a path, (H, W, 3) uint8, BGR.

    Args:
        pairing: of the set.
        images: path of each image.
        score_thr: lowest score that is shown.
        most: pictures at most.
    """
    table = error_table(pairing).from_score(score_thr)
    marks = _box_marks(table, len(images))
    rows = worst_images(table, classes, images, most=len(images))
    pictures = []
    for place in choose([marks[row['index']] for row in rows], most):
        index, path = rows[place]['index'], rows[place]['image']
        image, scale = resized(read(path), LONG_SIDE, enlarge=False)
        image = _draw_errors(image, scale, pairing, table, index, classes)
        pictures.append(_picture(image, path, rows[place]['why'], marks[index]))
    return _within_budget(pictures)


def label_pictures(true: np.ndarray, prob: np.ndarray, called: np.ndarray, images: Sequence[str],
                   classes: Sequence[str], draw: Callable[[str, np.ndarray, np.ndarray], np.ndarray], *, single: bool,
                   most: int) -> list[Picture]:
    """The images on which a classifier is most wrong.

    Args:
        true, prob: (N, C) labels 1, 0 or NaN, and probabilities.
        called: (N, C) bool, decisions.
        draw: called with path, probabilities and decisions of an image, gives its picture.
        single: one class an image.
        most: pictures at most.
    """
    order = [row['index'] for row in wrong_images(classes, true, prob, images, single=single, most=len(images))]
    order += sorted(set(range(len(images))) - set(order))
    marks = [{*((label, 'missed') for label in np.flatnonzero((true[i] == 1) & ~called[i])),
              *((label, 'false') for label in np.flatnonzero((true[i] == 0) & called[i]))} for i in order]
    chosen = [(order[place], marks[place]) for place in choose(marks, most)]
    return _within_budget([_picture(draw(images[i], prob[i], called[i]), images[i], _words(
        classes, true[i], prob[i], called[i]), errors) for i, errors in chosen])


def _box_marks(table: ErrorTable, images: int) -> list[set]:
    marks: list[set] = [set() for _ in range(images)]
    for i in np.flatnonzero(table.kind >= 0):
        kind = ERROR_TYPES[table.kind[i]]
        marks[table.image[i]].add((int(table.label[i]), kind))
        if kind in ('classification', 'both') and table.target[i] >= 0:
            marks[table.image[i]].add((int(table.target_label[table.target[i]]), kind))
    for i in np.flatnonzero(table.missed):
        marks[table.target_image[i]].add((int(table.target_label[i]), 'missed'))
    return marks


def _draw_errors(image: np.ndarray, scale: float, pairing: Pairing, table: ErrorTable, index: int,
                 classes: Sequence[str]) -> np.ndarray:
    hits, wrong = (table.row[(table.image == index) & kinds] for kinds in (table.kind == HIT, table.kind >= 0))
    missed = ~table.found & ~table.ignore & (table.target_image == index)
    for boxes, labels, scores, state in ((pairing.boxes[hits], pairing.label[hits], None, 'found'),
                                         (pairing.truth_boxes[missed], pairing.truth_label[missed], None, 'missed'),
                                         (pairing.boxes[wrong], pairing.label[wrong], pairing.score[wrong],
                                          'false alarm')):
        image = draw_boxes(image, boxes * scale, labels, scores, classes=classes, names=state != 'found',
                           looks=[STATES[state]] * len(boxes), width=2)
    return image


def _words(classes: Sequence[str], true: np.ndarray, prob: np.ndarray, called: np.ndarray) -> str:
    labels = [name for name, value in zip(classes, true) if value == 1] or ['none']
    found = [f'{classes[i]} {prob[i]:.2f}' for i in np.argsort(-prob, kind='stable') if called[i]]
    missed = [f'{classes[i]} {prob[i]:.2f}' for i in np.flatnonzero((true == 1) & ~called)]
    return f'labels: {", ".join(labels)}; called: {listed(found, _MOST_NAMES) or "nothing"}' + (
        f'; missed: {", ".join(missed)}' if missed else '')


def _picture(image: np.ndarray, path: str, text: str, marks: set) -> Picture:
    data = cv2.imencode('.jpg', image, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1].tobytes()
    return Picture(data, image.shape[1::-1], path.rpartition('/')[2], text, sorted(marks))


def _within_budget(pictures: Sequence[Picture]) -> list[Picture]:
    total = np.cumsum([len(picture.jpeg) for picture in pictures])
    return [picture for picture, size in zip(pictures, total) if size <= _MOST_BYTES]
