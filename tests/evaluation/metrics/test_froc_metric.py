"""FROCMetric: scalars by hand, intervals by patient, what it asks for."""
import math

import numpy as np
import pytest
import torch
from mmengine.evaluator import Evaluator
from mmengine.structures import BaseDataElement, InstanceData

from cxrdet.registry import METRICS

A, B, C = [0, 0, 40, 40], [100, 0, 140, 40], [300, 300, 340, 340]


def sample(truth=(), predicted=(), patient='p', ignore=()) -> BaseDataElement:
    """One image: truth as (box, label), predictions as (box, label, score)."""
    instances = [{'bbox': box, 'bbox_label': label, 'ignore_flag': int(i in ignore)}
                 for i, (box, label) in enumerate(truth)]
    element = BaseDataElement(metainfo={'ori_shape': (480, 640), 'patient_id': patient, 'instances': instances})
    element.pred_instances = InstanceData(
        bboxes=torch.tensor([p[0] for p in predicted], dtype=torch.float32).reshape(-1, 4),
        labels=torch.tensor([p[1] for p in predicted], dtype=torch.long),
        scores=torch.tensor([p[2] for p in predicted], dtype=torch.float32))
    return element


def evaluate(elements, **options) -> dict:
    evaluator = Evaluator(METRICS.build({'type': 'cxrdet.FROCMetric', **options}))
    evaluator.dataset_meta = {'classes': ('Mass', 'Nodule')}
    for i in range(0, len(elements), 2):
        evaluator.process(elements[i:i + 2])
    return evaluator.evaluate(len(elements))


CASE = [sample([(A, 0), (B, 1)], [(A, 0, .9), (C, 0, .8), ([100, 0, 140, 12], 1, .7)]), sample([], [(C, 1, .6)], 'q'),
        sample([], [], 'r'), sample([(A, 0)], [(A, 0, .95)], 's')]


def test_numbers_by_hand():
    # at IoU 0.5: hit .95, hit .9, false .8, false .7, false .6; three lesions, four images
    metrics = evaluate(CASE)
    assert metrics['froc/sensitivity_0.125'] == metrics['froc/sensitivity_8'] == pytest.approx(2 / 3)
    assert metrics['froc/mean'] == pytest.approx(2 / 3)
    assert metrics['froc/mean_low'] <= metrics['froc/mean'] <= metrics['froc/mean_high']
    assert metrics['froc/lesion_AUROC'] == pytest.approx(2 / 3)  # the missed lesion lies below all three
    assert metrics['froc/image_AUROC'] == 1  # .9 and .95 against .6 and nothing
    assert metrics['froc/mean_Mass'] == 1 and metrics['froc/mean_Nodule'] == 0
    # the low box of class 1 has IoU 0.3; the false alarm .6 comes after it
    assert metrics['froc/AP30'] == pytest.approx(1) and metrics['froc/AP40'] == pytest.approx(.5)
    low = evaluate(CASE, iou_thr=.3)  # hit, hit, false, hit, false
    assert low['froc/sensitivity_0.125'] == pytest.approx(2 / 3) and low['froc/sensitivity_0.25'] == 1


def test_patients_widen_nothing_that_is_one_image():
    by_image, by_patient = evaluate(CASE), evaluate(CASE, group_key='patient_id')
    assert by_image['froc/mean_low'] == pytest.approx(by_patient['froc/mean_low'])
    twice = [element for element in CASE for _ in range(20)]
    wide, narrow = evaluate(twice, group_key='patient_id'), evaluate(twice)
    assert wide['froc/mean_low'] == pytest.approx(by_patient['froc/mean_low'])
    assert narrow['froc/mean_low'] > wide['froc/mean_low']


def test_keys_and_nothing():
    metrics = evaluate([sample()], classwise=False, samples=0, rates=(1, 2))
    assert list(metrics) == ['froc/sensitivity_1', 'froc/sensitivity_2', 'froc/mean', 'froc/lesion_AUROC',
                             'froc/image_AUROC', 'froc/AP10', 'froc/AP20', 'froc/AP30', 'froc/AP40', 'froc/AP50']
    assert all(math.isnan(value) for value in metrics.values())
    assert math.isnan(evaluate([sample()])['froc/mean_low'])
    assert np.isnan(evaluate([sample([(A, 0)], [(A, 0, .9)], ignore=[0])])['froc/mean'])


@pytest.mark.parametrize('options, text', [
    ({'iou_thr': 0}, r'iou_thr must lie in \(0, 1\]'),
    ({'rates': (0, 1)}, r'rate must lie in \(0, '), ({'samples': -1}, r'samples must lie in \[0, ')])
def test_bad_arguments(options, text):
    with pytest.raises(ValueError, match=text):
        METRICS.build({'type': 'cxrdet.FROCMetric', **options})


@pytest.mark.parametrize('key, options', [('instances', {}), ('patient_id', {'group_key': 'patient_id'})])
def test_missing_keys(key, options):
    element = sample([(A, 0)])
    element.pop(key)
    with pytest.raises(ValueError, match=f'Add "{key}" to the meta_keys of PackDetInputs'):
        evaluate([element], **options)
