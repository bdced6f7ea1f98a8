"""predict(): its numbers against MMDetection's own inference, its files, and all that a user can get wrong."""
import csv
import io
import json
import shutil
from importlib import import_module
from pathlib import Path

import cv2
import numpy as np
import pytest

from cxrdet.core.errors import CheckpointError, ConfigError, DataError

CLASSES = ('red cell', 'white, "odd" cell', 'platelet')  # a CSV writer has to quote the second one


@pytest.fixture(scope='module')
def config():
    from cxrdet.preflight.config import load_config
    file = Path(__file__).parents[2] / 'configs' / 'faster_rcnn_bifpn_cell_tiny.py'
    return load_config(file, cfg_options=['model.test_cfg.rcnn.max_per_img=20', 'model.backbone.init_cfg=None',
                                          'model.test_cfg.rcnn.score_thr=0.0'])


@pytest.fixture(scope='module')
def checkpoint(config, tmp_path_factory):
    """An untrained model of three classes, as training would save it."""
    import copy

    import torch
    from mmengine.registry import MODELS, DefaultScope

    from cxrdet.preflight.data import follow_classes
    cfg = copy.deepcopy(config)
    follow_classes(cfg, classes=CLASSES)
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = MODELS.build(cfg.model)
    model.init_weights()
    path = tmp_path_factory.mktemp('checkpoint') / 'epoch_1.pth'
    torch.save({'meta': {'dataset_meta': {'classes': CLASSES}}, 'state_dict': model.state_dict()}, path)
    return path


@pytest.fixture(scope='module')
def images(tmp_path_factory):
    """A folder with four images in two formats, three sizes and two levels, and other things that are no images."""
    root, rng = tmp_path_factory.mktemp('images'), np.random.default_rng(0)
    (root / 'sub').mkdir()
    (root / '.cache').mkdir()
    shapes = {'b.png': (90, 120, 3), 'a.JPG': (64, 64, 3), 'sub/c.bmp': (50, 80), 'sub/b.png': (90, 120)}
    for name, shape in shapes.items():
        cv2.imwrite(str(root / name), rng.integers(0, 256, shape, dtype=np.uint8))
    shutil.copy(root / 'b.png', root / '.cache' / 'b.png')
    (root / 'readme.txt').write_text('no image')
    return root


@pytest.fixture(scope='module')
def predicted(config, checkpoint, images, tmp_path_factory):
    from cxrdet.inference.predict import predict
    out_dir = tmp_path_factory.mktemp('out') / 'new' / 'results'
    return predict(config, checkpoint, images, out_dir=out_dir, score_thr=0.05, batch_size=3, device='cpu',
                   formats=['coco', 'yolo']), out_dir


def test_numbers_are_those_of_mmdet(config, checkpoint, images, predicted):
    import torch
    from mmdet.apis import inference_detector
    from mmengine.dataset import Compose
    from mmengine.registry import DefaultScope

    from cxrdet.checkpoints.checkpoint import Checkpoint
    from cxrdet.engine.process import build_model
    from cxrdet.preflight.check import set_classes
    set_classes(config, CLASSES)
    model, classes = build_model(config, Checkpoint.read(checkpoint), torch.device('cpu'))
    model.cfg = config
    assert classes == CLASSES
    with DefaultScope.overwrite_default_scope('mmdet'):
        steps = [step for step in config.test_dataloader.dataset.pipeline if step['type'] != 'LoadAnnotations']
        expected = inference_detector(model, str(images / 'a.JPG'), test_pipeline=Compose(steps)).pred_instances
    record = predicted[0][0]
    keep = expected.scores >= 0.05
    assert 0 < keep.sum() == len(record['boxes'])
    np.testing.assert_allclose(record['scores'], expected.scores[keep].numpy(), atol=1e-4)
    np.testing.assert_allclose(record['boxes'], expected.bboxes[keep].numpy(), atol=0.05)
    assert record['labels'] == expected.labels[keep].tolist()


