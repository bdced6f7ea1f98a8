"""DetectionMetric: faster-coco-eval against pycocotools, and against numbers by hand."""
import json
import logging
import math

import numpy as np
import pytest
import torch
from mmengine.evaluator import Evaluator
from mmengine.logging import MMLogger
from mmengine.structures import BaseDataElement, InstanceData

from cxrdet.evaluation.metrics.coco_backend import coco_tables, precision_and_recall
from cxrdet.evaluation.metrics.detection_metric import DetectionMetric
from cxrdet.registry import METRICS

CLASSES = ('RBC', 'WBC', 'Platelets')
A, B = [0, 0, 40, 40], [100, 0, 140, 40]


def sample(truth=(), predicted=(), img_id=0, ignore=()) -> BaseDataElement:
    """One image: truth as (box, label), predictions as (box, label, score)."""
    instances = [{'bbox': box, 'bbox_label': label, 'ignore_flag': int(i in ignore)}
                 for i, (box, label) in enumerate(truth)]
    element = BaseDataElement(metainfo={'img_id': img_id, 'ori_shape': (480, 640), 'img_path': f'data/{img_id}.png',
                                        'instances': instances})
    element.pred_instances = InstanceData(
        bboxes=torch.tensor([p[0] for p in predicted], dtype=torch.float32).reshape(-1, 4),
        labels=torch.tensor([p[1] for p in predicted], dtype=torch.long),
        scores=torch.tensor([p[2] for p in predicted], dtype=torch.float32))
    return element


def evaluate(samples, classes=CLASSES, **options) -> dict:
    evaluator = Evaluator(METRICS.build({'type': 'cxrdet.DetectionMetric', **options}))
    evaluator.dataset_meta = {'classes': classes}
    for i in range(0, len(samples), 2):
        evaluator.process(samples[i:i + 2])
    return evaluator.evaluate(len(samples))


@pytest.fixture
def log():
    """Text of all that was logged so far; MMEngine's loggers do not hand their records to pytest's caplog."""
    records = []
    handler = logging.Handler()
    handler.emit = lambda record: records.append(record.getMessage())
    logger = MMLogger.get_current_instance()
    logger.addHandler(handler)
    yield lambda: '\n'.join(records)
    logger.removeHandler(handler)


@pytest.fixture(scope='module')
def random_samples():
    """40 images of all sizes of boxes; crowds, ties of scores, images without boxes, without predictions or either."""
    rng, samples = np.random.default_rng(3), []
    for i in range(40):
        count = 0 if i % 10 == 0 else int(rng.integers(1, 10))
        corner, size = rng.uniform(0, 400, (count, 2)), np.exp(rng.uniform(np.log(8), np.log(220), (count, 2)))
        boxes, labels = np.concatenate([corner, corner + size], 1), rng.integers(0, 3, count)
        picks = [] if i % 7 == 0 or not count else rng.integers(0, count, rng.integers(0, 14))
        predicted = [((boxes[j] + rng.normal(0, 0.05, 4) * size[j].repeat(2)).tolist(),
                      int(labels[j] if rng.random() < 0.85 else rng.integers(0, 3)), round(float(rng.random()), 1))
                     for j in picks]
        predicted += [([5.0, 5.0, 60.0, 50.0], 1, 0.3)] * (i % 20 == 0)  # on an image without boxes
        samples.append(sample(list(zip(boxes.tolist(), labels.tolist(), strict=True)), predicted, img_id=f'image{i}',
                              ignore=np.flatnonzero(rng.random(count) < 0.15).tolist()))
    return samples


def with_pycocotools(monkeypatch, samples) -> dict:
    from pycocotools import coco, cocoeval
    monkeypatch.setattr('faster_coco_eval.COCO', coco.COCO)
    monkeypatch.setattr('faster_coco_eval.COCOeval_faster', cocoeval.COCOeval)
    return evaluate(samples)


def test_pycocotools_gives_identical_numbers(random_samples, monkeypatch):
    fast, plain = evaluate(random_samples), with_pycocotools(monkeypatch, random_samples)
    assert list(fast) == list(plain)
    np.testing.assert_array_equal(list(fast.values()), list(plain.values()))
    assert 0.1 < fast['coco/bbox_mAP'] < 0.9 and not np.isnan(list(fast.values())).any()


@pytest.mark.parametrize('case', [
    [sample([(A, 0)], [])],
    [sample([], [(A, 0, 0.9)])],
    [sample([], [])],
    [sample([(A, 0)], [(A, 0, 0.9)], ignore=[0])],
    [sample([(A, 0), (A, 0)], [(A, 0, 0.9), (A, 0, 0.9)], img_id=1), sample(img_id=2)],
    [],
])
def test_pycocotools_agrees_on_corner_cases(case, monkeypatch):
    fast, plain = evaluate(case), with_pycocotools(monkeypatch, case)
    np.testing.assert_array_equal(list(fast.values()), list(plain.values()))


