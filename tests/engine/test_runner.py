"""A training holds its folder, takes weights that fit only, and tells what a resumed run changes."""
import logging
import os
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.logging import MessageHub, MMLogger
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, HOOKS, MODELS
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import DataLoader

from cxrdet.checkpoints.checkpoint import Checkpoint
from cxrdet.core.errors import CheckpointError, ConfigError
from cxrdet.engine.runner import GuardedRunner, check_last_batch
from cxrdet.engine.schedule import read_config_text

ITERATIONS = 4  # of an epoch: 8 samples in batches of 2
WARM_UP = dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=6)


@DATASETS.register_module(force=True)
class RunnerToySet(torch.utils.data.Dataset):
    def __init__(self, size=8):
        self.size = size

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        return dict(inputs=torch.ones(3) * index, data_samples=0.0)


@MODELS.register_module(force=True)
class RunnerToyModel(BaseModel):
    def __init__(self, norm=False, init_cfg=None):
        super().__init__(init_cfg=init_cfg)
        self.backbone = nn.Linear(3, 2)
        self.head = nn.Sequential(nn.BatchNorm1d(2) if norm else nn.Identity(), nn.Linear(2, 1))

    def forward(self, inputs, data_samples=None, mode='tensor'):
        return dict(loss=self.head(self.backbone(torch.stack(list(inputs)))).square().mean())


@HOOKS.register_module(force=True)
class RunnerToyRates(Hook):
    """Keeps rate, momentum and decay of every group of every iteration; ``stop`` ends the run in an iteration."""
    seen: list = []

    def __init__(self, stop=None):
        self.stop = stop

    def before_train(self, runner):
        self.seen.clear()

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == self.stop:
            raise InterruptedError
        self.seen.append([(group['lr'], group.get('betas'), group['weight_decay'])
                          for group in runner.optim_wrapper.param_groups])


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(Runner, '_log_env', lambda self, env_cfg: None)
    monkeypatch.setattr('yapf.yapflib.yapf_api.FormatCode', lambda text, **_: (text, True))
    for manager in (MessageHub, MMLogger):
        manager._instance_dict.clear()


@pytest.fixture
def log():
    """What is logged as a warning."""
    found = []

    class Keeper(logging.Handler):
        def emit(self, record):
            found.append(record.getMessage())
    handler = Keeper(logging.WARNING)

    def attach(runner):
        runner.logger.addHandler(handler)
        return found
    return attach


def build(folder, *, scheduler=(), epochs=2, resume=None, size=8, iters=None, kind=GuardedRunner, **more):
    """A toy run of :data:`ITERATIONS` iterations an epoch with two groups of parameters."""
    optimizer = dict(type='AdamW', lr=more.pop('lr', 0.1), weight_decay=more.pop('decay', 0.01))
    loop = dict(by_epoch=True, max_epochs=epochs) if iters is None else dict(by_epoch=False, max_iters=iters)
    cfg = Config(dict(dict(
        model=dict(type='RunnerToyModel', norm=more.pop('norm', False), init_cfg=more.pop('init_cfg', None)),
        work_dir=str(folder), train_cfg=loop,
        train_dataloader=dict(dataset=dict(type='RunnerToySet', size=size), batch_size=2, num_workers=0,
                              sampler=dict(type='DefaultSampler' if iters is None else 'InfiniteSampler',
                                           shuffle=False)),
        optim_wrapper=dict(optimizer=optimizer, paramwise_cfg=dict(custom_keys=dict(head=dict(lr_mult=10.0)))),
        param_scheduler=[dict(part) for part in scheduler] or None,
        default_hooks=dict(checkpoint=dict(type='cxrdet.CheckpointHook', interval=1 if iters is None else ITERATIONS,
                                           by_epoch=iters is None)),
        custom_hooks=[dict(type='RunnerToyRates', stop=more.pop('stop', None))], log_level='WARNING',
        load_from=None if resume is None else str(resume), resume=resume is not None, randomness=dict(seed=0),
        default_scope='mmengine'), **more))
    return kind.from_cfg(cfg)


def train(folder, *, new_schedule=False, attach=None, **options):
    """Train the toy; give rates, momenta and decay of every iteration and group."""
    runner = build(folder, **options)
    said = attach(runner) if attach else None
    try:
        runner.new_schedule = new_schedule
        runner.train()
    finally:
        getattr(runner, 'close', list)()
    return said if attach else [list(groups) for groups in RunnerToyRates.seen]


