"""From a trained teacher to a distilled student and its plain checkpoint, by the command line."""
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.registry import MODELS, DefaultScope

from cxrdet.checkpoints.checkpoint import Checkpoint
from cxrdet.core.sample_files import read_samples
from cxrdet.preflight.config import load_config

TEACHER = 'configs/faster_rcnn_bifpn_cell_tiny.py'
QUICK = ['train_dataloader.num_workers=0', 'val_dataloader.num_workers=0', 'test_dataloader.num_workers=0',
         'val_cfg.fp16=False', 'train_cfg.val_interval=2', 'default_hooks.logger.interval=1']
CHANNELS = {
    'backbone.base_channels': 16, 'backbone.stem_channels': 16, 'neck.in_channels': [16, 32, 64, 128],
    'neck.out_channels': 16, 'rpn_head.in_channels': 16, 'rpn_head.feat_channels': 16,
    'roi_head.bbox_roi_extractor.out_channels': 16, 'roi_head.bbox_head.in_channels': 16,
    'roi_head.bbox_head.fc_out_channels': 16}
SMALL = [f'model.{key}={value}'.replace(' ', '') for key, value in CHANNELS.items()]
SMALL_STUDENT = [f'model.student.{key}={value}'.replace(' ', '') for key, value in CHANNELS.items()]
VARIANT = '''
_base_ = '{base}/faster_rcnn_bifpn_cell_tiny.py'
model = dict(_delete_=True, type='cxrdet.DistilledDetector', student={{{{_base_.model}}}},
             teacher=dict(config='{base}/faster_rcnn_bifpn_cell_tiny.py', checkpoint=None),
             imitation=dict(weight=0.5, levels=[0, 1], adapter=(16, 64)))
default_hooks = dict(distillation=dict(type='cxrdet.DistillationHook'))
teacher_shortcuts = dict(teacher_checkpoint=['model.teacher.checkpoint'])
'''


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr('yapf.yapflib.yapf_api.FormatCode', lambda text, **_: (text, True))  # takes most of the time
    monkeypatch.setattr('mmengine.runner.Runner._log_env', lambda self, env_cfg: None)


def train(tool, config, folder, data, *options, more=(), epochs=1, code=0):
    assert tool('train').main([str(config), '--data-root', str(data), '--work-dir', str(folder), '--seed', '3', *more,
                               '--cfg-options', *QUICK, f'train_cfg.max_epochs={epochs}', *options]) == code
    return folder


@pytest.fixture(scope='module')
def variant(tmp_path_factory):
    path = tmp_path_factory.mktemp('configs') / 'distilled.py'
    path.write_text(VARIANT.format(base=Path('configs').absolute()))
    return path


@pytest.mark.long
def test_teacher_to_plain_student(tool, cell_phantoms, variant, tmp_path, capsys):
    """A wide teacher, a narrow student with adapters and averaged weights; killed after an epoch and resumed."""
    teacher = train(tool, TEACHER, tmp_path / 'teacher', cell_phantoms) / 'epoch_1.pth'
    options = [f'teacher_checkpoint={teacher}', *SMALL_STUDENT]
    whole, broken = train(tool, variant, tmp_path / 'whole', cell_phantoms, *options, epochs=2), tmp_path / 'broken'
    train(tool, variant, broken, cell_phantoms, *options, epochs=2, more=['--resume', str(whole / 'epoch_1.pth')])
    whole, again = Checkpoint.read(whole / 'epoch_2.pth').content, Checkpoint.read(broken / 'epoch_2.pth').content
    for key in ('state_dict', 'ema_state_dict', 'distillation_adapters'):
        assert list(whole[key]) == list(again[key])
        assert all(torch.equal(whole[key][name], again[key][name]) for name in whole[key]), key

    plain = student().state_dict()
    assert {key: value.shape for key, value in again['state_dict'].items()} == {
        key: value.shape for key, value in plain.items()}
    assert {key for key in again['ema_state_dict'] if key != 'steps'} == {f'module.{key}' for key in plain}
    losses = (broken / 'history.json').read_text()
    assert 'loss_distill_cls' in losses and 'loss_distill_feat' in losses

    capsys.readouterr()
    scores = {}
    for name, config, small in (('student', TEACHER, SMALL), ('distilled', variant, SMALL_STUDENT)):
        out = tmp_path / f'{name}.npz'  # the distilled config needs no teacher here
        assert tool('test').main([str(config), str(broken / 'epoch_2.pth'), '--data-root', str(cell_phantoms), '--out',
                                  str(out), '--work-dir', str(tmp_path / name), '--cfg-options', *QUICK, *small]) == 0
        scores[name] = boxes_of(out)
        assert tool('predict').main([str(config), str(broken / 'epoch_2.pth'), str(cell_phantoms / 'images'),
                                     '--out-dir', str(tmp_path / f'{name}_boxes'), '--no-pictures', '--score-thr',
                                     '0.01', '--cfg-options', *small]) == 0
    assert len(scores['student']) > 0
    np.testing.assert_array_equal(scores['student'], scores['distilled'])
    rows = [(tmp_path / f'{name}_boxes' / 'predictions.csv').read_text() for name in ('student', 'distilled')]
    assert rows[0] == rows[1]


