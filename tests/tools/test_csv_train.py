"""Classifiers of images that a CSV lists, from the command line: train, measure, and what is said about bad files."""
import copy
import json
import re

import cv2
import numpy as np
import pytest
import torch
import torchvision
from mmengine.registry import DATASETS, DefaultScope

from cxrdet.checkpoints.checkpoint import Checkpoint
from cxrdet.core.history import read_history
from cxrdet.preflight.config import load_config

CONFIG = 'configs/ablations/crops/resnet18_crops_64.py'
COLOURS = {'teal': (150, 140, 30), 'pink': (140, 80, 220), 'grey': (90, 90, 90)}
SMALL = ['img_size=32', 'max_epochs=2', 'batch_size=8', 'num_workers=0', 'param_scheduler.0.end=2',
         'default_hooks.logger.interval=1']


@pytest.fixture(scope='module')
def crops(tmp_path_factory):
    """24 training and 9 validation crops, sorted by class: one colour each on a bright ground, of different sizes."""
    folder = tmp_path_factory.mktemp('crops')
    (folder / 'images').mkdir()
    rng = np.random.default_rng(0)
    lines = ['path,label,split']
    for label, colour in COLOURS.items():
        for split, count in (('train', 8), ('val', 3)):
            for n in range(count):
                side = int(rng.integers(16, 60))
                image = np.full((side, side, 3), 230, np.uint8)
                cv2.circle(image, (side // 2, side // 2), side // 3, colour, -1)
                image[0, 0] = len(lines)  # no two are equal
                name = f'images/{label}_{split}_{n}.png'
                cv2.imwrite(str(folder / name), image)
                lines.append(f'{name},{label},{split}')
    (folder / 'metadata.csv').write_text('\n'.join(lines))
    (folder / 'label2id.json').write_text(json.dumps({name: i for i, name in enumerate(COLOURS)}))
    return folder


@pytest.fixture(scope='module')
def run(tool, crops, tmp_path_factory):
    """A training of two epochs on twelve of the crops, with the class-wise rates of the old script."""
    work_dir = tmp_path_factory.mktemp('run')
    assert tool('train').main([
        CONFIG, '--data-root', str(crops), '--work-dir', str(work_dir), '--seed', '1', '--train-limit', '12',
        '--valid-limit', '6', '--cfg-options', *SMALL, 'lr=1e-4',
        'optim_wrapper.paramwise_cfg.custom_keys.head.lr_mult=10', 'patience=6', 'dropout=0.2']) == 0
    return work_dir


def test_views_are_the_eight_ways_to_lay_a_square(crops):
    cfg = load_config(CONFIG, data_root=crops, cfg_options=['img_size=48'])
    plain, views = cfg.val_dataloader.dataset, copy.deepcopy(cfg.val_dataloader.dataset)
    views.pipeline = cfg.tta_pipeline
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        image = DATASETS.build(plain)[0]['inputs'].numpy()
        found = [view.numpy().tobytes() for view in DATASETS.build(views)[0]['inputs']]
    turned = [np.rot90(image, turns, (1, 2)) for turns in range(4)]
    assert found[0] == image.tobytes()
    assert image.shape == (3, 48, 48)
    assert sorted(found) == sorted(view.tobytes() for turn in turned for view in (turn, turn[:, :, ::-1]))


def scalars(folder):
    path, = folder.glob('*/vis_data/scalars.json')
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_classes_follow_the_json(run):
    checkpoint = Checkpoint.read(run / 'epoch_2.pth').content
    assert tuple(checkpoint['meta']['dataset_meta']['classes']) == tuple(COLOURS)
    assert checkpoint['state_dict']['head.fc.weight'].shape == (3, 512)


def test_options_arrive(run):
    text = (run / 'resnet18_crops_64.py').read_text()
    assert len(re.findall(r'scale=32\b', text)) >= 4
    assert re.search(r'max_epochs=2\b', text)
    assert re.search(r'end=2,\s*\n?\s*eta_min|eta_min.*\n?.*end=2\b', text)
    assert 'patience=6' in text
    assert 'dropout=0.2' in text
    rates = {entry['base_lr'] for entry in scalars(run) if 'base_lr' in entry}
    assert max(rates) <= 1e-4


def test_head_has_its_rate(run):
    groups = Checkpoint.read(run / 'epoch_2.pth').content['optimizer']['param_groups']
    assert sorted({round(group['initial_lr'], 9) for group in groups}) == [1e-4, 1e-3]


def test_limits_keep_the_classes(run):
    log, = run.glob('*/*.log')
    last = scalars(run)[-1]
    assert '6 images, accuracy' in log.read_text()
    assert not np.isnan([last[f'accuracy/recall_{name}'] for name in COLOURS]).any()


def test_validation_logs_metrics_and_loss(run):
    last = scalars(run)[-1]
    assert {'accuracy/top1', 'accuracy/balanced', 'accuracy/macro_F1', 'accuracy/F1_teal', 'val/loss'} <= set(last)
    assert 0 < last['val/loss'] < 10
    assert len(list(run.glob('best_accuracy_top1_epoch_*.pth'))) == 1


def test_confusion_matrix_is_drawn(run):
    picture, = run.glob('*/vis_data/confusion_matrix.png')
    assert min(cv2.imread(str(picture)).shape[:2]) > 300


def test_measured_again_from_the_checkpoint(run, tool, crops, tmp_path):
    assert tool('test').main([
        CONFIG, str(run / 'epoch_2.pth'), '--data-root', str(crops), '--work-dir', str(tmp_path), '--valid-limit', '6',
        '--out', str(tmp_path / 'raw.npz'), '--cfg-options', *SMALL]) == 0
    assert (tmp_path / 'raw.npz').stat().st_size > 0
    curves, = tmp_path.glob('*/curves/*')
    assert curves.name == 'roc.png'
    path, = tmp_path.glob('*/*.json')
    measured = json.loads(path.read_text().splitlines()[-1])
    validated = scalars(run)[-1]
    for key in ('accuracy/top1', 'accuracy/balanced', 'accuracy/F1_pink'):
        assert measured[key] == pytest.approx(validated[key], abs=1e-6, nan_ok=True)


@pytest.mark.long
def test_recipe_from_a_local_file_of_torchvisions_weights(tool, crops, tmp_path):
    """The rates are 0 here, so that what was loaded is there still; without the file the run does not start."""
    weights = torchvision.models.resnet18(weights=None).state_dict()
    torch.save(weights, tmp_path / 'resnet18.pth')

    def train(checkpoint):
        return tool('train').main([
            'configs/resnet18_hybrid_csv.py', '--data-root', str(crops), '--work-dir', str(tmp_path / 'run'),
            '--train-limit', '6', '--valid-limit', '3', '--cfg-options', *SMALL[:1], *SMALL[2:4], 'max_epochs=1',
            'lr=0', 'param_scheduler=[]', f'model.backbone.init_cfg.checkpoint={checkpoint}'])
    assert train(tmp_path / 'gone.pth') == 2
    assert train(tmp_path / 'resnet18.pth') == 0
    state = Checkpoint.read(tmp_path / 'run' / 'epoch_1.pth').content['state_dict']
    for name in ('conv1.weight', 'layer4.1.bn2.weight'):
        assert torch.equal(state[f'backbone.{name}'], weights[name])
    assert 'backbone.layer4.attention.1.qkv.weight' in state


@pytest.mark.long
def test_named_run_goes_on_in_its_folder(tool, crops, tmp_path):
    def train(*options, epochs):
        assert tool('train').main([
            CONFIG, '--data-root', str(crops), '--work-dir', str(tmp_path), '--run-name', 'auto', '--train-limit', '4',
            '--valid-limit', '3', *options, '--cfg-options', *SMALL, 'train_cfg.val_interval=1',
            f'train_cfg.max_epochs={epochs}']) == 0
    train(epochs=1)
    folder, = tmp_path.iterdir()
    assert re.fullmatch(r'resnet18_crops_64_\d{8}_\d{6}', folder.name)
    train('--resume', epochs=2)
    assert list(tmp_path.iterdir()) == [folder]
    assert {'history.json', 'metrics.json', 'training_plot.png', 'epoch_2.pth'} <= {path.name for path in
                                                                                   folder.iterdir()}
    assert [record['epoch'] for record in read_history(folder)] == [1, 2]


def spoil(folder, tmp_path, edit):
    """A copy of the set with a link to its images, whose CSV is edited."""
    copy = tmp_path / 'spoilt'
    copy.mkdir()
    (copy / 'images').symlink_to(folder / 'images')
    lines = (folder / 'metadata.csv').read_text().splitlines()
    (copy / 'metadata.csv').write_text('\n'.join(edit(lines)))
    (copy / 'label2id.json').write_text((folder / 'label2id.json').read_text())
    return copy


@pytest.mark.parametrize(('edit', 'expected'), [
    (lambda lines: [*lines[:4], lines[4].replace('teal', 'tael', 2).replace('tael', 'teal', 1), *lines[5:]],
     r'metadata\.csv: line 5: label "tael" is no class of the label2id file\. Did you mean "teal"\?'),
    (lambda lines: [*lines, lines[1]], r'line 35: "images/teal_train_0\.png" is listed before, in line 2'),
    (lambda lines: [lines[0], 'gone.png,teal,train', *lines[1:]], r'line 2: no such image file: .*gone\.png'),
    (lambda lines: [lines[0].replace('label', 'class'), *lines[1:]], r'no column "label" for the label'),
    (lambda lines: [*lines[:3], lines[3].replace(',train', ',trian'), *lines[4:]],
     r'line 4: unknown split "trian".*Did you mean "train"\?'),
], ids=['label', 'duplicate', 'missing', 'column', 'split'])
def test_bad_csv(tool, crops, tmp_path, capsys, edit, expected):
    folder = spoil(crops, tmp_path, edit)
    assert tool('train').main([CONFIG, '--data-root', str(folder), '--work-dir', str(tmp_path / 'run')]) == 2
    said = capsys.readouterr().err
    assert re.search(expected, said), said
    assert 'Traceback' not in said


@pytest.mark.parametrize(('option', 'expected'), [
    ('model.head.in_chanels=512', r'model\.head\.in_chanels: .* takes no argument "in_chanels"\. Did you mean '
                                  r'"in_channels"'),
    ('train_dataloader.dataset.spilt=train', r'CSVImageDataset takes no argument "spilt"\. Did you mean "split"'),
    ('val_evaluator.claswise=False', r'takes no argument "claswise"\. Did you mean "classwise"'),
])
def test_misspelt_keys(tool, crops, tmp_path, capsys, option, expected):
    assert tool('train').main([CONFIG, '--data-root', str(crops), '--work-dir', str(tmp_path), '--cfg-options',
                               option]) == 2
    assert re.search(expected, capsys.readouterr().err)
