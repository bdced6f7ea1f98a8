"""Pairing by hand; what is read from it - matches, counts, average precision - also against pycocotools."""
import numpy as np
import pytest

from cxrdet.core.detection.average_precision import precisions_by_overlap
from cxrdet.core.detection.matching import as_boxes, overlaps, pair_boxes
from cxrdet.core.rates import Counts, precision_recall_f1

A, B, C, D = [0, 0, 10, 10], [20, 0, 30, 10], [0, 0, 10, 8], [20, 20, 30, 30]
E = [0, 20, 10, 30]


def image(boxes, labels=None, scores=None, ignore=None) -> dict:
    parts = {'boxes': boxes, 'labels': [0] * len(boxes) if labels is None else labels, 'scores': scores,
             'ignore': ignore}
    return {key: value for key, value in parts.items() if value is not None}


def crowded(rng):
    """Forty images of three classes: boxes on each other, some ignored, and predictions with ties and wrong classes."""
    predictions, targets = [], []
    for _ in range(40):
        corner, size = rng.uniform(0, 60, (rng.integers(0, 12), 2)).round(), 20
        boxes = np.concatenate([corner, corner + rng.integers(10, size, corner.shape)], axis=1)
        labels, ignore = rng.integers(0, 3, len(boxes)), rng.random(len(boxes)) < 0.2
        pick = rng.integers(0, max(len(boxes), 1), rng.integers(0, 15)) if len(boxes) else np.zeros(0, int)
        found = boxes[pick] + rng.integers(-3, 4, (len(pick), 4))
        scores = rng.integers(0, 20, len(pick)) / 20
        found_labels = np.where(rng.random(len(pick)) < 0.8, labels[pick], rng.integers(0, 3, len(pick)))
        predictions.append(image(found, found_labels, scores))
        targets.append(image(boxes, labels, ignore=ignore))
    return predictions, targets


def counts_of(predictions, targets, classes, *, score_thr=0.5, iou_thr=0.5):
    return pair_boxes(predictions, targets, classes).lesions(iou_thr).counts(score_thr)


def test_overlaps_equal_pycocotools():
    from pycocotools import mask
    rng = np.random.default_rng(0)
    corner = rng.uniform(0, 80, (70, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(1, 40, (70, 2))], axis=1)
    xywh = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
    crowd = rng.random(30) < 0.3
    expected = mask.iou(xywh[:40], xywh[40:], crowd.astype(int).tolist())
    assert expected[:, crowd].max() == 1 and (expected > 0).sum() > 100
    np.testing.assert_allclose(overlaps(boxes[:40], boxes[40:], crowd), expected, atol=1e-12)


def test_overlaps_by_hand():
    # C covers 80 of the 100 pixels of A; for a crowd the union is the box alone
    np.testing.assert_allclose(overlaps([C], [A, A], [False, True]), [[0.8, 1.0]])
    assert overlaps([[5, 5, 5, 9]], [A], [True])[0, 0] == 0  # no area


@pytest.mark.parametrize('left, right', [(0, 0), (0, 3), (2, 0)])
def test_overlaps_of_nothing(left, right):
    assert overlaps([A] * left, [A] * right, [True] * right).shape == (left, right)


@pytest.mark.parametrize('boxes, scores, targets, ignore, expected', [
    # the better score takes the box, although the other one overlaps more
    ([C, A], [0.9, 0.8], [A], None, [0, -1]),
    # the same the other way round
    ([C, A], [0.8, 0.9], [A], None, [-1, 0]),
    # each takes the free box of highest overlap
    ([A, C], [0.9, 0.8], [C, A], None, [1, 0]),
    # equal scores keep their order
    ([A, A], [0.5, 0.5], [A], None, [0, -1]),
    # of equal overlaps the later box wins
    ([A], [0.5], [A, A], None, [1]),
    # too little overlap
    ([[0, 0, 10, 4.9]], [0.5], [A], None, [-1]),
    # exactly the threshold
    ([[0, 0, 10, 5]], [0.5], [A], None, [0]),
    # an ignored box takes any number of predictions
    ([A, A, B], [0.9, 0.8, 0.7], [A], [True], [0, 0, -1]),
    # but only those that fit no other
    ([A, A], [0.9, 0.8], [A, C], [True, False], [1, 0]),
    # a small box inside an ignored region
    ([[2, 2, 4, 4]], [0.9], [A], [True], [0]),
    # nothing to match
    ([], [], [A], None, []),
    ([A], [0.9], [], None, [-1]),
    ([], [], [], None, []),
])
def test_match_by_hand(boxes, scores, targets, ignore, expected):
    pairing = pair_boxes([image(boxes, scores=scores)], [image(targets, ignore=ignore)])
    assert pairing.taken(0.5).tolist() == expected
    on_ignored = [bool(ignore) and ignore[i] for i in expected if i >= 0]
    table = pairing.lesions(0.5)
    assert table.hits.sum() == len(on_ignored) - sum(on_ignored) and len(table.hits) == len(boxes) - sum(on_ignored)


