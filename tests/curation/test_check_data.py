"""Whole checks of data sets on the disk: planted defects, the real sets, mended copies, speed."""
import json
from collections import Counter

import cv2
import numpy as np
import pytest

from cxrdet.core.csv_text import escape_cell
from cxrdet.core.errors import ConfigError, DataError
from cxrdet.curation.check_data import check_data
from cxrdet.curation.set_writers import summary
from cxrdet.datasets.formats.csv_labels import read_rows

STATISTICS = {'imbalance', 'class_without_samples', 'image_without_boxes', 'confounded_label'}


def found(report):
    """(code, file name, row) of everything but statistics, counted."""
    return Counter((f.code, f.file.rpartition('/')[2], f.row) for f in report.findings if f.code not in STATISTICS)


# ------------------------------------------------------------------------------------------------- planted defects

@pytest.fixture(scope='module')
def pictures():
    """Twelve images of 96 x 128 px that differ, as PNG bytes."""
    images = []
    for seed in range(12):
        noise = np.random.default_rng(seed).random((7, 9)).astype(np.float32)
        image = (255 * np.clip(cv2.resize(noise, (128, 96), interpolation=cv2.INTER_CUBIC), 0, 1)).astype(np.uint8)
        images.append(cv2.imencode('.png', image, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].tobytes())
    return images


