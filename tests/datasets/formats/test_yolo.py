"""YOLO sets: layouts, kinds of lines with boxes worked out by hand, and defects with file and line."""
import math
import os

import pytest

from cxrdet.core.errors import DataError
from cxrdet.datasets.formats.sets import find_format, read_set

BOX = '0 0.5 0.5 0.2 0.4'  # of 200 x 100 px: 80, 30, 120, 70


def write(root, files):
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


LAYOUTS = {  # name: (files, images, what is read)
    'data.yaml, relative to itself': (
        {'data.yaml': 'train: images/train\nval: images/val\nnames: [cell, clump]\n', 'labels/train/a.txt': BOX,
         'labels/val/b.txt': '1 0.5 0.5 1 1'}, ['images/train/a.png', 'images/val/b.png'], ''),
    'names by number, path:': (
        {'data.yaml': 'path: set\ntrain: images/train\nval: images/val\nnames:\n  1: clump\n  0: cell\n',
         'set/labels/train/a.txt': BOX, 'set/labels/val/b.txt': '1 0.5 0.5 1 1'},
        ['set/images/train/a.png', 'set/images/val/b.png'], 'set/'),
    'Roboflow, "../train/images"': (
        {'data.yaml': 'train: ../train/images\nval: ../valid/images\nnc: 2\nnames: [cell, clump]\n',
         'train/labels/a.txt': BOX, 'valid/labels/b.txt': '1 0.5 0.5 1 1'},
        ['train/images/a.png', 'valid/images/b.png'], ''),
    'lists of images': (
        {'data.yaml': 'train: train.txt\nval: [val.txt]\nnames: [cell, clump]\n', 'train.txt': './images/a.png\n\n',
         'val.txt': 'images/b.png\n', 'labels/a.txt': BOX, 'labels/b.txt': '1 0.5 0.5 1 1'},
        ['images/a.png', 'images/b.png'], ''),
    'no data.yaml, texts beside the images': (
        {'train/classes.txt': 'x', 'classes.txt': 'cell\nclump\n', 'train/a.txt': BOX, 'val/b.txt': '1 0.5 0.5 1 1'},
        ['train/a.png', 'val/b.png'], ''),
    'CVAT with subsets': (
        {'obj.data': 'classes = 2\ntrain = data/Train.txt\nvalid = data/Validation.txt\nnames = data/obj.names\n',
         'obj.names': 'cell\nclump\n', 'Train.txt': 'data/obj_Train_data/a.png\n',
         'Validation.txt': 'data/obj_Validation_data/b.png\n', 'obj_Train_data/a.txt': BOX,
         'obj_Validation_data/b.txt': '1 0.5 0.5 1 1'}, ['obj_Train_data/a.png', 'obj_Validation_data/b.png'], ''),
    'Label Studio': (
        {'classes.txt': 'cell\nclump\n', 'notes.json': '{"categories": [{"id": 0, "name": "cell"}], "info": {}}',
         'labels/train/a.txt': BOX, 'labels/val/b.txt': '1 0.5 0.5 1 1'},
        ['images/train/a.png', 'images/val/b.png'], ''),
}


@pytest.mark.parametrize('files, images, folder', LAYOUTS.values(), ids=LAYOUTS)
def test_layouts(tmp_path, write_png, codes_of, files, images, folder):
    write(tmp_path, files)
    for name in images:
        write_png(tmp_path / name)
    assert find_format(tmp_path) == 'yolo'
    table = read_set(tmp_path)
    assert table.classes == ('cell', 'clump') and table.splits == ['train', 'val'] and not codes_of(table)
    assert [os.path.relpath(file, tmp_path) for file in table.files] == images
    assert table.names == [name.replace('images/', '') for name in images]
    assert table.boxes.tolist() == [[80, 30, 120, 70], [0, 0, 200, 100]] and table.box_label.tolist() == [0, 1]
    assert table.sizes.tolist() == [[100, 200]] * 2


