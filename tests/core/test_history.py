"""Records of a run: what is best, by which direction, as JSON that every reader takes."""
import json
import math

import pytest

from cxrdet.core.errors import DataError
from cxrdet.core.history import (
    Recorder,
    better_is,
    named_rates,
    number,
    read_history,
    scalars,
    series,
    summary,
    to_json,
)

RECORDS = [
    {'epoch': 1, 'iter': 4, 'train': {'loss': 2.0}, 'val': {'coco/bbox_mAP': 0.3, 'val/loss': 1.5, 'odd': 1.0},
     'lr': {'all': 0.1}, 'time': {'train': 1.0, 'val': 0.5}},
    {'epoch': 2, 'iter': 8, 'train': {'loss': 1.0}, 'val': {'coco/bbox_mAP': 0.5, 'val/loss': 1.2, 'odd': 3.0},
     'lr': {'all': 0.01}, 'time': {'train': 1.0, 'val': 0.5}},
    {'epoch': 3, 'iter': 12, 'train': {'loss': 1.5}, 'val': {'coco/bbox_mAP': 0.5, 'val/loss': None, 'odd': 2.0},
     'lr': {'all': 0.001}, 'time': {'train': 1.0, 'val': 0.5}},
    {'epoch': 4, 'iter': 16, 'train': {'loss': 0.5}, 'lr': {'all': 0.001}, 'time': {'train': 1.0}},
]


@pytest.mark.parametrize(('name', 'expected'), [
    ('coco/bbox_mAP', 'greater'), ('coco/bbox_mAP_50', 'greater'), ('coco/AP50_WBC', 'greater'), ('F1', 'greater'),
    ('coco/bbox_AR@100', 'greater'), ('coco/AR_WBC', 'greater'),
    ('accuracy/top1', 'greater'), ('multi-label/AUROC_Mass', 'greater'), ('single-label/f1-score', 'greater'),
    ('specificity', 'greater'), ('val/loss', 'less'), ('val/loss_bbox', 'less'), ('train/loss', 'less'),
    ('multi-label/hamming_macro@0.5', 'less'), ('multi-label/AUROC_mean_low', 'greater'), ('froc/mean', 'greater'),
    ('multi-label/F1_macro@youden', 'greater'), ('multi-label/undefined_classes', None), ('hamming', 'less'),
    ('accuracy/recall_bone loss', 'greater'), ('accuracy/F1_bone_loss', 'greater'), ('coco/AP_low count', 'greater'),
    ('accuracy/precision_a/loss', 'greater'), ('multi-label/AUROC_error', 'greater'), ('ECE_accuracy', 'less'),
    ('multi-label/threshold_f1', None), ('sensitivity_bone loss', 'greater'), ('train/iou_loss', 'less'),
    ('val/iou_loss', 'less'), ('train/d0.loss_iou', 'less'), ('smear/bone_loss_recall', 'less'),
    ('ECE', 'less'), ('threshold_Mass_f1', None), ('temperature', None), ('toy/score', None)])
def test_direction_of_a_metric(name, expected):
    assert better_is(name) == expected


def test_a_batch_without_labels_has_no_part_in_the_accuracy():
    """Its loss is 0 and counts; a loss that is NaN stays to be seen."""
    recorder = Recorder()
    for loss, accuracy in ((1.0, 0.5), (0.0, math.nan), (2.0, 1.0)):
        recorder.add({'loss': loss, 'loss_a': math.nan, 'accuracy': accuracy})
    recorder.close(iteration=3, epoch=1, rates={})
    assert recorder.records[0]['train'] == {'loss': 1.0, 'loss_a': None, 'accuracy': 0.75}


def test_own_rules_come_first_and_the_longest_decides():
    rules = {'score': 'greater', 'score_low': 'less'}
    assert better_is('toy/score', rules) == 'greater'
    assert better_is('toy/score_low', rules) == 'less'
    assert better_is('val/loss', {'loss': 'greater'}) == 'greater'


