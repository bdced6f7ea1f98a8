"""Names of images in annotations are held to the data root by every reader, by their text; links are followed."""
import json

import cv2
import numpy as np
import pytest

from cxrdet.core.errors import DataError
from cxrdet.datasets.cell import CellDataset, CellVOCDataset
from cxrdet.datasets.csv_labels import CSVImageDataset
from cxrdet.datasets.nih import NIHChestXray14

XML = ('<annotation><size><width>9</width><height>9</height></size><object><name>x</name><bndbox><xmin>1</xmin>'
       '<ymin>1</ymin><xmax>8</xmax><ymax>8</ymax></bndbox></object></annotation>')


def coco(root, name, **options):
    (root / 'annotations').mkdir(exist_ok=True)
    (root / 'annotations' / 'train.json').write_text(json.dumps({
        'images': [{'id': 1, 'file_name': f'{name}.png', 'height': 9, 'width': 9}],
        'annotations': [{'id': 1, 'image_id': 1, 'category_id': 1, 'bbox': [1, 1, 7, 7]}],
        'categories': [{'id': 1, 'name': 'x'}]}))
    return CellDataset, dict(ann_file='annotations/train.json', data_root=str(root), data_prefix=dict(img='images'),
                             **options)


def voc(root, name, **options):
    (root / 'train.txt').write_text(name)
    return CellVOCDataset, dict(ann_file='train.txt', data_root=str(root),
                                data_prefix=dict(img='images', ann='images'), **options)


def csv(root, name, **options):
    (root / 'metadata.csv').write_text(f'path,label\n{name}.png,x\n')
    (root / 'label2id.json').write_text('{"x": 0}')
    return CSVImageDataset, dict(data_root=str(root), data_prefix='images', **options)


def nih(root, name, **options):
    (root / 'table.csv').write_text(f'Image Index,Finding Labels,Patient ID\n{name}.png,Mass,1\n')
    return NIHChestXray14, dict(ann_file='table.csv', data_root=str(root), data_prefix='images', require_images=False,
                                **options)


READERS = (coco, voc, csv, nih)


@pytest.fixture
def root(tmp_path):
    """A root with an image in images/, lists/ and behind a link; another image and its annotation outside of it."""
    png = cv2.imencode('.png', np.zeros((9, 9, 3), np.uint8))[1].tobytes()
    for folder in ('root/images/sub', 'root/lists', 'elsewhere'):
        (tmp_path / folder).mkdir(parents=True)
    for place in ('root/images/a', 'root/lists/a', 'elsewhere/a'):
        (tmp_path / f'{place}.png').write_bytes(png)
        (tmp_path / f'{place}.xml').write_text(XML)
    (tmp_path / 'root' / 'images' / 'link').symlink_to('../../elsewhere')
    return tmp_path / 'root'


@pytest.mark.parametrize('reader', READERS)
@pytest.mark.parametrize('name', ['a', 'sub/../a', '../lists/a', '../lists/../images/a', 'link/a', 'ROOT/images/a'])
def test_inside(root, reader, name):
    kind, cfg = reader(root, name.replace('ROOT', str(root)))
    assert len(kind(**cfg, pipeline=[], serialize_data=False)) == len(kind.image_files(cfg)) == 1
    kind.read_classes(cfg)


@pytest.mark.parametrize('reader', READERS)
@pytest.mark.parametrize('name', ['../../elsewhere/a', 'OUT/elsewhere/a', 'ROOT/../elsewhere/a',
                                  '../../root2/../elsewhere/a'])
def test_outside(root, reader, name):
    (root.parent / 'root2').mkdir()
    name = name.replace('ROOT', str(root)).replace('OUT', str(root.parent))
    kind, cfg = reader(root, name)
    with pytest.raises(DataError, match=rf'lead.* out of {root}.*allow_outside=True'):
        kind(**cfg, pipeline=[], serialize_data=False)
    with pytest.raises(DataError, match='allow_outside=True'):
        kind.image_files(cfg)
    kind, cfg = reader(root, name, allow_outside=True)
    assert kind(**cfg, pipeline=[], serialize_data=False).get_data_info(0)['img_path'].endswith('a.png')


@pytest.mark.parametrize('reader', READERS)
def test_folders_that_the_config_names_may_lie_anywhere(root, reader):
    elsewhere = str(root.parent / 'elsewhere')
    kind, cfg = reader(root, 'a')
    prefix = cfg['data_prefix']
    cfg['data_prefix'] = dict.fromkeys(prefix, elsewhere) if isinstance(prefix, dict) else elsewhere
    dataset = kind(**cfg, pipeline=[], serialize_data=False)
    assert dataset.get_data_info(0)['img_path'] == f'{elsewhere}/a.png'


@pytest.mark.parametrize('reader', [coco, nih])
def test_zero_bytes(root, reader):
    kind, cfg = reader(root, 'a\0', allow_outside=True)
    with pytest.raises(DataError, match='zero byte'):
        kind(**cfg, pipeline=[], serialize_data=False)


@pytest.mark.parametrize('reader', [coco, voc, nih])
def test_where_it_stands(root, reader):
    """The file, or its line, and the name."""
    kind, cfg = reader(root, '../../elsewhere/a')
    place = {coco: r'train\.json: images\[0\]', voc: r'a\.xml', nih: r'table\.csv: line 2'}[reader]
    with pytest.raises(DataError, match=rf"{place}.*'../../elsewhere/a"):
        kind.image_files(cfg)