def clean_set(rng, pictures):
    """Contents of train.json and val.json, and name -> bytes of the images: five and three, four boxes in each."""
    order, contents, files = rng.permutation(12), {}, {}
    for split, numbers in (('train', order[:5]), ('val', order[5:8])):
        images = [{'id': int(k) + 1, 'file_name': f'{k}.png', 'height': 96, 'width': 128, 'patient_id': f'p{k}'}
                  for k in numbers]
        annotations = []
        for image in images:
            for cell in range(4):
                x, y = 64 * (cell % 2) + float(rng.uniform(1, 10)), 48 * (cell // 2) + float(rng.uniform(1, 10))
                w, h = rng.uniform(18, 35, 2).tolist()
                annotations.append({'id': len(annotations) + 1, 'image_id': image['id'], 'iscrowd': 0, 'area': w * h,
                                    'category_id': int(rng.integers(1, 3)), 'bbox': [x, y, w, h]})
        contents[split] = {'images': images, 'annotations': annotations,
                           'categories': [{'id': 1, 'name': 'a'}, {'id': 2, 'name': 'b'}]}
        files |= {f'{k}.png': pictures[k] for k in numbers}
    return contents, files


def plant(kind, rng, split, contents, files, free, pictures):
    """Put one defect in; return the findings that it must give."""
    content, other = contents[split], contents['val' if split == 'train' else 'train']
    boxes, file = content['annotations'], f'{split}.json'
    position = free['boxes'][split].pop()
    entry, row = boxes[position], f'annotations[{position}]'
    x, y, w, h = entry['bbox']
    simple = {'zero_area_box': {'bbox': [x, y, 0, h]}, 'inverted_box': {'bbox': [x + w, y, -w, h]},
              'outside_box': {'bbox': [130, y, w, h]}, 'out_of_bounds_box': {'bbox': [-3, y, w, h]},
              'tiny_box': {'bbox': [x, y, 9, h]}, 'no_category': {'category_id': None},
              'unknown_category': {'category_id': 9}, 'bad_box': {'bbox': [x, y, w]},
              'unknown_image': {'image_id': 999}, 'no_annotation_id': {'id': None}}
    if kind in simple:
        entry.update(simple[kind])
        return [(kind, file, row)]
    if kind == 'annotation_id_twice':
        boxes.append({**entry, 'bbox': [x, y, w * .6, h], 'id': entry['id']})
        return [(kind, file, f'annotations[{len(boxes) - 1}]')]
    if kind in ('duplicate_box', 'duplicate_box_other_class'):
        category = entry['category_id'] if kind == 'duplicate_box' else 3 - entry['category_id']
        boxes.append({**entry, 'bbox': [x, y, w, h * .99], 'category_id': category, 'id': 1000 + len(boxes)})
        return [(kind, file, f'annotations[{len(boxes) - 1}]')]
    number = free['images'][split].pop()
    image, row = content['images'][number], f'images[{number}]'
    name = image['file_name']
    if kind == 'missing_file':
        files.pop(name)
    elif kind == 'empty_file':
        files[name] = b''
    elif kind == 'unreadable_image':
        files[name] = files[name][:len(files[name]) // 2]
    elif kind == 'size_mismatch':
        image['width'] = 129
    elif kind == 'image_twice':
        content['images'].append({**image, 'id': 500 + number})
        return [(kind, file, f'images[{len(content["images"]) - 1}]')]
    elif kind == 'orphan_file':
        files[f'orphan_{split}_{number}.png'] = pictures[8 + len([n for n in files if 'orphan' in n])]
        return [(kind, f'orphan_{split}_{number}.png', '')]
    elif kind == 'patient_across_splits':
        twin = free['images']['val' if split == 'train' else 'train'].pop()
        image['patient_id'] = other['images'][twin]['patient_id'] = f'shared{number}{split}'
        row = f'images[{number if split == "train" else twin}]'
        return [(kind, 'train.json', row)]
    return [(kind, file, row)]


BOX_KINDS = ('zero_area_box', 'inverted_box', 'outside_box', 'out_of_bounds_box', 'tiny_box', 'no_category', 'bad_box',
             'unknown_category', 'unknown_image', 'no_annotation_id', 'annotation_id_twice', 'duplicate_box',
             'duplicate_box_other_class')
IMAGE_KINDS = ('missing_file', 'empty_file', 'unreadable_image', 'size_mismatch', 'image_twice', 'orphan_file',
               'patient_across_splits')


def broken_set(root, seed, pictures):
    """Write a set with zero to six defects of twenty kinds; return the findings that a check must give, no more."""
    rng = np.random.default_rng(seed)
    contents, files = clean_set(rng, pictures)
    free = {key: {s: rng.permutation(len(c[name])).tolist() for s, c in contents.items()}
            for key, name in (('boxes', 'annotations'), ('images', 'images'))}
    expected = Counter()
    kinds = [*rng.choice(BOX_KINDS, int(rng.integers(0, 5))), *rng.choice(IMAGE_KINDS, int(rng.integers(0, 3)),
                                                                         replace=False)]
    for kind in kinds:
        expected.update(plant(str(kind), rng, str(rng.choice(['train', 'val'])), contents, files, free, pictures))
    (root / 'annotations').mkdir(parents=True)
    (root / 'images').mkdir()
    for split, content in contents.items():
        (root / 'annotations' / f'{split}.json').write_text(json.dumps(content))
    for name, data in files.items():
        (root / 'images' / name).write_bytes(data)
    return expected


@pytest.mark.parametrize('block', range(10))
def test_planted_defects_are_found_and_none_invented(block, tmp_path, pictures):
    """20 sets a block, 200 in all."""
    kinds = Counter()
    for seed in range(20 * block, 20 * block + 20):
        expected = broken_set(tmp_path / str(seed), seed, pictures)
        report = check_data(tmp_path / str(seed))
        assert found(report) == expected, seed
        levels = {f.level for f in report.findings if f.code not in STATISTICS}
        assert report.failed == ('error' in levels)
        kinds.update(kind for kind, *_ in expected)
    assert len(kinds) >= 10 and sum(kinds.values()) >= 30


@pytest.mark.parametrize('seed', range(0, 60, 3))
def test_what_is_not_mended_is_said(seed, tmp_path, pictures):
    """A second check of the mended copy finds what was told as left, and nothing else."""
    broken_set(tmp_path / 'set', seed, pictures)
    before = {path: path.read_bytes() for path in (tmp_path / 'set').rglob('*') if path.is_file()}
    report = check_data(tmp_path / 'set', fix=tmp_path / 'out')
    again = check_data(tmp_path / 'out')
    left = Counter(f.code for f in report.plan.left if f.code not in STATISTICS)
    # what hangs on an image that was dropped for another reason is gone too
    second = Counter(f.code for f in again.findings if f.code not in STATISTICS)
    duplicates = second.pop('duplicate_box', 0)  # of an image that was listed twice
    assert duplicates == 0
    assert second <= left and (second == left or report.plan.drop_images)
    assert again.failed <= report.failed
    assert before == {path: path.read_bytes() for path in (tmp_path / 'set').rglob('*') if path.is_file()}
    log = [json.loads(line) for line in (tmp_path / 'out' / 'mended.jsonl').read_text().splitlines()]
    assert len(log) == len(report.plan.changes) + len(report.plan.left)


# ------------------------------------------------------------------------------------------------- real sets

def kinds(report):
    return {code: len(group) for (_, code), group in report.counts().items()}


def test_bccd(real_data, tmp_path):
    report = check_data(real_data / 'bccd', fix=tmp_path / 'out', link=True)
    assert kinds(report) == {'zero_area_box': 2, 'imbalance': 1}
    assert sorted((f.file.rpartition('/')[2], f.row) for f in report.findings if f.level == 'error') == [
        ('BloodImage_00338.xml', 'object 13'), ('BloodImage_00343.xml', 'object 4')]
    assert report.numbers['classes'] == {'train': {'Platelets': 209, 'RBC': 2382, 'WBC': 214},
                                         'val': {'Platelets': 83, 'RBC': 968, 'WBC': 87}}
    again = check_data(tmp_path / 'out')
    assert not again.failed and kinds(again) == {'imbalance': 1}
    assert again.numbers['boxes'] == report.numbers['boxes'] - 2 == 3941
    assert not report.failed  # nothing is left that is an error


def test_cxr_lungs(real_data, tmp_path):
    report = check_data(real_data / 'cxr_lungs', fix=tmp_path / 'out', link=True, out=tmp_path / 'report.json')
    assert kinds(report) == {'equal_images_across_splits': 1, 'no_category': 1, 'alpha_channel': 46, 'equal_images': 1,
                             'near_equal_images': 5}
    category, = (f for f in report.findings if f.code == 'no_category')
    assert (category.file.rpartition('/')[2], category.row, category.id) == ('train.json', 'annotations[347]', 850)
    pairs = {frozenset(part for part in f.text.split('"')[1::2]) for f in report.findings if 'equal_images' in f.code
             and 'near' not in f.code}
    assert pairs == {frozenset(('353889E0-A1E8-4F9E-A0B8-F24F36BCFBFB.jpg', 'case_72_RX-TORACE1.jpg')),
                     frozenset(('3d4364c0e44859e86017ee1660112e_jumbo-1.jpg',
                                '81ba2932af55c7663e9d87016776a6_jumbo-1.jpg'))}
    again = check_data(tmp_path / 'out')
    assert not again.failed and kinds(again) == {'alpha_channel': 46, 'near_equal_images': 5}
    assert again.numbers['images'] == 446
    written = json.loads((tmp_path / 'report.json').read_text())
    assert written['counts']['no_category'] == 1 and written['mended']['changes'] == {
        'dropped box': 1, 'dropped image': 2, 'dropped box with its image': 4}


def test_nih(real_data, tmp_path):
    report = check_data(real_data / 'nih_cxr14', fix=tmp_path / 'out', link=True)
    assert kinds(report) == {'alpha_channel': 4, 'confounded_label': 4, 'equal_images': 1, 'imbalance': 1,
                             'boxes_without_image': 1, 'rows_without_image': 1}
    pair, = (f for f in report.findings if f.code == 'equal_images')
    assert '"00002658_002.png" is byte for byte "00002658_001.png"' in pair.text
    assert report.numbers['images'] == 779 and not report.failed
    again = check_data(tmp_path / 'out')
    assert kinds(again) == {'alpha_channel': 4, 'confounded_label': 4, 'imbalance': 1}
    assert again.numbers['images'] == 778 and again.numbers['boxes'] == 39


def test_cervical_crops_and_lesions(real_data):
    for name, images in (('cervical_crops', 1256), ('cxr_lesions', 50)):
        report = check_data(real_data / name)
        assert kinds(report) == {} and report.numbers['images'] == images


def test_several_processes_give_the_same(real_data):
    seen = []
    one = check_data(real_data / 'cxr_lesions', kind='folder', workers=1)
    two = check_data(real_data / 'cxr_lesions', kind='folder', workers=2, progress=lambda *x: seen.append(x))
    assert one.findings == two.findings and seen[-1] == (50, 50) and len(seen) == 50


# ------------------------------------------------------------------------------------------------- other formats

@pytest.fixture
def csv_set(tmp_path, pictures):
    root = tmp_path / 'csv'
    root.mkdir()
    for number, data in enumerate(pictures[:6]):
        (root / f'{number}.png').write_bytes(data)
    (root / 'label2id.json').write_text('{"x": 0, "y": 1}')
    return root


def write_rows(root, *rows):
    (root / 'metadata.csv').write_text('path,label,split,patient_id\n' + ''.join(f'{row}\n' for row in rows))


def test_csv(csv_set, tmp_path):
    good = '0.png,x,train,a', '1.png,y,train,b', '2.png,x,val,c'
    write_rows(csv_set, *good)
    assert found(check_data(csv_set)) == {('orphan_file', f'{k}.png', ''): 1 for k in (3, 4, 5)}
    (csv_set / '6.png').write_bytes((csv_set / '0.png').read_bytes())
    write_rows(csv_set, *good, '3.png,z,train,d', '4.png,,train,e', '5.png,y,trian,f', '9.png,x,val,g',
               '1.png,x,train,b', '0.png,x', '2.png,x,train,c', '6.png,y,train,h')
    report = check_data(csv_set, fix=tmp_path / 'out')
    expected = [('unknown_label', 5), ('no_label', 6), ('unknown_split', 7), ('missing_file', 8),
                ('image_twice_other_label', 9), ('bad_row', 10), ('image_across_splits', 11),
                ('patient_across_splits', 11), ('equal_images_other_label', 12)]
    assert found(report) == Counter((code, 'metadata.csv', f'line {line}') for code, line in expected)
    assert {f.code for f in report.plan.left} == {'unknown_split', 'image_twice_other_label',
                                                  'equal_images_other_label', 'patient_across_splits'}
    assert report.failed
    assert (tmp_path / 'out' / 'metadata.csv').read_text() == (
        'path,label,split,patient_id\n0.png,x,train,a\n1.png,y,train,b\n2.png,x,val,c\n5.png,y,trian,f\n'
        '1.png,x,train,b\n6.png,y,train,h\n')
    assert (tmp_path / 'out' / 'label2id.json').read_bytes() == (csv_set / 'label2id.json').read_bytes()


def test_mended_table_is_safe_in_a_spreadsheet_and_read_as_before(csv_set, tmp_path):
    names = ['=1+cmd|calc.png', '-x.png', "'=a.png"]
    for number, name in enumerate(names):
        (csv_set / f'{number}.png').rename(csv_set / name)
    write_rows(csv_set, *(f'{escape_cell(name)},x,train,-{number}' for number, name in enumerate(names)))
    once, twice = tmp_path / 'once', tmp_path / 'twice'
    assert not check_data(csv_set, fix=once).failed and not check_data(once, fix=twice).failed
    text = (once / 'metadata.csv').read_text()
    assert text == (twice / 'metadata.csv').read_text()
    assert text.splitlines()[1:] == ["'=1+cmd|calc.png,x,train,-0", "'-x.png,x,train,-1", "''=a.png,x,train,-2"]
    rows = read_rows(once / 'metadata.csv', ('x', 'y'), columns={'group': 'patient_id'}, folder=once)
    assert [(row.path, row.group) for row in rows] == [(name, f'-{number}') for number, name in enumerate(names)]


def test_voc_with_defects(tmp_path, pictures):
    root = tmp_path / 'voc'
    for folder in ('Annotations', 'JPEGImages', 'ImageSets/Main'):
        (root / folder).mkdir(parents=True)

    def write(name, objects, width=128):
        text = ''.join(f'<object><name>{label}</name><bndbox><xmin>{b[0]}</xmin><ymin>{b[1]}</ymin><xmax>{b[2]}</xmax>'
                       f'<ymax>{b[3]}</ymax></bndbox></object>' for label, b in objects)
        (root / 'Annotations' / f'{name}.xml').write_text(
            f'<annotation><filename>{name}.png</filename><size><width>{width}</width><height>96</height></size>{text}'
            '</annotation>')
    for number, name in enumerate('abcd'):
        (root / 'JPEGImages' / f'{name}.png').write_bytes(pictures[number])
        write(name, [('RBC', (1, 1, 40, 40))])
    write('a', [('RBC', (1, 1, 40, 40)), ('', (50, 50, 80, 80)), ('RBC', (50, 50, 'x', 80)),
                ('RBC', (90, 50, 140, 80))])
    (root / 'Annotations' / 'd.xml').write_text('<annotation><object>')
    (root / 'ImageSets' / 'Main' / 'train.txt').write_text('a\nb\nb\nd\nz\n')
    (root / 'ImageSets' / 'Main' / 'val.txt').write_text('c\n')
    write('c', [('RBC', (1, 1, 40, 40))], width=100)
    report = check_data(root, fix=tmp_path / 'out')
    assert found(report) == Counter([
        ('no_category', 'a.xml', 'object 2'), ('bad_box', 'a.xml', 'object 3'),
        ('out_of_bounds_box', 'a.xml', 'object 4'),
        ('unreadable_annotations', 'd.xml', ''), ('listed_twice', 'train.txt', 'line 3'),
        ('missing_annotation', 'train.txt', 'line 5'), ('size_mismatch', 'c.xml', '')])
    assert [f.code for f in report.plan.left] == ['size_mismatch'] and report.failed
    again = check_data(tmp_path / 'out')
    assert found(again) == {('size_mismatch', 'c.xml', ''): 1}
    assert again.numbers['boxes'] == 4 and (tmp_path / 'out/ImageSets/Main/train.txt').read_text() == 'a\nb\n'
    assert '<xmax>128</xmax>' in (tmp_path / 'out/Annotations/a.xml').read_text()


def voc_objects(folder, name, *objects):
    """Write an annotation; an object is its class and its corners."""
    folder.mkdir(parents=True, exist_ok=True)
    text = ''.join(f'<object><name>{label}</name><bndbox>' + ''.join(
        f'<{side}>{value}</{side}>' for side, value in zip(('xmin', 'ymin', 'xmax', 'ymax'), corners))
        + '</bndbox></object>' for label, corners in objects)
    (folder / f'{name}.xml').write_text(
        f'<annotation><size><width>128</width><height>96</height></size>{text}</annotation>')


def test_a_box_is_one_line_however_many_faults_it_has(tmp_path, pictures):
    root = tmp_path / 'voc'
    (root / 'images').mkdir(parents=True)
    (root / 'images' / 'a.png').write_bytes(pictures[0])
    voc_objects(root / 'Annotations', 'a', ('RBC', (1, 1, 40, 40)), ('', (50, 50, 'x', 80)), ('', (50, 50, 50, 80)),
                ('RBC', (140, 80, 90, 50)))
    report = check_data(root, fix=tmp_path / 'out')
    lines = [json.loads(line) for line in (tmp_path / 'out' / 'mended.jsonl').read_text().splitlines()]
    by_box = Counter(line['row'] for line in lines if line['change'] != 'none')
    assert set(by_box.values()) == {1} and set(by_box) == {'object 2', 'object 3', 'object 4'}
    assert 'mended copy: 2 dropped box, ' in report.text()
    assert next(line['code'] for line in lines if line['row'] == 'object 2') == 'bad_box, no_category'
    assert check_data(tmp_path / 'out').numbers['boxes'] == 2


def test_a_box_that_gets_an_id_and_is_clipped_is_one_line_with_its_corners(tmp_path, pictures):
    (tmp_path / 'set' / 'annotations').mkdir(parents=True)
    (tmp_path / 'set' / 'images').mkdir()
    (tmp_path / 'set' / 'images' / 'a.png').write_bytes(pictures[0])
    (tmp_path / 'set' / 'annotations' / 'train.json').write_text(json.dumps({
        'images': [{'id': 1, 'file_name': 'a.png', 'width': 128, 'height': 96}],
        'annotations': [{'image_id': 1, 'category_id': 1, 'bbox': [100, 50, 60, 20]}],
        'categories': [{'id': 1, 'name': 'RBC'}]}))
    report = check_data(tmp_path / 'set', fix=tmp_path / 'out')
    change, = report.plan.changes
    assert (change.before, change.after) == ([100, 50, 160, 70], [100, 50, 128, 70])
    assert 'new id' in change.what and 'clipped box' in change.what
    assert not check_data(tmp_path / 'out').failed


def test_what_no_list_names_stays_and_is_not_told_as_left_out(tmp_path, pictures):
    root = tmp_path / 'voc'
    for number, name in enumerate('ab'):
        (root / 'JPEGImages' / name).mkdir(parents=True)
        (root / 'JPEGImages' / name / 'x.png').write_bytes(pictures[number])
        voc_objects(root / 'Annotations' / name, 'x', ('RBC', (1, 1, 40, 40)))
    (root / 'ImageSets' / 'Main').mkdir(parents=True)
    (root / 'ImageSets' / 'Main' / 'train.txt').write_text('a/x\n')
    report = check_data(root, fix=tmp_path / 'out')
    assert 'not_listed' in report.text() and not report.plan.changes
    assert (tmp_path / 'out' / 'JPEGImages' / 'b' / 'x.png').is_file()


def test_folder(tmp_path, pictures):
    for name in ('train/x/0.png', 'train/y/1.png', 'test/x/2.png'):
        (tmp_path / 'f' / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / 'f' / name).write_bytes(pictures[int(name[-5])])
    report = check_data(tmp_path / 'f')
    assert report.kind == 'folder' and not found(report)
    assert report.numbers['classes'] == {'test': {'x': 1, 'y': 0}, 'train': {'x': 1, 'y': 1}}
    (tmp_path / 'f' / 'train/y/3.png').write_bytes(pictures[2])
    assert found(check_data(tmp_path / 'f')) == {('equal_images_across_splits', '3.png', ''): 1}
    with pytest.raises(ConfigError, match='a set of the format "folder" has no annotations to mend'):
        check_data(tmp_path / 'f', fix=tmp_path / 'out')


# ------------------------------------------------------------------------------------------------- refusals, speed

def test_a_folder_of_others_is_refused(tmp_path, pictures):
    broken_set(tmp_path / 'set', 0, pictures)
    out = tmp_path / 'out'
    out.mkdir()
    (out / 'precious.txt').write_text('mine')
    with pytest.raises(DataError, match='in the way, not written by check_data.*: precious.txt'):
        check_data(tmp_path / 'set', fix=out)
    for inside in (tmp_path / 'set' / 'out', tmp_path, tmp_path / 'set'):
        with pytest.raises(DataError, match='must not lie in the folder of its source'):
            check_data(tmp_path / 'set', fix=inside)
    (out / 'precious.txt').unlink()
    check_data(tmp_path / 'set', fix=out)
    (out / 'notes.txt').write_text('kept')
    check_data(tmp_path / 'set', fix=out)  # its own copy is made anew
    assert (out / 'notes.txt').read_text() == 'kept'


@pytest.fixture
def mended(tmp_path, pictures):
    """A set A and its mended copy B; another annotation file for the images of B."""
    broken_set(tmp_path / 'A', 0, pictures)
    check_data(tmp_path / 'A', fix=tmp_path / 'B')
    (tmp_path / 'edit').mkdir()
    (tmp_path / 'edit' / 'train.json').write_bytes((tmp_path / 'B' / 'annotations' / 'train.json').read_bytes())
    (tmp_path / 'link').symlink_to('B')
    (tmp_path / 'farm' / 'images').mkdir(parents=True)
    (tmp_path / 'farm' / 'annotations').symlink_to('../edit')
    for path in (tmp_path / 'B' / 'images').iterdir():
        (tmp_path / 'farm' / 'images' / path.name).symlink_to(path)
    return tmp_path


@pytest.mark.parametrize('path, images, error', [
    ('edit/train.json', 'B/images', 'must not lie'), ('edit/train.json', 'link/images', 'must not lie'),
    ('B/annotations/train.json', None, 'must not lie'), ('B', None, 'must not lie'), ('link', None, 'must not lie'),
    ('farm', None, 'this input lies in'), ('TYPO', None, 'no such file'), ('edit', 'nowhere', 'no such folder')])
def test_an_earlier_copy_stands_where_the_input_is_in_it_or_cannot_be_read(mended, path, images, error):
    before = {path: path.read_bytes() for path in mended.rglob('*') if path.is_file()}
    with pytest.raises(DataError, match=error):
        check_data(mended / path, images=images and mended / images, fix=mended / 'B')
    assert {path: path.read_bytes() for path in mended.rglob('*') if path.is_file()} == before
    check_data(mended / 'A', fix=mended / 'B')


@pytest.mark.parametrize('link', [False, True])
def test_names_that_lead_out(tmp_path, pictures, link):
    """Roundabout and absolute ones inside are renamed; those outside are told, not looked at, and left out."""
    root = tmp_path / 'set'
    for folder in ('images/sub', 'more', 'annotations'):
        (root / folder).mkdir(parents=True)
    names = ['a.png', 'sub/../b.png', '../more/c.png', f'{root}/images/d.png', '../../e.png', '/etc/hosts', 'f\0']
    for name, data in zip(names[:5], pictures):
        (root / 'images' / name).write_bytes(data)
    sizes = {'height': 96, 'width': 128}
    (root / 'annotations' / 'train.json').write_text(json.dumps({
        'images': [{'id': k, 'file_name': name, **sizes} for k, name in enumerate(names)],
        'annotations': [{'id': k, 'image_id': k, 'category_id': 1, 'bbox': [9, 9, 30, 30]} for k in range(7)],
        'categories': [{'id': 1, 'name': 'x'}]}))
    report = check_data(root, fix=tmp_path / 'fixed', link=link)
    assert found(report) == {('outside_file', 'train.json', f'images[{k}]'): 1 for k in (4, 5, 6)}
    assert '--allow-outside' in report.findings[0].text
    assert summary(report.plan) == {'dropped image': 3, 'dropped box with its image': 3, 'renamed image': 3}
    content = json.loads((tmp_path / 'fixed' / 'annotations' / 'train.json').read_text())
    assert [image['file_name'] for image in content['images']] == ['a.png', 'b.png', 'c.png', 'd.png']
    assert [box['image_id'] for box in content['annotations']] == [0, 1, 2, 3]
    for name, data in zip('abcd', pictures):
        assert (tmp_path / 'fixed' / 'images' / f'{name}.png').read_bytes() == data
    assert not check_data(tmp_path / 'fixed').findings
    allowed = check_data(root, allow_outside=True)
    assert found(allowed) == {('unreadable_image', 'train.json', 'images[5]'): 1,
                              ('outside_file', 'train.json', 'images[6]'): 1}


@pytest.mark.parametrize('name', ['label2id.json', 'metadata.csv', 'mended.json', 'mended.jsonl',
                                  '.cxrdet/check_data.json'])
def test_images_named_like_what_is_written(tmp_path, pictures, name):
    root = tmp_path / 'set'
    (root / '.cxrdet').mkdir(parents=True)
    (root / 'label2id.json').write_text('{"x": 0}')
    (root / 'metadata.csv').write_text(f'path,label\n{name},x\n')
    for path in (root / name, root / 'mended.jsonl'):
        path.touch()
    before = {path: path.read_bytes() for path in root.rglob('*') if path.is_file()}
    with pytest.raises(DataError):
        check_data(root, fix=tmp_path / 'out', link=True, pixels=False)
    assert {path: path.read_bytes() for path in root.rglob('*') if path.is_file()} == before
    assert not (tmp_path / 'out').exists()


def test_names_that_lead_out_of_a_table(tmp_path, pictures):
    for folder in ('lists', 'images'):
        (tmp_path / 'set' / folder).mkdir(parents=True)
    (tmp_path / 'set' / 'images' / 'a.png').write_bytes(pictures[0])
    (tmp_path / 'b.png').write_bytes(pictures[1])
    (tmp_path / 'set' / 'label2id.json').write_text('{"x": 0}')
    (tmp_path / 'set' / 'metadata.csv').write_text('path,label\nlists/../images/a.png,x\n../b.png,x\n/etc/hosts,x\n')
    report = check_data(tmp_path / 'set', fix=tmp_path / 'fixed')
    assert found(report) == {('outside_file', 'metadata.csv', f'line {line}'): 1 for line in (3, 4)}
    assert (tmp_path / 'fixed' / 'metadata.csv').read_text() == 'path,label\nimages/a.png,x\n'
    check_data(tmp_path / 'set', fix=tmp_path / 'fixed', allow_outside=True)
    assert (tmp_path / 'fixed' / 'metadata.csv').read_text() == 'path,label\nimages/a.png,x\nb.png,x\n'


@pytest.mark.parametrize('kind', ['coco', 'csv'])
def test_a_copy_that_would_be_empty_is_refused(tmp_path, pictures, kind, monkeypatch):
    """Lists beside their images, absolute names: told, no empty set; and only folders of the set are searched."""
    for folder in ('images', 'lists', 'set/annotations'):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / 'images' / 'a.png').write_bytes(pictures[0])
    if kind == 'csv':
        (tmp_path / 'lists' / 'metadata.csv').write_text('path,label\n../images/a.png,x\n')
    else:
        (tmp_path / 'set' / 'annotations' / 'train.json').write_text(json.dumps({
            'images': [{'id': 1, 'file_name': f'{tmp_path}/images/a.png'}], 'categories': [{'id': 1, 'name': 'x'}],
            'annotations': [{'id': 1, 'image_id': 1, 'category_id': 1, 'bbox': [9, 9, 30, 30]}]}))
    root = tmp_path / ('lists' if kind == 'csv' else 'set')
    searched = []
    monkeypatch.setattr('cxrdet.curation.pixels.files_below', lambda folder: searched.append(folder) or [])
    report = check_data(root)
    assert report.failed and [f.code for f in report.findings if f.level == 'error'] == ['outside_file']
    with pytest.raises(DataError, match='nothing would be left: all 1 images .*outside_file.*--allow-outside'):
        check_data(root, fix=tmp_path / 'out')
    assert not (tmp_path / 'out').exists()
    report = check_data(root, fix=tmp_path / 'out', allow_outside=True)
    assert not report.failed and summary(report.plan) == {'renamed image': 1}
    assert all(str(folder).startswith(str(root)) for folder in searched)
    assert check_data(tmp_path / 'out', pixels=False).numbers['images'] == 1


@pytest.mark.parametrize('make, text', [
    (lambda p: p / 'nothing', 'no such file or folder'),
    (lambda p: p, 'there is no image in this folder'),
    (lambda p: (p / 'x.txt').write_text('') * 0 or p / 'x.txt', 'x.txt: the format is none that is known: nih, voc'),
    (lambda p: (p / 'x.json').write_text('[1') * 0 or p / 'x.json', 'invalid JSON at line 1'),
    (lambda p: (p / 'x.csv').write_text('a,b\n1,2\n') * 0 or p / 'x.csv', 'no column "path"'),
])
def test_nothing_to_check(tmp_path, make, text):
    with pytest.raises(DataError, match=text):
        check_data(make(tmp_path))


def test_wrong_words(tmp_path):
    with pytest.raises(ConfigError, match='one of auto, nih, .*, got "dicom"'):
        check_data(tmp_path, kind='dicom')
    with pytest.raises(DataError, match='no such folder of images'):
        check_data(tmp_path, images=tmp_path / 'none')


def many_boxes(folder, images):
    """A COCO file with ten boxes an image; annotations[77] has no width."""
    rng = np.random.default_rng(0)
    corner, size = rng.uniform(0, 800, (10 * images, 2)), rng.uniform(20, 200, (10 * images, 2))
    annotations = [{'id': k, 'image_id': k // 10, 'category_id': 1 + k % 3, 'iscrowd': 0, 'bbox': [*c, *s]}
                   for k, (c, s) in enumerate(zip(corner.tolist(), size.tolist()))]
    annotations[77]['bbox'][2] = 0
    (folder / 'annotations').mkdir(parents=True)
    (folder / 'annotations' / 'train.json').write_text(json.dumps({
        'images': [{'id': k, 'file_name': f'{k}.png', 'height': 1000, 'width': 1000, 'patient_id': str(k // 3)}
                   for k in range(images)],
        'annotations': annotations, 'categories': [{'id': k, 'name': 'abc'[k - 1]} for k in (1, 2, 3)]}))
    return folder


def test_cost_is_proportional_to_the_boxes(tmp_path, calls):
    """No pair of all images, or of all boxes, is looked at."""
    small, large = many_boxes(tmp_path / 'small', 50), many_boxes(tmp_path / 'large', 500)
    reports = []
    counts = [calls(lambda folder=folder: reports.append(check_data(folder, pixels=False)))
              for folder in (small, large)]
    assert counts[1] < 11 * counts[0]
    assert found(reports[1]) == {('zero_area_box', 'train.json', 'annotations[77]'): 1}


def test_files_with_several_images_and_thin_ones_are_told(tmp_path, pictures):
    from PIL import Image
    frames = [Image.fromarray(np.full((64, 64), value, np.uint8)) for value in (40, 200)]
    for name in ('stack.tif', 'film.gif', 'film.webp'):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
    cv2.imwrite(str(tmp_path / 'thin.png'), np.zeros((1, 300), np.uint8))
    (tmp_path / 'fine.png').write_bytes(pictures[0])
    report = check_data(tmp_path, workers=1)
    assert found(report) == {('unreadable_image', 'film.gif', ''): 1, ('unreadable_image', 'film.webp', ''): 1,
                             ('unreadable_image', 'stack.tif', ''): 1, ('thin_image', 'thin.png', ''): 1}
    assert all('holds 2 images' in f.text for f in report.findings if f.code == 'unreadable_image')
