"""Several processes on the CPU. The processes are forked, so that they share the imports."""
import importlib
import os
import signal
import socket
import sys
import time
import traceback

import pytest

from cxrdet.core import machine
from cxrdet.core.errors import ConfigError
from cxrdet.engine import distributed
from cxrdet.engine.distributed import init_distributed

pytestmark = pytest.mark.long

IMAGE, CLASSES = 64, 3


@pytest.fixture
def clean(monkeypatch):
    """No variable of any launcher is set."""
    for name in list(os.environ):
        if name.startswith(('SLURM_', 'OMPI_', 'MASTER_', 'TORCHELASTIC_')) or name in (
                'RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'LOCAL_WORLD_SIZE', 'OMP_NUM_THREADS', 'MKL_NUM_THREADS'):
            monkeypatch.delenv(name)
    return monkeypatch


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


def in_group(folder, function, *args, processes=2, seconds=120):
    """Run ``function(rank, *args)`` in forked processes of a gloo group; return what they return."""
    import torch
    port, children = free_port(), []
    for rank in range(processes):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(processes),
                                  LOCAL_WORLD_SIZE=str(processes), MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port),
                                  OMP_NUM_THREADS='1', CUDA_VISIBLE_DEVICES='-1')
                torch.set_num_threads(1)  # more hang in a fork
                torch.save(function(rank, *args), folder / f'{rank}.pt')
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)
        children.append(child)
    codes, end = {}, time.time() + seconds
    while len(codes) < processes and time.time() < end:
        for child in set(children) - set(codes):
            if (ended := os.waitpid(child, os.WNOHANG))[0]:
                codes[child] = os.waitstatus_to_exitcode(ended[1])
        if any(codes.values()):
            break
        time.sleep(0.02)
    for child in set(children) - set(codes):
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        codes[child] = 'killed by the test'
    assert [codes[child] for child in children] == [0] * processes
    return [torch.load(folder / f'{rank}.pt', weights_only=True) for rank in range(processes)]


@pytest.fixture(scope='module')
def imported():
    """Import here what every child needs."""
    for name in ('cxrdet.engine.hooks', 'matplotlib.backends.backend_agg', 'matplotlib.figure', 'mmengine.runner',
                 'torch._dynamo', 'torch.distributed.launcher.api', 'yapf.yapflib.yapf_api'):
        importlib.import_module(name)


