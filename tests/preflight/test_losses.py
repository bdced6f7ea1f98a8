"""Losses whose heads would give them something else than they expect."""
import pytest
from mmengine.config import Config

from cxrdet.preflight.check import config_problems

FOCAL, SOFTMAX = dict(type='FocalLoss', use_sigmoid=True), dict(type='CrossEntropyLoss')


def problems(config, head, loss, key='loss_cls', **options):
    cfg = Config.fromfile(f'configs/{config}.py')
    node = cfg.model
    for name in head.split('.'):
        node = node[name]
    node[key] = dict(loss)
    node.update(options)
    return config_problems(cfg)


@pytest.mark.parametrize('inner', [FOCAL, dict(type='FocalLoss'), dict(type='CrossEntropyLoss', use_sigmoid=True)])
def test_a_sigmoid_that_the_head_is_not_told_of(inner):
    loss = dict(type='cxrdet.OHEMLoss', loss=inner)
    assert problems('retinanet_bifpn_cell', 'bbox_head', loss) == [
        'model.bbox_head.loss_cls.use_sigmoid: RetinaHead reads it here and would predict a score for the background; '
        f'give use_sigmoid=True, as the {inner["type"]} inside has it']
    assert problems('retinanet_bifpn_cell', 'bbox_head', dict(loss, use_sigmoid=True)) == []
    assert len(problems('faster_rcnn_bifpn_cell', 'rpn_head', loss)) == 1


@pytest.mark.parametrize(('config', 'head', 'loss'), [
    ('retinanet_bifpn_cell', 'bbox_head', dict(type='cxrdet.OHEMLoss', loss=SOFTMAX)),
    ('retinanet_bifpn_cell', 'bbox_head', FOCAL),
    ('faster_rcnn_bifpn_cell', 'roi_head.bbox_head',
     dict(type='cxrdet.OHEMLoss', loss=dict(type='cxrdet.RoIFocalLoss')))])
def test_fine(config, head, loss):
    assert problems(config, head, loss) == []


@pytest.mark.parametrize(('config', 'head'), [
    ('faster_rcnn_bifpn_cell', 'roi_head.bbox_head'), ('faster_rcnn_bifpn_cell', 'rpn_head'),
    ('retinanet_bifpn_cell', 'bbox_head')])
@pytest.mark.parametrize('loss', ['GIoULoss', 'mmdet.CIoULoss'])
def test_a_loss_of_boxes_that_would_see_deltas(config, head, loss):
    line, = problems(config, head, dict(type=loss), 'loss_bbox')
    assert line.startswith(f'model.{head}.reg_decoded_bbox: {loss} compares boxes')
    assert problems(config, head, dict(type=loss), 'loss_bbox', reg_decoded_bbox=True) == []


def test_heads_that_decode_by_themselves_take_losses_of_boxes():
    from mmengine.hub import get_config
    for name in ('atss/atss_r50_fpn_1x_coco.py', 'fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py',
                 'ddod/ddod_r50_fpn_1x_coco.py'):
        assert config_problems(get_config(f'mmdet::{name}')) == []