@pytest.mark.parametrize('paramwise', [None, dict(custom_keys=dict(head=dict(lr_mult=10.0)))])
def test_parameters_that_ask_for_no_decay(tmp_path, monkeypatch, paramwise):
    monkeypatch.setattr(RunnerToyModel, 'no_weight_decay', lambda self: {'backbone.bias'}, raising=False)
    runner = build(tmp_path, optim_wrapper=dict(
        optimizer=dict(type='SGD', lr=0.1, weight_decay=0.01), paramwise_cfg=paramwise))
    runner.train()
    runner.close()
    decays = {id(value): group['weight_decay'] for group in runner.optim_wrapper.optimizer.param_groups
              for value in group['params']}
    assert {name: decays[id(value)] for name, value in runner.model.named_parameters()} == {
        'backbone.weight': 0.01, 'backbone.bias': 0.0, 'head.1.weight': 0.01, 'head.1.bias': 0.01}


# --- the schedule of a resumed run

SCHEDULES = {
    'epochs': [dict(type='MultiStepLR', milestones=[1, 3], gamma=0.5), WARM_UP],
    'iterations': [dict(type='CosineAnnealingLR', by_epoch=False, T_max=16, eta_min=1e-3)],
    'warm-up and cosine': [WARM_UP, dict(type='CosineAnnealingLR', by_epoch=True, begin=0, end=4, eta_min_ratio=0.01,
                                         convert_to_iter_based=True)],
    'one cycle': [dict(type='OneCycleLR', eta_max=0.3, total_steps=4, by_epoch=True, convert_to_iter_based=True)],
    'momentum': [dict(type='LinearMomentum', start_factor=0.5, end=3), dict(type='PolyLR', end=4)],
    'plateau': [WARM_UP, dict(type='ReduceOnPlateauLR', monitor='loss')],
    'none': [],
}


@pytest.fixture(scope='module')
def first(tmp_path_factory):
    """Two epochs of another schedule, rate and decay."""
    folder = tmp_path_factory.mktemp('first')
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Runner, '_log_env', lambda self, env_cfg: None)
        train(folder, scheduler=[WARM_UP, dict(type='CosineAnnealingLR', by_epoch=True, begin=0, end=2,
                                               convert_to_iter_based=True)], lr=0.02, decay=0.5)
    return folder / 'epoch_2.pth'


@pytest.mark.parametrize('name', SCHEDULES)
def test_new_schedule_gives_the_rates_of_an_unbroken_run(name, first, tmp_path):
    options = dict(scheduler=SCHEDULES[name], epochs=4)
    whole = train(tmp_path / 'whole', kind=Runner, **options)
    assert len({rate for groups in whole for rate, *_ in groups}) > (1 if SCHEDULES[name] else 0)
    rest = train(tmp_path / 'rest', new_schedule=True, resume=first, **options)
    assert rest == whole[2 * ITERATIONS:]
    state = Checkpoint.read(tmp_path / 'rest' / 'epoch_3.pth').content
    assert {int(entry['step']) for entry in state['optimizer']['state'].values()} == {3 * ITERATIONS}
    assert state['meta']['iter'] == 3 * ITERATIONS


def test_new_schedule_by_iterations(tmp_path):
    cosine = [WARM_UP, dict(type='CosineAnnealingLR', by_epoch=False, begin=0, end=12)]
    whole = train(tmp_path / 'whole', scheduler=cosine, iters=12)
    train(tmp_path / 'first', scheduler=[dict(type='PolyLR', by_epoch=False, end=4)], iters=4)
    rest = train(tmp_path / 'rest', scheduler=cosine, iters=12, new_schedule=True,
                 resume=tmp_path / 'first' / 'iter_4.pth')
    assert rest == whole[4:]


def test_new_schedule_with_more_images_goes_by_epochs(first, tmp_path):
    options = dict(scheduler=SCHEDULES['warm-up and cosine'], epochs=4, size=12)
    whole = train(tmp_path / 'whole', **options)
    assert train(tmp_path / 'rest', new_schedule=True, resume=first, **options) == whole[2 * 6:]


def test_new_schedule_that_is_over(first, tmp_path):
    short = [dict(type='OneCycleLR', eta_max=0.3, total_steps=7, by_epoch=False)]
    with pytest.raises(ConfigError, match='param_scheduler ends before iteration 8'):
        train(tmp_path, scheduler=short, epochs=4, resume=first, new_schedule=True)


OLD = dict(scheduler=[WARM_UP, dict(type='CosineAnnealingLR', by_epoch=True, begin=0, end=2,
                                    convert_to_iter_based=True)], lr=0.02, decay=0.5)


