"""Balanced sets: counts, boxes that follow, provenance, the same seed, and what is refused."""
import json
import unicodedata

import cv2
import numpy as np
import pytest

from cxrdet.core.errors import ConfigError, DataError
from cxrdet.curation.augmentation import augment, make_augmenter
from cxrdet.curation.backgrounds import Backgrounds
from cxrdet.curation.balance import balance_data, balance_text
from cxrdet.curation.check_data import check_data


def picture(rng, boxes):
    """Grey noise; each box is filled with bright red."""
    image = rng.integers(0, 60, (120, 160, 3), np.uint8)
    for x1, y1, x2, y2 in boxes:
        image[y1:y2, x1:x2] = (20, 20, 250)
    return image


@pytest.fixture(scope='module')
def source(tmp_path_factory):
    """Twelve images: two boxes of class a in each, one of class b in the first two, of c in the third; and val."""
    root, rng = tmp_path_factory.mktemp('balance') / 'set', np.random.default_rng(0)
    (root / 'images').mkdir(parents=True)
    (root / 'annotations').mkdir()
    categories = [{'id': 5 + k, 'name': name} for k, name in enumerate('abc')]
    for split, numbers in (('train', range(12)), ('val', range(12, 14))):
        images, annotations = [], []
        for k in numbers:
            boxes = [(10, 20, 40, 50), (100, 70, 140, 100)] + [(60, 20, 90, 50)] * (k < 3)
            cv2.imwrite(str(root / 'images' / f'{k}.png'), picture(rng, boxes))
            images.append({'id': k, 'file_name': f'{k}.png', 'height': 120, 'width': 160})
            for x1, y1, x2, y2 in boxes:
                category = 5 if x1 != 60 else 7 if k == 2 else 6
                annotations.append({'id': len(annotations), 'image_id': k, 'category_id': category, 'iscrowd': 0,
                                    'bbox': [x1, y1, x2 - x1, y2 - y1], 'area': (x2 - x1) * (y2 - y1)})
        (root / 'annotations' / f'{split}.json').write_text(json.dumps(
            {'images': images, 'annotations': annotations, 'categories': categories}))
    return root


def files(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob('*') if path.is_file()}


def test_coco(source, tmp_path):
    report = balance_data(source, tmp_path / 'out', target=10, targets={'a': 0}, seed=1)
    assert report['before'] == {'a': 24, 'b': 2, 'c': 1} and report['short'] == {}
    assert 10 <= report['after']['b'] <= 14 and 10 <= report['after']['c'] <= 14
    lines = [json.loads(line) for line in (tmp_path / 'out' / 'provenance.jsonl').read_text().splitlines()]
    assert len(lines) == report['copies'] and {line['source'] for line in lines} == {'0.png', '1.png', '2.png'}
    assert all(line['augmentation'] == 'cell' and line['seed'] > 0 for line in lines)
    checked = check_data(tmp_path / 'out')
    assert not checked.failed and checked.numbers['classes']['train'] == report['after']
    val = 'annotations/val.json'
    assert json.loads((tmp_path / 'out' / val).read_text()) == json.loads((source / val).read_text())
    content = json.loads((tmp_path / 'out' / 'annotations' / 'train.json').read_text())
    new = [image for image in content['images'] if '_copy' in image['file_name']]
    assert len(new) == report['copies'] and (new[0]['height'], new[0]['width']) == (120, 160)


def test_a_set_without_splits(source, tmp_path):
    """As CVAT exports it: one file, which names no split."""
    root = tmp_path / 'set'
    (root / 'annotations').mkdir(parents=True)
    (root / 'images').symlink_to(source / 'images')
    (root / 'annotations' / 'instances_default.json').write_bytes((source / 'annotations' / 'train.json').read_bytes())
    with pytest.raises(DataError, match='There are: "" '):
        balance_data(root, tmp_path / 'out', target=10, targets={'a': 0})
    report = balance_data(root, tmp_path / 'out', target=10, targets={'a': 0}, split='')
    content = json.loads((tmp_path / 'out' / 'annotations' / 'train.json').read_text())
    assert sum('_copy' in image['file_name'] for image in content['images']) == report['copies'] > 0


def test_the_same_seed_gives_the_same_set(source, tmp_path):
    for name, seed in (('one', 3), ('two', 3), ('other', 4)):
        balance_data(source, tmp_path / name, target=4, targets={'a': 0}, seed=seed)
    one, two, other = (files(tmp_path / name) for name in ('one', 'two', 'other'))
    assert one == two
    assert one.keys() == other.keys() and one != other


