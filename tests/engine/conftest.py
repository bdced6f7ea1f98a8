"""A toy training run of MMEngine whose every part draws random numbers, and a way to kill it anywhere."""
import json
import os
import random
import signal
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

SAMPLES, EPOCHS, BATCH = 8, 3, 2


@pytest.fixture(scope='session')
def in_group(in_child, tmp_path_factory):
    """Run ``function(rank)`` in two forked processes of a gloo group; give what they return, which JSON can hold."""
    def run(function, processes=2):
        import torch.distributed as dist
        folder, children = tmp_path_factory.mktemp('group'), []

        def work(rank):
            dist.init_process_group('gloo', init_method=f'file://{folder}/store', rank=rank, world_size=processes,
                                    timeout=timedelta(seconds=60))
            (folder / f'{rank}.json').write_text(json.dumps(function(rank)))
        for rank in range(1, processes):
            child = os.fork()
            if child == 0:
                os._exit(min(1, abs(in_child(work, rank))))
            children.append(child)
        codes = [in_child(work, 0), *(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children)]
        assert codes == [0] * processes
        return [json.loads((folder / f'{rank}.json').read_text()) for rank in range(processes)]
    return run


def _parts():
    """Define the toy parts; here, so that collecting the tests stays cheap."""
    import torch
    from mmengine.evaluator import BaseMetric
    from mmengine.model import BaseModel
    from torch import nn

    class Transform:
        """Draws from every kind of generator that a transform may use."""

        def __init__(self):
            self.rng, self.random = np.random.default_rng(), random.Random()

        def __call__(self, value):
            own = self.rng.random() + self.random.random()
            return value + 0.1 * (np.random.rand() + random.random() + float(torch.rand(())) + own)

    class Dataset(torch.utils.data.Dataset):
        metainfo = dict(classes=('a', 'b'), palette=np.eye(2))

        def __init__(self):
            self.pipeline = [Transform()]

        def __len__(self):
            return SAMPLES

        def __getitem__(self, index):
            value = torch.linspace(-1, 1, SAMPLES)[index] * torch.ones(4)
            return dict(inputs=self.pipeline[0](value), data_samples=float(index % 2))

    class Model(BaseModel):
        def __init__(self):
            super().__init__()
            self.linear, self.dropout, self.norm = nn.Linear(4, 1), nn.Dropout(0.5), nn.BatchNorm1d(1)

        def forward(self, inputs, data_samples=None, mode='tensor'):
            out = self.norm(self.linear(self.dropout(torch.stack(list(inputs)).float())))[:, 0]
            if mode == 'loss':
                target = torch.tensor(data_samples)
                return dict(loss=((out - target) ** 2).mean(), accuracy=((out > 0.5) == (target > 0.5)).float().mean())
            return [SimpleNamespace(score=float(value)) for value in out]

    class Metric(BaseMetric):
        default_prefix = 'toy'

        def process(self, data_batch, data_samples):
            self.results += [sample.score for sample in data_samples]

        def compute_metrics(self, results):
            np.random.rand(), torch.rand(3)  # a validation that draws must not change the training
            return dict(score=1000 * float(np.mean(results)) % 1)  # jumps, so that the best epoch is any epoch

    return SimpleNamespace(Dataset=Dataset, Model=Model, Metric=Metric)


