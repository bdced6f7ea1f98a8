"""From the command line to a trained and measured detector, with classes that no config names."""
import json
import re

import cv2
import pytest
import torch

from cxrdet.checkpoints.checkpoint import Checkpoint
from cxrdet.core.history import read_history
from cxrdet.engine.process import choose_precision

CONFIG = 'configs/faster_rcnn_bifpn_cell_tiny.py'
SMALL = ['model.neck.out_channels=16', 'model.neck.num_layers=1', 'model.rpn_head.in_channels=16',
         'model.rpn_head.feat_channels=16', 'model.roi_head.bbox_roi_extractor.out_channels=16',
         'model.roi_head.bbox_head.in_channels=16', 'model.roi_head.bbox_head.fc_out_channels=16',
         'model.backbone.base_channels=16', 'model.backbone.stem_channels=16', 'model.neck.in_channels=[16,32,64,128]',
         'train_dataloader.num_workers=0', 'train_dataloader.persistent_workers=False',
         'val_dataloader.num_workers=0', 'val_dataloader.persistent_workers=False',
         'test_dataloader.num_workers=0', 'test_dataloader.persistent_workers=False',
         'val_cfg.fp16=False', 'train_cfg.max_epochs=1', 'train_cfg.val_interval=1', 'default_hooks.logger.interval=1']


@pytest.fixture(scope='module')
def run(tool, cell_phantoms, tmp_path_factory):
    """A training of one epoch with every option that leaves a trace."""
    work_dir = tmp_path_factory.mktemp('run')
    code = tool('train').main([
        CONFIG, '--data-root', str(cell_phantoms), '--work-dir', str(work_dir), '--seed', '3', '--deterministic',
        '--amp', '--auto-scale-lr', '--train-limit', '4', '--valid-limit', '2', '--cfg-options', *SMALL])
    assert code == 0
    torch.use_deterministic_algorithms(False)
    return work_dir


def scalars(work_dir):
    path, = work_dir.glob('*/vis_data/scalars.json')
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_classes_follow_the_data(run):
    checkpoint = Checkpoint.read(run / 'epoch_1.pth').content
    assert tuple(checkpoint['meta']['dataset_meta']['classes']) == ('RBC', 'WBC', 'Platelets')
    weights = checkpoint['state_dict']
    assert len(weights['roi_head.bbox_head.fc_cls.weight']) == 4
    assert len(weights['roi_head.bbox_head.fc_reg.weight']) == 12


def test_options_arrive(run):
    text = (run / f'{CONFIG.split("/")[-1]}').read_text()
    assert re.search(r'seed=3\b', text)
    assert 'deterministic=True' in text
    assert "type='cxrdet.MixedPrecisionOptimWrapper'" in text
    assert re.search(r'enable=True', text)
    assert text.count('indices=4') == 1
    losses = [entry for entry in scalars(run) if 'loss_cls' in entry]
    assert len(losses) == 2  # four images in batches of two


def test_the_precision_is_said_and_recorded(run):
    log, = run.glob('*/*.log')
    name, = re.findall(r'Precision: (\w+), ', log.read_text())
    assert name == choose_precision('auto').name
    assert Checkpoint.read(run / 'epoch_1.pth').content['meta']['precision'] == name
    assert [record['precision'] for record in read_history(run)] == [name]


def test_validation_logs_metrics_and_loss(run):
    last = scalars(run)[-1]
    assert {'coco/bbox_mAP', 'coco/bbox_mAP_50', 'coco/AP_RBC', 'coco/F1', 'val/loss'} <= set(last)
    assert 0 < last['val/loss'] < 100


def test_best_and_last_checkpoint(run):
    assert (run / 'last_checkpoint').read_text().endswith('epoch_1.pth')
    assert len(list(run.glob('best_coco_bbox_mAP_epoch_1.pth'))) == 1


def test_measured_again_from_the_checkpoint(run, tool, cell_phantoms, tmp_path):
    """tools/test.py needs no list of classes and finds what validation found."""
    code = tool('test').main([
        CONFIG, str(run / 'epoch_1.pth'), '--data-root', str(cell_phantoms), '--work-dir', str(tmp_path / 'test'),
        '--valid-limit', '2', '--out', str(tmp_path / 'raw.npz'), '--cfg-options', *SMALL])
    assert code == 0
    assert (tmp_path / 'raw.npz').stat().st_size > 0
    path, = (tmp_path / 'test').glob('*/*.json')
    measured = json.loads(path.read_text().splitlines()[-1])
    validated = scalars(run)[-1]
    for key in ('coco/bbox_mAP', 'coco/bbox_mAP_50', 'coco/F1'):
        assert measured[key] == pytest.approx(validated[key], abs=1e-6)


def test_missing_config(tool, capsys):
    assert tool('train').main(['configs/none.py']) == 2
    assert 'configs/none.py: no such config file' in capsys.readouterr().err


def test_a_test_leaves_the_config_of_the_training(run, tool, cell_phantoms):
    """So does a resume that is refused."""
    config = run / CONFIG.split('/')[-1]
    before = config.read_bytes()
    common = ['--data-root', str(cell_phantoms), '--work-dir', str(run)]
    assert tool('test').main([CONFIG, str(run / 'epoch_1.pth'), *common, '--valid-limit', '2', '--cfg-options', *SMALL,
                              'optim_wrapper.optimizer.lr=0.5']) == 0
    assert tool('train').main([CONFIG, *common, '--resume', '--cfg-options', *SMALL,
                               'optim_wrapper.optimizer.type=Adam', 'max_epochs=3']) == 2
    assert config.read_bytes() == before


def test_predictions_beside_the_truth(run, tool, cell_phantoms, tmp_path, capsys):
    arguments = [CONFIG, str(run / 'epoch_1.pth'), '--data-root', str(cell_phantoms), '--cfg-options', *SMALL]
    assert tool('compare').main([*arguments, '--out', str(tmp_path / 'sheet.png'), '--images', '3']) == 0
    sheet = cv2.imread(str(tmp_path / 'sheet.png'))
    assert sheet.shape[1] > 2 * 96  # truth and prediction, side by side
    assert sheet.shape[0] > 3 * 96
    assert tool('compare').main([*arguments, '--out', str(tmp_path / 'sheet.txt')]) == 2
    assert 'expected .png or .jpg' in capsys.readouterr().err
