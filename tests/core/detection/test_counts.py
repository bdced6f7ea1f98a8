"""Counts and ratios by hand and against the matches that pycocotools finds on random images."""
import numpy as np
import pytest

from cxrdet.core.detection.counts import detection_counts
from cxrdet.core.rates import Counts, precision_recall_f1

A, B, C, D = [0, 0, 10, 10], [20, 0, 30, 10], [0, 20, 10, 30], [20, 20, 30, 30]


def image(boxes, labels, scores=None, ignore=None) -> dict:
    parts = {'boxes': boxes, 'labels': labels, 'scores': scores, 'ignore': ignore}
    return {key: value for key, value in parts.items() if value is not None}


def test_counts_by_hand():
    predictions = [image([A, B, C, D], [0, 0, 1, 1], scores=[0.9, 0.4, 0.8, 0.6]), image([A], [2], scores=[0.9])]
    targets = [image([A, B, C, D], [0, 0, 0, 1]), image([], [])]
    counts = detection_counts(predictions, targets, 4)
    # class 0: A hit; B below the score and C called class 1 -> two missed. Class 1: D hit, C false. Class 2: false.
    assert [part.tolist() for part in counts] == [[1, 1, 0, 0], [0, 1, 1, 0], [2, 0, 0, 0]]
    assert counts.total() == Counts(2, 2, 2)


def test_score_and_iou_thresholds_are_inclusive():
    predictions, targets = [image([[0, 0, 10, 5]], [0], scores=[0.5])], [image([A], [0])]
    assert detection_counts(predictions, targets, 1, score_thr=0.5, iou_thr=0.5).total() == Counts(1, 0, 0)
    assert detection_counts(predictions, targets, 1, score_thr=0.51).total() == Counts(0, 0, 1)
    assert detection_counts(predictions, targets, 1, iou_thr=0.51).total() == Counts(0, 1, 1)


def test_ignored_boxes_count_as_nothing():
    predictions = [image([A, A, B], [0, 0, 0], scores=[0.9, 0.8, 0.7])]
    targets = [image([A, C], [0, 0], ignore=[True, True])]
    assert detection_counts(predictions, targets, 1).total() == Counts(0, 1, 0)


@pytest.mark.parametrize('predictions, targets', [([], []), ([image([], [], scores=[])], [image([], [])])])
def test_empty(predictions, targets):
    counts = detection_counts(predictions, targets, 3)
    assert [part.tolist() for part in counts] == [[0, 0, 0]] * 3
    assert np.isnan(precision_recall_f1(counts)).all()


def test_ratios_by_hand():
    rates = precision_recall_f1(Counts(tp=[6, 0, 0, 0], fp=[2, 3, 0, 1], fn=[3, 2, 4, 0]))
    np.testing.assert_allclose(rates.precision, [6 / 8, 0, np.nan, np.nan])  # no prediction; no ground truth
    np.testing.assert_allclose(rates.recall, [6 / 9, 0, 0, np.nan])
    np.testing.assert_allclose(rates.f1, [12 / 17, 0, 0, np.nan])


@pytest.mark.parametrize('score_thr', [0.0, 0.3, 0.7])
@pytest.mark.parametrize('iou_thr', [0.5, 0.75])
def test_counts_equal_pycocotools(score_thr, iou_thr):
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval
    rng = np.random.default_rng(int(100 * score_thr + 10 * iou_thr))
    num_classes, predictions, targets, gts, dts = 3, [], [], [], []
    for i in range(40):
        corner, size = rng.uniform(0, 60, (rng.integers(0, 12), 2)).round(), 20
        boxes = np.concatenate([corner, corner + rng.integers(10, size, corner.shape)], axis=1)
        labels, ignore = rng.integers(0, num_classes, len(boxes)), rng.random(len(boxes)) < 0.2
        pick = rng.integers(0, max(len(boxes), 1), rng.integers(0, 15)) if len(boxes) else np.zeros(0, int)
        found = boxes[pick] + rng.integers(-3, 4, (len(pick), 4))
        scores = rng.integers(0, 20, len(pick)) / 20  # with ties
        found_labels = np.where(rng.random(len(pick)) < 0.8, labels[pick], rng.integers(0, num_classes, len(pick)))
        predictions.append(image(found, found_labels, scores=scores))
        targets.append(image(boxes, labels, ignore=ignore))
        for kind, rows in ((gts, zip(boxes, labels, ignore, strict=True)),
                           (dts, zip(found, found_labels, scores, strict=True))):
            for box, label, value in rows:
                x1, y1, x2, y2 = map(float, box)
                kind.append({'id': len(kind) + 1, 'image_id': i, 'category_id': int(label), 'iscrowd': 0,
                             'bbox': [x1, y1, x2 - x1, y2 - y1], 'area': (x2 - x1) * (y2 - y1)})
                kind[-1].update({'iscrowd': int(value)} if kind is gts else {'score': float(value)})
    apis = []
    for annotations in (gts, [dt for dt in dts if dt['score'] >= score_thr]):
        api = COCO()
        api.dataset = {'images': [{'id': i} for i in range(40)], 'annotations': annotations,
                       'categories': [{'id': i, 'name': str(i)} for i in range(num_classes)]}
        api.createIndex()
        apis.append(api)
    evaluation = COCOeval(*apis, iouType='bbox')
    evaluation.params.iouThrs = np.array([iou_thr])
    evaluation.evaluate()
    expected = np.zeros((3, num_classes), int)
    for part in evaluation.evalImgs:
        if part is None or part['aRng'] != evaluation.params.areaRng[0]:
            continue
        hit, counted = part['dtMatches'][0] > 0, ~part['dtIgnore'][0].astype(bool)
        expected[:, part['category_id']] += [(hit & counted).sum(), (~hit & counted).sum(),
                                             ((part['gtMatches'][0] == 0) & (part['gtIgnore'] == 0)).sum()]
    assert expected.min() > 0  # every kind of outcome occurs
    counts = detection_counts(predictions, targets, num_classes, score_thr=score_thr, iou_thr=iou_thr)
    np.testing.assert_array_equal(np.array(counts), expected)


def test_bad_labels():
    with pytest.raises(ValueError, match=r'image 0: predicted labels must lie in 0\.\.1, got 2\.\.2'):
        detection_counts([image([A], [2], scores=[0.9])], [image([], [])], 2)
    with pytest.raises(ValueError, match=r'image 0: ground-truth labels must lie in 0\.\.1, got -1\.\.-1'):
        detection_counts([image([], [], scores=[])], [image([A], [-1])], 2)


def test_different_lengths():
    with pytest.raises(ValueError, match='shorter'):
        detection_counts([image([], [], scores=[])], [], 2)
