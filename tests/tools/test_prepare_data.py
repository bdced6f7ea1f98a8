"""tools/prepare_data.py: each command on small sets, what it refuses, and its speed of answering --help."""
import json
import os
import resource
import shutil
import struct
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

from cxrdet.datasets.formats.tfrecord import CDETECTOR_CLASSES, masked_crc32c

COMMANDS = ('cell-phantom', 'chest-phantom', 'bccd', 'voc', 'convert', 'cdetector', 'references')
SCRIPT = Path(__file__).parents[2] / 'tools' / 'prepare_data.py'


@pytest.fixture(scope='module')
def run(tool):
    return tool('prepare_data').main


def load(path):
    return json.loads(Path(path).read_text())


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob('*')
            if path.is_file() and '.cxrdet' not in path.parts}


# ----------------------------------------------------------------------------------------- help

def test_help_is_quick_and_lists_the_commands():
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, str(SCRIPT), '--help'], capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1
    assert all(command in done.stdout for command in COMMANDS)


@pytest.mark.parametrize('command', COMMANDS)
def test_help_of_a_command(run, command, capsys):
    assert run([command, '--help']) == 0
    text = capsys.readouterr().out
    assert ('--force' in text) == (command != 'cdetector')
    assert 'out_dir' in text


@pytest.mark.parametrize('arguments', [[], ['cells', 'x'], ['cell-phantom'], ['cdetector', 'a.json', 'out']])
def test_wrong_commands_are_refused(run, arguments, capsys):
    assert run(arguments) == 2
    assert 'error: ' in capsys.readouterr().err


# ----------------------------------------------------------------------------------------- phantoms

def test_cell_phantom(run, tmp_path, capsys):
    out = tmp_path / 'cells'
    arguments = ['cell-phantom', str(out), '--train', '2', '--val', '1', '--size', '64']
    assert run(arguments) == 0
    said = capsys.readouterr()
    assert said.out.splitlines()[-2:] == ['train: 2', 'val: 1']
    assert not said.err  # no terminal, no bar
    assert len(load(out / 'annotations' / 'train.json')['images']) == 2
    assert not (out / 'annotations' / 'test.json').exists()
    before = contents(out)
    assert run(arguments) == 0
    assert contents(out) == before
    assert run([*arguments, '--seed', '3']) == 2
    assert 'error: ' in capsys.readouterr().err
    assert contents(out) == before
    assert run([*arguments, '--seed', '3', '--force']) == 0
    assert contents(out) != before


def test_chest_phantom(run, tmp_path, capsys):
    out = tmp_path / 'chest'
    assert run(['chest-phantom', str(out), '--images', '12', '--size', '64']) == 0
    lines = capsys.readouterr().out.splitlines()[-2:]
    assert sum(int(line.split(': ')[1]) for line in lines) == 12
    assert [line.split(': ')[0] for line in lines] == ['train_val', 'test']
    assert len(list((out / 'images').iterdir())) == 12
    assert run(['cell-phantom', str(out), '--train', '1', '--val', '0', '--size', '64']) == 2
    assert "another prepared set (kind: 'chest-phantom' there, 'cell-phantom' asked for" in capsys.readouterr().err


def test_a_wrong_size_has_exit_code_2_and_leaves_nothing(run, tmp_path, capsys):
    assert run(['chest-phantom', str(tmp_path / 'x'), '--size', '8']) == 2
    assert capsys.readouterr().err == 'error: chest phantoms: size must lie in [64, 8192], got 8.\n'
    assert not (tmp_path / 'x').exists()


# ----------------------------------------------------------------------------------------- Pascal VOC

def voc_object(name, box, difficult=0):
    corners = ''.join(f'<{key}>{value}</{key}>' for key, value in zip(('xmin', 'ymin', 'xmax', 'ymax'), box))
    return f'<object><name>{name}</name><difficult>{difficult}</difficult><bndbox>{corners}</bndbox></object>'


@pytest.fixture
def voc(tmp_path):
    """Five images of 40x30; image k has a box "b" at (1, 2, 11, 22 + k), the last two an "a", marked difficult, too."""
    root = tmp_path / 'voc'
    for folder in ('Annotations', 'JPEGImages', 'ImageSets/Main'):
        (root / folder).mkdir(parents=True)
    for k in range(5):
        cv2.imwrite(str(root / 'JPEGImages' / f'i{k}.png'), np.full((30, 40, 3), 40 * k, np.uint8))
        objects = voc_object('b', (1, 2, 11, 22 + k)) + (voc_object('a', (20, 3, 30, 9), 1) if k > 2 else '')
        (root / 'Annotations' / f'i{k}.xml').write_text(
            f'<annotation><size><width>40</width><height>30</height></size>{objects}</annotation>')
    (root / 'ImageSets' / 'Main' / 'train.txt').write_text('i0\ni1\ni3\n')
    (root / 'ImageSets' / 'Main' / 'val.txt').write_text('i2\ni4\n')
    return root


