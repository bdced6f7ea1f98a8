"""tools/train.py, killed and resumed, ends with the weights of an unbroken run."""
import importlib
import json
import os
import signal
import time

import cv2
import numpy as np
import pytest

CONFIG = 'configs/faster_rcnn_bifpn_cell_tiny.py'
SMALL = ['model.neck.out_channels=16', 'model.neck.num_layers=1', 'model.rpn_head.in_channels=16',
         'model.rpn_head.feat_channels=16', 'model.roi_head.bbox_roi_extractor.out_channels=16',
         'model.roi_head.bbox_head.in_channels=16', 'model.roi_head.bbox_head.fc_out_channels=16',
         'model.backbone.base_channels=16', 'model.backbone.stem_channels=16', 'model.neck.in_channels=[16,32,64,128]',
         'train_dataloader.num_workers=2', 'train_dataloader.persistent_workers=True', 'train_dataloader.batch_size=2',
         'val_dataloader.num_workers=0', 'val_dataloader.persistent_workers=False', 'val_cfg.fp16=False',
         'train_cfg.max_epochs=3', 'train_cfg.val_interval=1']
SMALL_CSV = ['img_size=32', 'batch_size=4', 'model.backbone.base_channels=8', 'model.backbone.stem_channels=8',
             'model.head.in_channels=64', 'max_epochs=4', 'lr=0.01', 'param_scheduler.0.end=2',
             'train_cfg.val_interval=2']


@pytest.fixture(scope='module')
def start(tool, cell_phantoms):
    """Start tools/train.py in a forked child, which shares the imports of this process; give its process id."""
    import mmengine.config.config
    import torch
    from mmengine.runner import Runner
    for name in ('matplotlib.backends.backend_agg', 'mmdet.datasets', 'mmdet.evaluation', 'mmdet.models',
                 'mmdet.visualization', 'mmpretrain.datasets', 'mmpretrain.models', 'torch._inductor.config'):
        importlib.import_module(name)
    main = tool('train').main

    tiny = [CONFIG, '--data-root', str(cell_phantoms), '--deterministic']

    def start(work_dir, *more, run=tiny, options=SMALL) -> int:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                torch.set_num_threads(1)  # more hang in a fork
                Runner._log_env = lambda self, env_cfg: None  # both are slow
                mmengine.config.config.FormatCode = lambda text, **_: (text, True)
                code = main([*run, '--work-dir', str(work_dir), '--seed', '5', *more, '--cfg-options', *options])
            finally:
                os._exit(code)
        return child
    return start


def ended(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def wait_for(child: int, path) -> None:
    while not path.exists():
        assert os.waitpid(child, os.WNOHANG)[0] == 0, 'the run has ended'
        time.sleep(0.005)


@pytest.fixture(scope='module')
def unbroken(start, tmp_path_factory):
    work_dir = tmp_path_factory.mktemp('unbroken')
    assert ended(start(work_dir)) == 0
    return work_dir


def test_killed_twice_and_resumed(start, unbroken, tmp_path):
    import torch

    from cxrdet.checkpoints.checkpoint import Checkpoint
    from cxrdet.core.history import read_history
    child = start(tmp_path)
    wait_for(child, tmp_path / 'epoch_1.pth')  # the validation comes next
    os.kill(child, signal.SIGKILL)
    assert ended(child) == -signal.SIGKILL
    child = start(tmp_path, '--resume')
    wait_for(child, tmp_path / 'epoch_2.pth')
    time.sleep(0.5)  # in the validation or in the third epoch
    os.kill(child, signal.SIGKILL)
    assert ended(child) == -signal.SIGKILL
    (tmp_path / 'epoch_2.pth').write_bytes((tmp_path / 'epoch_2.pth').read_bytes()[:1000])  # as a full disk leaves it
    assert ended(start(tmp_path, '--resume')) == 0

    first, second = Checkpoint.read(unbroken / 'epoch_3.pth').content, Checkpoint.read(tmp_path / 'epoch_3.pth').content
    assert set(first['state_dict']) == set(second['state_dict'])
    for part in ('state_dict', 'ema_state_dict'):
        for name, value in first[part].items():
            assert torch.equal(value, second[part][name]), name
    losses = [checkpoint['message_hub']['log_scalars']['train/loss'].data[0].tolist() for checkpoint in (first, second)]
    assert losses[0] == losses[1]
    assert len(losses[0]) == 12
    assert len(set(losses[0])) == 12
    histories = [read_history(folder) for folder in (unbroken, tmp_path)]
    for record in sum(histories, []):
        assert record.pop('time')
    assert histories[0] == histories[1]
    best = [[path.name for path in folder.glob('best_*')] for folder in (unbroken, tmp_path)]
    assert best[0] == best[1]
    assert not [path.name for path in tmp_path.glob('.*')]


@pytest.fixture
def crops(tmp_path):
    """Twelve crops of noise of two classes, four of them for validation."""
    rng, folder = np.random.default_rng(0), tmp_path / 'crops'
    folder.mkdir()
    for n in range(12):
        cv2.imwrite(str(folder / f'{n}.png'), rng.integers(0, 255, (20, 20, 3), np.uint8))
    rows = [f'{n}.png,{"ab"[n % 2]},{"val" if n > 7 else "train"}' for n in range(12)]
    (folder / 'metadata.csv').write_text('\n'.join(['path,label,split', *rows]))
    (folder / 'label2id.json').write_text(json.dumps(dict(a=0, b=1)))
    return folder


def test_listed_images_with_the_settings_of_their_config(start, crops, tmp_path):
    from cxrdet.core.history import read_history
    run = dict(run=['configs/ablations/crops/resnet18_crops_64.py', '--data-root', str(crops)], options=SMALL_CSV)
    whole, broken = tmp_path / 'whole', tmp_path / 'broken'
    assert ended(start(whole, **run)) == 0
    child = start(broken, **run)
    wait_for(child, broken / 'epoch_2.pth')
    os.kill(child, signal.SIGKILL)
    assert ended(child) == -signal.SIGKILL
    assert ended(start(broken, '--resume', **run)) == 0
    histories = [read_history(folder) for folder in (whole, broken)]
    for record in sum(histories, []):
        assert record.pop('time')
    assert histories[0] == histories[1]
    assert len({record['train']['loss'] for record in histories[0]}) == 4
    assert (whole / 'metrics.json').read_text() == (broken / 'metrics.json').read_text()
