"""Pictures for the gallery of the report: which images, and what is drawn on them."""
from collections import Counter
from collections.abc import Callable, Sequence

import cv2
import numpy as np
from mmengine.registry import DefaultScope

from cxrdet.core.classification.diagnosis import wrong_images
from cxrdet.core.detection.diagnosis import worst_images
from cxrdet.core.detection.error_types import ERROR_TYPES, HIT, ErrorTable, error_table
from cxrdet.core.detection.matching import Pairing
from cxrdet.core.diagnosis import listed
from cxrdet.core.errors import ConfigError
from cxrdet.inference.cam import GradCam, check_installed
from cxrdet.inference.predict import build_pipeline
from cxrdet.inference.split_predictions import Collected, LoadedModel
from cxrdet.inference.tasks import CLASSIFICATION, Decisions
from cxrdet.visualization.boxes import STATES, draw_boxes
from cxrdet.visualization.report import Picture

__all__ = ['BOX_KINDS', 'LABEL_KINDS', 'choose', 'detection_pictures', 'label_pictures']

BOX_KINDS = {'missed': 'missed', 'background': 'nothing is there', 'localisation': 'badly placed',
             'classification': 'wrong class', 'both': 'badly placed and wrong class', 'duplicate': 'twice'}
LABEL_KINDS = {'missed': 'missed', 'false': 'false alarm'}
MOST_CAMS, _CAM_CLASSES, _MOST_NAMES = 24, 3, 4
_LONG_SIDE, _QUALITY = 600, 80
_MOST_BYTES = 7 * 2 ** 20  # of all pictures; base64 adds a third