def test_voc_becomes_coco(run, voc, tmp_path, capsys):
    out = tmp_path / 'out'
    assert run(['voc', str(voc), str(out)]) == 0
    assert capsys.readouterr().out.splitlines()[-2:] == ['train: images 3, boxes 4, a 1, b 3',
                                                         'val: images 2, boxes 3, a 1, b 2']
    train, val = (load(out / 'annotations' / f'{split}.json') for split in ('train', 'val'))
    assert train['categories'] == [{'id': 1, 'name': 'a'}, {'id': 2, 'name': 'b'}]
    assert [image['file_name'] for image in train['images']] == ['i0.png', 'i1.png', 'i3.png']
    assert train['images'][2] == {'id': 3, 'file_name': 'i3.png', 'height': 30, 'width': 40}
    assert train['annotations'][1] == {'id': 2, 'image_id': 2, 'category_id': 2, 'iscrowd': 0, 'bbox': [1, 2, 10, 21],
                                       'area': 210}
    assert train['annotations'][3]['iscrowd'] == 1  # difficult
    assert len(val['annotations']) == 3
    assert (out / 'images' / 'i4.png').read_bytes() == (voc / 'JPEGImages' / 'i4.png').read_bytes()


def test_voc_again_keeps_images_and_follows_the_annotations(run, voc, tmp_path):
    out = tmp_path / 'out'
    assert run(['voc', str(voc), str(out)]) == 0
    times = {path: path.stat().st_mtime_ns for path in (out / 'images').iterdir()}
    inodes = {path: path.stat().st_ino for path in times}
    (out / 'images' / 'i1.png').unlink()
    path = voc / 'Annotations' / 'i0.xml'
    path.write_text(path.read_text().replace('<xmax>11', '<xmax>12'))
    assert run(['voc', str(voc), str(out)]) == 0
    assert load(out / 'annotations' / 'train.json')['annotations'][0]['bbox'] == [1, 2, 11, 20]
    assert {path: path.stat().st_mtime_ns for path in times} == times
    assert all(path.stat().st_ino == inodes[path] for path in times if path.name != 'i1.png')


def test_voc_with_chosen_classes_inclusive_corners_and_links(run, voc, tmp_path, capsys):
    out = tmp_path / 'out'
    assert run(['voc', str(voc), str(out), '--classes', 'b', '--corners', 'inclusive', '--link']) == 0
    assert capsys.readouterr().out.splitlines()[-3:] == ['train: images 3, boxes 3, b 3', 'val: images 2, boxes 2, b 2',
                                                         'dropped boxes: unknown_class 2']
    assert load(out / 'annotations' / 'train.json')['annotations'][0]['bbox'] == [0, 1, 11, 21]
    link = out / 'images' / 'i0.png'
    assert link.is_symlink()
    assert link.resolve() == (voc / 'JPEGImages' / 'i0.png').resolve()
    assert run(['voc', str(voc), str(out), '--classes', 'b', '--corners', 'inclusive', '--link']) == 0


def test_voc_random_split(run, voc, tmp_path, capsys):
    shutil.rmtree(voc / 'ImageSets')
    assert run(['voc', str(voc), str(tmp_path / 'no')]) == 2
    assert 'ask for a random split with --val-share 0.2' in capsys.readouterr().err
    assert not (tmp_path / 'no').exists()

    def names(seed):
        out = tmp_path / f'out{seed}'
        assert run(['voc', str(voc), str(out), '--val-share', '0.4', '--seed', str(seed)]) == 0
        return [[image['file_name'] for image in load(out / 'annotations' / f'{split}.json')['images']]
                for split in ('train', 'val')]
    train, val = names(0)
    assert len(val) == 2
    assert sorted(train + val) == [f'i{k}.png' for k in range(5)]
    assert names(0) == [train, val]
    assert any(names(seed) != [train, val] for seed in range(1, 4))
    assert run(['voc', str(voc), str(tmp_path / 'no'), '--val-share', '1.5']) == 2
    assert '--val-share: expected a number in (0, 1)' in capsys.readouterr().err


@pytest.mark.parametrize(('spoil', 'message'), [
    (lambda voc: (voc / 'JPEGImages' / 'i2.png').unlink(), 'i2.xml: no such image file'),
    (lambda voc: (voc / 'ImageSets' / 'Main' / 'val.txt').write_text('i2\ni0\n'), '"i0" is in val and in train'),
    (lambda voc: (voc / 'Annotations' / 'i1.xml').write_text('<annotation><object/></annotation>'), 'i1.xml: object 1'),
    (lambda voc: shutil.rmtree(voc / 'Annotations'), 'expected a Pascal VOC folder'),
])
def test_spoiled_voc_is_refused_before_anything_is_written(run, voc, tmp_path, capsys, spoil, message):
    spoil(voc)
    assert run(['voc', str(voc), str(tmp_path / 'out')]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / 'out').exists()


