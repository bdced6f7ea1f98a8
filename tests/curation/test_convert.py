"""Sets of boxes made into COCO: splits, order of classes, numbers worked out by hand, what is left out is told."""
import json
import zlib

import cv2
import numpy as np
import pytest

from cxrdet.core.errors import ConfigError, DataError
from cxrdet.curation.check_data import check_data
from cxrdet.curation.convert import convert_set


def write_png(path, width=200, height=100):
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(zlib.crc32(str(path).encode())).integers(0, 255, (height, width), np.uint8)
    cv2.imwrite(str(path), noise)


def yolo(root):
    (root / 'data.yaml').write_text('train: train/images\nval: valid/images\nnames: [z, a]\n')
    for split in ('train', 'valid'):
        write_png(root / split / 'images' / 'a.png')
        (root / split / 'labels').mkdir()
        (root / split / 'labels' / 'a.txt').write_text('1 0.5 0.5 0.2 0.4\n')


def cvat(root):
    box = '<box label="a" xtl="80" ytl="30" xbr="120" ybr="70"/>'
    (root / 'annotations.xml').write_text(
        '<annotations><meta><task><labels><label><name>z</name></label><label><name>a</name></label></labels></task>'
        '</meta>' + ''.join(f'<image name="{split}.png" subset="{split}" width="200" height="100">{box}</image>'
                            for split in ('train', 'valid')) + '</annotations>')
    for split in ('train', 'valid'):
        write_png(root / 'images' / f'{split}.png')


def labelme(root):
    for split in ('train', 'valid'):
        write_png(root / split / 'a.png')
        (root / split / 'a.json').write_text(json.dumps({'version': '5', 'imagePath': 'a.png', 'shapes': [
            {'label': 'a', 'shape_type': 'rectangle', 'points': [[120, 70], [80, 30]]}]}))


def label_studio(root):
    for split in ('train', 'valid'):
        write_png(root / split / 'a.png')
    (root / 'export.json').write_text(json.dumps([{'data': {'image': f'/data/local-files/?d={split}/a.png'},
                                                   'annotations': [{'result': [{
                                                       'original_width': 200, 'original_height': 100, 'value': {
                                                           'x': 40, 'y': 30, 'width': 20, 'height': 40,
                                                           'rectanglelabels': ['a']}}]}]}
                                                  for split in ('train', 'valid')]))


def roboflow_coco(root):
    for split in ('train', 'valid'):
        write_png(root / split / 'a.png')
        (root / split / '_annotations.coco.json').write_text(json.dumps({
            'images': [{'id': 0, 'file_name': 'a.png', 'width': 200, 'height': 100}],
            'annotations': [{'id': 0, 'image_id': 0, 'category_id': 2, 'bbox': [80, 30, 40, 40]}],
            'categories': [{'id': 1, 'name': 'z'}, {'id': 2, 'name': 'a'}]}))


def roboflow_voc(root):
    for split in ('train', 'valid'):
        write_png(root / split / 'a.png')
        (root / split / 'a.xml').write_text(
            '<annotation><object><name>a</name><bndbox><xmin>80</xmin><ymin>30</ymin><xmax>120</xmax><ymax>70</ymax>'
            '</bndbox></object></annotation>')


@pytest.mark.parametrize('make, classes', [(yolo, ['z', 'a']), (cvat, ['z', 'a']), (labelme, ['a']),
                                           (label_studio, ['a']), (roboflow_coco, ['z', 'a']), (roboflow_voc, ['a'])])
def test_every_format(tmp_path, make, classes):
    """Splits stay, classes keep the order that the set declares, and the copy is a clean COCO set."""
    root, out = tmp_path / 'set', tmp_path / 'out'
    root.mkdir()
    make(root)
    assert not check_data(root).failed
    report = convert_set(root, out)
    assert list(report)[:2] == ['train', 'val']
    for split in ('train', 'val'):
        content = json.loads((out / 'annotations' / f'{split}.json').read_text())
        assert [entry['name'] for entry in content['categories']] == classes
        assert [(entry['bbox'], classes[entry['category_id'] - 1]) for entry in content['annotations']] == [
            ([80, 30, 40, 40], 'a')]
        image, = content['images']
        assert (image['width'], image['height']) == (200, 100) and (out / 'images' / image['file_name']).is_file()
    assert not check_data(out).failed and check_data(out).kind == 'coco'


def test_without_splits_and_what_is_told(tmp_path):
    """A degenerate box, a segment, a line that is no box, and an image of no class that was asked for."""
    root = tmp_path / 'set'
    for name in 'abc':
        write_png(root / 'images' / f'{name}.png')
    (root / 'labels').mkdir()
    (root / 'labels' / 'a.txt').write_text('0 0.5 0.5 0.001 0.4\n0 0.1 0.2 0.5 0.1 0.3 0.8\n')
    (root / 'labels' / 'b.txt').write_text('1 0.5 0.5 0.2 0.4\n0 1 2\n')
    with pytest.raises(DataError, match='b.txt: line 2'):
        convert_set(root, tmp_path / 'out')
    assert not (tmp_path / 'out').exists()
    report = convert_set(root, tmp_path / 'out', on_bad='drop', classes=['0'], link=True)
    assert report['train'] == {'images': 3, 'boxes': 1, '0': 1}
    assert report['dropped boxes'] == {'degenerate': 1, 'unknown_class': 1, 'bad_box': 1}
    assert 'segment' in report['other_shape'] and 'no_class_names' in report
    assert (tmp_path / 'out' / 'images' / 'a.png').is_symlink()
    halves = convert_set(root, tmp_path / 'halves', on_bad='drop', val_share=0.34)
    assert [halves[split]['images'] for split in ('train', 'val')] == [2, 1]


