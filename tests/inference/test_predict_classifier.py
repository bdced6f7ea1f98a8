"""predict() with classifiers: probabilities, thresholds of the checkpoint, decisions, Grad-CAM sheets, bad input."""
import copy
import csv
import json

import cv2
import numpy as np
import pytest
import torch
from mmengine.registry import MODELS, DefaultScope

from cxrdet.core.classification.calibration import scale
from cxrdet.core.classification.operating_points import OperatingPoints
from cxrdet.core.errors import CheckpointError, ConfigError
from cxrdet.inference.cam import CamChoice
from cxrdet.inference.predict import predict
from cxrdet.preflight.config import load_config

CLASSES = ('Mass', 'Edema', 'No Finding')
POINTS = OperatingPoints(CLASSES, {'0.5': np.full(3, 0.5), 'youden': np.array([0.01, 0.99, np.nan]),
                                   'screening': np.full(3, 0.3)},
                         {'0.5': '0.5', 'youden': 'youden', 'screening': '0.3'}, 2.5, 156).to_dict()
CONFIG = '''
default_scope = 'mmpretrain'
custom_imports = dict(imports=['cxrdet'], allow_failed_imports=False)
model = dict(
    type='ImageClassifier',
    backbone=dict(type='ResNet', depth=18, base_channels=16, stem_channels=16, style='pytorch'),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='{head}', num_classes=7, in_channels=128))
data_preprocessor = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)
test_pipeline = [dict(type='cxrdet.LoadImage'), {steps}, dict(type='PackInputs')]
'''


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Two configs, a checkpoint of each as training would write it, and three images of two shapes."""
    root, rng = tmp_path_factory.mktemp('classifier'), np.random.default_rng(0)
    for name, head in (('multi', 'MultiLabelLinearClsHead'), ('single', 'LinearClsHead')):
        (root / f'{name}.py').write_text(CONFIG.format(head=head, steps='dict(type="Resize", scale=64)'))
        model = build(root / f'{name}.py')
        torch.save({'meta': {'dataset_meta': {'classes': CLASSES}, 'operating_points': POINTS},
                    'state_dict': model.state_dict()}, root / f'{name}.pth')
    (root / 'in' / 'sub').mkdir(parents=True)
    for name, shape in {'b.png': (90, 120), 'a.jpg': (64, 64, 3), 'sub/b.png': (90, 120, 3)}.items():
        cv2.imwrite(str(root / 'in' / name), rng.integers(0, 256, shape, dtype=np.uint8))
    return root


def build(file):
    config = load_config(file)
    config.model.head.num_classes = 3
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = MODELS.build(dict(config.model, data_preprocessor=config.data_preprocessor))
    model.init_weights()
    torch.nn.init.normal_(model.head.fc.weight, std=0.3)
    return model.eval()


def logits_of(folder, name, image):
    """Without predict, pipeline and data preprocessor."""
    model = build(folder / f'{name}.py')
    picture = cv2.resize(cv2.imread(str(folder / 'in' / image)), (64, 64))[..., ::-1]
    mean, std = np.array([123.675, 116.28, 103.53]), np.array([58.395, 57.12, 57.375])
    inputs = torch.tensor(((picture - mean) / std).transpose(2, 0, 1)[None], dtype=torch.float32)
    with torch.no_grad():
        return model(inputs, mode='tensor')[0].double()


def rows_of(out_dir):
    with open(out_dir / 'predictions.csv', newline='') as stream:
        return list(csv.DictReader(stream))


def changed(folder, tmp_path, change):
    content = torch.load(folder / 'multi.pth', weights_only=False)
    change(content)
    torch.save(content, tmp_path / 'other.pth')
    return tmp_path / 'other.pth'


def test_multi_label(folder, tmp_path):
    records = predict(folder / 'multi.py', folder / 'multi.pth', folder / 'in', out_dir=tmp_path, batch_size=2)
    assert [(r['file'], r['width'], r['height']) for r in records] == [('a.jpg', 64, 64), ('b.png', 120, 90),
                                                                       ('sub/b.png', 120, 90)]
    for record in records:
        expected = logits_of(folder, 'multi', record['file']).sigmoid().numpy()
        np.testing.assert_allclose(record['probabilities'], expected, atol=1e-4)
        assert record['decisions'] == [1, 0, int(expected[2] >= 0.5)]  # by youden; no threshold for No Finding: 0.5
        assert record['classes'] == [name for name, found in zip(CLASSES, record['decisions']) if found]
    content = json.loads((tmp_path / 'predictions.json').read_text())
    assert content['images'] == records and content['thresholds'] == [0.01, 0.99, 0.5]
    assert content['decided_by'] == (f'operating point "youden" (youden) of {folder / "multi.pth"}, chosen on 156 '
                                     'validation images; 0.5 for No Finding, which could not be chosen there')
    rows = rows_of(tmp_path)
    assert list(rows[0]) == ['image', 'class', 'probability', 'threshold', 'decision'] and len(rows) == 9
    assert list(rows[4].values()) == ['b.png', 'Edema', str(records[1]['probabilities'][1]), '0.99', '0']
    assert not (tmp_path / 'pictures').exists()


def test_thresholds_that_are_asked_for(folder, tmp_path):
    predict(folder / 'multi.py', folder / 'multi.pth', folder / 'in', out_dir=tmp_path, operating_point='screening')
    assert {row['threshold'] for row in rows_of(tmp_path)} == {'0.3'}
    predict(folder / 'multi.py', folder / 'multi.pth', folder / 'in', out_dir=tmp_path, score_thr=0.9)
    assert {row['threshold'] for row in rows_of(tmp_path)} == {'0.9'}
    assert json.loads((tmp_path / 'predictions.json').read_text())['decided_by'] == '0.9, as asked for'


def test_a_checkpoint_without_thresholds(folder, tmp_path):
    file = changed(folder, tmp_path, lambda content: content['meta'].pop('operating_points'))
    records = predict(folder / 'multi.py', file, folder / 'in' / 'b.png', out_dir=tmp_path / 'out')
    assert records[0]['decisions'] == [int(p >= 0.5) for p in records[0]['probabilities']]
    content = json.loads((tmp_path / 'out' / 'predictions.json').read_text())
    assert content['decided_by'].startswith(f'0.5 for every class, for {file} stores none') and set(
        content['thresholds']) == {0.5}
    for options in ({'operating_point': 'youden'}, {'calibrate': True}):
        with pytest.raises(ConfigError, match='other.pth holds no operating points and no temperature'):
            predict(folder / 'multi.py', file, folder / 'in', out_dir=tmp_path / 'no', **options)
    assert not (tmp_path / 'no').exists()


@pytest.mark.parametrize(('thr', 'told'), [(0.3, 'thr of the head (0.3)'), ([0.01, 0.99, 0.2], 'thr of the head')])
@pytest.mark.parametrize('stored', [False, True])
def test_thresholds_of_the_head(folder, tmp_path, thr, told, stored):
    config = tmp_path / 'own.py'
    config.write_text((folder / 'multi.py').read_text().replace("'MultiLabelLinearClsHead'", (
        f"'cxrdet.MultiLabelHead', thr={thr}")))
    model = build(config)
    meta = {'dataset_meta': {'classes': CLASSES}, **({'operating_points': POINTS} if stored else {})}
    torch.save({'meta': meta, 'state_dict': model.state_dict()}, tmp_path / 'own.pth')
    records = predict(config, tmp_path / 'own.pth', folder / 'in', out_dir=tmp_path / 'out')
    expected = np.broadcast_to(thr, 3).tolist()
    content = json.loads((tmp_path / 'out' / 'predictions.json').read_text())
    assert content['thresholds'] == ([0.01, 0.99, expected[2]] if stored else expected)
    assert (f'; {told} for No Finding, which could not' if stored else f'{told} for every class, for {tmp_path}'
            ) in content['decided_by']
    for record in records:
        assert record['decisions'] == [int(p >= t) for p, t in zip(record['probabilities'], content['thresholds'])]
        if not stored:
            logits = torch.logit(torch.tensor([record['probabilities']]))
            labels = model.head._get_predictions(logits, None)[0].pred_label.tolist()
            assert [CLASSES[i] for i in labels] == record['classes']


def test_calibrated(folder, tmp_path):
    plain = predict(folder / 'multi.py', folder / 'multi.pth', folder / 'in', out_dir=tmp_path)
    scaled = predict(folder / 'multi.py', folder / 'multi.pth', folder / 'in', out_dir=tmp_path, calibrate=True)
    for one, other in zip(plain, scaled):
        np.testing.assert_allclose(other['probabilities'], (logits_of(folder, 'multi', one['file']) / 2.5).sigmoid(),
                                   atol=1e-4)
        assert one['decisions'] == other['decisions'] and one['probabilities'] != other['probabilities']
    content = json.loads((tmp_path / 'predictions.json').read_text())
    np.testing.assert_allclose(content['thresholds'], scale([0.01, 0.99, 0.5], 2.5), rtol=1e-5)
    assert content['temperature'] == 2.5


def test_single_label(folder, tmp_path):
    records = predict(folder / 'single.py', folder / 'single.pth', folder / 'in', out_dir=tmp_path)
    for record in records:
        expected = logits_of(folder, 'single', record['file']).softmax(0).numpy()
        np.testing.assert_allclose(record['probabilities'], expected, atol=1e-4)
        assert record['classes'] == [CLASSES[expected.argmax()]] and sum(record['decisions']) == 1
    rows = rows_of(tmp_path)
    assert {row['threshold'] for row in rows} == {''} and sum(row['decision'] == '1' for row in rows) == 3
    content = json.loads((tmp_path / 'predictions.json').read_text())
    assert content['decided_by'] == 'the most probable class' and 'thresholds' not in content
    with pytest.raises(ConfigError, match='this one gives each image its most probable class'):
        predict(folder / 'single.py', folder / 'single.pth', folder / 'in', out_dir=tmp_path / 'no', score_thr=0.5)


@pytest.mark.parametrize('kind', ['multi', 'single'])
def test_cam_sheets(folder, tmp_path, kind):
    predict(folder / f'{kind}.py', folder / f'{kind}.pth', folder / 'in', out_dir=tmp_path, cam=CamChoice(('Mass',)))
    files = sorted(path.relative_to(tmp_path / 'pictures').as_posix() for path in tmp_path.rglob('pictures/**/*.*'))
    assert files == ['a.jpg', 'b.png', 'sub/b.png']
    sheet = cv2.imread(str(tmp_path / 'pictures' / 'b.png'))
    assert sheet.shape[1] > 2 * 512 > sheet.shape[0] > 384  # the image and one overlay of 512 x 384
    left, right = sheet[40:-40, 40:480], sheet[40:-40, -480:-40]
    assert (left.max(axis=2) == left.min(axis=2)).mean() > 0.99  # a grey image
    assert (right.max(axis=2).astype(int) - right.min(axis=2) > 40).mean() > 0.02  # with colours on it


def test_cam_draws_what_was_found_or_the_most_probable(folder, tmp_path, monkeypatch):
    from cxrdet.inference import tasks as predict_tasks
    seen, draw = [], predict_tasks.cam_sheet
    monkeypatch.setattr(predict_tasks, 'cam_sheet',
                        lambda image, heats, titles, **k: seen.append(titles) or draw(image, heats, titles, **k))
    records = predict(folder / 'multi.py', folder / 'multi.pth', folder / 'in', out_dir=tmp_path, cam=CamChoice())
    for record, titles in zip(records, seen):
        assert sorted(title.rpartition(' 0.')[0].rpartition(' 1.')[0] or title.rpartition(' 0.')[0]
                      for title in titles) == sorted(record['classes']) and all('(present)' in t for t in titles)
    seen.clear()
    records = predict(folder / 'multi.py', folder / 'multi.pth', folder / 'in' / 'b.png', out_dir=tmp_path,
                      score_thr=1.0, cam=CamChoice())
    best = int(np.argmax(records[0]['probabilities']))
    assert len(seen[0]) == 1 and seen[0][0].startswith(CLASSES[best]) and seen[0][0].endswith('(absent)')


def test_cam_of_a_cropped_view_stands_on_the_view(folder, tmp_path, monkeypatch):
    from cxrdet.inference import tasks as predict_tasks
    seen = []
    monkeypatch.setattr(predict_tasks, 'cam_sheet', lambda image, heats, titles, **k: seen.append(image) or image)
    steps = 'dict(type="ResizeEdge", scale=80, edge="short"), dict(type="CenterCrop", crop_size=64)'
    (tmp_path / 'crop.py').write_text(CONFIG.format(head='MultiLabelLinearClsHead', steps=steps))
    for config in (tmp_path / 'crop.py', folder / 'multi.py'):
        predict(config, folder / 'multi.pth', folder / 'in' / 'b.png', out_dir=tmp_path / 'out', cam=CamChoice())
    assert [image.shape for image in seen] == [(64, 64, 3), (90, 120, 3)]


@pytest.mark.parametrize(('options', 'text'), [
    ({'operating_point': 'yuden'}, 'operating point must be one of .* got "yuden". Did you mean "youden"'),
    ({'operating_point': 'youden', 'score_thr': 0.5}, '--score-thr and --operating-point both name thresholds'),
    ({'formats': ['yolo']}, '--format is for boxes'),
    ({'cam': CamChoice(('Mas',))}, '--cam-classes must be one of .* got "Mas". Did you mean "Mass"'),
    ({'cam': CamChoice(None, 'backbone.layer7')}, 'The model has no layer "backbone.layer7"'),
    ({'cam': CamChoice(), 'pictures': False}, '--cam asks for pictures and --no-pictures for none'),
])
def test_bad_arguments(folder, tmp_path, options, text):
    with pytest.raises(ConfigError, match=text):
        predict(folder / 'multi.py', folder / 'multi.pth', folder / 'in', out_dir=tmp_path / 'out', **options)
    assert not (tmp_path / 'out').exists()


def test_without_grad_cam(folder, tmp_path, monkeypatch):
    import importlib.util
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, 'find_spec',
                        lambda name, *rest: None if name == 'pytorch_grad_cam' else find(name, *rest))
    with pytest.raises(ConfigError, match=r'pip install "cxrdet\[cam\]"'):
        predict(folder / 'multi.py', folder / 'multi.pth', folder / 'in', out_dir=tmp_path / 'out', cam=CamChoice())


@pytest.mark.parametrize(('change', 'text'), [
    (lambda c: c['meta'].clear(), 'does not say its classes'),
    (lambda c: c['meta']['operating_points'].update(classes=['a', 'b', 'c']), r'operating points .* cannot be used'),
    (lambda c: c['state_dict'].update({key.replace('backbone', 'bbox_head'): value for key, value in
                                       [c['state_dict'].popitem() for _ in range(9)]}), 'the weights of another model'),
])
def test_checkpoints_that_do_not_fit(folder, tmp_path, change, text):
    file = changed(folder, tmp_path, change)
    with pytest.raises(CheckpointError, match=text):
        predict(folder / 'multi.py', file, folder / 'in', out_dir=tmp_path / 'out')
    assert not (tmp_path / 'out').exists()


def test_configs_are_left_as_they_are(folder, tmp_path):
    config = load_config(folder / 'multi.py')
    before = copy.deepcopy(config.to_dict())
    predict(config, folder / 'multi.pth', folder / 'in' / 'b.png', out_dir=tmp_path)
    assert config.to_dict() == before