def student():
    cfg = load_config(TEACHER, cfg_options=[*SMALL, 'model.roi_head.bbox_head.num_classes=3'])
    with DefaultScope.overwrite_default_scope('mmdet'):
        return MODELS.build(cfg.model)


def boxes_of(path):
    return np.concatenate([np.c_[sample['pred_instances']['bboxes'], sample['pred_instances']['scores']]
                           for sample in read_samples(path)])


@pytest.mark.parametrize(('option', 'message'), [
    ('teacher_checkpoint=none.pth', 'none.pth'),
    ('alpha=0.5', 'teacher.checkpoint: expected the file of the trained teacher, got nothing. Give it on the command'),
])
def test_teacher_is_missing(tool, cell_phantoms, variant, tmp_path, capsys, option, message):
    """Said before the first step."""
    option = option if 'checkpoint' in option else f'model.{option}'
    train(tool, variant, tmp_path / 'run', cell_phantoms, option, *SMALL_STUDENT, code=2)
    assert message in capsys.readouterr().err
    assert not list((tmp_path / 'run').glob('*.pth'))


@pytest.fixture(scope='module')
def crops(tmp_path_factory):
    """Six training and three validation images of three classes."""
    folder, rng, rows = tmp_path_factory.mktemp('crops'), np.random.default_rng(0), ['path,label,split']
    for i in range(9):
        cv2.imwrite(str(folder / f'{i}.png'), rng.integers(0, 256, (40, 40, 3), np.uint8))
        rows.append(f'{i}.png,{"abc"[i % 3]},{"train" if i < 6 else "val"}')
    (folder / 'metadata.csv').write_text('\n'.join(rows))
    (folder / 'label2id.json').write_text(json.dumps(dict(a=0, b=1, c=2)))
    return folder


def test_classifier_by_its_config(tool, crops, tmp_path):
    """The hybrid network teaches the plain one, whose own config then measures the checkpoint."""
    quick = ['img_size=32', 'batch_size=3', 'num_workers=0', 'max_epochs=1', 'param_scheduler.0.end=1',
             'pretrained=None']

    def run(name, *options):
        assert tool('train').main([f'configs/{name}.py', '--data-root', str(crops), '--work-dir', str(tmp_path / name),
                                   '--cfg-options', *quick, *options]) == 0
        return str(tmp_path / name / 'epoch_1.pth')
    teacher = run('resnet18_hybrid_csv')
    checkpoint = run('resnet18_distilled_csv', f'teacher_checkpoint={teacher}', 'dropout=0.2')
    assert 'loss_distill' in (tmp_path / 'resnet18_distilled_csv' / 'history.json').read_text()
    assert not any('attention' in key for key in Checkpoint.read(checkpoint).content['state_dict'])
    scores = []
    for name in ('resnet18_csv', 'resnet18_distilled_csv'):
        assert tool('test').main([f'configs/{name}.py', checkpoint, '--data-root', str(crops), '--work-dir',
                                  str(tmp_path / 'test'), '--out', str(tmp_path / f'{name}.npz'), '--no-pictures',
                                  '--cfg-options', *quick]) == 0
        samples = read_samples(tmp_path / f'{name}.npz')
        scores.append(np.stack([np.asarray(sample['pred_score']) for sample in samples]))
    assert not list((tmp_path / 'test').glob('**/roc.png'))
    assert scores[0].shape == (3, 3)
    np.testing.assert_array_equal(*scores)