@pytest.mark.parametrize('options, error, text', [
    ({'classes': ['nine']}, DataError, 'no class "nine"'), ({'val_share': 2}, ConfigError, 'got 2'),
    ({'kind': 'folder'}, ConfigError, '"folder" cannot be converted')])
def test_what_cannot_be_done(tmp_path, options, error, text):
    (tmp_path / 'set').mkdir()
    yolo(tmp_path / 'set')
    with pytest.raises(error, match=text):
        convert_set(tmp_path / 'set', tmp_path / 'out', **options)
    with pytest.raises(DataError, match='must not lie in the folder of its source'):
        convert_set(tmp_path / 'set', tmp_path / 'set' / 'out')
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize('make', [cvat, roboflow_coco])
def test_stated_sizes_that_are_not_those_of_the_files(tmp_path, make):
    """An error, as check_data has it."""
    root = tmp_path / 'set'
    root.mkdir()
    make(root)
    for path in root.rglob('*.png'):
        write_png(path, 240, 100)
    assert 'size_mismatch' in {finding.code for finding in check_data(root).findings if finding.level == 'error'}
    for on_bad in ('error', 'drop'):
        with pytest.raises(DataError, match='size_mismatch'):
            convert_set(root, tmp_path / 'out', on_bad=on_bad)
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize('make', [yolo, cvat, labelme, label_studio, roboflow_coco, roboflow_voc])
def test_mended_copies(tmp_path, make):
    """Of an image that is gone the boxes go too; what is left is a clean set with the same splits."""
    root, out = tmp_path / 'set', tmp_path / 'out'
    root.mkdir()
    make(root)
    gone = next(path for path in sorted(root.rglob('*.png')) if 'valid' in str(path))
    gone.write_bytes(b'\x89PNG')
    report = check_data(root, fix=out)
    assert report.failed is False
    again = check_data(out)
    assert not again.failed and again.kind == ('voc' if make is roboflow_voc else 'coco')
    assert (again.numbers['images'], again.numbers['boxes'], list(again.numbers['classes'])) == (1, 1, ['train'])


def shapes_of_all_kinds(root):
    """Two images and a third that nothing names; four kinds of shapes that are no boxes, one of them in both images."""
    kinds = [('rectangle', [[10, 10], [60, 60]]), ('polygon', [[10, 10], [60, 10], [60, 70]]),
             ('circle', [[50, 50], [70, 50]]), ('point', [[3, 3]]), ('line', [[3, 3], [9, 9]])]
    for name, shapes in (('a', [*kinds, kinds[3]]), ('b', [kinds[0], kinds[3]])):
        write_png(root / f'{name}.png')
        (root / f'{name}.json').write_text(json.dumps({'version': '5', 'imagePath': f'{name}.png', 'shapes': [
            {'label': 'x', 'shape_type': kind, 'points': points} for kind, points in shapes]}))
    write_png(root / 'orphan.png')


def test_every_kind_of_shape_and_every_image_that_is_left_out_is_told(tmp_path):
    root = tmp_path / 'set'
    shapes_of_all_kinds(root)
    told = '\n'.join(map(str, convert_set(root, tmp_path / 'coco').values()))
    text = check_data(root).text()
    for number, kind in ((1, 'polygon'), (1, 'circle'), (3, 'point'), (1, 'line')):
        assert f'{number} x {kind}: ' in told and f'{number} x {kind}: ' in text
    assert 'orphan.png' in told


@pytest.mark.parametrize('pixels', [True, False])
def test_a_mended_copy_tells_shapes_and_images(tmp_path, pixels):
    """A line for each kind and image; images that nothing names and those that are gone, with or without pixels."""
    root = tmp_path / 'set'
    shapes_of_all_kinds(root)
    write_png(root / 'c.png')
    (root / 'c.json').write_text((root / 'b.json').read_text().replace('b.png', 'gone.png'))
    report = check_data(root, fix=tmp_path / 'out', pixels=pixels)
    lines = [json.loads(line) for line in (tmp_path / 'out' / 'mended.jsonl').read_text().splitlines()]
    shapes = [(line['file'][-6:], line['text'].split(':')[0], line['change']) for line in lines
              if line['code'] == 'other_shape']
    assert sorted(shapes) == [
        ('a.json', '1 x circle', 'box around shape'), ('a.json', '1 x line', 'left out shape'),
        ('a.json', '1 x polygon', 'box around shape'), ('a.json', '2 x point', 'left out shape'),
        ('b.json', '1 x point', 'left out shape')]
    assert {line['file'][-10:]: line['change'] for line in lines if line['code'] == 'orphan_file'} == {
        'orphan.png': 'left out', str(root / 'c.png')[-10:]: 'left out'}
    assert [line['change'] for line in lines if line['code'] == 'missing_file'] == ['dropped image']
    assert '2 box around shape' in report.text() and '4 left out shape' in report.text()
    assert sorted(path.name for path in (tmp_path / 'out' / 'images').iterdir()) == ['a.png', 'b.png']