class TestInit:
    def test_one_process(self, clean):
        cfg = {}
        init_distributed('none', cfg)
        assert cfg == {}

    def test_an_unknown_launcher(self, clean):
        with pytest.raises(ConfigError, match='one of none, pytorch, slurm, mpi, got "torch"'):
            init_distributed('torch', {})

    @pytest.mark.parametrize(('launcher', 'text'), [
        ('pytorch', r'RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, MASTER_PORT not set.*dist_train\.sh'),
        ('slurm', r'SLURM_PROCID, SLURM_NTASKS, SLURM_NODELIST not set.*slurm_train\.sh'),
        ('mpi', 'OMPI_COMM_WORLD_RANK.*mpirun')])
    def test_not_started_by_the_launcher(self, clean, launcher, text):
        with pytest.raises(ConfigError, match=text):
            init_distributed(launcher, {})

    @pytest.fixture
    def started(self, clean):
        """Stand in for torch's start of the group; gives the environment at that moment and the timeout."""
        import torch
        seen = {}

        def start(backend, timeout):
            names = ('RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'MASTER_ADDR', 'MASTER_PORT', 'OMP_NUM_THREADS')
            seen.update({name: os.environ.get(name) for name in names}, backend=backend, timeout=timeout.seconds)
        clean.setattr(torch.distributed, 'init_process_group', start)
        clean.setattr(torch.cuda, 'is_available', lambda: False)
        clean.setattr(torch, 'set_num_threads', lambda number: seen.update(threads=number))
        clean.setattr(machine, 'usable_cpus', lambda: 8)
        clean.setattr(os, 'environ', dict(os.environ))
        clean.setattr(sys, 'excepthook', sys.excepthook)  # to be put back
        return seen

    def test_slurm(self, clean, started, tmp_path):
        (tmp_path / 'scontrol').write_text('#!/bin/sh\n[ "$*" = "show hostnames n[1-2]" ] && printf "n1\\nn2\\n"\n')
        (tmp_path / 'scontrol').chmod(0o755)
        os.environ.update(SLURM_PROCID='3', SLURM_NTASKS='4', SLURM_LOCALID='1', SLURM_NODELIST='n[1-2]',
                          SLURM_NTASKS_PER_NODE='2')
        os.environ['PATH'] = f'{tmp_path}:/usr/bin:/bin'
        init_distributed('slurm', dict(env_cfg=dict(dist_cfg=dict(timeout=60))))
        assert started == dict(RANK='3', WORLD_SIZE='4', LOCAL_RANK='1', MASTER_ADDR='n1', MASTER_PORT='29500',
                               OMP_NUM_THREADS='4', threads=4, backend='gloo', timeout=60)

    def test_mpi(self, started):
        os.environ.update(OMPI_COMM_WORLD_RANK='1', OMPI_COMM_WORLD_SIZE='2', OMPI_COMM_WORLD_LOCAL_RANK='1',
                          OMPI_COMM_WORLD_LOCAL_SIZE='2', MASTER_ADDR='host', MASTER_PORT='1', OMP_NUM_THREADS='3')
        init_distributed('mpi', {})
        assert started == dict(RANK='1', WORLD_SIZE='2', LOCAL_RANK='1', MASTER_ADDR='host', MASTER_PORT='1',
                               OMP_NUM_THREADS='3', threads=3, backend='gloo', timeout=300)

    def test_what_the_config_asks_of_the_wrapper_stays(self, started):
        os.environ.update(RANK='0', WORLD_SIZE='1', LOCAL_RANK='0', MASTER_ADDR='host', MASTER_PORT='1')
        cfg = dict(model_wrapper_cfg=dict(broadcast_buffers=True), find_unused_parameters=True)
        init_distributed('pytorch', cfg)
        assert cfg['model_wrapper_cfg'] == dict(type='MMDistributedDataParallel', broadcast_buffers=True,
                                                device_ids=None, find_unused_parameters=True)

    def test_more_processes_than_gpus(self, clean, started):
        import torch
        clean.setattr(torch.cuda, 'is_available', lambda: True)
        clean.setattr(torch.cuda, 'device_count', lambda: 1)
        os.environ.update(RANK='1', WORLD_SIZE='2', LOCAL_RANK='1', MASTER_ADDR='host', MASTER_PORT='1')
        with pytest.raises(ConfigError, match='Process number 1 of this machine finds 1 GPUs: start at most 1'):
            init_distributed('pytorch', {})
        os.environ.update(LOCAL_RANK='0')
        init_distributed('pytorch', {})
        assert started == {}


def fixed_sampling(num: int) -> dict:
    """All boxes are taken, none by chance, and their number is the same in every image."""
    return dict(assigner=dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.5, min_pos_iou=0.5),
                sampler=dict(type='RandomSampler', num=num, pos_fraction=1.0, add_gt_as_proposals=False),
                allowed_border=-1, pos_weight=-1, debug=False)


PYRAMID = dict(
    backbone=dict(type='mmdet.ResNet', depth=18, base_channels=8, norm_eval=True),
    neck=dict(type='mmdet.FPN', in_channels=[8, 16, 32, 64], out_channels=8, num_outs=5))

