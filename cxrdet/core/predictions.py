"""Predictions of a model beside the ground truth, image by image: the input of diagnosis and report."""
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from cxrdet.core.classification.roc import group_numbers
from cxrdet.core.detection.matching import Pairing, pair_boxes


def boxes_of_truth(instances: Iterable[Mapping]) -> dict[str, np.ndarray]:
    """``boxes`` (M, 4) float64, ``labels`` (M,) int64 and ``ignore`` (M,) bool of what
    a data set of MMDetection gives as the ``instances`` of an image.
    """
    rows = [(box['bbox'], box['bbox_label'], box.get('ignore_flag', 0)) for box in instances]
    boxes, labels, ignore = zip(*rows) if rows else ((), (), ())
    return {'boxes': np.array(boxes, np.float64).reshape(-1, 4), 'labels': np.array(labels, np.int64),
            'ignore': np.array(ignore, bool)}


@dataclass
class Collected:
    """Predictions and ground truth of a split.

    Attributes:
        task: 'detection', 'multi-label' or 'single-label'.
        classes: C names.
        split: ``train``, ``val`` or ``test``.
        labels: of the whole split, (total, C) float64: boxes of each class in each
            image (without ignored ones), or, of a classifier, 1, 0 or NaN (unknown).
        facts: of the whole split, one dict an image: those of ``img_id``, ``patient_id``, ``view``, ``sex``, ``age``,
            ``group`` that the data set knows.
        records: the images that were predicted, which may be a sample of the split: one
            dict an image. All have ``image`` (path), ``width`` and ``height`` (pixels
            of the image as read) and ``facts`` as above. Of a detector also ``boxes``
            (N, 4) xyxy in pixels of the image, ``scores`` (N,), ``labels`` (N,) int,
            best first, and the ground truth ``gt_boxes`` (M, 4), ``gt_labels`` (M,)
            int, ``gt_ignore`` (M,) bool. Of a classifier ``probabilities`` (C,) and
            ``truth`` (C,): 1, 0 or NaN (unknown). Reals are float64.
        read: gives the image of a path as the data set reads it, to draw pictures.
        inputs: how often a batch of a shape went into the model's backbone.
    """

    task: str
    classes: tuple[str, ...]
    split: str
    labels: np.ndarray
    facts: list[dict]
    records: list[dict] = field(default_factory=list)
    read: Callable[[str], np.ndarray] | None = None
    inputs: Counter[tuple[int, ...]] = field(default_factory=Counter)

    @property
    def total(self) -> int:
        """Images of the split, predicted or not."""
        return len(self.labels)

    @property
    def counts(self) -> np.ndarray:
        """(C,) int64: boxes, or positive labels, of each class in the whole split."""
        return np.nansum(self.labels, axis=0).astype(np.int64)

    @cached_property
    def pairing(self) -> Pairing:
        """The detections of :attr:`records` paired with the ground truth, made once:
        the 100 best of each image and class, as COCO counts them.
        """
        truth = [{name: record[f'gt_{name}'] for name in ('boxes', 'labels', 'ignore')} for record in self.records]
        return pair_boxes(self.records, truth, len(self.classes), most=100)

    def groups(self) -> np.ndarray | None:
        """(N,) number of the patient (or group) of each record, what a bootstrap draws
        as a whole; None where none is known.
        """
        known = [record['facts'].get('patient_id', record['facts'].get('group')) for record in self.records]
        numbers, any_known = group_numbers(known, [record.get('image') for record in self.records])
        return numbers if any_known else None

    def matrix(self, name: str) -> np.ndarray:
        """``probabilities`` or ``truth`` of a classifier, (N, C) float64."""
        return np.array([record[name] for record in self.records], np.float64).reshape(-1, len(self.classes))