def test_files(predicted):
    records, out_dir = predicted
    content = json.loads((out_dir / 'predictions.json').read_text())
    assert content['images'] == records and content['classes'] == list(CLASSES) and content['score_thr'] == 0.05
    assert [(r['file'], r['width'], r['height']) for r in records] == [
        ('a.JPG', 64, 64), ('b.png', 120, 90), ('sub/b.png', 120, 90), ('sub/c.bmp', 80, 50)]
    with open(out_dir / 'predictions.csv', newline='') as stream:
        rows = list(csv.DictReader(stream))
    flat = [(r['file'], *box, score, label, name) for r in records
            for box, score, label, name in zip(r['boxes'], r['scores'], r['labels'], r['classes'], strict=True)]
    assert [tuple(row.values()) for row in rows] == [tuple(str(value) for value in row) for row in flat] and flat
    assert list(rows[0]) == ['image', 'x1', 'y1', 'x2', 'y2', 'score', 'label', 'class']
    for record in records:
        boxes, scores = np.array(record['boxes']), record['scores']
        assert scores == sorted(scores, reverse=True) and min(scores) >= 0.05
        assert record['classes'] == [CLASSES[label] for label in record['labels']]
        assert boxes.min() >= 0 and (boxes.max(axis=0) <= np.array([record['width'], record['height']] * 2)).all()


def test_files_for_annotation_tools(predicted):
    records, out_dir = predicted
    results = json.loads((out_dir / 'coco' / 'results.json').read_text())
    assert [entry['score'] for entry in results] == [score for record in records for score in record['scores']]
    lines = (out_dir / 'yolo' / 'labels' / 'sub' / 'b.txt').read_text().splitlines()
    assert [int(line.split()[0]) for line in lines] == records[2]['labels'] and not (out_dir / 'cvat').exists()


def test_pictures(predicted, images):
    records, out_dir = predicted
    found = sorted(path.relative_to(out_dir / 'pictures').as_posix() for path in (out_dir / 'pictures').rglob('*.*'))
    assert found == ['a.JPG', 'b.png', 'sub/b.png', 'sub/c.bmp.png']
    picture, image = cv2.imread(str(out_dir / 'pictures' / 'b.png')), cv2.imread(str(images / 'b.png'))
    assert picture.shape == image.shape and (picture != image).any()
    assert [path.name for path in out_dir.rglob('.*')] == ['.cxrdet']
    assert [path.name for path in (out_dir / '.cxrdet').iterdir()] == ['predict.json']


def test_one_file_without_pictures_replaces_old_results(config, checkpoint, images, predicted, tmp_path):
    from cxrdet.inference.predict import predict
    shutil.copytree(predicted[1], tmp_path, dirs_exist_ok=True)
    (tmp_path / 'notes.txt').write_text('keep')
    records = predict(config, checkpoint, images / 'sub' / 'c.bmp', out_dir=tmp_path, score_thr=1.0, pictures=False)
    assert [record['file'] for record in records] == ['c.bmp'] and records[0]['boxes'] == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ['.cxrdet', 'notes.txt', 'predictions.csv',
                                                                'predictions.json']
    assert (tmp_path / 'predictions.csv').read_text() == 'image,x1,y1,x2,y2,score,label,class\n'


def test_own_results_are_no_source(images, tmp_path):
    from cxrdet.inference.predict import find_images
    shutil.copytree(images, tmp_path / 'in')
    shutil.copytree(images, tmp_path / 'in' / 'out' / 'pictures')
    _, files = find_images(tmp_path / 'in', leave_out=tmp_path / 'in' / 'out')
    assert [path.name for path in files] == ['a.JPG', 'b.png', 'b.png', 'c.bmp']
    assert len(find_images(tmp_path / 'in')[1]) == 8


@pytest.mark.parametrize('out', ['.', 'in', 'in/results'])
def test_a_second_call_sees_what_the_first_saw(config, checkpoint, images, tmp_path, monkeypatch, out):
    """Wherever the results go, above the images, beside or below them."""
    from cxrdet.inference.predict import predict
    shutil.copytree(images, tmp_path / 'in')
    monkeypatch.chdir(tmp_path)
    first = predict(config, checkpoint, 'in', out_dir=out, device='cpu')
    assert [record['file'] for record in predict(config, checkpoint, 'in', out_dir=out, device='cpu')] == [
        record['file'] for record in first]
    assert len(first) == 4


