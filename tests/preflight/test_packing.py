"""Metrics find in the samples of stock pipelines what they read there."""
import pytest
from mmengine.config import Config

from cxrdet.preflight.data import pack_for_metrics


def config(metric, **packer):
    loader = dict(dataset=dict(type='RepeatDataset', dataset=dict(type='CocoDataset', pipeline=[
        dict(type='LoadImageFromFile'), dict(type='PackDetInputs', **packer)])))
    return Config(dict(default_scope='mmdet', train_dataloader=loader, val_dataloader=loader, test_dataloader=loader,
                       val_evaluator=metric, test_evaluator=dict(type='CocoMetric')))


def meta_keys(cfg, split):
    return cfg[f'{split}_dataloader'].dataset.dataset.pipeline[1].get('meta_keys')


@pytest.mark.parametrize('metric', [
    dict(type='cxrdet.DetectionMetric'), [dict(type='CocoMetric'), dict(type='cxrdet.FROCMetric')]])
def test_ground_truth_is_added_where_a_metric_reads_it(metric):
    cfg = config(metric, meta_keys=('img_id', 'ori_shape'))
    pack_for_metrics(cfg)
    assert meta_keys(cfg, 'val') == ('img_id', 'ori_shape', 'instances')
    assert meta_keys(cfg, 'train') == meta_keys(cfg, 'test') == ('img_id', 'ori_shape')
    pack_for_metrics(cfg)
    assert meta_keys(cfg, 'val') == ('img_id', 'ori_shape', 'instances')


def test_beside_the_keys_of_mmdetection():
    cfg = config(dict(type='cxrdet.DetectionMetric'))
    pack_for_metrics(cfg)
    assert meta_keys(cfg, 'val')[0] == 'img_id'
    assert meta_keys(cfg, 'val')[-1] == 'instances'


def test_stock_metrics_change_nothing():
    cfg = config(dict(type='CocoMetric'))
    pack_for_metrics(cfg)
    assert meta_keys(cfg, 'val') is None