def test_the_pairs_tell_overlaps():
    pairing = pair_boxes([image([C, B], scores=[0.5, 0.5])], [image([A])])
    assert (pairing.row.tolist(), pairing.truth.tolist()) == ([0], [0])
    np.testing.assert_allclose(pairing.overlap, [0.8])


def test_classes_and_images_are_kept_apart():
    pairing = pair_boxes([image([A, A, B], [0, 1, 2], [0.9, 0.8, 0.7]), image([A], [1], [0.99])],
                         [image([B, A], [0, 1]), image([])])
    assert pairing.taken(0.5).tolist() == [-1, 1, -1, -1]
    assert (pairing.images, pairing.classes) == (2, 3) and pairing.image.tolist() == [0, 0, 0, 1]


def test_only_so_many_of_a_class_and_image():
    scores = np.linspace(0, 1, 150)
    labels = (np.arange(150) >= 120).astype(int)
    part = dict(boxes=np.tile(A, (150, 1)), scores=scores, labels=labels)
    pairing = pair_boxes([part, part], [image([]), image([])], 2, most=100)
    assert np.bincount(2 * pairing.image + pairing.label).tolist() == [100, 30, 100, 30]
    assert pairing.score.min() == scores[20] and pairing.boxes.shape == (260, 4)
    tied = pair_boxes([image([A, B, C], scores=[0.5, 0.5, 0.5])], [image([])], most=2)
    assert tied.boxes.tolist() == [A, B]


@pytest.mark.parametrize('seed', range(5))
def test_what_is_below_a_score_changes_nothing_above(seed):
    """On which all counts at a threshold rest: the worse detections of an image may as well not be there."""
    predictions, targets = crowded(np.random.default_rng(seed))
    whole = pair_boxes(predictions, targets, 3)
    shown = whole.score >= 0.4
    part = pair_boxes([{key: np.asarray(value)[prediction['scores'] >= 0.4] for key, value in prediction.items()}
                       for prediction in predictions], targets, 3)
    for iou in (0.1, 0.5, 0.75):
        np.testing.assert_array_equal(part.taken(iou), whole.taken(iou)[shown])


@pytest.mark.parametrize('prediction, target, text', [
    (image([A], scores=[0.5, 0.5]), image([A]), 'image 0: expected one entry of labels and scores a predicted box, got '
                                                '1 and 2 for 1 boxes'),
    (image([A], [0, 1], [0.5]), image([A]), 'got 2 and 1 for 1 boxes'),
    (image([A], scores=[0.5]), image([A], ignore=[0, 1]), 'labels and ignore a ground-truth box, got 1 and 2'),
    (image([A[:3]], scores=[0.5]), image([A]), r'image 0: predicted boxes: expected shape \(N, 4\) as x1, y1, x2, y2'),
    (image([A], scores=[0.5]), image([[0, 0, np.nan, 1]]), 'ground-truth boxes: row 0 holds a value that is not fin'),
    (image([A], [2], [0.9]), image([]), r'image 0: predicted labels must lie in 0\.\.1, got 2\.\.2'),
    (image([], scores=[]), image([A], [-1]), r'image 0: ground-truth labels must lie in 0\.\.1, got -1\.\.-1'),
])
def test_bad_input(prediction, target, text):
    with pytest.raises(ValueError, match=text):
        pair_boxes([prediction], [target], 2)


@pytest.mark.parametrize('iou_thr', [0, 0.05, 1.5])
def test_bad_threshold(iou_thr):
    with pytest.raises(ValueError, match=r'iou_thr must lie in \(0, 1\]'):
        pair_boxes([image([A], scores=[0.5])], [image([A])]).taken(iou_thr)
    if iou_thr != 0.05:
        with pytest.raises(ValueError, match=r'lowest must lie in \(0, 1\]'):
            pair_boxes([], [], lowest=iou_thr)


def test_different_numbers_of_images():
    with pytest.raises(ValueError, match='shorter'):
        pair_boxes([image([A], scores=[0.9])], [], 2)