@pytest.fixture(scope='session')
def make_runner(tmp_path_factory):
    """Build a runner of the toy with the options of ``make``; for use in a child: it changes global settings."""
    import torch
    from mmengine.runner import Runner

    import cxrdet  # noqa: F401
    from cxrdet.checkpoints.checkpoint import find_resumable, install_safe_loader
    parts = _parts()

    def make(work_dir, *, resume=False, workers=0, persistent=False, by_iter=False, accumulate=1, ema=False, seed=1,
             hooks=(), checkpoint=(), launcher='none', epochs=EPOCHS, val_interval=1,
             optimizer=(), deterministic=True):
        torch.set_num_threads(1)
        install_safe_loader()
        every = 4 if by_iter else 1
        loader = dict(dataset=parts.Dataset(), batch_size=BATCH, num_workers=workers,
                      persistent_workers=persistent and workers > 0)
        sampler = dict(type='InfiniteSampler' if by_iter else 'DefaultSampler', shuffle=True)
        plateau = [] if by_iter else [
            dict(type='ReduceOnPlateauLR', monitor='toy/score', rule='greater', patience=0)]
        found = find_resumable(work_dir) if resume else None
        return Runner(
            model=dict(type=parts.Model), work_dir=str(work_dir), launcher=launcher, log_level='ERROR',
            train_dataloader=dict(loader, sampler=sampler),
            val_dataloader=dict(dataset=parts.Dataset(), batch_size=4, num_workers=0,
                                sampler=dict(type='DefaultSampler', shuffle=False)),
            train_cfg=(dict(by_epoch=False, max_iters=EPOCHS * 4, val_interval=every) if by_iter
                       else dict(by_epoch=True, max_epochs=epochs, val_interval=val_interval)),
            val_cfg=dict(), val_evaluator=dict(type=parts.Metric),
            optim_wrapper=dict(optimizer=dict(optimizer or dict(type='AdamW', lr=0.05)),
                               accumulative_counts=accumulate),
            param_scheduler=[dict(type='LinearLR', start_factor=0.1, begin=0, end=5, by_epoch=False), *plateau],
            default_hooks=dict(
                logger=dict(type='LoggerHook', interval=1000),
                checkpoint=dict(dict(type='cxrdet.CheckpointHook', interval=every, by_epoch=not by_iter,
                                     save_best='toy/score', rule='greater', max_keep_ckpts=2), **dict(checkpoint)),
                sampler_seed=dict(type='DistSamplerSeedHook'), reproducible=dict(type='cxrdet.ReproducibleHook')),
            custom_hooks=[*hooks, *([dict(type='EMAHook', momentum=0.1)] if ema else [])],
            load_from=found and found.source, resume=found is not None,
            randomness=dict(seed=seed, deterministic=deterministic), default_scope='mmengine',
            log_processor=dict(by_epoch=not by_iter), experiment_name='toy')

    threads = torch.get_num_threads()
    make(tmp_path_factory.mktemp('imported'))  # here, so that the forked children need not import
    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.deterministic = False
    torch.set_num_threads(threads)
    return make


@pytest.fixture(scope='session')
def in_child():
    """Run a function in a forked child, which shares the imports; return its exit code (negative: its signal)."""
    def run(function, *args, **kwargs) -> int:
        process_id = os.fork()
        if process_id == 0:
            code = 1
            try:
                function(*args, **kwargs)
                code = 0
            except BaseException:
                import traceback
                traceback.print_exc()
            finally:
                os._exit(code)
        return os.waitstatus_to_exitcode(os.waitpid(process_id, 0)[1])
    return run


@pytest.fixture(scope='session')
def train(make_runner, in_child):
    """Train the toy in a child; return its exit code: ``train(folder, fatal=number of the event, **options)``."""
    def run(folder, fatal, options):
        from mmengine.runner import Runner

        from cxrdet.engine.hooks.terminate import TerminateHook
        Runner._log_env = lambda self, env_cfg: None  # it is slow
        stopped = signal.SIGTERM if options.pop('softly', False) else signal.SIGKILL
        events = Events(fatal, stopped)
        stop = TerminateHook()
        runner = make_runner(folder, **options)
        runner.register_hook(stop)
        events.watch(runner)
        with stop.listening():
            runner.train()
        import torch
        torch.save(runner.model.state_dict(), folder / 'model.pt')
        (folder / 'events').write_text('\n'.join(events.names))
    return lambda folder, fatal=-1, **options: in_child(run, folder, fatal, options)


class Events:
    """Counts what a run does, and sends it a signal before event number ``fatal``."""

    def __init__(self, fatal: int = -1, stopped: int = signal.SIGKILL):
        self.fatal, self.count, self.names, self.signal = fatal, 0, [], stopped

    def happen(self, name: str) -> None:
        if self.count == self.fatal:
            os.kill(os.getpid(), self.signal)
        self.count += 1
        self.names.append(name)

    def watch(self, runner) -> None:
        """Every call of the hooks, and every step of writing, renaming and removing files, is an event."""
        call_hook = runner.call_hook

        def call(name, **kwargs):
            self.happen(name)
            call_hook(name, **kwargs)
        runner.call_hook = call
        for name in ('replace', 'fsync', 'remove', 'unlink'):
            self._watch_system(name, getattr(os, name))
        write = Path.write_bytes

        def write_half(path, data):
            with open(path, 'wb') as stream:
                stream.write(data[:len(data) // 2])
                stream.flush()
                self.happen('half written')
            return write(path, data)
        Path.write_bytes = write_half

    def _watch_system(self, name, function):
        def call(*args, **kwargs):
            self.happen(name)
            result = function(*args, **kwargs)
            self.happen(f'after {name}')
            return result
        setattr(os, name, call)