MODELS = {
    # The losses are divided by the number of sampled boxes. It is fixed here; where it is not, every process divides by
    # its own number, and the mean over the processes is not the loss of the whole batch (so it is in all frameworks).
    'Faster R-CNN': dict(
        PYRAMID, type='mmdet.FasterRCNN',
        rpn_head=dict(type='mmdet.RPNHead', in_channels=8, feat_channels=8, anchor_generator=dict(
            type='mmdet.AnchorGenerator', scales=[4], ratios=[0.5, 1.0, 2.0], strides=[4, 8, 16, 32, 64])),
        roi_head=dict(
            type='mmdet.StandardRoIHead',
            bbox_roi_extractor=dict(type='mmdet.SingleRoIExtractor', out_channels=8, featmap_strides=[4, 8, 16, 32],
                                    roi_layer=dict(type='RoIAlign', output_size=3, sampling_ratio=2)),
            bbox_head=dict(type='mmdet.Shared2FCBBoxHead', in_channels=8, fc_out_channels=16, roi_feat_size=3,
                           num_classes=CLASSES)),
        train_cfg=dict(rpn=fixed_sampling(10 ** 6), rcnn=fixed_sampling(10 ** 6),
                       rpn_proposal=dict(nms_pre=30, max_per_img=60, nms=dict(type='nms', iou_threshold=1.0),
                                         min_bbox_size=0)),
        test_cfg=dict(rpn=dict(nms_pre=30, max_per_img=60, nms=dict(type='nms', iou_threshold=1.0), min_bbox_size=0),
                      rcnn=dict(score_thr=0.05, nms=dict(type='nms', iou_threshold=0.5), max_per_img=10))),
    # FCOS averages the number of positives over the processes, so that it is exact for any images.
    'FCOS': dict(
        PYRAMID, type='mmdet.FCOS',
        bbox_head=dict(type='mmdet.FCOSHead', num_classes=CLASSES, in_channels=8, feat_channels=8, stacked_convs=1,
                       norm_cfg=None, regress_ranges=((-1, 16), (16, 32), (32, 64), (64, 128), (128, 1e8)),
                       strides=[4, 8, 16, 32, 64])),
}


def make_model(kind):
    import torch
    from mmdet.registry import MODELS as REGISTRY
    from mmdet.utils import register_all_modules
    from mmengine.config import ConfigDict
    register_all_modules()
    torch.manual_seed(0)
    model = REGISTRY.build(ConfigDict(MODELS[kind]))
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.weight.data.uniform_(0.5, 1.5)
    return model.train()


def make_batch(indices):
    import torch
    from mmdet.structures import DetDataSample
    from mmengine.structures import InstanceData
    images, samples = [], []
    for index in indices:
        rng = torch.Generator().manual_seed(index)
        images.append(torch.rand(3, IMAGE, IMAGE, generator=rng))
        corner = torch.rand(2 + index, 2, generator=rng) * 30
        size = 8 + torch.rand(2 + index, 2, generator=rng) * 25
        sample = DetDataSample(metainfo=dict(img_shape=(IMAGE, IMAGE), ori_shape=(IMAGE, IMAGE), scale_factor=(1, 1),
                                             pad_shape=(IMAGE, IMAGE), batch_input_shape=(IMAGE, IMAGE)))
        sample.gt_instances = InstanceData(bboxes=torch.cat([corner, corner + size], 1),
                                           labels=torch.arange(2 + index) % CLASSES)
        samples.append(sample)
    return torch.stack(images), samples


def step(model, indices):
    """Losses and gradients of one step."""
    plain = getattr(model, 'module', model)
    images, samples = make_batch(indices)
    total, losses = plain.parse_losses(model(images, samples, mode='loss'))
    total.backward()
    return ({name: float(value.detach()) for name, value in losses.items() if 'acc' not in name},
            {name: value.grad for name, value in plain.named_parameters() if value.grad is not None})


def distributed_step(rank, kind):
    from mmengine.model import MMDistributedDataParallel
    cfg = {}
    init_distributed('pytorch', cfg)
    settings = dict(cfg['model_wrapper_cfg'])
    assert settings.pop('type') == 'MMDistributedDataParallel'
    return step(MMDistributedDataParallel(make_model(kind), **settings), [rank])