def test_as_boxes_takes_empty():
    assert as_boxes([]).shape == (0, 4)


def test_lesion_table_by_hand():
    far = [50, 0, 60, 10]
    found = [{'boxes': [A, A, far, [0, 0, 10, 4]], 'scores': [.9, .8, .7, .6], 'labels': [0, 0, 1, 0]},
             {'boxes': [], 'scores': [], 'labels': []}, {'boxes': [A], 'scores': [.5], 'labels': [1]}]
    truth = [{'boxes': [A, far], 'labels': [0, 1], 'ignore': [False, True]}, {'boxes': [A, far], 'labels': [1, 1]},
             {'boxes': [], 'labels': []}]
    table = pair_boxes(found, truth, 2).lesions()
    assert table.scores.tolist() == [.9, .8, .6, .5]  # the one on the ignored box is left out
    assert table.hits.tolist() == [True, False, False, False]
    assert table.labels.tolist() == [0, 0, 0, 1] and table.image.tolist() == [0, 0, 0, 2]
    assert table.lesions.tolist() == [[1, 0], [0, 2], [0, 0]]
    low = pair_boxes([{'boxes': [[0, 0, 10, 4]], 'scores': [.6], 'labels': [0]}], truth[:1], 2).lesions(.4)
    assert low.hits.tolist() == [True]


def test_nothing():
    table = pair_boxes([], [], 3).lesions()
    assert table.lesions.shape == (0, 3) and len(table.scores) == 0 and table.image.dtype == np.int64


def test_counts_by_hand():
    predictions = [image([A, B, E, D], [0, 0, 1, 1], scores=[0.9, 0.4, 0.8, 0.6]), image([A], [2], scores=[0.9])]
    targets = [image([A, B, E, D], [0, 0, 0, 1]), image([], [])]
    counts = counts_of(predictions, targets, 4)
    # class 0: A hit; B below the score and C called class 1 -> two missed. Class 1: D hit, C false. Class 2: false.
    assert [part.tolist() for part in counts] == [[1, 1, 0, 0], [0, 1, 1, 0], [2, 0, 0, 0]]
    assert counts.total() == Counts(2, 2, 2)


def test_score_and_iou_thresholds_are_inclusive():
    predictions, targets = [image([[0, 0, 10, 5]], [0], scores=[0.5])], [image([A], [0])]
    assert counts_of(predictions, targets, 1, score_thr=0.5, iou_thr=0.5).total() == Counts(1, 0, 0)
    assert counts_of(predictions, targets, 1, score_thr=0.51).total() == Counts(0, 0, 1)
    assert counts_of(predictions, targets, 1, iou_thr=0.51).total() == Counts(0, 1, 1)


def test_ignored_boxes_count_as_nothing():
    predictions = [image([A, A, B], [0, 0, 0], scores=[0.9, 0.8, 0.7])]
    targets = [image([A, E], [0, 0], ignore=[True, True])]
    assert counts_of(predictions, targets, 1).total() == Counts(0, 1, 0)


@pytest.mark.parametrize('predictions, targets', [([], []), ([image([], scores=[])], [image([])])])
def test_empty(predictions, targets):
    counts = counts_of(predictions, targets, 3)
    assert [part.tolist() for part in counts] == [[0, 0, 0]] * 3
    assert np.isnan(precision_recall_f1(counts)).all()


@pytest.mark.parametrize('score_thr', [0.0, 0.3, 0.7])
@pytest.mark.parametrize('iou_thr', [0.5, 0.75])
def test_counts_and_precision_equal_pycocotools(score_thr, iou_thr):
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval
    predictions, targets = crowded(np.random.default_rng(int(100 * score_thr + 10 * iou_thr)))
    num_classes, gts, dts = 3, [], []
    for i, (found, truth) in enumerate(zip(predictions, targets)):
        for kind, rows in ((gts, zip(truth['boxes'], truth['labels'], truth['ignore'], strict=True)),
                           (dts, zip(found['boxes'], found['labels'], found['scores'], strict=True))):
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
    pairing = pair_boxes(predictions, targets, num_classes)
    np.testing.assert_array_equal(np.array(pairing.lesions(iou_thr).counts(score_thr)), expected)
    if score_thr == 0:
        evaluation.accumulate()
        expected = evaluation.eval['precision'][0, :, :, 0, -1].mean(axis=0)
        np.testing.assert_allclose(precisions_by_overlap(pairing, [iou_thr])[0], expected)
