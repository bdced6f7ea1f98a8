"""The recipes of the ResNet-18 hybrids against the numbers that were asked for, and every option by one name."""
import pytest
import torch
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope

from cxrdet.preflight.config import load_config
from cxrdet.registry import MODELS

HYBRID = 'configs/resnet18_hybrid_csv.py'
#          preset              epochs, batch, backbone, new parts, decay, dropout, patience, from ImageNet
PRESETS = {
    'resnet18_hybrid_csv': (30, 32, 1e-4, 1e-3, 1e-2, 0.1, 5, True),
    'resnet18_hybrid_csv_tuned': (15, 32, 5e-5, 5e-4, 1e-2, 0.15, 7, True),
    'resnet18_hybrid_csv_scratch': (30, 32, 1e-3, 1e-3, 1e-2, 0.1, 5, False),
}


def values_at(cfg, places):
    for place in places:
        node = cfg
        for key in place.split('.'):
            node = node[int(key)] if isinstance(node, (list, tuple)) else node[key]
        yield node


@pytest.mark.parametrize('name', PRESETS)
def test_preset_has_the_numbers_that_were_asked_for(name):
    epochs, batch, backbone, new, decay, dropout, patience, imagenet = PRESETS[name]
    cfg = load_config(f'configs/{name}.py')
    hooks = cfg.default_hooks
    assert cfg.train_cfg.max_epochs == cfg.param_scheduler[1].end == epochs
    assert cfg.train_cfg.val_interval == 1
    assert cfg.train_dataloader.batch_size == batch
    assert (hooks.early_stopping.patience, hooks.checkpoint.save_best) == (patience, 'accuracy/top1')
    assert hooks.early_stopping.enabled and hooks.restore_best.enabled
    assert cfg.model.head.dropout == dropout
    assert (cfg.model.backbone.num_heads, cfg.model.backbone.reduction) == (4, 32)
    assert cfg.model.backbone.init_cfg == (dict(type='Pretrained', checkpoint='torchvision://resnet18') if imagenet
                                           else None)
    assert 'batch_augments' not in cfg.data_preprocessor  # no CutMix
    assert cfg.data_preprocessor.mean == [123.675, 116.28, 103.53]
    assert [step['scale'] for step in cfg.train_dataloader.dataset.pipeline if 'scale' in step] == [224, 224]
    init_default_scope('mmpretrain')
    model = MODELS.build(cfg.model)
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    assert isinstance(wrapper.optimizer, torch.optim.AdamW)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    groups = {names[id(group['params'][0])]: group for group in wrapper.optimizer.param_groups}
    assert len(groups) == len(names)
    for name, group in groups.items():
        fresh = name.startswith('head.') or '.attention.' in name
        assert group['lr'] == pytest.approx(new if fresh else backbone), name
        if name.endswith(('conv1.weight', 'qkv.weight', 'fc.weight')):
            assert group['weight_decay'] == decay, name


def test_six_networks_differ_in_nothing_but_their_backbone():
    plain = load_config('configs/resnet18_csv.py')
    for kind in ('eca', 'ca', 'bot', 'botlinear', 'hybrid'):
        cfg = load_config(f'configs/resnet18_{kind}_csv.py')
        for key in ('data_preprocessor', 'train_dataloader', 'val_dataloader', 'optim_wrapper', 'param_scheduler',
                    'train_cfg', 'default_hooks'):
            assert cfg[key] == plain[key], (kind, key)
        assert cfg.model.backbone.init_cfg == plain.model.backbone.init_cfg
        assert {**cfg.model, 'backbone': 0} == {**plain.model, 'backbone': 0}


@pytest.mark.parametrize(('option', 'value', 'places'), [
    ('pretrained=None', None, ['model.backbone.init_cfg']),
    ('pretrained=a.pth', dict(type='Pretrained', checkpoint='a.pth'), ['model.backbone.init_cfg']),
    ('max_epochs=7', 7, ['train_cfg.max_epochs', 'param_scheduler.1.end']),
    ('batch_size=64', 64, ['train_dataloader.batch_size']),
    ('img_size=96', 96, ['train_dataloader.dataset.pipeline.1.scale', 'train_dataloader.dataset.pipeline.2.scale',
                         'val_dataloader.dataset.pipeline.1.scale', 'test_dataloader.dataset.pipeline.1.scale']),
    ('lr=5e-5', 5e-5, ['optim_wrapper.optimizer.lr']),
    ('head_lr_mult=5', 5, ['optim_wrapper.paramwise_cfg.custom_keys.head.lr_mult',
                           'optim_wrapper.paramwise_cfg.custom_keys.attention.lr_mult']),
    ('weight_decay=5e-2', 5e-2, ['optim_wrapper.optimizer.weight_decay']),
    ('num_heads=8', 8, ['model.backbone.num_heads']),
    ('reduction=16', 16, ['model.backbone.reduction']),
    ('dropout=0.3', 0.3, ['model.head.dropout']),
    ('patience=7', 7, ['default_hooks.early_stopping.patience']),
    ('early_stop=False', False, ['default_hooks.early_stopping.enabled', 'default_hooks.restore_best.enabled']),
    ('num_workers=3', 3, [f'{split}_dataloader.num_workers' for split in ('train', 'val', 'test')]),
    ('pin_memory=True', True, [f'{split}_dataloader.pin_memory' for split in ('train', 'val', 'test')]),
    ('device=cpu', 'cpu', ['device']),
    ('position=blocks', 'blocks', ['model.backbone.position']),
    ('init_scale=1', 1, ['model.backbone.init_scale']),
])
def test_option_by_one_name(option, value, places):
    assert list(values_at(load_config(HYBRID, cfg_options=[option]), places)) == [value] * len(places)
    for name in ('tuned', 'scratch'):
        load_config(HYBRID.replace('.py', f'_{name}.py'), cfg_options=[option])


@pytest.mark.parametrize(('options', 'train', 'measured'), [
    ([], 256, 288), (['img_size=128'], 128, 128), (['img_size=128', 'test_size=144'], 128, 144),
    (['test_size=144', 'img_size=128'], 128, 144)])
def test_the_shortcut_with_fewer_places_wins(options, train, measured):
    """``img_size`` sets all sizes, ``test_size`` those of measuring."""
    cfg = load_config('efficientnet_lite0_csv', cfg_options=options)
    assert list(values_at(cfg, [f'train_dataloader.dataset.pipeline.{step}.scale' for step in (1, 2)])) == [train] * 2
    assert list(values_at(cfg, ['val_dataloader.dataset.pipeline.1.scale', 'test_dataloader.dataset.pipeline.1.scale',
                                'tta_pipeline.1.scale'])) == [measured] * 3


def test_limits_on_the_samples():
    cfg = load_config(HYBRID, train_limit=10, valid_limit=4)
    assert (cfg.train_dataloader.dataset.indices, cfg.val_dataloader.dataset.indices) == (10, 4)


def test_ranges_can_be_built():
    init_default_scope('mmpretrain')
    for heads, reduction in ((4, 32), (8, 16)):
        net = MODELS.build(load_config(HYBRID, cfg_options=[f'num_heads={heads}', f'reduction={reduction}',
                                                            'position=blocks']).model.backbone)
        assert net.layer4[1].conv2.attention.num_heads == heads
        assert net.layer3[0].drop_path.attention[0].rows.in_channels == max(256 // reduction, 8)
