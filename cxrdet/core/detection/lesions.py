"""Detections of a whole set matched with its lesions: the columns that FROC and average precision are made of."""
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np

from cxrdet.core.detection.matching import match_labelled_boxes

__all__ = ['LesionTable', 'lesion_table']


class LesionTable(NamedTuple):
    """All detections (N) of a set of I images with C classes, those on ignored boxes left out.

    Attributes:
        scores: (N,) float64.
        hits: (N,) bool, matched one to one with a lesion of its class.
        labels, image: (N,) int64, class and number of the image.
        lesions: (I, C) int64, lesions of each image, found or not, without ignored ones.
    """

    scores: np.ndarray
    hits: np.ndarray
    labels: np.ndarray
    image: np.ndarray
    lesions: np.ndarray


def lesion_table(predictions: Iterable[Mapping], targets: Iterable[Mapping], num_classes: int, *,
                 iou_thr: float = 0.5) -> LesionTable:
    """Match all images, see :func:`cxrdet.core.detection.matching.match_labelled_boxes`.

    Args:
        predictions: One mapping an image with ``boxes`` (N, 4) xyxy in pixels, ``scores`` (N,) and ``labels`` (N,) int.
        targets: One mapping an image, in the same order: ``boxes`` (M, 4), ``labels`` (M,) and optionally ``ignore``.
        num_classes: Labels run from 0 to ``num_classes - 1``.
        iou_thr: Lowest overlap of a hit, in (0, 1].

    Raises: ValueError for a label out of range, or different numbers of images.
    """
    columns: list[list[np.ndarray]] = [[np.zeros(0)], [np.zeros(0, bool)], [np.zeros(0, np.int64)],
                                       [np.zeros(0, np.int64)]]
    lesions = []
    for number, (prediction, target) in enumerate(zip(predictions, targets, strict=True)):
        labels, true = (np.asarray(part['labels'], np.int64).reshape(-1) for part in (prediction, target))
        for name, values in (('predicted', labels), ('ground-truth', true)):
            if values.size and not (0 <= values.min() and values.max() < num_classes):
                raise ValueError(f'image {number}: {name} labels must lie in 0..{num_classes - 1}, got '
                                 f'{values.min()}..{values.max()}')
        scores = np.asarray(prediction['scores'], np.float64).reshape(-1)
        ignore = np.asarray(target.get('ignore', np.zeros(len(true)))).astype(bool).reshape(-1)
        matches = match_labelled_boxes(prediction['boxes'], scores, labels, target['boxes'], true, iou_thr=iou_thr,
                                       ignore=ignore)
        counted = ~matches.ignored
        lesions.append(np.bincount(true[~ignore], minlength=num_classes))
        for column, values in zip(columns, (scores, matches.target >= 0, labels, np.full(len(scores), number))):
            column.append(values[counted])
    return LesionTable(*map(np.concatenate, columns), np.array(lesions, np.int64).reshape(-1, num_classes))
