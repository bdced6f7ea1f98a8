"""Scores against scikit-learn and COCO's own code; intervals against slow draws of repeated rows."""
import numpy as np
import pytest
from sklearn.metrics import average_precision_score, balanced_accuracy_score, f1_score, roc_auc_score

from cxrdet.core.bootstrap import draws_of_groups
from cxrdet.core.detection.matching import pair_boxes
from cxrdet.core.main_scores import detection_scores, multi_label_scores, single_label_scores


def boxes(rng, count):
    corner = rng.random((count, 2)) * 200
    return np.concatenate([corner, corner + 20 + rng.random((count, 2)) * 40], axis=1)


@pytest.fixture(scope='module')
def detections():
    rng = np.random.default_rng(0)
    predictions, targets = [], []
    for _ in range(12):
        truth, labels = boxes(rng, 6), rng.integers(2, size=6)
        found = np.concatenate([truth[:5] + rng.normal(size=(5, 4)) * 3, boxes(rng, 4)])
        predictions.append(dict(boxes=found, scores=rng.random(9).round(3),
                                labels=np.append(labels[:5], rng.integers(2, size=4))))
        targets.append(dict(boxes=truth, labels=labels))
    return predictions, targets


def named(scores):
    return {score['name']: score for score in scores}


def coco(predictions, targets):
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval
    as_xywh = lambda box: [*box[:2], box[2] - box[0], box[3] - box[1]]  # noqa: E731
    truth, numbers = COCO(), iter(range(1, 10_000))
    truth.dataset = dict(images=[dict(id=i) for i in range(len(targets))], categories=[dict(id=0), dict(id=1)],
                         annotations=[dict(id=next(numbers), image_id=i, category_id=int(label), bbox=as_xywh(box),
                                           area=1., iscrowd=0) for i, target in enumerate(targets)
                                      for box, label in zip(target['boxes'], target['labels'])])
    truth.createIndex()
    found = truth.loadRes([dict(image_id=i, category_id=int(label), bbox=as_xywh(box), score=float(score))
                           for i, part in enumerate(predictions)
                           for box, score, label in zip(part['boxes'], part['scores'], part['labels'])])
    judge = COCOeval(truth, found, 'bbox')
    judge.evaluate(), judge.accumulate()
    return judge.eval['precision'][:, :, :, 0, -1]


def test_detector_scores_are_those_of_coco(detections):
    precision = coco(*detections)
    pairing = pair_boxes(*detections, 2)
    scores, by_class = detection_scores(pairing, score_thr=0.5, samples=20)
    scores, table = named(scores), pairing.lesions()
    assert scores['mAP']['value'] == pytest.approx(precision.mean())
    assert scores['mAP at IoU 0.5']['value'] == pytest.approx(precision[0].mean())
    assert scores['mAP at IoU 0.75']['value'] == pytest.approx(precision[5].mean())
    for label in range(2):
        assert by_class[label]['AP'] == pytest.approx(precision[..., label].mean())
        assert by_class[label]['AP50_low'] <= by_class[label]['AP50'] <= by_class[label]['AP50_high']
    for score in scores.values():
        assert score['low'] < score['high'] and score['low'] <= score['value'] <= score['high'], score
    shown = table.scores >= 0.5
    hits = (shown & table.hits).sum()
    assert scores['precision at score 0.50']['value'] == hits / shown.sum()
    assert scores['recall at score 0.50']['value'] == hits / 72
    assert scores['F1 at score 0.50']['value'] == pytest.approx(2 * hits / (shown.sum() + 72))