def test_boxes_follow():
    """The red squares are where the boxes say, whatever became of the image."""
    given = [(10, 20, 40, 50), (100, 70, 140, 100)]
    image = picture(np.random.default_rng(0), given)
    for preset in ('cell', 'mild'):
        moved = 0
        for seed in range(12):
            new, boxes, rows = augment(make_augmenter(preset, seed=seed), image, given)
            assert new.shape == image.shape and len(rows) == len(boxes) and set(rows.tolist()) <= {0, 1}
            assert len(boxes) <= 2 or preset == 'cell'  # there the border mirrors
            for x1, y1, x2, y2 in boxes:
                centre = new[int((y1 + y2) / 2), int((x1 + x2) / 2)].astype(int)
                assert centre[2] - centre[:2].max() > 60 or centre.max() - centre.min() > 60
                assert 0 <= x1 < x2 <= 160 and 0 <= y1 < y2 <= 120
            moved += not np.array_equal(new, image)
        assert moved > 8


def test_little_that_is_left_of_a_box_is_dropped():
    augmenter = make_augmenter('cell', min_visibility=0.999, seed=0)
    image = np.zeros((100, 100, 3), np.uint8)
    kept = [len(augment(augmenter, image, [(0, 0, 20, 20)])[1]) for _ in range(30)]
    assert 0 < sum(kept) < 30
    new, boxes, rows = augment(augmenter, image, [])
    assert boxes.shape == (0, 4) and rows.shape == (0, ) and new.shape == image.shape


def test_backgrounds(source, tmp_path):
    (tmp_path / 'bg').mkdir()
    for k in range(5):
        cv2.imwrite(str(tmp_path / 'bg' / f'{k}.png'), np.random.default_rng(k).integers(0, 99, (50, 60, 3), np.uint8))
    report = balance_data(source, tmp_path / 'out', target=0, backgrounds=Backgrounds(tmp_path / 'bg', most=3))
    assert (report['copies'], report['backgrounds'], report['backgrounds_unchecked']) == (0, 3, 3)
    assert 'were not looked at' in balance_text(report)
    content = json.loads((tmp_path / 'out' / 'annotations' / 'train.json').read_text())
    assert len(content['images']) == 15 and len(content['annotations']) == 27
    assert check_data(tmp_path / 'out').numbers['images'] == 17
    (tmp_path / 'empty').mkdir()
    with pytest.raises(DataError, match='no image in this folder of backgrounds'):
        balance_data(source, tmp_path / 'out2', backgrounds=tmp_path / 'empty')


def test_voc_of_bccd(real_data, tmp_path):
    check_data(real_data / 'bccd', pixels=False, fix=tmp_path / 'clean', link=True)
    report = balance_data(tmp_path / 'clean', tmp_path / 'out', target=240, targets={'RBC': 0})
    assert report['before'] == {'Platelets': 209, 'RBC': 2381, 'WBC': 214}
    assert report['after']['WBC'] >= 240 and report['after']['Platelets'] >= 240 and report['short'] == {}
    checked = check_data(tmp_path / 'out', pixels=False)
    assert not checked.failed and checked.numbers['classes']['train'] == report['after']
    assert checked.numbers['classes']['val'] == {'Platelets': 83, 'RBC': 967, 'WBC': 87}


def write_set(root, names, kind='coco'):
    """A set with one box of class a, of its own colour, in each image."""
    images = root / ('images' if kind == 'coco' else 'JPEGImages')
    for folder in (root / 'annotations', root / 'Annotations', root / 'ImageSets' / 'Main', images):
        folder.mkdir(parents=True, exist_ok=True)
    entries, boxes = [], []
    for k, name in enumerate(names):
        picture = np.full((60, 80, 3), 20 * k, np.uint8)
        (images / name).parent.mkdir(parents=True, exist_ok=True)
        (images / name).write_bytes(cv2.imencode('.png', picture)[1].tobytes())  # the suffix is but a name
        entries.append({'id': k, 'file_name': name, 'height': 60, 'width': 80})
        boxes.append({'id': k, 'image_id': k, 'category_id': 1, 'bbox': [20, 15, 30, 30]})
    if kind == 'coco':
        (root / 'annotations' / 'train.json').write_text(json.dumps(
            {'images': entries, 'annotations': boxes, 'categories': [{'id': 1, 'name': 'a'}]}))
    else:
        stems = [name.rpartition('.')[0] for name in names]
        corners = '<xmin>20</xmin><ymin>15</ymin><xmax>50</xmax><ymax>45</ymax>'
        for stem in stems:
            (root / 'Annotations' / f'{stem}.xml').write_text(
                '<annotation><size><width>80</width><height>60</height></size><object><name>a</name><bndbox>'
                f'{corners}</bndbox></object></annotation>')
        (root / 'ImageSets' / 'Main' / 'train.txt').write_text('\n'.join(stems))
    return root


NAMES = ['a.png', 'a.jpg', 'A_copy1.png', 'b/x.001.png', 'b/x.002.png', 'background_00000.png', 'é.png',
         'e\u0301_COPY1.png']


