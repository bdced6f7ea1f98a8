import multiprocessing
import os

import cv2
import pytest
import torch
from mmengine.config import ConfigDict

from cxrdet.core import machine
from cxrdet.engine import loaders as module
from cxrdet.engine import process
from cxrdet.engine.loaders import fit_loaders, fit_to_machine
from cxrdet.engine.process import set_threads

MIB = 2 ** 20


@pytest.fixture
def here(monkeypatch):
    """A machine to be described: cores, memory (MiB), free shared memory (MiB), locks; ``said`` collects messages."""
    for name in ('OMP_NUM_THREADS', 'MKL_NUM_THREADS', 'LOCAL_RANK', 'LOCAL_WORLD_SIZE', 'SLURM_NTASKS_PER_NODE',
                 'SLURM_CPUS_PER_TASK'):
        monkeypatch.delenv(name, raising=False)
    module._warn.cache_clear()
    said, threads = [], {'torch': 8, 'cv2': 8}
    monkeypatch.setattr(os, 'environ', dict(os.environ))
    monkeypatch.setattr(os, 'sched_getaffinity', lambda process: set(range(8)), raising=False)
    for place in (module, process):
        monkeypatch.setattr(place, 'print_log', lambda text, **kwargs: said.append(text))
    monkeypatch.setattr(module, 'spare_shared_memory', lambda: said.append('pipes'))
    monkeypatch.setattr(torch, 'get_num_threads', lambda: threads['torch'])
    monkeypatch.setattr(torch, 'set_num_threads', lambda number: threads.update(torch=number))
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    monkeypatch.setattr(cv2, 'getNumThreads', lambda: threads['cv2'])
    monkeypatch.setattr(cv2, 'setNumThreads', lambda number: threads.update(cv2=number))

    def describe(cores=8, memory=16384, shm=8192, locks=True):
        monkeypatch.setattr(machine, 'usable_cpus', lambda: cores)
        monkeypatch.setattr(module, 'memory_limit', lambda: memory and memory * MIB)
        monkeypatch.setattr(module, 'shared_memory_free', lambda: shm and shm * MIB)
        monkeypatch.setattr(module, '_can_have_locks', lambda: locks)
        return said
    describe.threads = threads
    return describe


def loaders(workers=2, **settings):
    return {'train_dataloader': dict(num_workers=workers, persistent_workers=True, dataset=dict(
        type='RepeatDataset', dataset=dict(pipeline=[dict(type='cxrdet.LoadImage', **settings)])))}


class TestThreads:
    @pytest.mark.parametrize('cores, expected', [(2, 2), (16, 8)])
    def test_alone(self, here, cores, expected):
        said = here(cores=cores)
        set_threads()
        assert here.threads == {'torch': expected, 'cv2': expected}
        assert len(said) == (expected < 8)
        assert 'OMP_NUM_THREADS' not in os.environ

    @pytest.mark.parametrize('name', ['OMP_NUM_THREADS', 'MKL_NUM_THREADS'])
    def test_what_the_user_says_is_obeyed(self, here, name):
        said = here(cores=1)
        os.environ[name] = '8'
        set_threads()
        assert here.threads == {'torch': 8, 'cv2': 1}
        assert not said

    @pytest.mark.parametrize('launcher, variables, expected', [
        ('pytorch', dict(LOCAL_WORLD_SIZE='3'), 2), ('pytorch', dict(LOCAL_WORLD_SIZE='9'), 1),
        ('pytorch', dict(LOCAL_WORLD_SIZE='3', OMP_NUM_THREADS='5'), 5),
        ('slurm', dict(SLURM_NTASKS_PER_NODE='2'), 3),
        ('slurm', dict(SLURM_NTASKS_PER_NODE='2', SLURM_CPUS_PER_TASK='5'), 5),
        ('slurm', dict(SLURM_CPUS_PER_TASK='9'), 6)])
    def test_one_of_several(self, here, launcher, variables, expected):
        here(cores=6)
        os.environ.update(variables)
        set_threads(launcher)
        assert here.threads['torch'] == int(os.environ['OMP_NUM_THREADS']) == int(
            os.environ['MKL_NUM_THREADS']) == expected

    def test_variables_of_a_job_do_not_count_for_a_run_without_launcher(self, here):
        here(cores=6)
        os.environ.update(SLURM_NTASKS_PER_NODE='6', SLURM_CPUS_PER_TASK='1')
        set_threads()
        assert here.threads['torch'] == 6

    def test_one_of_several_on_gpus_keeps_its_threads(self, here, monkeypatch):
        here(cores=2)
        monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
        fit_to_machine({}, 'pytorch')
        assert here.threads['torch'] == 8
        fit_to_machine({})
        assert here.threads['torch'] == 2