def test_summary_by_hand():
    found = summary(RECORDS, main='coco/bbox_mAP')
    assert found['done'] == {'epoch': 4, 'iter': 16}
    assert found['metrics']['coco/bbox_mAP'] == {'better': 'greater', 'best': 0.5, 'epoch': 2, 'iter': 8, 'last': 0.5}
    assert found['metrics']['train/loss'] == {'better': 'less', 'best': 0.5, 'epoch': 4, 'iter': 16, 'last': 0.5}
    assert found['metrics']['val/loss'] == {'better': 'less', 'best': 1.2, 'epoch': 2, 'iter': 8, 'last': 1.2}
    assert found['metrics']['odd'] == {'better': None, 'best': None, 'last': 2.0}
    assert found['best'] == {'metric': 'coco/bbox_mAP', 'value': 0.5, 'epoch': 2, 'iter': 8, 'metrics': {
        'train/loss': 1.0, 'coco/bbox_mAP': 0.5, 'val/loss': 1.2, 'odd': 3.0, 'lr/all': 0.01}}


def test_summary_without_a_main_metric_and_of_nothing():
    assert summary(RECORDS)['best'] is None
    assert summary(RECORDS, main='unknown')['best'] is None
    assert summary([]) == {'done': None, 'best': None, 'metrics': {}}


def test_scalars_and_series():
    assert scalars(RECORDS[3]) == {'train/loss': 0.5, 'lr/all': 0.001}
    assert series(RECORDS, 'val/loss') == ([1, 2], [1.5, 1.2])
    assert series([{'iter': 40, 'val': {'m': 1.0}}], 'm') == ([40], [1.0])
    assert series(RECORDS, 'nothing') == ([], [])


def test_recorder_means_and_state():
    recorder, resumed = Recorder(), Recorder()
    recorder.add({'loss': 1.0, 'acc': 0.5})
    recorder.add({'loss': 2.0})
    assert recorder.open
    state = json.loads(json.dumps(recorder.state()))
    resumed.load(state)
    for each in (recorder, resumed):
        each.add({'loss': 6.0, 'acc': math.nan})
        each.close(iteration=3, epoch=1, rates={'a.w': 0.1, 'b.w': 0.1})
        assert not each.open
        each.add_validation({'mAP': math.inf, 'AUROC': 0.75})
        record, = each.records
        assert record['train'] == {'loss': 3.0, 'acc': None}
        assert record['val'] == {'mAP': None, 'AUROC': 0.75}
        assert record['lr'] == {'all': 0.1}
        assert (record['epoch'], record['iter']) == (1, 3)
        assert set(record['time']) == {'train', 'val'}


def test_rates_of_the_largest_equal_parts():
    rates = {'backbone.conv1.weight': 0.0, 'backbone.layer1.0.weight': 0.1, 'backbone.layer1.1.weight': 0.1,
             'head.fc.weight': 1.0, 'head.fc.bias': 2.0}
    assert named_rates(rates) == {'backbone.conv1': 0.0, 'backbone.layer1': 0.1, 'head.fc.weight': 1.0,
                                  'head.fc.bias': 2.0}
    assert named_rates(dict.fromkeys(rates, 0.5)) == {'all': 0.5}
    assert named_rates({f'layer.{i}': float(i) for i in range(40)}) == {'highest': 39.0, 'lowest': 0.0}
    assert named_rates({'norm1': 1.0, 'norm10': 2.0}) == {'norm1': 1.0, 'norm10': 2.0}
    assert named_rates({}) == {}


def test_numbers_that_json_has():
    assert [number(value) for value in (1, 0.5, math.nan, -math.inf)] == [1.0, 0.5, None, None]


def test_read_back(tmp_path):
    (tmp_path / 'history.json').write_text(to_json(RECORDS))
    assert read_history(tmp_path) == RECORDS
    assert read_history(tmp_path / 'history.json') == RECORDS
    assert json.loads(to_json([])) == []


@pytest.mark.parametrize(('text', 'message'), [
    (None, 'no such file. Expected the work folder of a run with cxrdet.HistoryHook'), ('[{', 'no valid JSON'),
    ('{"a": 1}', 'expected a list of records'), ('[{"loss": 1}]', 'with the key "iter"'),
    ('[]', 'has finished no epoch yet')])
def test_no_history(text, message, tmp_path):
    if text is not None:
        (tmp_path / 'history.json').write_text(text)
    with pytest.raises(DataError, match=message):
        read_history(tmp_path)