def test_what_differs_is_told(first, tmp_path, log):
    longer = [WARM_UP, dict(OLD['scheduler'][1], end=4)]
    said = '\n'.join(train(tmp_path, attach=log, **dict(OLD, scheduler=longer, lr=0.1, epochs=3, size=12),
                           resume=first)).splitlines()
    for name, old, new, holds in (
            ('param_scheduler.1.end', '2', '4', 'NO effect'),
            ('optim_wrapper.optimizer.lr', '0.02', '0.1', 'NO effect'),
            ('train_cfg.max_epochs', '2', '3', 'new one holds'), ('iterations of an epoch', '4', '6', 'new one holds')):
        line, = (line for line in said if f' {name}: ' in line)
        assert f'{old} in the checkpoint, {new} now' in line
        assert holds in line
    assert any('--new-schedule' in line for line in said)
    assert len(RunnerToyRates.seen) == 6


def test_nothing_is_told_where_nothing_differs(tmp_path, log):
    with pytest.raises(InterruptedError):
        train(tmp_path, **OLD, stop=6)
    whole = [list(groups) for groups in RunnerToyRates.seen]
    said = train(tmp_path, attach=log, **OLD, resume=tmp_path / 'epoch_1.pth')
    assert not [line for line in said if 'checkpoint' in line]
    assert RunnerToyRates.seen[:2] == whole[4:]


@pytest.mark.parametrize(('options', 'error', 'named'), [
    (dict(epochs=1), ConfigError, r'max_epochs=1: .*done 2 epochs'),
    (dict(optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1))), ConfigError,
     r'optimizer\.type: AdamW in the checkpoint, SGD now'),
    (dict(optim_wrapper=dict(optimizer=dict(type='AdamW', lr=0.1))), CheckpointError,
     r'4 parameters in 4 groups, that of the config 4 in 1'),
    (dict(scheduler=[WARM_UP]), ConfigError, r'state of other schedulers.*--new-schedule'),
    (dict(scheduler=SCHEDULES['epochs']), ConfigError, r'state of other schedulers.*--new-schedule'),
])
def test_what_cannot_go_on(first, tmp_path, options, error, named):
    with pytest.raises(error, match=named):
        train(tmp_path, **dict(dict(OLD, epochs=3), **options), resume=first)
    assert not list(tmp_path.glob('*.pth'))


def test_one_cycle_goes_on(tmp_path):
    cycle = dict(scheduler=[dict(type='OneCycleLR', eta_max=0.3, total_steps=2, by_epoch=True,
                                 convert_to_iter_based=True)])
    whole = train(tmp_path / 'a', **cycle)
    state, = Checkpoint.read(tmp_path / 'a' / 'epoch_1.pth').content['param_schedulers']
    assert not [name for name, value in state.items() if callable(value)]
    assert train(tmp_path / 'b', **cycle, resume=tmp_path / 'a' / 'epoch_1.pth') == whole[4:]


@pytest.mark.parametrize('scheduler', [
    dict(type='OneCycleLR', eta_max=0.3, total_steps=2, by_epoch=True, convert_to_iter_based=True),
    dict(type='OneCycleLR', eta_max=[0.3, 0.1, 0.3, 0.1, 0.2], total_steps=8, by_epoch=False),
    dict(type='StepLR', step_size=1)])
def test_rates_by_the_size_of_batches(scheduler, tmp_path):
    """Batches of two where the rates are for four: half of them, at each step, whatever sets them."""
    plain = train(tmp_path / 'a', scheduler=[scheduler])
    scaled = train(tmp_path / 'b', scheduler=[scheduler], auto_scale_lr=dict(enable=True, base_batch_size=4))
    rates, whole = ([[rate for rate, *_ in groups] for groups in run] for run in (scaled, plain))
    assert rates == [pytest.approx([rate / 2 for rate in groups]) for groups in whole]
    kept, = read_config_text(Checkpoint.read(tmp_path / 'b' / 'epoch_2.pth').config_text)['param_scheduler']
    assert kept.get('eta_max') == scheduler.get('eta_max')  # so that a resumed run is not scaled twice


def test_a_finished_run_says_so(first, tmp_path, log):
    said = train(tmp_path, attach=log, **OLD, resume=first)
    assert any('All 2 epochs are done' in line for line in said)