@pytest.mark.parametrize('kind', MODELS)
def test_a_step_of_two_processes_is_one_with_twice_the_batch(kind, clean, imported, tmp_path):
    import torch
    losses, gradients = step(make_model(kind), [0, 1])
    parts = in_group(tmp_path, distributed_step, kind)
    assert losses['loss'] > 0.1
    for name, value in losses.items():
        assert sum(part[0][name] for part in parts) / 2 == pytest.approx(value, abs=1e-5)
    assert max(float(value.abs().max()) for value in gradients.values()) > 1e-2
    for part in parts:
        assert set(part[1]) == set(gradients)
        for name, value in gradients.items():
            torch.testing.assert_close(part[1][name], value, atol=1e-5, rtol=1e-4, msg=name)
    assert parts[0][0]['loss'] != pytest.approx(parts[1][0]['loss'], abs=1e-3)  # the two images differ


def train_toy(rank, folder, *, launcher='pytorch', batch=2, dropout=0.0, resume=False, event=None):
    """Train a linear model on eight samples for three epochs and return its weights.

    ``event(rank, iteration)`` is called before every iteration.
    """
    import torch
    from mmengine.hooks import Hook
    from mmengine.model import BaseModel
    from mmengine.runner import Runner
    from torch import nn

    import cxrdet  # noqa: F401
    from cxrdet.checkpoints.checkpoint import find_resumable, install_safe_loader

    class Toy(BaseModel):
        def __init__(self):
            super().__init__()
            self.linear, self.dropout = nn.Linear(4, 1), nn.Dropout(dropout)

        def forward(self, inputs, target, mode='loss'):
            return dict(loss=((self.linear(self.dropout(inputs))[:, 0] - target) ** 2).mean())

    class Disturbance(Hook):
        def before_train_iter(self, runner, batch_idx, data_batch=None):
            if event is not None:
                event(rank, runner.iter)

    Runner._log_env = lambda self, env_cfg: None  # in the child only: it is slow
    inputs = torch.randn(8, 4, generator=torch.Generator().manual_seed(0))
    data = [dict(inputs=row, target=row.sum()) for row in inputs]
    install_safe_loader()
    cfg = dict(env_cfg=dict(dist_cfg=dict(timeout=30)))
    init_distributed(launcher, cfg)
    found = find_resumable(folder) if resume else None
    runner = Runner(
        model=dict(type=Toy), work_dir=str(folder), cfg=cfg, launcher=launcher, log_level='ERROR',
        train_dataloader=dict(dataset=data, batch_size=batch, sampler=dict(type='DefaultSampler', shuffle=True),
                              collate_fn=dict(type='default_collate')),
        train_cfg=dict(by_epoch=True, max_epochs=3),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1, momentum=0.9)),
        default_hooks=dict(checkpoint=dict(type='cxrdet.CheckpointHook', interval=1),
                           sampler_seed=dict(type='DistSamplerSeedHook'),
                           reproducible=dict(type='cxrdet.ReproducibleHook')),
        custom_hooks=[Disturbance()], resume=found is not None, load_from=found and found.source,
        randomness=dict(seed=0), default_scope='mmengine', experiment_name='toy')
    runner.train()
    assert runner.distributed == (launcher != 'none')
    return {name: value.clone() for name, value in getattr(runner.model, 'module', runner.model).state_dict().items()}


def same(first, second, tolerance=0.0):
    import torch
    return all(torch.allclose(first[name], second[name], atol=tolerance, rtol=0) for name in {**first, **second})


def toy_process(rank, folder, options):
    return train_toy(rank, folder, **options)


