"""Bad input, end to end through the tools: a clear message, an exit code that is not 0, and nothing half written.

Training reads images in worker processes, testing in this one.
"""
import json
import os
import pickle
import shutil
from pathlib import Path

import pytest

CONFIGS = Path(__file__).parents[2] / 'configs'
TINY, BCCD = CONFIGS / 'faster_rcnn_bifpn_cell_tiny.py', CONFIGS / 'faster_rcnn_bifpn_bccd.py'
NO_WORKERS = ['test_dataloader.num_workers=0', 'test_dataloader.persistent_workers=False']


@pytest.fixture
def data(cell_phantoms, tmp_path) -> Path:
    """A copy of the phantoms that a test may spoil."""
    return Path(shutil.copytree(cell_phantoms, tmp_path / 'data'))


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory, cell_phantoms) -> Path:
    """Weights of the tiny config, untrained, with the classes of the phantoms."""
    import torch
    from mmengine.registry import MODELS, DefaultScope

    from cxrdet.apis import load_config
    from cxrdet.preflight.data import follow_classes
    cfg = load_config(TINY, data_root=cell_phantoms, cfg_options=['model.backbone.init_cfg=None'])
    classes = follow_classes(cfg)
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = MODELS.build(cfg.model)
    path = tmp_path_factory.mktemp('weights') / 'tiny.pth'
    torch.save({'meta': {'dataset_meta': {'classes': classes}}, 'state_dict': model.state_dict()}, path)
    return path


@pytest.fixture(autouse=True)
def _fresh_loggers():
    """MMEngine's loggers keep the output stream that they were born with, and pytest changes it from test to test."""
    from mmengine.logging import MMLogger
    MMLogger._instance_dict.clear()


@pytest.fixture
def run(tool, tmp_path, capfd):
    """Run a tool that must fail; give what it says, after a look at what it left behind."""
    def start(name: str, *arguments: object, code: int = 2, config: Path = TINY) -> str:
        results = tmp_path / 'results'
        where = ['--out-dir' if name == 'predict' else '--work-dir', str(results)]
        more = {'train': ['--from-scratch'], 'test': ['--cfg-options', *NO_WORKERS], 'predict': []}[name]
        assert tool(name).main([str(config), *map(str, arguments), *where, *more]) == code
        left = [path for path in results.rglob('*') if path.is_file()] if results.exists() else []
        assert all(path.suffix in ('.log', '.py') or path.name == 'config.py' for path in left), left
        if name == 'predict':
            assert not results.exists()
        said = capfd.readouterr()
        assert 'Traceback' not in said.err
        return said.err
    return start


# --- annotations and images


def edit(file: Path, change) -> None:
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


def image(data: Path, split: str) -> Path:
    """The first image of a split."""
    return data / 'images' / json.loads((data / 'annotations' / f'{split}.json').read_text())['images'][0]['file_name']


def empty_file(data: Path, split: str) -> None:
    (data / 'annotations' / f'{split}.json').write_text('')


def no_categories(data: Path, split: str) -> None:
    edit(data / 'annotations' / f'{split}.json', lambda content: content.pop('categories'))


def no_category_id(data: Path, split: str) -> None:
    edit(data / 'annotations' / f'{split}.json', lambda content: content['annotations'][1].pop('category_id'))


def no_image(data: Path, split: str) -> None:
    image(data, split).unlink()


def hollow_png(data: Path, split: str) -> None:
    hollow = data / 'images' / 'hollow.png'
    hollow.touch()
    edit(data / 'annotations' / f'{split}.json', lambda content: content['images'][0].update(file_name='hollow.png'))