@pytest.mark.parametrize('kind', ['coco', 'voc'])
def test_names_of_copies_are_no_others(tmp_path, kind):
    """Nothing is written over, also where the file system takes upper and lower case, or two ways of é, as the same."""
    names = NAMES if kind == 'coco' else ['a.png', 'A_copy1.png', 'x.001.png', 'x.002.png', 'background_00000.png']
    root = write_set(tmp_path / 'set', names, kind)
    cv2.imwrite(str(tmp_path / '0.png'), np.full((60, 80, 3), 250, np.uint8))
    (tmp_path / 'bg').mkdir()
    (tmp_path / '0.png').rename(tmp_path / 'bg' / '0.png')
    folder = 'images' if kind == 'coco' else 'JPEGImages'
    report = balance_data(root, tmp_path / 'out', target=3 * len(names), backgrounds=tmp_path / 'bg')
    kept = files(root / folder)
    written = files(tmp_path / 'out' / folder)
    assert {name: written[name] for name in kept} == kept
    assert len(written) == len(names) + report['copies'] + 1
    assert len({unicodedata.normalize('NFC', name.rpartition('.')[0]).casefold() for name in written}) == len(
        written) - (kind == 'coco')  # a.png and a.jpg were there before
    listed = [json.loads(line)['image'] for line in (tmp_path / 'out' / 'provenance.jsonl').read_text().splitlines()]
    assert sorted({*listed, *kept}) == sorted(written)
    checked = check_data(tmp_path / 'out', pixels=False)
    assert not checked.failed and checked.numbers['classes']['train'] == report['after']
    again = balance_data(tmp_path / 'out', tmp_path / 'again', target=report['after']['a'] + 3)
    assert files(tmp_path / 'again' / folder).items() >= written.items() and again['short'] == {}


@pytest.mark.parametrize('name', ['../../secret.png', 'ABSOLUTE/secret.png'])
def test_names_that_lead_out_of_the_set(tmp_path, name):
    name = name.replace('ABSOLUTE', str(tmp_path))
    root = write_set(tmp_path / 'set', ['a.png'])
    (tmp_path / 'secret.png').write_bytes((root / 'images' / 'a.png').read_bytes())
    path = root / 'annotations' / 'train.json'
    content = json.loads(path.read_text())
    content['images'].append({'id': 7, 'file_name': name, 'height': 60, 'width': 80})
    path.write_text(json.dumps(content))
    out = tmp_path / 'deep' / 'er' / 'out'
    with pytest.raises(DataError, match='leads out of .*--allow-outside'):
        balance_data(root, out, target=3)
    assert not (tmp_path / 'deep').exists()
    balance_data(root, out, target=3, allow_outside=True)
    assert (out / 'images' / 'secret.png').is_file() and [path.name for path in out.parent.iterdir()] == ['out']
    assert [path.name for path in (tmp_path / 'deep').iterdir()] == ['er'] and not check_data(out, pixels=False).failed


def test_input_in_the_new_set(source, tmp_path):
    balance_data(source, tmp_path / 'out', target=2)
    before = files(tmp_path / 'out')
    for options in ({'backgrounds': tmp_path / 'out' / 'images'}, {'backgrounds': tmp_path}):
        with pytest.raises(DataError, match='must not lie in'):
            balance_data(source, tmp_path / 'out', target=3, **options)
    with pytest.raises(DataError, match='must not lie in'):
        balance_data(tmp_path / 'out', tmp_path / 'out')
    with pytest.raises(DataError, match='no such file or folder'):
        balance_data(tmp_path / 'typo', tmp_path / 'out')
    assert files(tmp_path / 'out') == before


@pytest.mark.parametrize('options, error, text', [
    ({'split': 'trian'}, DataError, 'no split "trian". Did you mean "train"'),
    ({'targets': {'A': 5}}, ConfigError, 'no class "A". Did you mean "a"'),
    ({'targets': {'a': -5}}, ConfigError, 'the target of "a" must be 0 or more, got -5'),
    ({'paste': -1}, ConfigError, 'paste of 0 or more .* got -1 and 0.3'),
    ({'min_visibility': 4}, ConfigError, 'min_visibility within 0 .. 1, got 1 and 4'),
    ({'backgrounds': 'nowhere'}, DataError, 'nowhere: no such folder of backgrounds'),
    ({'preset': 'wild'}, ConfigError, 'the augmentation must be one of cell, mild, got "wild"'),
])
def test_refusals(source, tmp_path, options, error, text):
    with pytest.raises(error, match=text):
        balance_data(source, tmp_path / 'out', **options)


def test_broken_and_foreign(source, tmp_path, real_data):
    with pytest.raises(DataError, match='2 errors in the annotations, the first: box .* Mend them'):
        balance_data(real_data / 'bccd', tmp_path / 'out')
    with pytest.raises(ConfigError, match='format "csv" cannot be balanced by copies'):
        balance_data(real_data / 'cervical_crops', tmp_path / 'out')
    (tmp_path / 'mine').mkdir()
    (tmp_path / 'mine' / 'x').write_text('')
    with pytest.raises(DataError, match='Choose an empty or new folder'):
        balance_data(source, tmp_path / 'mine')