@pytest.mark.parametrize('line, box, told', [
    (f'{BOX} 0.9', [80, 30, 120, 70], 'confidence'),
    ('0 0.1 0.2 0.5 0.1 0.3 0.8', [20, 10, 100, 80], 'segment'),
    ('0 0.5 0.1 0.7 0.5 0.5 0.9 0.3 0.5', [60, 10, 140, 90], 'four corners'),
    (f'{BOX} 0.1 0.1 2 0.3 0.3 0', [80, 30, 120, 70], 'key points'),
    ('0.0 0.5 0.5 1.1 1', [-10, 0, 210, 100], None),  # beyond the border: a matter of the checks
])
def test_lines(tmp_path, write_png, line, box, told):
    write(tmp_path, {'data.yaml': 'kpt_shape: [2, 3]\ntrain: images\nnames: [a]\n', 'labels/a.txt': f'{line}\n'})
    write_png(tmp_path / 'images' / 'a.png')
    table = read_set(tmp_path / 'data.yaml')
    assert table.boxes[0].round(9).tolist() == box and table.box_label.tolist() == [0]
    assert [(f.level, f.code, f.row) for f in table.findings] == [('info', 'other_shape', 'line 1')] * bool(told)
    assert not told or told in table.findings[0].text


@pytest.mark.parametrize('line, code', [
    ('0 0.5 0.5 0.2', 'bad_box'), ('0 0.5 0.5 0.2 x', 'bad_box'), ('0 0.5 nan 0.2 0.4', 'bad_box'),
    ('0 320 240 60 80', 'bad_box'), ('0 1 2 3 4 5 6 7', 'bad_box'), ('0 1e999 0 0 0', 'bad_box'),
    ('7 0.5 0.5 0.2 0.4', 'unknown_category'), ('-1 0.5 0.5 0.2 0.4', 'no_category'),
    ('1.5 0.5 0.5 0.2 0.4', 'no_category'), ('inf 0.5 0.5 0.2 0.4', 'no_category')])
def test_defective_lines(tmp_path, write_png, line, code):
    write(tmp_path, {'data.yaml': 'train: images\nnames: [a]', 'labels/a.txt': f'{BOX}\n\n{line}\n'})
    write_png(tmp_path / 'images' / 'a.png')
    table = read_set(tmp_path)
    assert [(f.level, f.code, f.file, f.row, f.image, f.box) for f in table.findings] == [
        ('error', code, str(tmp_path / 'labels' / 'a.txt'), 'line 3', 0, 1)]
    assert len(table.boxes) == 2 and math.isnan(table.boxes[1, 0]) == (code == 'bad_box')


def test_defective_files(tmp_path, write_png, codes_of):
    write(tmp_path, {'data.yaml': 'train: [images, nowhere, /, ..]\nnames: [a, a]', 'labels/a.txt': BOX,
                     'labels/lost.txt': BOX, 'labels/torn.txt': BOX})
    write_png(tmp_path / 'images' / 'a.png')
    write_png(tmp_path / 'images' / 'empty.png')
    (tmp_path / 'labels' / 'empty.txt').write_bytes(b'\xff\xfe\x00')
    (tmp_path / 'images' / 'torn.png').write_bytes(b'\x89PNG')
    assert codes_of(read_set(tmp_path)) == {'missing_folder': 3, 'bad_category': 1, 'boxes_without_image': 1,
                                            'unreadable_annotations': 1, 'bad_box': 1}