def truncated_jpeg(data: Path, split: str) -> None:
    import cv2
    encoded = cv2.imencode('.jpg', cv2.imread(str(image(data, split))))[1].tobytes()
    (data / 'images' / 'cut.jpg').write_bytes(encoded[:len(encoded) // 2])
    edit(data / 'annotations' / f'{split}.json', lambda content: content['images'][0].update(file_name='cut.jpg'))


@pytest.mark.parametrize(('spoil', 'expected'), [
    (empty_file, ['{split}.json: the annotation file is empty (0 bytes)']),
    (no_categories, ['{split}.json: expected a list "categories" in a COCO file, found "']),
    (no_category_id, ['{split}.json: annotations[1] (id ', 'has no "category_id"', 'on_bad_annotation="drop"']),
    (no_image, ['{split}_dataloader.dataset: 1 of {count} image files are not there: {image}']),
    (hollow_png, ['{split}_dataloader.dataset: 1 of {count} image files are empty (0 bytes): ', 'hollow.png']),
    (truncated_jpeg, ['cut.jpg: the image is truncated']),
], ids=lambda value: getattr(value, '__name__', ''))
@pytest.mark.parametrize('name', ['train', 'test'])
def test_bad_data(run, data, checkpoint, name, spoil, expected):
    split, count = ('train', 8) if name == 'train' else ('val', 4)
    first = image(data, split)
    spoil(data, split)
    said = run(name, *([checkpoint] if name == 'test' else []), '--data-root', data)
    for part in expected:
        if name == 'test':
            part = part.replace('{split}_dataloader', 'test_dataloader')
        assert part.format(split=split, count=count, image=first) in said


def spoilt_image(folder: Path, content: bytes, suffix: str) -> Path:
    folder.mkdir()
    path = folder / f'spoilt{suffix}'
    path.write_bytes(content)
    return path


@pytest.mark.parametrize('kind', ['truncated', 'hollow', 'missing', 'no image'])
def test_bad_images_of_predict(run, data, checkpoint, tmp_path, kind):
    if kind == 'truncated':
        truncated_jpeg(data, 'val')
        source, expected = data / 'images', 'cut.jpg: the image is truncated'
    elif kind == 'hollow':
        source, expected = spoilt_image(tmp_path / 'in', b'', '.png'), 'spoilt.png: the image file is empty (0 bytes)'
    elif kind == 'missing':
        source, expected = tmp_path / 'nowhere', 'nowhere: no such image or folder'
    else:
        source, expected = spoilt_image(tmp_path / 'in', b'text', '.txt').parent, 'no image in this folder'
    assert expected in run('predict', checkpoint, source)


SECRET = 'what stands in a file that the annotation has no business with'
VOC = """<?xml version="1.0"?>
<!DOCTYPE annotation [<!ENTITY secret SYSTEM "file://{secret}">]>
<annotation><filename>a.png</filename><size><width>32</width><height>32</height></size>
<object><name>RBC</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox></object>
<object><name>&secret;</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox></object>
</annotation>"""


@pytest.mark.parametrize('name', ['train', 'test'])
def test_xml_with_an_external_entity(run, checkpoint, tmp_path, cell_phantoms, name):
    data = tmp_path / 'voc'
    for folder in ('Annotations', 'JPEGImages', 'ImageSets/Main'):
        (data / folder).mkdir(parents=True)
    (tmp_path / 'secret.txt').write_text(SECRET)
    (data / 'Annotations' / 'a.xml').write_text(VOC.format(secret=tmp_path / 'secret.txt'))
    shutil.copy(image(cell_phantoms, 'train'), data / 'JPEGImages' / 'a.png')
    for split in ('train', 'val'):
        (data / 'ImageSets' / 'Main' / f'{split}.txt').write_text('a\n')
    said = run(name, *([checkpoint] if name == 'test' else []), '--data-root', data, config=BCCD)
    assert 'a.xml: refused: the XML declares or fetches the entity "secret"' in said
    assert SECRET not in said


# --- configs


@pytest.mark.parametrize(('lines', 'expected'), [
    ('modle = dict(neck=dict(num_outs=4))', 'modle: nothing reads this top-level key. Did you mean "model"?'),
    ("model = dict(neck=dict(type='cxrdet.BiFNP'))",
     'model.neck.type: "cxrdet.BiFNP" is no known model. Did you mean "cxrdet.BiFPN"?'),
    ('model = dict(roi_head=dict(bbox_head=dict(num_clases=3)))',
     'model.roi_head.bbox_head.num_clases: Shared2FCBBoxHead takes no argument "num_clases". '
     'Did you mean "num_classes"?'),
])
@pytest.mark.parametrize('name', ['train', 'test', 'predict'])
def test_misspelt_config(run, checkpoint, cell_phantoms, tmp_path, name, lines, expected):
    variant = tmp_path / 'variant.py'
    variant.write_text(f"_base_ = '{TINY}'\n{lines}\n")
    arguments = {'train': ['--data-root', cell_phantoms], 'test': [checkpoint, '--data-root', cell_phantoms],
                 'predict': [checkpoint, cell_phantoms / 'images']}[name]
    said = run(name, *arguments, config=variant)
    assert expected in said
    assert '1 problem\n' in said


# --- checkpoints


class RunsCode:
    """A pickle that, when it is read, makes a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker), )


def other_model(good: Path, bad: Path) -> str:
    """A whole checkpoint of another model, one that training could go on from."""
    import torch
    from torch import nn
    other = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Linear(8, 2))
    optimizer = torch.optim.AdamW(other.parameters())
    meta = {'dataset_meta': {'classes': ('a', 'b', 'c')}, 'epoch': 1, 'iter': 2, 'seed': 0, 'experiment_name': 'other'}
    torch.save({'meta': meta, 'state_dict': other.state_dict(), 'optimizer': optimizer.state_dict(), 'message_hub': {},
                'param_schedulers': []}, bad)
    return 'these are the weights of another model'


def cut_in_half(good: Path, bad: Path) -> str:
    content = good.read_bytes()
    bad.write_bytes(content[:len(content) // 2])
    return 'the checkpoint is cut off or damaged'


def runs_code(good: Path, bad: Path) -> str:
    import torch
    torch.save({'state_dict': {}, 'meta': RunsCode(bad.parent / 'code_was_run')}, bad)
    return 'code that is pickled in it would have to be executed (posix.mkdir). It was refused.'


def bare_pickle_that_runs_code(good: Path, bad: Path) -> str:
    bad.write_bytes(pickle.dumps({'state_dict': {}, 'meta': RunsCode(bad.parent / 'code_was_run')}, protocol=2))
    return 'code that is pickled in it would have to be executed (posix.mkdir). It was refused.'


def missing(good: Path, bad: Path) -> str:
    return 'no such checkpoint'


SPOILS = [other_model, cut_in_half, runs_code, bare_pickle_that_runs_code, missing]


@pytest.mark.parametrize(('name', 'spoil'), [(name, spoil) for name in ('test', 'predict') for spoil in SPOILS]
                         + [('train', spoil) for spoil in (other_model, cut_in_half, runs_code, missing)],
                         ids=lambda value: getattr(value, '__name__', value))
def test_bad_checkpoint(run, checkpoint, cell_phantoms, tmp_path, name, spoil):
    bad = tmp_path / 'bad.pth'
    expected = spoil(checkpoint, bad)
    arguments = {'train': ['--data-root', cell_phantoms, '--resume', bad], 'test': [bad, '--data-root', cell_phantoms],
                 'predict': [bad, cell_phantoms / 'images']}[name]
    said = run(name, *arguments)
    assert expected in said
    assert 'bad.pth' in said
    assert not (tmp_path / 'code_was_run').exists()