def test_unreadable_images_are_all_named(config, checkpoint, images, tmp_path):
    from cxrdet.inference.predict import predict
    shutil.copytree(images, tmp_path / 'in')
    whole = (images / 'b.png').read_bytes()
    (tmp_path / 'in' / 'cut.png').write_bytes(whole[:len(whole) // 2])
    (tmp_path / 'in' / 'empty.jpg').write_bytes(b'')
    with pytest.raises(DataError) as caught:
        predict(config, checkpoint, tmp_path / 'in', out_dir=tmp_path / 'out')
    text = str(caught.value)
    assert text.startswith('2 of 6 images cannot be used; nothing was predicted')
    assert f'{tmp_path}/in/cut.png: ' in text and f'{tmp_path}/in/empty.jpg: the image file is empty' in text
    assert not (tmp_path / 'out').exists()


def test_errors_of_other_loaders_and_long_lists():
    from cxrdet.inference.predict import _told, faulty_images

    def load(results):
        raise KeyError('x')
    faults = faulty_images(load, None, [Path(f'{i}.png') for i in range(12)])
    text = _told(faults, 12, 'cannot be used')
    assert "0.png: cannot be read: KeyError: 'x'" in text and text.endswith('... and 2 more')
    assert faulty_images(load, None, []) == {}


@pytest.fixture
def films(images, tmp_path):
    """Two films that are fine, one that is too thin for the pipeline of the tiny detector, and a torn one."""
    folder = tmp_path / 'films'
    folder.mkdir()
    for name in ('a.JPG', 'b.png'):
        shutil.copy(images / name, folder / name)
    cv2.imwrite(str(folder / 'thin.png'), np.zeros((1, 3000, 3), np.uint8))
    (folder / 'torn.png').write_bytes((images / 'b.png').read_bytes()[:1000])
    return folder


def test_thin_and_torn_films_are_named_before_the_model_runs(config, checkpoint, films, tmp_path):
    from cxrdet.inference.predict import predict
    with pytest.raises(DataError) as caught:
        predict(config, checkpoint, films, out_dir=tmp_path / 'out')
    lines = str(caught.value).splitlines()
    assert lines[0].startswith('2 of 4 images') and '--skip-errors' in lines[0] and len(lines) == 3
    assert f'{films}/thin.png: the image of 3000 x 1 px' in lines[1] and f'{films}/torn.png: ' in lines[2]
    assert not (tmp_path / 'out').exists()


def test_films_that_cannot_be_used_are_left_out_if_asked(config, checkpoint, films, tmp_path, capfd, tool):
    config.dump(tmp_path / 'config.py')
    arguments = [str(tmp_path / 'config.py'), str(checkpoint), str(films), '--out-dir', str(tmp_path / 'out'),
                 '--device', 'cpu', '--skip-errors']
    assert tool('predict').main(arguments) == 0
    told = ''.join(capfd.readouterr())
    assert '2 of 4 images were left out' in told and 'thin.png' in told and 'torn.png' in told
    content = json.loads((tmp_path / 'out' / 'predictions.json').read_text())
    assert [record['file'] for record in content['images']] == ['a.JPG', 'b.png']
    assert [error['file'] for error in content['errors']] == ['thin.png', 'torn.png']
    for name in ('a.JPG', 'b.png'):
        (films / name).unlink()
    assert tool('predict').main([*arguments[:3], '--out-dir', str(tmp_path / 'none'), '--skip-errors']) == 2
    assert not (tmp_path / 'none').exists()


def test_a_film_on_which_the_model_fails_costs_the_others_nothing(config, checkpoint, images, tmp_path, monkeypatch,
                                                                  predicted):
    module = import_module('cxrdet.inference.predict')
    build = module.build_model

    def fragile(*args, bad, **kwargs):
        model, classes = build(*args, **kwargs)
        forward = model.test_step

        def test_step(data):
            if any(sample.img_path.endswith(bad) for sample in data['data_samples']):
                raise RuntimeError('too small for the model')
            return forward(data)
        model.test_step = test_step
        return model, classes

    monkeypatch.setattr(module, 'build_model', lambda *args, **kwargs: fragile(*args, bad='c.bmp', **kwargs))
    with pytest.raises(DataError, match=r'1 of 4 images failed; (.|\n)*c\.bmp: .*RuntimeError: too small') as caught:
        module.predict(config, checkpoint, images, out_dir=tmp_path / 'out', batch_size=2)
    assert str(tmp_path / 'out') in str(caught.value)
    content = json.loads((tmp_path / 'out' / 'predictions.json').read_text())
    assert [r['file'] for r in content['images']] == [r['file'] for r in predicted[0][:3]]
    assert [error['file'] for error in content['errors']] == ['sub/c.bmp']
    monkeypatch.setattr(module, 'build_model', lambda *args, **kwargs: fragile(*args, bad='', **kwargs))
    with pytest.raises(RuntimeError, match='too small'):  # it fails on all: a fault of the model
        module.predict(config, checkpoint, images, out_dir=tmp_path / 'none', skip_errors=True)
    assert not (tmp_path / 'none').exists()


def test_pages(config, checkpoint, images, tmp_path):
    from PIL import Image

    from cxrdet.inference.predict import predict
    first, second = Image.open(images / 'a.JPG'), Image.open(images / 'b.png').convert('RGB')
    first.save(tmp_path / 'a.tif', save_all=True, append_images=[second])
    with pytest.raises(DataError, match=r'a\.tif: .* holds 2 images.*--page'):
        predict(config, checkpoint, tmp_path / 'a.tif', out_dir=tmp_path / 'out')
    shapes = [predict(config, checkpoint, tmp_path / 'a.tif', out_dir=tmp_path / 'out', page=page)[0]['height']
              for page in (0, 1)]
    assert shapes == [64, 90]
    with pytest.raises(DataError, match='no page 2'):
        predict(config, checkpoint, tmp_path / 'a.tif', out_dir=tmp_path / 'out', page=2)


def test_names_of_pictures_never_meet():
    from cxrdet.inference.predict import picture_names
    names = ['A.png', 'a.PNG', 'c.tif', 'c.tif.png', 'c.tif_2.png', 'd.bmp', 'd.bmp.png/x.jpg', 's/c.tif', 'S/C.TIF']
    found = picture_names(names)
    assert sorted(found) == sorted(names) and found['c.tif.png'] == 'c.tif.png' and found['c.tif'] != 'c.tif.png'
    assert found['d.bmp'] != 'd.bmp.png' and len({picture.casefold() for picture in found.values()}) == len(names)
    assert picture_names(['b.tif', 'x/a.jpg']) == {'b.tif': 'b.tif.png', 'x/a.jpg': 'x/a.jpg'}


def test_linked_folders_are_followed_and_loops_are_not(images, tmp_path):
    from cxrdet.inference.predict import find_images
    top = tmp_path / 'top'
    (top / 'deep').mkdir(parents=True)
    shutil.copy(images / 'a.JPG', top / 'deep' / 'a.jpg')
    (top / 'films').symlink_to(images, target_is_directory=True)
    (top / 'again').symlink_to(top / 'deep', target_is_directory=True)  # is there already
    (top / 'deep' / 'up').symlink_to(top, target_is_directory=True)
    (top / 'deep' / 'parent').symlink_to(tmp_path, target_is_directory=True)
    (top / 'self').symlink_to('self')
    (top / 'link.png').symlink_to(images / 'b.png')
    names = [path.relative_to(top).as_posix() for path in find_images(top)[1]]
    assert names == ['deep/a.jpg', 'films/a.JPG', 'films/b.png', 'films/sub/b.png', 'films/sub/c.bmp', 'link.png']


@pytest.mark.parametrize('name', ['pictures/slide.jpg', 'predictions.csv'])
def test_files_of_others_are_not_replaced(config, images, tmp_path, monkeypatch, name):
    """Nor is anything computed: there is no checkpoint here, which is told only later."""
    from cxrdet.inference.predict import predict
    (tmp_path / 'pictures').mkdir()
    shutil.copy(images / 'b.png', tmp_path / 'pictures' / 'b.png')
    (tmp_path / name).write_bytes(b'mine')
    monkeypatch.chdir(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob('*.*')}
    with pytest.raises(DataError, match=f'in the way, not written by predict: .*{name.partition("/")[0]}'):
        predict(config, 'none.pth', 'pictures/b.png', out_dir='.')
    assert {path: path.read_bytes() for path in tmp_path.rglob('*.*')} == before


def test_own_pictures_are_no_source(config, predicted):
    from cxrdet.inference.predict import predict
    with pytest.raises(DataError, match='this input lies in'):
        predict(config, 'none.pth', predicted[1] / 'pictures' / 'b.png', out_dir=predicted[1])


def test_failure_on_the_way_leaves_nothing(config, checkpoint, images, predicted, tmp_path, monkeypatch):
    module = import_module('cxrdet.inference.predict')
    shutil.copytree(predicted[1], tmp_path / 'kept')
    before = {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob('*')}
    monkeypatch.setattr(module, '_write_picture', lambda *_: (_ for _ in ()).throw(OSError('disk full')))
    for name in ('new', 'kept'):
        with pytest.raises(OSError, match='disk full'):
            module.predict(config, checkpoint, images / 'a.JPG', out_dir=tmp_path / name)
    assert {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob('*')} == before


def test_no_images(config, checkpoint, tmp_path):
    from cxrdet.inference.predict import predict
    with pytest.raises(DataError, match=r'no image in this folder; looked for \.bmp, \.gif, \.jpeg'):
        predict(config, checkpoint, tmp_path, out_dir=tmp_path / 'out')
    with pytest.raises(DataError, match='nowhere: no such image or folder'):
        predict(config, checkpoint, tmp_path / 'nowhere', out_dir=tmp_path / 'out')
    with pytest.raises(DataError, match='empty name'):  # not what lies in the current folder
        predict(config, checkpoint, '', out_dir=tmp_path / 'out')


@pytest.mark.parametrize('change, text', [
    (lambda c: c['meta'].clear(), 'does not say its classes'),
    (lambda c: c['meta']['dataset_meta'].update(classes=('a', 'b')), 'are the weights of another model'),
    (lambda c: c['state_dict'].popitem(), 'are the weights of another model'),
])
def test_checkpoints_that_do_not_fit(config, checkpoint, images, tmp_path, change, text):
    import torch

    from cxrdet.inference.predict import predict
    content = torch.load(checkpoint)
    change(content)
    torch.save(content, tmp_path / 'other.pth')
    with pytest.raises(CheckpointError, match=text):
        predict(config, tmp_path / 'other.pth', images / 'b.png', out_dir=tmp_path / 'out')
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize('options, text', [
    ({'score_thr': 1.5}, r'score_thr must lie in \[0, 1\]'),
    ({'batch_size': 0}, 'batch_size must lie in'),
    ({'operating_point': 'youden'}, '--operating-point is for classifiers, but this model is a detector'),
    ({'device': 'cuda:99'}, '--device cuda:99'),
    ({'device': 'gpu'}, '--device gpu'),
    ({'formats': ['voc']}, 'coco, yolo, label-studio, cvat'),
    ({'prompt': 'platelet'}, '--prompt is for detectors that read text; this FasterRCNN .*platelet'),
])
def test_bad_arguments(config, checkpoint, images, tmp_path, options, text):
    from cxrdet.inference.predict import predict
    with pytest.raises(ConfigError, match=text):
        predict(config, checkpoint, images, **{'out_dir': tmp_path / 'out', **options})
    (tmp_path / 'file').write_text('x')
    with pytest.raises(DataError, match='file: expected a folder to write to, found a file'):
        predict(config, checkpoint, images, out_dir=tmp_path / 'file')


def test_config_without_pipeline():
    from mmengine.config import Config

    from cxrdet.inference.predict import build_pipeline
    with pytest.raises(ConfigError, match='no test pipeline'):
        build_pipeline(Config({'test_dataloader': {'dataset': {'type': 'x'}}}))


def test_predictions_of_another_kind():
    from mmengine.structures import BaseDataElement

    from cxrdet.inference.predict import task_of
    with pytest.raises(ConfigError, match='detectors and classifiers .*BaseDataElement'):
        task_of(BaseDataElement(a=1), None, None, None, '')


def test_names_that_would_act_on_a_spreadsheet_or_are_no_text(config, checkpoint, images, tmp_path):
    from cxrdet.core.csv_text import unescape_cell
    from cxrdet.inference.predict import predict
    names = ['=1+cmd|calc.png', '-2.png', "'@SUM(A1).png", 'two\nlines.png', 'bad\udcff.png']
    (tmp_path / 'in').mkdir()
    for name in names:
        shutil.copy(images / 'b.png', tmp_path / 'in' / name)
    predict(config, checkpoint, tmp_path / 'in', out_dir=tmp_path / 'out', score_thr=0.05, device='cpu', batch_size=5,
            pictures=False)
    content = json.loads((tmp_path / 'out' / 'predictions.json').read_text())
    assert sorted(record['file'] for record in content['images']) == sorted(names)
    text = (tmp_path / 'out' / 'predictions.csv').read_bytes().decode()
    with open(tmp_path / 'out' / 'predictions.csv', newline='') as stream:
        assert not any(row['image'].startswith(('=', '-', '@')) for row in csv.DictReader(stream))
    assert {unescape_cell(row[0]) for row in list(csv.reader(io.StringIO(text)))[1:]} == {*names[:4], r'bad\udcff.png'}
