"""The shell scripts, with two processes on the CPU; what the processes compute is in tests/apis/test_distributed.py."""
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cxrdet.core.machine import usable_cpus

REPOSITORY = Path(__file__).parents[2]
TOOLS = REPOSITORY / 'tools'
SMALL = ['model.neck.out_channels=16', 'model.neck.num_layers=1', 'model.rpn_head.in_channels=16',
         'model.rpn_head.feat_channels=16', 'model.roi_head.bbox_roi_extractor.out_channels=16',
         'model.roi_head.bbox_head.in_channels=16', 'model.roi_head.bbox_head.fc_out_channels=16',
         'model.backbone.base_channels=16', 'model.backbone.stem_channels=16', 'model.neck.in_channels=[16,32,64,128]',
         'train_dataloader.num_workers=0', 'train_dataloader.persistent_workers=False', 'train_dataloader.batch_size=2',
         'val_dataloader.num_workers=0', 'val_dataloader.persistent_workers=False',
         'test_dataloader.num_workers=0', 'test_dataloader.persistent_workers=False', 'val_cfg.fp16=False',
         'train_cfg.max_epochs=3', 'train_cfg.val_interval=1']
HOOK = """
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

@HOOKS.register_module()
class FailHook(Hook):
    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.rank == 1 and runner.epoch == 1:
            raise ValueError('the image cell_7.png has no pixels')
"""


def run(script, *arguments, **environment):
    """Run a script of tools/; give its exit code and all that it says."""
    environment = {**os.environ, 'PYTHON': sys.executable, 'CUDA_VISIBLE_DEVICES': '-1', **environment}
    environment.pop('PYTHONDONTWRITEBYTECODE', None)
    done = subprocess.run([str(TOOLS / script), *map(str, arguments)], env=environment, timeout=600, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return done.returncode, done.stdout


@pytest.fixture
def fake(tmp_path):
    """A folder of programs that print how they were called."""
    for name in ('python', 'srun'):
        program = tmp_path / 'bin' / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(f'#!/bin/sh\n[ "$1" = - ] && exec {sys.executable} "$@"\n'
                           f'echo "{name} $*" ; echo "OMP_NUM_THREADS=$OMP_NUM_THREADS"\n')
        program.chmod(0o755)
    return dict(PYTHON=str(tmp_path / 'bin' / 'python'), PATH=f'{tmp_path / "bin"}:{os.environ["PATH"]}')


@pytest.mark.parametrize('arguments', [[], ['c.py'], ['c.py', 'two'], ['c.py', '0']])
@pytest.mark.parametrize('script', ['dist_train.sh', 'dist_test.sh'])
def test_usage(script, arguments):
    code, text = run(script, *(arguments[:1] + ['w.pth'] + arguments[1:] if script == 'dist_test.sh' else arguments))
    assert code == 2
    assert f'{script} CONFIG ' in text
    assert run('slurm_train.sh', 'part', 'job', 'c.py')[0] == 2


def test_one_machine(fake):
    cores = usable_cpus()
    for _ in range(2):
        code, text = run('dist_train.sh', 'c.py', 2, '--cfg-options', 'a=1', 'b="x y"', **fake, OMP_NUM_THREADS='')
        assert code == 0
        assert f'{TOOLS}/launch.py --nnodes=1 --node_rank=0 --master_addr=127.0.0.1 --master_port=' in text
        assert f'--nproc_per_node=2 {TOOLS}/train.py c.py --cfg-options a=1 b="x y" --launcher pytorch' in text
        assert f'OMP_NUM_THREADS={max(1, cores // 2)}\n' in text


def test_two_machines(fake):
    code, text = run('dist_test.sh', 'c.py', 'w.pth', 8, '--out', 'r.pkl', **fake, NNODES='2', NODE_RANK='1',
                     MASTER_ADDR='10.0.0.1', OMP_NUM_THREADS='5')
    assert code == 0
    assert '--nnodes=2 --node_rank=1 --master_addr=10.0.0.1 --master_port=29500 --nproc_per_node=8 ' in text
    assert f'{TOOLS}/test.py c.py w.pth --out r.pkl --launcher pytorch' in text
    assert 'OMP_NUM_THREADS=5\n' in text
    assert '--master_port=1234' in run('dist_train.sh', 'c.py', 1, **fake, PORT='1234')[1]


def test_slurm(fake):
    code, text = run('slurm_train.sh', 'part', 'job', 'c.py', 'work', '--amp', **fake, GPUS='16', SRUN_ARGS='-A x -q y')
    assert code == 0
    assert ('srun -p part --job-name=job --gres=gpu:8 --ntasks=16 --ntasks-per-node=8 --cpus-per-task=5 '
            f'--kill-on-bad-exit=1 -A x -q y {fake["PYTHON"]} -u {TOOLS}/train.py c.py --work-dir work --amp '
            '--launcher slurm') in text
    text = run('slurm_train.sh', 'p', 'j', 'c.py', 'w', **fake, GPUS='2', GPUS_PER_NODE='0', TASKS_PER_NODE='2')[1]
    assert '--gres' not in text
    assert '--ntasks=2 --ntasks-per-node=2' in text


@pytest.fixture(scope='module')
def failed(cell_phantoms, tmp_path_factory):
    """A training by two processes whose second one fails in the second epoch."""
    folder = tmp_path_factory.mktemp('failed')
    (folder / 'failing.py').write_text(HOOK)
    (folder / 'config.py').write_text(
        f"_base_ = '{REPOSITORY}/configs/faster_rcnn_bifpn_cell_tiny.py'\n"
        "custom_imports = dict(imports=['cxrdet', 'failing'], allow_failed_imports=False)\n"
        "custom_hooks = [dict(type='mmengine.FailHook')]\n")
    code, text = run('dist_train.sh', folder / 'config.py', 2, '--data-root', cell_phantoms, '--work-dir',
                     folder / 'run', '--seed', '1', '--cfg-options', *SMALL, PYTHONPATH=str(folder))
    return folder, code, text


def test_the_error_of_one_process_ends_the_run(failed):
    folder, code, text = failed
    assert code != 0
    assert 'ValueError: the image cell_7.png has no pixels' in text
    summary = text[text.index('Root Cause'):]
    assert 'rank      : 1 (local_rank: 1)' in summary
    assert 'cell_7.png' in summary


def test_what_was_trained_before_stands_and_can_be_tested(failed, cell_phantoms, tmp_path):
    from cxrdet.checkpoints.checkpoint import Checkpoint, find_resumable
    folder = failed[0]
    assert find_resumable(folder / 'run').source == str(folder / 'run' / 'epoch_1.pth')
    meta = Checkpoint.read(folder / 'run' / 'epoch_1.pth').meta
    assert meta['iter'] == 2  # 8 images, 2 in each of 2 processes
    code, text = run('dist_test.sh', REPOSITORY / 'configs' / 'faster_rcnn_bifpn_cell_tiny.py',
                     folder / 'run' / 'epoch_1.pth', 2, '--data-root', cell_phantoms, '--work-dir', tmp_path,
                     '--cfg-options', *SMALL)
    assert code == 0, text
    assert 'coco/bbox_mAP' in text