def test_the_new_set_may_not_touch_its_source(run, voc, capsys):
    before = contents(voc)
    for out in (voc, voc / 'coco', voc.parent):
        assert run(['voc', str(voc), str(out), '--force']) == 2
        assert 'must not lie in the folder of its source' in capsys.readouterr().err
    assert contents(voc) == before


def test_bccd(run, real_data, tmp_path, capsys):
    """Counted in the XML files by hand; the two degenerate boxes (xmin = xmax) are dropped and reported."""
    source, out = real_data / 'bccd', tmp_path / 'bccd'
    assert run(['bccd', str(source), str(out), '--link']) == 0
    assert 'dropped boxes: degenerate 2' in capsys.readouterr().out
    for split, images in (('train', 205), ('val', 87)):
        content = load(out / 'annotations' / f'{split}.json')
        assert [entry['name'] for entry in content['categories']] == ['RBC', 'WBC', 'Platelets']
        assert len(content['images']) == images
        expected = Counter()
        for name in (source / 'ImageSets' / 'Main' / f'{split}.txt').read_text().split():
            for item in ElementTree.parse(source / 'Annotations' / f'{name}.xml').findall('object'):
                x1, y1, x2, y2 = (float(item.find(f'bndbox/{key}').text) for key in ('xmin', 'ymin', 'xmax', 'ymax'))
                if x2 > x1 and y2 > y1:
                    expected[f'{name}.jpg', item.find('name').text, x1, y1, x2 - x1, y2 - y1] += 1
        names = {image['id']: image['file_name'] for image in content['images']}
        classes = {entry['id']: entry['name'] for entry in content['categories']}
        assert expected == Counter((names[item['image_id']], classes[item['category_id']], *item['bbox'])
                                   for item in content['annotations'])


# ----------------------------------------------------------------------------------------- Comparison detector

@pytest.fixture
def published(tmp_path):
    """A COCO file as published, categories in another order and with ids from 10; two images beside it."""
    root = tmp_path / 'published'
    (root / 'images').mkdir(parents=True)
    for name in ('u.png', 'v.png'):
        cv2.imwrite(str(root / 'images' / name), np.full((20, 24, 3), 90, np.uint8))
    content = {'images': [{'id': 7, 'file_name': 'u.png', 'height': 20, 'width': 24},
                          {'id': 9, 'file_name': 'v.png', 'height': 20, 'width': 24}],
               'annotations': [{'id': 1, 'image_id': 9, 'category_id': 10, 'bbox': [1, 2, 3, 4], 'area': 12,
                                'iscrowd': 0}],
               'categories': [{'id': 10 + k, 'name': name} for k, name in enumerate(reversed(CDETECTOR_CLASSES))]}
    (root / 'train.json').write_text(json.dumps(content))
    return root


def change_json(path, edit):
    content = load(path)
    edit(content)
    path.write_text(json.dumps(content))


def test_cdetector_from_its_coco_file(run, published, tmp_path, capsys):
    out = tmp_path / 'out'
    arguments = ['cdetector', str(published / 'train.json'), str(out), '--split', 'train']
    assert run(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert 'images: 2' in lines
    assert 'boxes: 1' in lines
    assert 'actinomyces: 1' in lines
    content = load(out / 'annotations' / 'train.json')
    assert [entry['name'] for entry in content['categories']] == list(CDETECTOR_CLASSES)
    assert [image['file_name'] for image in content['images']] == ['train/u.png', 'train/v.png']
    assert content['annotations'] == [{'id': 1, 'image_id': 9, 'category_id': 11, 'bbox': [1, 2, 3, 4], 'area': 12,
                                       'iscrowd': 0}]
    before = contents(out)
    assert set(before) == {'annotations/train.json', 'images/train/u.png', 'images/train/v.png'}
    assert run(arguments) == 0
    assert contents(out) == before
    assert run([*arguments[:-1], 'test', '--images', str(published / 'images'), '--link']) == 0
    assert (out / 'images' / 'test' / 'u.png').is_symlink()


@pytest.mark.parametrize(('edit', 'message'), [
    (lambda c: c['categories'][0].update(name='actinomices'), 'class "actinomices". Did you mean "actinomyces"?'),
    (lambda c: c['categories'].pop(), 'the categories lack ascus'),
    (lambda c: c['images'][0].update(file_name='w.png'), 'no such image file'),
    (lambda c: c['images'][0].update(file_name='../train.json'), 'leads out of'),
    (lambda c: c['images'][0].update(file_name='v.png'), '"v.png" is listed before'),
    (lambda c: c['images'][0].update(width=25), '"u.png" has 24 x 20 px, its annotation says 25 x 20'),
    (lambda c: c['annotations'][0].pop('category_id'), 'has no "category_id"'),
])
def test_a_spoiled_coco_file_is_refused(run, published, tmp_path, capsys, edit, message):
    change_json(published / 'train.json', edit)
    assert run(['cdetector', str(published / 'train.json'), str(tmp_path / 'out'), '--split', 'train']) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / 'out' / 'annotations').exists()
    assert not (tmp_path / 'out' / 'images' / 'train').exists()


