"""The box head with batch norm and dropout against the same layers written out."""
import pytest
import torch
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from torch import nn

from cxrdet.core.errors import ConfigError
from cxrdet.preflight.config import load_config
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
    with pytest.raises(ConfigError, match=rf'dropout must lie in \[0, 1\), got {dropout}'):
        build(dropout=dropout)


def head_losses(head, regions):
    scores, deltas = head(regions)
    labels = torch.arange(len(regions)) % 4
    return head.loss(scores, deltas, None, labels, torch.ones(len(regions)), torch.zeros(len(regions), 4),
                     torch.ones(len(regions), 4))


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16, torch.float16])
def test_l2_by_hand(dtype):
    """All weights of the four linear layers w: l2 w^2 times 64 (144 + 64 + 4 + 12) of them; no biases, no norms."""
    head, regions = build(l2=0.5).to(dtype), torch.randn(8, 16, 3, 3).to(dtype)
    for part in head.modules():
        if isinstance(part, nn.Linear):
            nn.init.constant_(part.weight, 0.25)
            nn.init.constant_(part.bias, 7)
    losses = head_losses(head, regions)
    assert losses['loss_l2'].dtype == torch.float32
    assert losses['loss_l2'].item() == pytest.approx(0.5 * 0.25**2 * 64 * (144 + 64 + 4 + 12), rel=1e-5)
    losses['loss_l2'].backward()
    assert torch.allclose(head.shared_fcs[0].linear.weight.grad.float(), torch.tensor(2 * 0.5 * 0.25))
    assert head.fc_cls.bias.grad is None and head.shared_fcs[0].norm.weight.grad is None


def test_l2_stands_beside_the_losses_of_the_parent():
    """The same in training and on validation, absent where it is not asked for."""
    regions = torch.randn(8, 16, 3, 3)
    with_l2, without = (head_losses(build(l2=l2).eval(), regions) for l2 in (1e-4, 0.0))
    assert with_l2.keys() - without.keys() == {'loss_l2'} and 'loss_l2' not in without
    torch.testing.assert_close(with_l2['loss_cls'], without['loss_cls'])
    weights = [value.square().sum() for name, value in build().named_parameters()
               if name.endswith(('linear.weight', 'fc_cls.weight', 'fc_reg.weight'))]
    assert len(weights) == 4 and with_l2['loss_l2'].item() == pytest.approx(1e-4 * sum(weights).item(), rel=1e-5)


@pytest.mark.parametrize('l2', [-1e-4, float('nan'), 'x'])
def test_l2_out_of_range(l2):
    with pytest.raises(ConfigError, match=rf'l2 must lie in \[0, inf\), got {l2!r}'):
        build(l2=l2)


@pytest.mark.parametrize(('plain', 'regularized'), [
    ('faster_rcnn_fpn_cell', 'faster_rcnn_fpn_cell+regularized_head'),
    ('faster_rcnn_fpn_bccd', 'faster_rcnn_fpn_bccd_regularized')])
def test_the_config_regularises_no_less_than_its_twin(plain, regularized):
    """No weight of the head decays less than in the baseline; the L2 term of 1e-4 comes on top."""
    decays = {}
    for config in (plain, regularized):
        cfg = load_config(config)
        cfg.model.backbone.init_cfg = None
        with DefaultScope.overwrite_default_scope('mmdet'):
            model = MODELS.build(cfg.model)
            wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
        found = {id(value): group['weight_decay'] for group in wrapper.param_groups for value in group['params']}
        decays[config] = {key.replace('.linear.', '.'): found[id(value)] for key, value in model.named_parameters()
                          if id(value) in found}
    twin, own = decays.values()
    assert twin.keys() <= own.keys() and all(own[key] >= twin[key] for key in twin)
    head = model.roi_head.bbox_head
    assert head.l2 == 1e-4 and head.shared_fcs[0].dropout.p == 0.3
