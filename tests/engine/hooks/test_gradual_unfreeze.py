"""Which weights and statistics move at which epoch, in the models of MMPretrain and ours; rates, resume, errors."""
import logging
import signal
from types import SimpleNamespace

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from torch.nn.modules.batchnorm import _BatchNorm

from cxrdet.checkpoints.checkpoint import Checkpoint
from cxrdet.core.errors import ConfigError
from cxrdet.engine.hooks.gradual_unfreeze import STAGES, GradualUnfreezeHook
from cxrdet.engine.stages import backbone_stages
from cxrdet.registry import HOOKS

pytestmark = pytest.mark.long

RESNET = dict(type='ResNet', depth=18, base_channels=16, stem_channels=16)
VIT = dict(type='VisionTransformer', arch=dict(embed_dims=16, num_layers=4, num_heads=2, feedforward_channels=32),
           img_size=32, patch_size=8)
BACKBONES = {
    'ResNet': (RESNET, 128, ['layer3.', 'layer4.']),
    'AttentionResNet': (dict(RESNET, type='cxrdet.AttentionResNet', attention=[None] * 3 + [dict(type='cxrdet.ECA')]),
                        128, ['layer3.', 'layer4.']),
    'DenseNet': (dict(type='DenseNet', arch=dict(growth_rate=16, depths=[1, 1, 1, 1], init_channels=16)), 32,
                 ['stages.2.', 'stages.3.', 'transitions.2.', 'transitions.3.']),
    'VisionTransformer': (VIT, 16, ['layers.2.', 'layers.3.', 'ln1.']),
}


def build(kind, **more):
    from mmpretrain.registry import MODELS
    backbone, width, _ = BACKBONES[kind]
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = MODELS.build(dict(
            type='ImageClassifier', backbone={**backbone, **more},
            neck=None if kind == 'VisionTransformer' else dict(type='GlobalAveragePooling'),
            head=dict(type='LinearClsHead', num_classes=3, in_channels=width)))
    for module in model.modules():  # dead units would not move
        if isinstance(module, _BatchNorm):
            torch.nn.init.uniform_(module.bias, 0.1, 0.3)
    return model


def make_runner(model, **optimizer):
    optim = build_optim_wrapper(model, dict(optimizer=dict(dict(type='SGD', lr=0.1, weight_decay=0.5), **optimizer)))
    return SimpleNamespace(model=model, optim_wrapper=optim, epoch=0, _train_loop=None, logger=logging.getLogger('toy'))


def iterate(runner, hook, seed=0):
    """One iteration, as the training loop does it; return the rate of the step."""
    runner.model.train()
    hook.before_train_iter(runner, 0)
    rate = runner.optim_wrapper.get_lr()['lr'][0]
    images = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(seed))
    from mmpretrain.structures import DataSample
    samples = [DataSample().set_gt_label(i % 3) for i in range(4)]
    loss = sum(runner.model.loss(images, samples).values())
    runner.optim_wrapper.update_params(loss)
    hook.after_train_iter(runner, 0)
    return rate


def changed(model, before):
    return {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}


@pytest.mark.parametrize('kind', BACKBONES)
def test_what_moves_in_each_stage(kind):
    model = build(kind)
    runner, hook = make_runner(model), HOOKS.build(dict(type='cxrdet.GradualUnfreezeHook'))
    top = tuple(f'backbone.{prefix}' for prefix in BACKBONES[kind][2])
    weights = {name for name, _ in model.named_parameters()}
    hook.before_train(runner)
    for runner.epoch, expected, rate in (
            (0, lambda name: name.startswith('head.'), 0.1), (2, lambda name: name.startswith('head.'), 0.1),
            (3, lambda name: name.startswith(('head.', *top)), 0.1), (6, lambda name: True, 0.01)):
        hook.before_train_epoch(runner)
        before = {name: value.clone() for name, value in model.state_dict().items()}
        assert iterate(runner, hook) == pytest.approx(rate)
        assert runner.optim_wrapper.get_lr()['lr'][0] == 0.1
        moved = changed(model, before)
        assert moved & weights == {name for name in weights if expected(name)}
        assert all(expected(name) for name in moved), 'statistics of a frozen batch norm'
        if kind != 'VisionTransformer' and runner.epoch >= 3:
            assert any('running_mean' in name for name in moved)
        assert all(weight.grad is None for name, weight in model.named_parameters() if not expected(name))
        for name, module in model.named_modules():
            if isinstance(module, _BatchNorm):
                assert module.training == expected(f'{name}.')