def test_interval_of_the_rates_of_boxes(detections):
    pairing = pair_boxes(*detections, 2)
    scores, _ = detection_scores(pairing, score_thr=0.3, samples=40, seed=4, groups=np.arange(12) // 2)
    values, table = [], pairing.lesions()
    for draws in draws_of_groups(12, groups=np.arange(12) // 2, samples=40, seed=4):
        for weights in draws.T:
            hits = sum(weights[i] for i in table.image[table.hits & (table.scores >= 0.3)])
            values.append(hits / (weights @ table.lesions.sum(axis=1)))
    found = named(scores)['recall at score 0.30']
    np.testing.assert_allclose([found['low'], found['high']], np.quantile(values, (0.025, 0.975)))


def test_detector_that_finds_nothing():
    empty = dict(boxes=[], scores=[], labels=[])
    scores, by_class = detection_scores(pair_boxes([empty], [dict(boxes=[[0, 0, 9, 9]], labels=[0])], 2),
                                        score_thr=0.5, samples=5)
    scores = named(scores)
    assert scores['mAP']['value'] == scores['recall at score 0.50']['value'] == 0
    assert np.isnan(scores['precision at score 0.50']['value']) and np.isnan(by_class[1]['AP'])


@pytest.fixture(scope='module')
def labels():
    rng = np.random.default_rng(1)
    true = (rng.random((80, 3)) < 0.4).astype(float)
    prob = 1 / (1 + np.exp(-rng.normal(size=(80, 3)) - true))
    return true, prob.round(2)


def test_multi_label_scores_are_those_of_scikit_learn(labels):
    true, prob = labels
    bounds, use, groups = [0.5, 0.6, 0.7], np.array([True, True, False]), np.arange(80) // 2
    scores = multi_label_scores(true, prob, bounds, use, samples=30, seed=2, groups=groups)
    assert 'AUROC of findings' not in named(scores)
    findings = multi_label_scores(true, prob, bounds, use, findings=np.array([True, False, True]), samples=30)
    assert named(findings)['AUROC of findings']['value'] == pytest.approx(roc_auc_score(true[:, 0], prob[:, 0]))
    scores, call = named(scores), prob >= bounds
    expected = {'mean AUROC': lambda t, p, c: roc_auc_score(t, p),
                'mean AP': lambda t, p, c: average_precision_score(t, p),
                'mean F1': lambda t, p, c: f1_score(t, c), 'mean sensitivity': lambda t, p, c: c[t == 1].mean(),
                'mean specificity': lambda t, p, c: 1 - c[t == 0].mean()}
    weights, = draws_of_groups(80, groups=groups, samples=30, seed=2)
    for name, judge in expected.items():
        def mean(rows, judge=judge):
            return np.mean([judge(true[rows, i], prob[rows, i], call[rows, i]) for i in (0, 1)])
        drawn = [mean(np.repeat(np.arange(80), times)) for times in weights.T]
        found = scores[name]
        assert found['value'] == pytest.approx(mean(np.arange(80))), name
        np.testing.assert_allclose([found['low'], found['high']], np.quantile(drawn, (0.025, 0.975)), err_msg=name)


def test_single_label_scores_are_those_of_scikit_learn(labels):
    rng = np.random.default_rng(3)
    label = rng.integers(3, size=80)
    prob = labels[1] + np.eye(3)[label] * 0.2
    scores = named(single_label_scores(np.eye(3)[label], prob, samples=20))
    called = prob.argmax(axis=1)
    assert scores['accuracy']['value'] == pytest.approx((called == label).mean())
    assert scores['balanced accuracy']['value'] == pytest.approx(balanced_accuracy_score(label, called))
    assert scores['mean F1']['value'] == pytest.approx(f1_score(label, called, average='macro'))
    areas = [roc_auc_score(label == i, prob[:, i]) for i in range(3)]
    assert scores['mean AUROC']['value'] == pytest.approx(np.mean(areas))
    assert all(score['low'] < score['value'] < score['high'] for score in scores.values())


def test_no_image():
    scores = multi_label_scores(np.zeros((0, 2)), np.zeros((0, 2)), [0.5, 0.5], [True, True], samples=3)
    assert all(np.isnan(score['value']) for score in scores)
    assert np.isnan(named(single_label_scores(np.zeros((0, 2)), np.zeros((0, 2)), samples=3))['accuracy']['value'])