def test_code_in_the_config_of_a_checkpoint_is_not_executed(first, tmp_path):
    content = Checkpoint.read(first).content
    content['meta']['config'] = f'open({str(tmp_path / "run")!r}, "w")'
    torch.save(content, tmp_path / 'evil.pth')
    train(tmp_path, **OLD, resume=tmp_path / 'evil.pth')
    assert not (tmp_path / 'run').exists()


def test_weights_alone_are_not_gone_on_with(tmp_path):
    torch.save(dict(meta={}, state_dict=RunnerToyModel().state_dict()), tmp_path / 'weights.pth')
    with pytest.raises(CheckpointError, match=r'lacks message_hub, optimizer, meta\.epoch.*load_from'):
        train(tmp_path, resume=tmp_path / 'weights.pth')


# --- weights of which little fits


@pytest.mark.parametrize('way', ['load_from', 'init_cfg'])
@pytest.mark.parametrize('accept', [False, True])
def test_weights_of_which_little_fits(way, accept, tmp_path):
    torch.save({'backbone.bias': torch.ones(2), 'layer1.weight': torch.ones(5, 5)}, tmp_path / 'other.pth')
    source = str(tmp_path / 'other.pth')
    options = dict(load_from=source) if way == 'load_from' else dict(init_cfg=dict(type='Pretrained',
                                                                                    checkpoint=source))
    if accept:
        assert len(train(tmp_path, allow_partial_weights=True, **options)) == 8
        return
    with pytest.raises(CheckpointError, match=r'other\.pth: 18\.2 % .*backbone\.weight.*layer1\.weight'):
        train(tmp_path, **options)
    assert not list(tmp_path.glob('epoch*'))
    assert not (tmp_path / 'training.lock').exists()


def test_a_prefix_that_the_file_lacks(tmp_path):
    torch.save({'a.weight': torch.ones(2)}, tmp_path / 'other.pth')
    with pytest.raises(CheckpointError, match=r'init_cfg\.prefix: backbone\.'):
        train(tmp_path, init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'other.pth'), prefix='backbone.'))


def test_a_head_of_other_classes_does_not_count(tmp_path):
    weights = RunnerToyModel().state_dict()
    weights |= {'head.1.weight': torch.ones(40, 2), 'head.1.bias': torch.ones(40)}
    torch.save(weights, tmp_path / 'other.pth')
    train(tmp_path, load_from=str(tmp_path / 'other.pth'))
    weights['backbone.weight'] = torch.ones(3, 3)
    torch.save(weights, tmp_path / 'other.pth')
    with pytest.raises(CheckpointError, match=r'25\.0 %'):  # 2 of 8: the weight of the backbone has another width
        train(tmp_path, load_from=str(tmp_path / 'other.pth'))


# --- a last batch of one


@pytest.mark.parametrize(('size', 'norm', 'more', 'fails'), [
    (7, True, {}, True), (7, False, {}, False), (8, True, {}, False), (7, True, dict(drop_last=True), False),
    (8, True, dict(batch_size=1), True)])
def test_a_last_batch_of_one(size, norm, more, fails, tmp_path):
    loader = dict(dataset=dict(type='RunnerToySet', size=size), batch_size=2, num_workers=0,
                  sampler=dict(type='DefaultSampler', shuffle=False))
    options = dict(norm=norm, train_dataloader=dict(loader, **more), epochs=1)
    if not fails:
        train(tmp_path, **options)
        return
    with pytest.raises(ConfigError, match=r'train_dataloader: .*one image.*head\.0.*drop_last=True'):
        train(tmp_path, **options)


def test_a_box_head_has_many_samples_of_one_image():
    model = nn.ModuleDict(dict(roi_head=nn.ModuleDict(dict(bbox_head=nn.BatchNorm1d(4)))))
    check_last_batch(model, DataLoader([0, 1, 2], batch_size=2))
    with pytest.raises(ConfigError, match='one image'):
        check_last_batch(nn.ModuleDict(dict(head=nn.BatchNorm1d(4))), DataLoader([0, 1, 2], batch_size=2))


# --- the folder


def test_a_second_run_leaves_the_first_alone(tmp_path):
    one = build(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob('*')}
    with pytest.raises(ConfigError, match=rf'process {os.getpid()} on .*--work-dir'):
        build(tmp_path)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob('*')} == before
    one.train()
    one.close()
    assert not (tmp_path / 'training.lock').exists()
    build(tmp_path).close()


def test_a_failed_start_releases_the_folder(tmp_path):
    with pytest.raises(KeyError, match='NoSuchModel'):
        build(tmp_path, model=dict(type='NoSuchModel'))
    assert not list(Path(tmp_path).glob('*.lock'))