def test_annotations_of_others_are_never_replaced(run, published, tmp_path, capsys):
    out = tmp_path / 'out'
    (out / 'annotations').mkdir(parents=True)
    (out / 'annotations' / 'train.json').write_text('{"images": []}')
    arguments = ['cdetector', str(published / 'train.json'), str(out), '--split']
    assert run([*arguments, 'train']) == 2
    assert 'not written by prepare_data.train: annotations/train.json' in capsys.readouterr().err
    assert contents(out) == {'annotations/train.json': b'{"images": []}'}
    assert run([*arguments, 'val']) == 0  # beside them
    assert len(load(out / 'annotations' / 'val.json')['images']) == 2


def test_a_cdetector_set_may_not_replace_its_source(run, published, capsys):
    (published / 'annotations').mkdir()
    source = shutil.move(published / 'train.json', published / 'annotations' / 'train.json')
    before = contents(published)
    assert run(['cdetector', str(source), str(published), '--split', 'train']) == 2
    assert 'not written by prepare_data.train: annotations/train.json' in capsys.readouterr().err
    assert contents(published) == before


def varint(value):
    return bytes([value]) if value < 128 else bytes([value & 127 | 128]) + varint(value >> 7)


def field(number, data):
    return varint(number << 3 | 2) + varint(len(data)) + data


def tfrecord(name, image, rows):
    """A file with one tf.train.Example, as in the layout that the Comparison detector's tool writes."""
    values = {'img_name': field(1, field(1, name)), 'img': field(1, field(1, image.tobytes())),
              'img_height': field(3, field(1, varint(image.shape[0]))),
              'img_width': field(3, field(1, varint(image.shape[1]))),
              'gtboxes_and_label': field(1, field(1, np.array(rows, '<i4').tobytes()))}
    data = field(1, b''.join(field(1, field(1, key.encode()) + field(2, value)) for key, value in values.items()))
    length = struct.pack('<Q', len(data))
    return length + struct.pack('<I', masked_crc32c(length)) + data + struct.pack('<I', masked_crc32c(data))


def test_cdetector_from_tfrecord(run, tmp_path, capsys):
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    (tmp_path / 'a.tfrecord').write_bytes(tfrecord(b'one.jpg', image, [(2, 3, 11, 22, 4)]))
    (tmp_path / 'b.tfrecord').write_bytes(tfrecord(b'two.jpg', image, []))
    out = tmp_path / 'out'
    sources = [str(tmp_path / name) for name in ('a.tfrecord', 'b.tfrecord')]
    assert run(['cdetector', *sources, str(out), '--split', 'test']) == 0
    said = capsys.readouterr()
    assert 'hsil: 1' in said.out.splitlines()
    assert not said.err
    content = load(out / 'annotations' / 'test.json')
    assert [item['bbox'] for item in content['annotations']] == [[3, 2, 20, 10]]  # inclusive corners
    stored = cv2.imread(str(out / 'images' / content['images'][0]['file_name']))[..., ::-1]
    assert np.array_equal(stored, image)
    (tmp_path / 'b.tfrecord').write_bytes((tmp_path / 'a.tfrecord').read_bytes()[:-9])
    before = contents(out)
    assert run(['cdetector', *sources, str(out), '--split', 'test']) == 2
    assert 'truncated' in capsys.readouterr().err
    assert contents(out) == before


@pytest.mark.parametrize(('arguments', 'message'), [
    (['x.json', 'y.json', 'OUT', '--split', 'train'], 'takes one COCO file (.json), or one or more TFRecord files'),
    (['x.tfrecord', 'OUT', '--split', 'a/b'], 'split must be a plain name such as "train", got \'a/b\''),
    (['x.tfrecord', 'OUT', '--split', 'train'], 'cannot read the TFRecord file'),
    (['x.json', 'OUT', '--split', 'train'], 'cannot read the annotation file'),
])
def test_cdetector_with_wrong_sources(run, tmp_path, capsys, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert run(['cdetector', *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not os.path.exists('OUT/annotations')