def test_a_run_of_two_processes_is_one_with_twice_the_batch(clean, imported, tmp_path):
    one, = in_group(tmp_path, toy_process, tmp_path / 'one', dict(launcher='none', batch=4), processes=1)
    two = in_group(tmp_path, toy_process, tmp_path / 'two', {})
    assert same(one, two[0], 1e-6)
    assert same(two[0], two[1])
    assert not same(one, {name: value + 1e-3 for name, value in one.items()}, 1e-6)
    assert {path.name for path in (tmp_path / 'two').glob('*') if path.is_file() and path.suffix != '.py'} == {
        'epoch_1.pth', 'epoch_2.pth', 'epoch_3.pth', 'last_checkpoint'}


def launch(folder, event, **options):
    """Run two processes under torch's launcher in a child; return its error."""
    import torch
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    def process():
        torch.set_num_threads(1)
        try:
            train_toy(int(os.environ['RANK']), folder, event=event, **options)
        except BaseException:  # as the interpreter does with a script
            sys.excepthook(*sys.exc_info())
            os._exit(1)

    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.environ.update(OMP_NUM_THREADS='1', CUDA_VISIBLE_DEVICES='-1')
            config = LaunchConfig(min_nodes=1, max_nodes=1, nproc_per_node=2, run_id='test', rdzv_backend='static',
                                  rdzv_endpoint=f'127.0.0.1:{free_port()}', rdzv_configs=dict(rank=0, timeout=60),
                                  start_method='fork', max_restarts=0, monitor_interval=0.1)
            elastic_launch(config, process)()
        except ChildFailedError as error:
            rank, failure = error.get_first_failure()
            (folder / 'error').write_text(f'{rank} {failure.exitcode} {error}')
            code = 3
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
    return (folder / 'error').read_text()


@pytest.mark.parametrize('kind', ['raises', 'is killed'])
def test_a_process_that_ends_ends_the_run_with_its_error(kind, clean, imported, tmp_path):
    work_dir = tmp_path / 'run'
    work_dir.mkdir()

    def event(rank, iteration):
        if (rank, iteration) == (1, 3):
            if kind == 'is killed':
                os.kill(os.getpid(), signal.SIGKILL)
            raise ValueError('the image cell_7.png has no pixels')
    text = launch(work_dir, event, dropout=0.5)
    if kind == 'raises':
        assert text.startswith('1 1 ')
        assert 'the image cell_7.png has no pixels' in text
    else:
        assert text.startswith('1 -9 ')
        assert 'SIGKILL' in text
    resumed = in_group(tmp_path, toy_process, work_dir, dict(dropout=0.5, resume=True))
    unbroken = in_group(tmp_path, toy_process, tmp_path / 'unbroken', dict(dropout=0.5))
    assert same(resumed[0], unbroken[0])
    assert same(unbroken[0], unbroken[1])


@pytest.mark.parametrize(('error', 'follows'), [
    (ValueError('no pixels'), False), (KeyboardInterrupt(), False), (ConfigError('nccl'), False),
    (RuntimeError('[gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:61577'), True),
    (ConnectionResetError(104, 'Connection reset by peer'), True), (BrokenPipeError(32, 'Broken pipe'), True),
    (type('DistBackendError', (RuntimeError,), {})('communicator was aborted'), True)])
def test_errors_that_follow_from_another_wait(clean, tmp_path, capfd, error, follows):
    path, waited = tmp_path / 'error.json', []
    clean.setenv('TORCHELASTIC_ERROR_FILE', str(path))
    clean.setattr(sys, 'excepthook', sys.__excepthook__)
    clean.setattr(distributed.time, 'sleep', waited.append)
    distributed._report_errors()
    try:
        raise error
    except BaseException:
        kind, error, trace = sys.exc_info()
    sys.excepthook(kind, error, trace)
    assert type(error).__name__ in capfd.readouterr().err
    assert waited == ([15] if follows else [])
    assert path.exists() == (not follows and isinstance(error, Exception))
    if path.exists():
        assert 'in test_errors_that_follow' in path.read_text()