def choose(marks: Sequence[set], most: int) -> list[int]:
    """Which images to show, in their order: the first half of ``most`` are the first ones; then those which bring pairs
    of class and kind of error that are still rare, so that no filter finds nothing.

    Args:
        marks: the pairs of each image, the worst image first; images without any are left out.
        most: how many at most.
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


def detection_pictures(judged: Collected, *, score_thr: float, most: int) -> list[Picture]:
    """The images with the most errors, with found, false and missed boxes; names stand at errors only.

    Args:
        judged: of a detector.
        score_thr: lowest score that is shown.
        most: pictures at most.
    """
    table = error_table(judged.pairing).from_score(score_thr)
    marks = _box_marks(table, len(judged.records))
    rows = worst_images(table, judged.classes, [record['image'] for record in judged.records],
                        most=len(judged.records))
    pictures = []
    for place in choose([marks[row['index']] for row in rows], most):
        index, path = rows[place]['index'], rows[place]['image']
        image, scale = _reduced(judged.read(path))
        image = _draw_errors(image, scale, judged.pairing, table, index, judged.classes)
        pictures.append(_picture(image, path, rows[place]['why'], marks[index]))
    return _within_budget(pictures)


def label_pictures(loaded: LoadedModel, judged: Collected, thresholds, *, most: int,
                   cam: bool | None = None) -> tuple[list[Picture], str]:
    """The images on which a classifier is most wrong; the first ones beside Grad-CAM overlays.

    Args:
        loaded: the model.
        judged: what it predicts.
        thresholds: (C,) lowest probability of a positive decision; None for a single-label model.
        most: pictures at most.
        cam: draw Grad-CAM for the classes that the model finds; None: where that is possible.

    Returns: the pictures, and what was drawn on them, in words.
    Raises: ConfigError if ``cam`` is True and not possible.
    """
    true, prob = judged.matrix('truth'), judged.matrix('probabilities')
    called = prob >= thresholds if thresholds is not None else _most_probable(prob)
    images = [record['image'] for record in judged.records]
    order = [row['index'] for row in wrong_images(judged.classes, true, prob, images, single=thresholds is None,
                                                  most=len(images))]
    order += sorted(set(range(len(images))) - set(order))
    marks = [{*((label, 'missed') for label in np.flatnonzero((true[i] == 1) & ~called[i])),
              *((label, 'false') for label in np.flatnonzero((true[i] == 0) & called[i]))} for i in order]
    draw, note = _overlay(loaded, thresholds, cam)
    pictures = []
    for place in choose(marks, most):
        index = order[place]
        try:
            picture = draw(images[index], prob[index], called[index]) if len(pictures) < MOST_CAMS else None
        except ConfigError as error:
            if cam:
                raise
            draw, note, picture = _plain, f' Without Grad-CAM: {error}.', None
        if picture is None:
            picture = _reduced(judged.read(images[index]))[0]
        pictures.append(_picture(picture, images[index], _words(judged.classes, true[index], prob[index],
                                                                called[index]), marks[place]))
    return _within_budget(pictures), note


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


def _overlay(loaded: LoadedModel, thresholds, cam: bool | None) -> tuple[Callable, str]:
    """A function (file, probabilities, decisions) -> sheet of overlays or None; and what it draws."""
    if cam is False:
        return _plain, ''
    try:
        check_installed()
    except ConfigError:
        if cam:
            raise
        return _plain, ''
    with DefaultScope.overwrite_default_scope(loaded.cfg.get('default_scope', 'mmpretrain')):
        load, prepare = build_pipeline(loaded.cfg)
    settings = Decisions(loaded.classes, thresholds, '', None, GradCam(loaded.model), None, loaded.model)

    def draw(path: str, prob: np.ndarray, called: np.ndarray) -> np.ndarray:
        results = load({'img_path': path, 'img_id': 0})
        image = results['img'].copy()
        record = {'file': path.rpartition('/')[2], 'probabilities': prob.tolist(),
                  'decisions': called.astype(int).tolist()}
        order = np.argsort(-prob, kind='stable')
        labels = [int(i) for i in order if called[i]][:_CAM_CLASSES] or [int(order[0])]
        sheet = CLASSIFICATION.draw(image, prepare(results), prepare.transforms, record,
                                    settings._replace(shown=labels))
        return _reduced(sheet, 900)[0]
    return draw, (f' The first {MOST_CAMS} have Grad-CAM overlays of the classes that the model calls, the three most '
                  'probable ones: where the score comes from, each stretched to its own range.')


def _plain(*_) -> None:
    """No overlay."""


def _words(classes: Sequence[str], true: np.ndarray, prob: np.ndarray, called: np.ndarray) -> str:
    labels = [name for name, value in zip(classes, true) if value == 1] or ['none']
    found = [f'{classes[i]} {prob[i]:.2f}' for i in np.argsort(-prob, kind='stable') if called[i]]
    missed = [f'{classes[i]} {prob[i]:.2f}' for i in np.flatnonzero((true == 1) & ~called)]
    return f'labels: {", ".join(labels)}; called: {listed(found, _MOST_NAMES) or "nothing"}' + (
        f'; missed: {", ".join(missed)}' if missed else '')


def _most_probable(prob: np.ndarray) -> np.ndarray:
    return np.arange(prob.shape[1]) == prob.argmax(axis=1)[:, None] if prob.size else np.zeros(prob.shape, bool)


def _reduced(image: np.ndarray, long_side: int = _LONG_SIDE) -> tuple[np.ndarray, float]:
    """The image with a long side of at most so many pixels, and the scale."""
    scale = min(1., long_side / max(image.shape[:2]))
    size = tuple(max(1, round(side * scale)) for side in image.shape[1::-1])
    return (image if scale == 1 else cv2.resize(image, size, interpolation=cv2.INTER_AREA)), scale


def _picture(image: np.ndarray, path: str, text: str, marks: set) -> Picture:
    data = cv2.imencode('.jpg', image, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1].tobytes()
    return Picture(data, image.shape[1::-1], path.rpartition('/')[2], text, sorted(marks))


def _within_budget(pictures: Sequence[Picture]) -> list[Picture]:
    """The first pictures that together stay below the limit of bytes."""
    total = np.cumsum([len(picture.jpeg) for picture in pictures])
    return [picture for picture, size in zip(pictures, total) if size <= _MOST_BYTES]
