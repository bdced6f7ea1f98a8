"""Hits and misses of a detector at one score threshold."""
from collections.abc import Iterable, Mapping

import numpy as np

from cxrdet.core.detection.matching import match_labelled_boxes
from cxrdet.core.rates import Counts

__all__ = ['detection_counts']


def detection_counts(predictions: Iterable[Mapping], targets: Iterable[Mapping], num_classes: int, *,
                     score_thr: float = 0.5, iou_thr: float = 0.5) -> Counts:
    """Count hits and misses of all images, class by class.

    Predictions below ``score_thr`` are left out; the others are matched within their class and image by
    :func:`cxrdet.core.detection.matching.match_labelled_boxes`. A prediction that falls on an ignored box counts as
    nothing, and an ignored box that nobody finds is not missed.

    Args:
        predictions: one mapping an image with ``boxes`` (N, 4) xyxy in pixels, ``scores`` (N,) and ``labels`` (N,) int.
        targets: one mapping an image, in the same order, with ``boxes`` (M, 4), ``labels`` (M,) int and, if there are
            ignored boxes, ``ignore`` (M,) bool.
        num_classes: labels run from 0 to ``num_classes - 1``.
        score_thr: lowest score that counts, itself included.
        iou_thr: lowest overlap of a hit, itself included.

    Raises: ValueError if the two have different lengths or a label is out of range.
    """
    counts = Counts(*np.zeros((3, num_classes), np.int64))
    for image, (prediction, target) in enumerate(zip(predictions, targets, strict=True)):
        keep = np.asarray(prediction['scores']).reshape(-1) >= score_thr
        labels = np.asarray(prediction['labels'], np.int64).reshape(-1)[keep]
        target_labels = np.asarray(target['labels'], np.int64).reshape(-1)
        for name, values in (('predicted', labels), ('ground-truth', target_labels)):
            if values.size and not (0 <= values.min() and values.max() < num_classes):
                raise ValueError(f'image {image}: {name} labels must lie in 0..{num_classes - 1}, '
                                 f'got {values.min()}..{values.max()}')
        ignore = np.asarray(target.get('ignore', np.zeros(len(target_labels)))).astype(bool).reshape(-1)
        matches = match_labelled_boxes(np.asarray(prediction['boxes']).reshape(-1, 4)[keep],
                                       np.asarray(prediction['scores']).reshape(-1)[keep], labels, target['boxes'],
                                       target_labels, iou_thr=iou_thr, ignore=ignore)
        hit = (matches.target >= 0) & ~matches.ignored
        for count, found in ((counts.tp, labels[hit]), (counts.fp, labels[matches.target < 0]),
                             (counts.fn, target_labels[~matches.found & ~ignore])):
            count += np.bincount(found, minlength=num_classes)
    return counts