class TestSharedMemory:
    def test_enough(self, here):
        said, cfg = here(), loaders()
        fit_loaders(cfg, start_method='fork')
        assert said == ['pipes']  # for batches that might not fit
        assert cfg == loaders()

    def test_of_a_container(self, here):
        said, cfg = here(shm=64), loaders()
        fit_loaders(cfg, start_method='fork')
        assert said[0] == 'pipes' and '64 MiB' in said[1] and '--shm-size=2g' in said[1] and '--ipc=host' in said[1]
        assert len(said) == 2
        assert cfg == loaders()

    @pytest.mark.parametrize('shm, locks, start', [(0.1, True, 'fork'), (8192, False, 'fork'), (None, False, 'fork'),
                                                   (64, True, 'spawn'), (64, True, 'forkserver')])
    def test_no_workers_possible(self, here, shm, locks, start):
        said, cfg = here(shm=shm, locks=locks), loaders()
        cfg['train_dataloader'].update(prefetch_factor=4, timeout=9, multiprocessing_context=start)
        fit_loaders(cfg, start_method=start)
        assert len(said) == 1 and '--shm-size' in said[0]
        assert cfg['train_dataloader'] == loaders(0)['train_dataloader'] | dict(persistent_workers=False)
        torch.utils.data.DataLoader(**cfg['train_dataloader'] | dict(dataset=[1]))

    @pytest.mark.parametrize('shm, start', [(None, 'fork'), (None, 'spawn'), (8192, 'spawn')])
    def test_nothing_to_be_said(self, here, shm, start):
        said, cfg = here(shm=shm), loaders()
        fit_loaders(cfg, start_method=start)
        assert said == ['pipes'] * (start == 'fork')
        assert cfg == loaders()

    def test_no_workers_no_message(self, here):
        said = here(shm=0.1, locks=False)
        fit_loaders(loaders(0))
        fit_loaders({})
        assert not said

    def test_start_method_of_the_config(self, here):
        here(shm=64)
        cfg = ConfigDict(loaders(), env_cfg=dict(mp_cfg=dict(mp_start_method='spawn')))
        fit_to_machine(cfg)
        assert cfg.train_dataloader.num_workers == 0

    def test_one_process_of_a_machine_speaks(self, here):
        said = here(shm=64)
        os.environ.update(LOCAL_RANK='1')
        fit_loaders(loaders(), launcher='pytorch', start_method='fork')
        assert said == ['pipes']

    def test_a_system_that_cannot_fork(self, here, monkeypatch):
        """On Windows MMEngine takes no notice of ``mp_start_method='fork'``."""
        said, cfg = here(shm=None), loaders()
        monkeypatch.setattr(multiprocessing, 'get_all_start_methods', lambda: ['spawn'])
        fit_loaders(cfg, start_method='fork')
        assert not said
        assert cfg == loaders()

    def test_said_once(self, here):
        said = here(shm=64)
        for _ in range(2):
            fit_loaders(loaders(), start_method='fork')
        assert sum('--shm-size' in text for text in said) == 1

    def test_locks(self, monkeypatch):
        assert module._can_have_locks()

        def full(self):
            raise OSError(28, 'No space left on device')
        monkeypatch.setattr(multiprocessing.context.BaseContext, 'Lock', full)
        assert not module._can_have_locks()


@pytest.mark.parametrize('cores, workers, warned', [(2, 4, True), (2, 2, False), (2, 9, False), (8, 8, False)])
def test_more_workers_than_a_container_may_use(here, cores, workers, warned):
    """Beyond the 8 cores that the process is bound to, torch itself warns."""
    said, cfg = here(cores=cores), loaders(workers)
    fit_loaders(cfg, start_method='fork')
    assert sum(f'num_workers={workers}' in text for text in said) == warned
    assert cfg == loaders(workers)


class TestCaches:
    @pytest.mark.parametrize('memory, workers, settings, processes, expected', [
        (4096, 2, dict(cache=True), 1, None), (1024, 2, dict(cache=True), 1, 256), (1024, 0, dict(cache=True), 1, 512),
        (1024, 2, dict(cache=True, cache_mb=1024), 1, 256), (1024, 2, dict(cache=True), 2, 128),
        (1024, 2, dict(), 1, None), (None, 2, dict(cache=True), 1, None)])
    def test_half_of_the_memory(self, here, memory, workers, settings, processes, expected):
        said, cfg = here(memory=memory), loaders(workers, **settings)
        os.environ.update(LOCAL_WORLD_SIZE=str(processes))
        fit_loaders(cfg, launcher='pytorch', start_method='fork')
        step = cfg['train_dataloader']['dataset']['dataset']['pipeline'][0]
        assert step.get('cache_mb', 512) == (expected or settings.get('cache_mb', 512))
        assert any('cache_mb' in text for text in said) == (expected not in (None, 512))

    def test_room_is_shared_in_proportion(self, here):
        here(memory=1000)
        cfg = loaders(1, cache=True, cache_mb=600) | {'val_dataloader': loaders(
            2, cache=True, cache_mb=200)['train_dataloader']}
        fit_loaders(cfg, start_method='fork')
        steps = [cfg[name]['dataset']['dataset']['pipeline'][0]['cache_mb'] for name in cfg]
        assert steps == [300, 100]  # 300 + 2 x 100 = 500