def test_numbers_are_those_of_plain_pycocotools(random_samples, tmp_path):
    """The files that the metric writes, read and judged by pycocotools alone."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval
    prefix = tmp_path / 'new' / 'val'
    whole = [element.clone() for element in random_samples]
    for i, element in enumerate(whole):
        element.set_metainfo({'img_id': i})
    metrics = evaluate(whole, outfile_prefix=str(prefix))
    truth = COCO(f'{prefix}.gt.json')
    evaluation = COCOeval(truth, truth.loadRes(f'{prefix}.bbox.json'), iouType='bbox')
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    for name, expected in zip(('', '_50', '_75', '_s', '_m', '_l'), evaluation.stats, strict=False):
        assert metrics[f'coco/bbox_mAP{name}'] == pytest.approx(expected, abs=1e-11)
    assert metrics['coco/bbox_AR@100'] == pytest.approx(evaluation.stats[8], abs=1e-11)
    for label, name in enumerate(CLASSES):  # AR of one class, as pycocotools gives it where it knows no other
        evaluation.params.catIds = [label]
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
        assert metrics[f'coco/AP_{name}'] == pytest.approx(evaluation.stats[0], abs=1e-11)
        assert metrics[f'coco/AR_{name}'] == pytest.approx(evaluation.stats[8], abs=1e-11)
    assert [category['name'] for category in truth.dataset['categories']] == list(CLASSES)
    assert truth.dataset['images'][3] == {'id': 3, 'width': 640, 'height': 480, 'file_name': 'image3.png'}


def test_numbers_by_hand():
    """RBC: first hit, then a false alarm, then the second hit. Precision at recall <= 0.5 is 1, above it 2/3."""
    metrics = evaluate([sample([(A, 0), (B, 0)], [(A, 0, 0.9), ([200, 200, 240, 240], 0, 0.8), (B, 0, 0.7)]),
                        sample([(A, 1)], [(A, 1, 0.4)], img_id=1)])
    ap = (51 * 1 + 50 * 2 / 3) / 101
    assert metrics['coco/AP_RBC'] == pytest.approx(ap) and metrics['coco/AP50_RBC'] == pytest.approx(ap)
    assert metrics['coco/bbox_mAP'] == pytest.approx((ap + 1) / 2)  # without Platelets
    assert metrics['coco/bbox_mAP_m'] == pytest.approx((ap + 1) / 2)  # 40 px squares are of medium size
    assert math.isnan(metrics['coco/bbox_mAP_s']) and math.isnan(metrics['coco/bbox_mAP_l'])
    assert (metrics['coco/AR_RBC'], metrics['coco/AR_WBC'], metrics['coco/bbox_AR@100']) == (1, 1, 1)
    # at score 0.5: two hits, one false alarm, the WBC is missed
    assert metrics['coco/precision'] == pytest.approx(2 / 3)
    assert metrics['coco/recall'] == pytest.approx(2 / 3)
    assert metrics['coco/F1'] == pytest.approx(2 / 3)
    assert (metrics['coco/recall_RBC'], metrics['coco/recall_WBC']) == (1, 0)
    assert math.isnan(metrics['coco/precision_WBC'])
    for name in ('AP', 'AP50', 'AR', 'precision', 'recall', 'F1'):
        assert math.isnan(metrics[f'coco/{name}_Platelets'])


def test_recall_by_hand():
    """Of three boxes one is met exactly, one at IoU 0.75 (6 of 10 thresholds), one is missed: (1 + 0.6 + 0) / 3.

    The scores do not matter. With a single detection that counts an image, the better scored one is what is left.
    """
    case = [sample([(A, 0), (B, 0), ([200, 0, 240, 40], 0)], [(A, 0, 0.1), ([100, 0, 140, 30], 0, 0.01)])]
    metrics = evaluate(case)
    assert metrics['coco/AR_RBC'] == metrics['coco/bbox_AR@100'] == pytest.approx(1.6 / 3)
    few = evaluate(case, max_dets=1)
    assert few['coco/bbox_AR@1'] == pytest.approx(1 / 3) and 'coco/bbox_AR@100' not in few


def test_score_threshold():
    case = [sample([(A, 0)], [(A, 0, 0.4), (B, 0, 0.3)])]
    assert evaluate(case, score_thr=0.4)['coco/F1'] == 1
    assert evaluate(case, score_thr=0.3)['coco/precision'] == 0.5
    assert math.isnan(evaluate(case)['coco/precision']) and evaluate(case)['coco/recall'] == 0


def test_keys_without_classes(random_samples):
    expected = ['bbox_mAP', 'bbox_mAP_50', 'bbox_mAP_75', 'bbox_mAP_s', 'bbox_mAP_m', 'bbox_mAP_l', 'bbox_AR@100',
                'precision', 'recall', 'F1']
    assert list(evaluate(random_samples[:2], classwise=False)) == [f'coco/{name}' for name in expected]
    assert 'val2/F1' in evaluate(random_samples[:2], prefix='val2')


def test_log(log):
    evaluate([sample([(A, 0)], [(A, 0, 0.9)])])
    text = log()
    assert '1 images, 1 predictions; precision, recall and F1 at score >= 0.5, IoU >= 0.5' in text
    assert ['RBC', '1', *['1.0000'] * 6] in map(str.split, text.splitlines())
    assert '2 of 3 classes have no ground truth here; their values are NaN and left out of the means: WBC, ' in text


def test_more_detections_than_count_are_reported(log):
    case = [sample([(A, 0), (B, 0)], [(A, 0, 0.9), (B, 0, 0.8)])]
    assert evaluate(case, max_dets=1)['coco/bbox_mAP'] == pytest.approx(51 / 101)
    assert '1 images have more than max_dets=1 detections of one class' in log()


def test_image_ids_that_repeat_are_numbered(log, tmp_path):
    case = [sample([(A, 0)], [(A, 0, 0.9)], img_id=7), sample([(B, 0)], [(B, 0, 0.9)], img_id=7)]
    assert evaluate(case, outfile_prefix=str(tmp_path / 'val'))['coco/bbox_mAP'] == 1
    assert [image['id'] for image in json.loads((tmp_path / 'val.gt.json').read_text())['images']] == [0, 1]
    assert 'ids of the images are not unique' in log()


def test_padding_of_distributed_runs_is_dropped():
    metric = DetectionMetric()
    metric.dataset_meta = {'classes': CLASSES}
    twice = sample([(A, 0)], [(A, 0, 0.9)]).to_dict()
    metric.process(None, [twice, twice])
    assert metric.evaluate(1)['coco/AP_RBC'] == 1 and not metric.results


def test_missing_ground_truth():
    element = sample([(A, 0)], [])
    element.pop('instances')
    with pytest.raises(ValueError, match='Add "instances" to the meta_keys of PackDetInputs'):
        evaluate([element])


@pytest.mark.parametrize('options, text', [
    ({'score_thr': 2}, r'score_thr must lie in \[0, 1\]'),
    ({'iou_thr': 0}, r'iou_thr must lie in \(0, 1\], got 0'),
    ({'max_dets': 0}, 'max_dets .*, got 0'),
])
def test_bad_arguments(options, text):
    with pytest.raises(ValueError, match=text):
        DetectionMetric(**options)


def test_table_has_no_values_for_absent_classes():
    truth, results = coco_tables([{'boxes': [A], 'scores': [0.5], 'labels': [1]}], [{'boxes': [A], 'labels': [0]}],
                                 CLASSES)
    table, _ = precision_and_recall(truth, results)
    assert table.shape == (10, 101, 3, 4)
    assert (table[:, :, 0, 0] == 0).all() and np.isnan(table[:, :, 1:]).all()


def test_intervals_over_resampled_images():
    """Of two kinds of images, all found and nothing found, a draw of n images has the mean of those drawn."""
    images = [sample([(A, 0), (B, 1)], [(A, 0, 0.9)] if i % 2 else [], img_id=i) for i in range(40)]
    plain = evaluate(images)
    found = evaluate(images, intervals=300)
    assert {name for name in found if not name.endswith(('_low', '_high'))} == set(plain)
    assert all(math.isnan(value) or value == found[name] for name, value in plain.items())
    found = {name.removeprefix('coco/'): value for name, value in found.items()}
    spread = 1.96 * math.sqrt(0.25 / 40)  # of a share of one half
    assert found['AR_RBC'] == 0.5
    assert found['AR_RBC_low'] == pytest.approx(0.5 - spread, abs=0.03)
    assert found['AR_RBC_high'] == pytest.approx(0.5 + spread, abs=0.03)
    assert found['AP50_RBC_low'] < found['AP50_RBC'] < found['AP50_RBC_high']
    assert found['AP_WBC_low'] == found['AP_WBC_high'] == found['AP_WBC'] == 0
    assert math.isnan(found['AR_Platelets_low'])
    assert found['bbox_AR@100'] == 0.25
    assert found['bbox_AR@100_low'] == pytest.approx(found['AR_RBC_low'] / 2)
    assert found['bbox_mAP_low'] < found['bbox_mAP'] < found['bbox_mAP_high']
    assert not [name for name in evaluate(images, classwise=False, intervals=2) if name.endswith('_RBC_low')]


def test_intervals_of_nothing():
    found = evaluate([sample()], intervals=5)
    assert math.isnan(found['coco/bbox_mAP_low']) and math.isnan(found['coco/bbox_AR@100_high'])