@pytest.mark.parametrize('of', [str, os.path.relpath], ids=['absolute', 'relative'])
@pytest.mark.parametrize('entry', ['../other/images', 'list.txt'])
def test_images_outside(tmp_path, write_png, codes_of, monkeypatch, of, entry):
    """They are told however the set is named."""
    write(tmp_path, {'set/data.yaml': f'train: images\nval: {entry}\nnames: [a]', 'set/labels/a.txt': BOX,
                     'set/list.txt': '../other/images/b.png\n'})
    for name in ('set/images/a.png', 'other/images/b.png'):
        write_png(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    table = read_set(of(str(tmp_path / 'set')))
    assert codes_of(table)['outside_file'] == 1 and table.outside == {1}
    assert 'outside_file' not in codes_of(read_set(of(str(tmp_path / 'set')), allow_outside=True))


def test_a_list_as_windows_writes_it(tmp_path, write_png, boxes_of, codes_of):
    """Backslashes, and UTF-16 in every file; an empty list is an error."""
    write_png(tmp_path / 'images' / 'sub' / 'a.png')
    write(tmp_path, {'labels/sub/a.txt': BOX})
    texts = {'data.yaml': 'train: list.txt\nval: none.txt\nnames: [cell]', 'list.txt': '.\\images\\sub\\a.png\r\n',
             'none.txt': '\r\n'}
    for name, text in texts.items():
        (tmp_path / name).write_bytes(text.encode('utf-16'))
    table = read_set(tmp_path)
    assert boxes_of(table) == [('sub/a.png', 'cell', [80, 30, 120, 70])] and table.splits == ['train']
    assert codes_of(table) == {'empty_list': 1} and os.path.isfile(table.files[0])


def test_missing_files_of_labels(tmp_path, write_png, codes_of):
    """They are counted, with the first; a blank file says that there is no box. A line may be no name of a file."""
    write(tmp_path, {'data.yaml': 'train: [images, list.txt]\nnames: [a]', 'labels/a.txt': BOX, 'labels/b.txt': '',
                     'list.txt': f'{"x" * 5000}.png\n'})
    for name in 'abcd':
        write_png(tmp_path / 'images' / f'{name}.png')
    table = read_set(tmp_path)
    finding, = table.findings
    assert (finding.level, finding.code) == ('warning', 'no_label_file')
    assert finding.file == str(tmp_path / 'labels' / 'c.txt')
    assert finding.text.startswith('2 of 5') and len(table.names) == 5


@pytest.mark.parametrize('names, classes', [
    ('[yes, no, 1.10, 010]', ('yes', 'no', '1.10', '010')), ('{"0": on, 1: 2024-01-01}', ('on', '2024-01-01'))])
def test_names_stay_as_they_are_written(tmp_path, write_png, codes_of, names, classes):
    write(tmp_path, {'data.yaml': f'train: images\nnc: {len(classes)}\nnames: {names}', 'labels/a.txt': BOX})
    write_png(tmp_path / 'images' / 'a.png')
    table = read_set(tmp_path)
    assert table.classes == classes and not codes_of(table)
    write(tmp_path, {'data.yaml': f'train: images\nnc: 7\nnames: {names}'})
    assert codes_of(read_set(tmp_path)) == {'class_count': 1}


def test_without_names_classes_are_numbers(tmp_path, write_png, codes_of):
    write(tmp_path, {'labels/a.txt': f'10 0.5 0.5 1 1\n2{BOX[1:]}'})
    write_png(tmp_path / 'images' / 'a.png')
    table = read_set(tmp_path)
    assert table.classes == ('2', '10') and table.box_label.tolist() == [1, 0]
    assert codes_of(table) == {'no_class_names': 1}


def test_a_set_in_a_folder(tmp_path, write_png, boxes_of):
    """As an archive is unpacked: one data.yaml, a folder further down."""
    write(tmp_path, {'set/data.yaml': 'val: images\nnames: [cell]', 'set/labels/a.txt': BOX})
    write_png(tmp_path / 'set' / 'images' / 'a.png')
    table = read_set(tmp_path)
    assert boxes_of(table) == [('a.png', 'cell', [80, 30, 120, 70])] and table.splits == ['val']


def test_images_elsewhere(tmp_path, write_png, boxes_of):
    write(tmp_path, {'set/data.yaml': 'names: [a]', 'set/labels/sub/a.txt': BOX})
    write_png(tmp_path / 'films' / 'sub' / 'a.png')
    assert boxes_of(read_set(tmp_path / 'set', images=tmp_path / 'films')) == [('sub/a.png', 'a', [80, 30, 120, 70])]


@pytest.mark.parametrize('text', ['names: [a', 'a', 'train: images\nnames: 3', 'names: {x: a}', 'nc: 9999999999',
                                  'names: [a, ~]', 'names: {9999999999: a}', 'names: [[a]]',
                                  'train: images\nnames: [a]', ''])
def test_nothing_to_read(tmp_path, write_png, text):
    """The file is named; no images, or none with labels, too."""
    write_png(tmp_path / 'images' / 'a.png')
    (tmp_path / 'data.yaml').write_text(text)
    with pytest.raises(DataError, match=str(tmp_path)):
        read_set(tmp_path / 'data.yaml')
