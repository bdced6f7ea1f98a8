"""The classifiers of configs/ have the sizes that they are known by."""

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from torch import nn

import cxrdet  # noqa: F401
from cxrdet.core.recipes import find_config
from cxrdet.registry import MODELS


def built(name):
    cfg = Config.fromfile(find_config(name))
    init_default_scope(cfg.default_scope)
    return cfg, MODELS.build(cfg.model)


@pytest.mark.parametrize(('name', 'expected'), [
    ('cnn_nih', 95_579_087),
    ('resnet34_nih', 21_797_672 - 1000 * 513 + 15 * 513),  # torchvision's count, with another classifier
    ('vit_b16_nih', 86_567_656 - 1000 * 769 + 15 * 769),
    ('cnn_nih_old', 95_579_087),
    ('resnet34_nih_old', 21_797_672 - 1000 * 513 + 15 * 513),
    ('vit_b16_nih_old', 86_567_656 - 1000 * 769 + 15 * 769),
    ('resnet50_nih_frozen', 25_557_032 - 1000 * 2049 + 256 * 2049 + 15 * 257),
    # 3x3 kernels without bias, gain and offset of batch norm, the classifier of 512 features
    ('cnn_bn_nih', 9 * (3 * 32 + 32 * 64 + 64 * 128 + 128 * 256 + 256 * 512) + 2 * 992 + 15 * 513),
    ('densenet121_nih', 7_978_856 - 1000 * 1025 + 15 * 1025),
    ('swin_t_nih', 28_288_354 - 1000 * 769 + 15 * 769),
    ('convnext_t_nih', 28_589_128 - 1000 * 769 + 15 * 769),
    ('efficientnet_b4_nih', 19_341_616 - 1000 * 1793 + 15 * 1793),
])
def test_parameters(name, expected):
    _, model = built(name)
    assert sum(value.numel() for value in model.parameters()) == expected


@pytest.mark.parametrize('name', ['vit_v1_nih', 'vit_v2_nih', 'vit_v1_nih_old', 'vit_v2_nih_old'])
def test_vit_v1_by_hand(name):
    """Patches, positions, eight layers of 4 heads and an MLP of 128/64, last norm, head 2048/1024 on 49 x 64."""
    _, model = built(name)

    def linear(before, after):
        return before * after + after
    layer = 2 * 128 + linear(64, 192) + linear(64, 64) + linear(64, 128) + linear(128, 64)
    head = linear(49 * 64, 2048) + linear(2048, 1024) + linear(1024, 15)
    expected = linear(3 * 32 * 32, 64) + 49 * 64 + 8 * layer + 128 + head
    assert sum(value.numel() for value in model.parameters()) == expected


@pytest.mark.parametrize(('name', 'optimizer', 'batch', 'patience'), [
    ('cnn_nih_old', dict(type='AdamW', lr=1e-4, weight_decay=1e-6), 32, 5),
    ('resnet34_nih_old', dict(type='AdamW', lr=1e-4, weight_decay=1e-6), 32, 5),
    ('vit_v1_nih_old', dict(type='AdamW', lr=1e-4, weight_decay=1e-6), 32, 5),
    ('vit_v2_nih_old', dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=0.02), 32, 3),
    ('vit_b16_nih_old', dict(type='Adam', lr=1e-4), 16, 5),
])
def test_old_recipes(name, optimizer, batch, patience):
    """Ten epochs; the best weights by validation loss; a patience of 3 to 7."""
    cfg = Config.fromfile(find_config(name))
    assert cfg.optim_wrapper.optimizer == optimizer
    assert (cfg.train_dataloader.batch_size, cfg.train_cfg.max_epochs) == (batch, 10)
    hooks = cfg.default_hooks
    assert (hooks.checkpoint.save_best, hooks.checkpoint.rule) == ('val/loss', 'less')
    assert hooks.early_stopping.patience == patience  # it watches what the best weights are chosen by
    assert hooks.restore_best.type == 'cxrdet.RestoreBestHook'
    if name == 'vit_b16_nih_old':
        assert cfg.data_preprocessor.mean == cfg.data_preprocessor.std == [127.5] * 3


def test_dropout_of_vit_v1():
    """0.1 of the attention's weights and in the MLP, 0.5 behind the layers of the head; GELU in both."""
    _, model = built('vit_v1_nih_old')
    layer = model.backbone.layers[7]
    assert layer.attn.attn_drop == 0.1
    assert [part.p for part in layer.ffn.modules() if isinstance(part, nn.Dropout)] == [0.1, 0.1]
    assert [part.p for part in model.head.hidden if isinstance(part, nn.Dropout)] == [0.5, 0.5]
    assert len([part for part in model.modules() if isinstance(part, nn.GELU)]) == 8 + 2
    assert model.backbone.drop_after_pos.p == 0


def test_l2_of_vit_v2_is_that_of_keras():
    """One step of SGD on 0.01 * (sum of squares) of the MLPs' matrices, by autograd, moves what decay moves."""
    cfg, model = built('vit_v2_nih_old')
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    penalised = [name for name in before if name.endswith('weight') and ('.ffn.layers' in name or '.hidden.' in name)]
    assert len(penalised) == 2 * 8 + 2
    matrices = [model.get_parameter(name) for name in penalised]
    gradients = torch.autograd.grad(sum(0.01 * matrix.square().sum() for matrix in matrices), matrices)
    expected = dict(zip(penalised, gradients, strict=True))
    optimizer = build_optim_wrapper(model, cfg.optim_wrapper).optimizer
    for value in model.parameters():
        value.grad = torch.zeros_like(value)
    optimizer.step()
    for name, value in model.named_parameters():
        torch.testing.assert_close(value, before[name] - 0.01 * expected.get(name, torch.zeros(())), rtol=1e-6, atol=0)


def test_planned_resnet50_trains_its_last_stage_and_head():
    _, model = built('resnet50_nih_frozen')
    trained = {name.split('.')[1] for name, value in model.named_parameters() if value.requires_grad}
    assert trained == {'layer4', 'hidden', 'fc'}
    assert [type(part).__name__ for part in model.head.hidden] == ['Dropout', 'Linear', 'ReLU', 'Dropout']
    assert [model.head.hidden[i].p for i in (0, 3)] == [0.5, 0.3]
    assert model.head.hidden[1].out_features == 256


@pytest.mark.parametrize('name', ['densenet121_nih_label_smoothing', 'densenet_tiny_label_smoothing_nih_128'])
def test_smoothed_labels(name):
    """PyTorch's cross-entropy with 0.95 for 1 and 0.05 for 0."""
    cfg = Config.fromfile(find_config(name))
    logits, labels = torch.tensor([[2.0, -1.0, 0.5]]), torch.tensor([[1.0, 0.0, 0.0]])
    expected = nn.functional.binary_cross_entropy_with_logits(logits, torch.tensor([[0.95, 0.05, 0.05]]))
    torch.testing.assert_close(MODELS.build(cfg.model.head.loss)(logits, labels), expected)
