"""Predictions for annotation tools: read back by other libraries and by hand, and by our own readers."""
import json
import xml.etree.ElementTree as ElementTree

import cv2
import numpy as np
import pytest
import yaml

from cxrdet.core.errors import ConfigError, DataError
from cxrdet.datasets.formats.sets import read_set
from cxrdet.inference.exports import EXPORTS, check_exports

CLASSES = ('red cell', 'white, "odd" & <cell>')
RECORDS = [
    {'file': 'sub/f #1.png', 'width': 200, 'height': 100, 'boxes': [[80.0, 30.0, 120.0, 70.0], [0, 1.25, 33.333, 100]],
     'scores': [0.9, 0.4], 'labels': [1, 0], 'classes': [CLASSES[1], CLASSES[0]]},
    {'file': 'é.png', 'width': 64, 'height': 48, 'boxes': [], 'scores': [], 'labels': [], 'classes': []}]


@pytest.fixture
def written(tmp_path):
    """A folder with an export of each kind, and the images beside."""
    for record in RECORDS:
        file = tmp_path / 'films' / record['file']
        file.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(file), np.zeros((record['height'], record['width']), np.uint8))
    for kind, write in EXPORTS.items():
        write(tmp_path / kind, RECORDS, CLASSES)
    return tmp_path


@pytest.mark.parametrize('kind, name', [('coco', 'instances.json'), ('yolo', ''), ('label-studio', 'tasks.json'),
                                        ('cvat', 'annotations.xml')])
def test_round_trip(written, kind, name):
    table = read_set(written / kind / name, kind, images=written / 'films')
    assert table.names == [record['file'] for record in RECORDS] and not any(f.level == 'error' for f in table.findings)
    assert table.files == [str(written / 'films' / record['file']) for record in RECORDS]
    assert table.classes == CLASSES if kind != 'label-studio' else set(table.classes) == set(CLASSES)
    assert [table.classes[label] for label in table.box_label] == RECORDS[0]['classes']
    np.testing.assert_allclose(table.boxes, RECORDS[0]['boxes'], atol=0.001)
    assert table.box_image.tolist() == [0, 0]


def test_coco_by_pycocotools(written, capsys):
    from pycocotools.coco import COCO
    truth = COCO(str(written / 'coco' / 'instances.json'))
    found = truth.loadRes(str(written / 'coco' / 'results.json'))
    assert [(entry['image_id'], entry['bbox'], entry['score'], truth.cats[entry['category_id']]['name'])
            for entry in found.anns.values()] == [(1, [80, 30, 40, 40], 0.9, CLASSES[1]),
                                                  (1, [0, 1.25, 33.333, 98.75], 0.4, CLASSES[0])]
    assert [image['file_name'] for image in truth.imgs.values()] == ['sub/f #1.png', 'é.png']


def test_yolo_by_hand(written):
    assert (written / 'yolo' / 'labels' / 'sub' / 'f #1.txt').read_text().splitlines()[0].split() == [
        '1', '0.5000000', '0.5000000', '0.2000000', '0.4000000', '0.900000']
    assert (written / 'yolo' / 'labels' / 'é.txt').read_text() == ''
    assert yaml.safe_load((written / 'yolo' / 'data.yaml').read_text())['names'] == dict(enumerate(CLASSES))


def test_label_studio_by_hand(written):
    tasks = json.loads((written / 'label-studio' / 'tasks.json').read_text())
    assert [task['data']['image'] for task in tasks] == ['/data/local-files/?d=sub/f%20%231.png',
                                                         '/data/local-files/?d=%C3%A9.png']
    shape = tasks[0]['predictions'][0]['result'][0]
    assert shape['value'] == {'x': 40, 'y': 30, 'width': 20, 'height': 40, 'rotation': 0,
                              'rectanglelabels': [CLASSES[1]]} and shape['score'] == 0.9
    view = ElementTree.parse(written / 'label-studio' / 'config.xml').getroot()
    labels = view.find(f'.//RectangleLabels[@name="{shape["from_name"]}"][@toName="{shape["to_name"]}"]')
    assert [label.get('value') for label in labels] == list(CLASSES)
    assert view.find(f'Image[@name="{shape["to_name"]}"]').get('value') == '$image'


def test_cvat_by_hand(written):
    root = ElementTree.parse(written / 'cvat' / 'annotations.xml').getroot()
    assert root.findtext('version') == '1.1' and [name.text for name in root.iter('name')] == list(CLASSES)
    images = root.findall('image')
    assert [(image.get('name'), image.get('width'), len(image)) for image in images] == [
        ('sub/f #1.png', '200', 2), ('é.png', '64', 0)]
    box = images[0].find('box')
    assert box.get('label') == CLASSES[1] and [box.get(key) for key in ('xtl', 'ytl', 'xbr', 'ybr')] == [
        '80.000', '30.000', '120.000', '70.000']


def test_no_image_and_names_that_are_no_text(tmp_path):
    for kind, write in EXPORTS.items():
        write(tmp_path / kind, [], CLASSES)
        write(tmp_path / f'{kind}-odd', [{**RECORDS[0], 'file': 'a\udcff\x01.png'}], CLASSES)
    assert ElementTree.parse(tmp_path / 'cvat-odd' / 'annotations.xml').find('image/box') is not None
    assert json.loads((tmp_path / 'coco' / 'results.json').read_text()) == []


def test_what_cannot_be_written():
    check_exports([], ['a.png', 'a.jpg'])
    with pytest.raises(DataError, match='a.png and a.jpg'):
        check_exports(['yolo'], ['a.png', 'a.jpg'])
    with pytest.raises(ConfigError, match='got "voc"'):
        check_exports(['voc'], [])
