"""The box head with batch norm and dropout against the same layers written out."""
import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from torch import nn

from cxrdet.core.errors import ConfigError
from cxrdet.registry import MODELS


def build(**kwargs):
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmdet'):
        head = MODELS.build(dict(type='cxrdet.RegularizedBBoxHead', in_channels=16, fc_out_channels=64,
                                 roi_feat_size=3, num_classes=3, **kwargs))
    head.init_weights()
    return head


def written_out(head, dropout, norm):
    """Linear, batch norm, ReLU, dropout, twice, with the weights of ``head``."""
    layers = []
    for layer in head.shared_fcs:
        layers += [layer.linear, *([layer.norm] if norm else []), nn.ReLU(), nn.Dropout(dropout)]
    return nn.Sequential(*layers)


@pytest.mark.parametrize(('dropout', 'norm'), [(0.3, True), (0.0, True), (0.5, False)])
@pytest.mark.parametrize('mode', ['train', 'eval'])
def test_layers(dropout, norm, mode):
    head, regions = build(dropout=dropout, norm=norm), torch.randn(40, 16, 3, 3, generator=torch.manual_seed(1))
    reference = written_out(head, dropout, norm)
    for module in (head, reference):
        module.train(mode == 'train')
    with torch.no_grad():
        torch.manual_seed(7)
        scores, deltas = head(regions)
        torch.manual_seed(7)
        hidden = reference(regions.flatten(1))
        torch.testing.assert_close(scores, head.fc_cls(hidden))
        torch.testing.assert_close(deltas, head.fc_reg(hidden))
    assert scores.shape == (40, 4) and deltas.shape == (40, 12)
    assert head.shared_fcs[0].linear.weight.shape == (64, 144)
    if mode == 'train' and dropout:
        assert (hidden == 0).float().mean().item() == pytest.approx(0.5 + 0.5 * dropout, abs=0.06)  # ReLU halves


def test_initial_weights_are_those_of_the_parent():
    """Xavier's limit sqrt(6 / (144 + 64)) for the layers, 0.01 and 0.001 for the predictors, norms at 1 and 0."""
    head = build()
    limit = (6 / (144 + 64)) ** 0.5
    assert 0.98 * limit < head.shared_fcs[0].linear.weight.abs().max().item() <= limit
    assert head.fc_cls.weight.std().item() == pytest.approx(0.01, rel=0.2)
    assert head.fc_reg.weight.std().item() == pytest.approx(0.001, rel=0.2)
    assert (head.shared_fcs[1].norm.weight == 1).all() and (head.shared_fcs[1].norm.bias == 0).all()
    assert (head.shared_fcs[0].linear.bias == 0).all()


def test_no_region():
    scores, deltas = build().eval()(torch.zeros(0, 16, 3, 3))
    assert scores.shape == (0, 4) and deltas.shape == (0, 12)


@pytest.mark.parametrize('dropout', [-0.1, 1.0])
def test_dropout_out_of_range(dropout):
    with pytest.raises(ConfigError, match=f'dropout must be within 0 .. 1 and below 1, got {dropout}'):
        build(dropout=dropout)


@pytest.mark.parametrize('name', ['cell', 'bccd'])
def test_l2_of_the_config(name):
    """1e-4 for the weights of the head, the schedule's 0.05 elsewhere, none for biases and norms."""
    cfg = Config.fromfile(f'configs/faster_rcnn_fpn_{name}_regularized.py')
    cfg.model.backbone.init_cfg = None
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = MODELS.build(cfg.model)
        wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    found = {id(parameter): group['weight_decay'] for group in wrapper.param_groups for parameter in group['params']}
    decays = {key: found[id(parameter)] for key, parameter in model.named_parameters() if id(parameter) in found}
    head = 'roi_head.bbox_head.'
    for part in ('shared_fcs.0.linear', 'shared_fcs.1.linear', 'fc_cls', 'fc_reg'):
        assert decays[f'{head}{part}.weight'] == pytest.approx(1e-4) and decays[f'{head}{part}.bias'] == 0
    assert decays[f'{head}shared_fcs.0.norm.weight'] == decays[f'{head}shared_fcs.0.norm.bias'] == 0
    assert decays['neck.lateral_convs.0.conv.weight'] == decays['rpn_head.rpn_conv.weight'] == pytest.approx(0.05)
    assert model.roi_head.bbox_head.shared_fcs[0].dropout.p == 0.3