@pytest.mark.parametrize('kind', BACKBONES)
def test_four_stages_cover_the_backbone(kind):
    backbone = build(kind).backbone
    names = [name for name, _ in backbone.named_parameters()]
    stages = backbone_stages([base.__name__ for base in type(backbone).__mro__], names)
    assert len(stages) == 5
    assert all(stages)
    assert sorted(sum(stages, [])) == sorted(names)


@pytest.mark.parametrize(('cfg', 'count'), [
    (dict(type='mmpretrain.SwinTransformer', arch='tiny', img_size=32, window_size=2), 4),
    (dict(type='mmpretrain.ConvNeXt', arch='atto'), 4), (dict(type='mmpretrain.EfficientNet', arch='b0'), 7),
    (dict(type='cxrdet.PlainCNN', channels=(4, 8, 8)), 3)],
    ids=lambda value: value['type'] if isinstance(value, dict) else '')
def test_stages_of_other_families(cfg, count):
    from mmpretrain.registry import MODELS
    backbone = MODELS.build(cfg)
    names = [name for name, _ in backbone.named_parameters()]
    stages = backbone_stages([base.__name__ for base in type(backbone).__mro__], names)
    assert len(stages) == count + 1
    assert all(stages[1:])
    assert sorted(sum(stages, [])) == sorted(names)


def test_dropout_of_frozen_parts_is_off():
    model = build('VisionTransformer', drop_rate=0.5)
    runner, hook = make_runner(model), GradualUnfreezeHook([dict(begin=1, parts=['head', 'top1'])])
    hook.before_train(runner)
    hook.before_train_epoch(runner)
    iterate(runner, hook)
    dropouts = {name: module for name, module in model.named_modules() if isinstance(module, torch.nn.Dropout)}
    off = [name for name, module in dropouts.items() if not module.training]
    on = [name for name, module in dropouts.items() if module.training]
    assert off
    assert all(name.startswith(('backbone.layers.0.', 'backbone.layers.1.', 'backbone.layers.2.')) for name in off)
    assert any(name.startswith('backbone.layers.3.') for name in on)


def test_what_the_model_freezes_itself_stays_frozen():
    model = build('ResNet', frozen_stages=2)
    runner, hook = make_runner(model), GradualUnfreezeHook()
    hook.before_train(runner)
    runner.epoch = 6
    hook.before_train_epoch(runner)
    frozen = {name for name, weight in model.named_parameters() if not weight.requires_grad}
    assert frozen
    assert {name.split('.')[1] for name in frozen} == {'conv1', 'bn1', 'layer1', 'layer2'}


def test_rates_come_back_before_the_schedules():
    """The schedule sees 0.1, 0.05, 0.025 …, the steps use a tenth of it."""
    from mmengine.optim import ExponentialLR
    runner, hook = make_runner(build('ResNet')), GradualUnfreezeHook([dict(begin=1, parts=['head'], lr_mult=0.1)])
    scheduler, rates = ExponentialLR(runner.optim_wrapper, gamma=0.5, by_epoch=False), []
    hook.before_train(runner)
    hook.before_train_epoch(runner)
    for _ in range(3):
        rates.append(iterate(runner, hook))
        scheduler.step()
    assert rates == pytest.approx([0.01, 0.005, 0.0025])


OPTIONS = dict(epochs=4, hooks=[dict(type='cxrdet.HistoryHook'), dict(type='cxrdet.GradualUnfreezeHook', stages=[
    dict(begin=1, parts=['norm']), dict(begin=3, parts=['all'], lr_mult=0.5)])])


