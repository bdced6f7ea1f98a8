"""OHEMLoss in heads that read use_sigmoid in the config of their loss."""
import pytest
from mmengine.config import Config

from cxrdet.apis.check import config_problems

FOCAL, SOFTMAX = dict(type='FocalLoss', use_sigmoid=True), dict(type='CrossEntropyLoss')


def problems(config, head, loss):
    cfg = Config.fromfile(f'configs/{config}.py')
    node = cfg.model
    for name in head.split('.'):
        node = node[name]
    node.loss_cls = dict(loss)
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
