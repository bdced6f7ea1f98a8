"""ImageNet, PatchCamelyon, cells: the two commands of the docs on miniatures, and what of the weights arrives."""
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
import torchvision

from cxrdet.checkpoints.checkpoint import Checkpoint
from cxrdet.core.errors import CheckpointError
from cxrdet.registry import MODELS

CONFIGS = Path(__file__).parents[2] / 'configs'
ARCH = 'arch=dict(_delete_=True, growth_rate=8, depths=[2, 2, 2, 2], init_channels=8)'
RUN = ['train_dataloader.num_workers=0', 'val_dataloader.num_workers=0', 'train_dataloader.batch_size=2',
       'max_epochs=1', 'train_cfg.val_interval=1', 'early_stop=False']


@pytest.fixture(scope='module')
def imagenet(tmp_path_factory):
    """Weights of a tiny DenseNet under torchvision's names, in place of those that are trained on ImageNet."""
    torch.manual_seed(1)
    model = torchvision.models.DenseNet(growth_rate=8, block_config=(2, 2, 2, 2), num_init_features=8)
    path = tmp_path_factory.mktemp('imagenet') / 'densenet.pth'
    torch.save(model.state_dict(), path)
    return path


@pytest.fixture(scope='module')
def pcam(tool, imagenet, tmp_path_factory):
    """The first command: the work folder of an epoch on eight patches."""
    folder = tmp_path_factory.mktemp('pcam')
    rng = np.random.default_rng(0)
    for split, number in (('train', 8), ('valid', 6)):
        labels = np.arange(number) % 2
        patches = rng.integers(0, 128, (number, 96, 96, 3)) + 100 * labels.reshape(-1, 1, 1, 1)
        for part, values in (('x', patches), ('y', labels.reshape(-1, 1, 1, 1))):
            with h5py.File(folder / f'camelyonpatch_level_2_split_{split}_{part}.h5', 'w') as file:
                file[part] = values.astype(np.uint8)
    (folder / 'densenet121_pcam.py').write_text(
        f"_base_ = '{CONFIGS}/densenet121_pcam.py'\n"
        f'model = dict(backbone=dict({ARCH}), head=dict(in_channels=31), init_cfg=dict(checkpoint="{imagenet}"))\n')
    assert tool('train').main([str(folder / 'densenet121_pcam.py'), '--data-root', str(folder), '--work-dir',
                               str(folder / 'run'), '--cfg-options', *RUN, 'lr=1e-9']) == 0
    return folder / 'run'


def cells(tool, cell_phantoms, folder, pretrained):
    """The second command, on two images; its exit code."""
    (folder / 'cells.py').write_text(
        f"_base_ = '{CONFIGS}/faster_rcnn_bifpn_densenet121_pcam_cell.py'\n"
        f'model = dict(backbone=dict({ARCH}), neck=dict(in_channels=[24, 28, 30, 31], out_channels=16, num_layers=1),\n'
        '    rpn_head=dict(in_channels=16, feat_channels=16), roi_head=dict(\n'
        '    bbox_roi_extractor=dict(out_channels=16), bbox_head=dict(in_channels=16, fc_out_channels=16)))\n'
        "val_cfg = dict(_delete_=True, type='ValLoop')\n")
    return tool('train').main([
        str(folder / 'cells.py'), '--data-root', str(cell_phantoms), '--work-dir', str(folder / 'run'), '--train-limit',
        '2', '--valid-limit', '2', '--cfg-options', *RUN, f'pretrained={pretrained}', 'lr=0',
        'train_dataloader.dataset.pipeline.2.scale=(64,64)', 'val_dataloader.dataset.pipeline.2.scale=(64,64)'])


def weights(path, part):
    """Those of a part by name, without statistics, which a step changes whatever its rate."""
    return {name.removeprefix(part): value for name, value in Checkpoint.read(path).content['state_dict'].items()
            if name.startswith(part) and 'running_' not in name and 'num_batches' not in name}


def test_from_imagenet_over_patches_to_cells(tool, imagenet, pcam, cell_phantoms, tmp_path):
    trained, = pcam.glob('best_*.pth')
    assert 'AUROC_mean' in trained.name
    first = torch.load(imagenet, weights_only=True)
    torch.testing.assert_close(weights(trained, 'backbone.stem.0.')['weight'], first['features.conv0.weight'])
    assert Checkpoint.read(trained).content['state_dict']['head.fc.weight'].shape == (1, 31)
    assert cells(tool, cell_phantoms, tmp_path, trained) == 0
    given, found = weights(trained, 'backbone.'), weights(tmp_path / 'run' / 'epoch_1.pth', 'backbone.')
    assert len(given) == 62 and given.keys() == found.keys()
    for name, value in given.items():
        assert torch.equal(found[name], value), name


def test_by_half_is_an_error(pcam, tmp_path):
    trained, = pcam.glob('best_*.pth')
    content = torch.load(trained, weights_only=False)
    del content['state_dict']['backbone.stages.2.block.1.conv1.weight']
    torch.save(content, tmp_path / 'half.pth')
    backbone = MODELS.build(dict(
        type='cxrdet.MultiLevelDenseNet', arch=dict(growth_rate=8, depths=[2, 2, 2, 2], init_channels=8),
        init_cfg=dict(type='cxrdet.ConvertedPretrained', source='cxrdet', checkpoint=str(tmp_path / 'half.pth'))))
    with pytest.raises(CheckpointError, match=r'half\.pth: .*1 are missing \(stages\.2\.block\.1\.conv1\.weight\)'):
        backbone.init_weights()