@pytest.mark.parametrize('event', ['after_train_epoch', 'before_val', 'before_train_iter'])
def test_resume_keeps_the_stage(event, train, tmp_path):
    from cxrdet.core.history import read_history
    assert train(tmp_path / 'unbroken', **OPTIONS) == 0
    names = (tmp_path / 'unbroken' / 'events').read_text().split('\n')
    fatal = [index for index, name in enumerate(names) if name == event]
    assert train(tmp_path / 'killed', fatal[len(fatal) * 5 // 8], **OPTIONS) == -signal.SIGKILL
    assert train(tmp_path / 'killed', resume=True, **OPTIONS) == 0
    runs = [Checkpoint.read(tmp_path / name / 'epoch_4.pth').content for name in ('unbroken', 'killed')]
    for name, value in runs[0]['state_dict'].items():
        assert torch.equal(value, runs[1]['state_dict'][name]), name
    rates = [record['lr'] for record in read_history(tmp_path / 'killed')]
    assert rates == [record['lr'] for record in read_history(tmp_path / 'unbroken')]
    assert rates[0]['linear'] == 0
    assert rates[1]['norm'] > 0
    assert set(rates[2]) == {'all'}


@pytest.mark.parametrize(('stages', 'text'), [
    ([], r'begin = 1 < … in ascending order of epochs, got \[\]'), ([dict(begin=2, parts=['head'])], r'got \[2\]'),
    ([dict(begin=1, parts=['head']), dict(begin=1, parts=['all'])], r'got \[1, 1\]'),
    ([dict(parts=['head'])], r'got \[None\]'), ([dict(begin=1, parts='head')], 'at least one part'),
    ([dict(begin=1, parts=['head'], lr_mul=0.1)], 'lr_mul'), ([dict(begin=1, parts=[])], 'at least one part'),
    ([dict(begin=1, parts=['head'], lr_mult=0)], 'lr_mult > 0')])
def test_bad_stages(stages, text):
    with pytest.raises(ConfigError, match=text):
        GradualUnfreezeHook(stages)


def test_what_is_checked_before_training():
    from mmengine.runner import IterBasedTrainLoop
    model = build('ResNet')
    runner = make_runner(model)
    with pytest.raises(ConfigError, match='Did you mean "backbone.layer4"'):
        GradualUnfreezeHook([dict(begin=1, parts=['backbone.layer44'])]).before_train(runner)
    runner._train_loop = object.__new__(IterBasedTrainLoop)
    with pytest.raises(ConfigError, match='use an epoch-based train_cfg'):
        GradualUnfreezeHook().before_train(runner)
    GradualUnfreezeHook([dict(begin=1, parts=['head'])]).before_train(runner)  # a frozen backbone
    runner._train_loop = None
    for weight in model.head.parameters():
        weight.requires_grad = False
    with pytest.raises(ConfigError, match='a stage has nothing to train'):
        GradualUnfreezeHook().before_train(runner)


def test_several_processes_need_unused_parameters(in_group):
    def work(rank):
        from mmengine.model import MMDistributedDataParallel
        torch.set_num_threads(1)
        model, seen = build('ResNet'), []
        for allowed in (False, True):
            wrapped = MMDistributedDataParallel(model, find_unused_parameters=allowed, broadcast_buffers=False)
            runner = SimpleNamespace(model=wrapped, _train_loop=None)
            try:
                GradualUnfreezeHook().before_train(runner)
                seen.append('')
            except ConfigError as error:
                seen.append(str(error))
        return seen
    for refused, accepted in in_group(work):
        assert 'set find_unused_parameters = True' in refused
        assert accepted == ''


def test_several_processes_stay_alike(in_group):
    """Each process has other images; after steps in every stage both have the same weights, and they have moved."""
    def work(rank):
        from mmengine.model import MMDistributedDataParallel
        torch.set_num_threads(1)
        plain = build('ResNet')
        start = [weight.detach().clone() for weight in plain.parameters()]
        model = MMDistributedDataParallel(plain, find_unused_parameters=True, broadcast_buffers=False)
        runner, hook = make_runner(plain), GradualUnfreezeHook()
        runner.model = model
        hook.before_train(runner)
        from mmpretrain.structures import DataSample
        for runner.epoch in (0, 3, 6):
            hook.before_train_epoch(runner)
            model.train()
            for step in range(2):
                images = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(10 * step + rank))
                hook.before_train_iter(runner, step)
                model.train_step(dict(inputs=images * 255, data_samples=[
                    DataSample().set_gt_label(i % 3) for i in range(4)]), runner.optim_wrapper)
                hook.after_train_iter(runner, step)
        assert all(not torch.equal(weight, old) for weight, old in zip(plain.parameters(), start, strict=True))
        return [float(weight.double().sum()) for weight in plain.parameters()]
    first, second = in_group(work)
    assert first == second


def test_default_stages():
    assert [(stage['begin'], stage['parts'], stage.get('lr_mult', 1)) for stage in STAGES] == [
        (1, ['head'], 1), (4, ['head', 'top2'], 1), (7, ['all'], 0.1)]
