"""References cut from sets: which boxes, which pixels, and what is refused."""
import csv
import json

import cv2
import numpy as np
import pytest

from cxrdet.core.errors import ConfigError, DataError
from cxrdet.curation.references import cut_references


@pytest.fixture
def coco(tmp_path):
    """Four images of 60 x 80 px, whose pixels tell x (blue), y (green) and the image (red); in each a box of class a of
    12 px, one of class "b/c" at the border, and one of class a that is too small."""
    root = tmp_path / 'set'
    (root / 'annotations').mkdir(parents=True), (root / 'images').mkdir()
    for split, numbers in (('train', (0, 1, 2)), ('val', (3,))):
        images, boxes = [], []
        for number in numbers:
            y, x = np.mgrid[:60, :80]
            cv2.imwrite(str(root / 'images' / f'{number}.png'), np.dstack([x, y, 0 * x + number]).astype(np.uint8))
            images.append({'id': number, 'file_name': f'{number}.png', 'width': 80, 'height': 60})
            boxes += [dict(image_id=number, category_id=category, bbox=box, area=1, iscrowd=crowd)
                      for category, box, crowd in ((1, [20, 10, 12, 12], 0), (2, [60, 40, 20, 20], 0),
                                                   (1, [40, 10, 7, 30], 0), (1, [0, 0, 50, 50], 1))]
        (root / 'annotations' / f'{split}.json').write_text(json.dumps({
            'images': images, 'annotations': [dict(box, id=i) for i, box in enumerate(boxes)],
            'categories': [{'id': 1, 'name': 'a'}, {'id': 2, 'name': 'b/c'}]}))
    return root


def rows(folder):
    with open(folder / 'metadata.csv', newline='') as file:
        return list(csv.DictReader(file))


def test_boxes_with_surroundings(coco, tmp_path):
    out = tmp_path / 'out'
    assert cut_references(coco, out, per_class=3, margin=0.25) == {'a': 3, 'b/c': 3}
    assert json.loads((out / 'label2id.json').read_text()) == {'a': 0, 'b/c': 1}
    found = rows(out)
    assert [row['label'] for row in found] == ['a'] * 3 + ['b/c'] * 3
    assert sorted(row['image'] for row in found[:3]) == ['0.png', '1.png', '2.png']  # each image once, none of val
    windows = {'a': (17, 7, 35, 25), 'b/c': (55, 35, 80, 60)}  # 3 px and 5 px around, to the border
    for row in found:
        assert tuple(int(row[key]) for key in ('x1', 'y1', 'x2', 'y2')) == windows[row['label']]
        x1, y1, x2, y2 = windows[row['label']]
        image = cv2.imread(str(out / row['path']))
        assert image.shape == (y2 - y1, x2 - x1, 3)
        assert image[0, 0].tolist() == [x1, y1, int(row['image'][0])]


def test_they_can_be_read_as_a_set_of_images(coco, tmp_path):
    from cxrdet.datasets.formats.sets import read_set
    cut_references(coco, tmp_path / 'out', per_class=2)
    table = read_set(tmp_path / 'out')
    table.raise_errors()
    assert table.kind == 'csv' and table.classes == ('a', 'b/c') and len(table.names) == 4


def test_the_draw_goes_by_the_seed_and_a_limit_by_the_order(coco, tmp_path):
    drawn = []
    for number, seed in enumerate([0, 0, *range(1, 12)]):
        cut_references(coco, tmp_path / str(number), per_class=1, seed=seed)
        drawn.append(tuple(row['image'] for row in rows(tmp_path / str(number))))
    assert drawn[0] == drawn[1] and len(set(drawn)) > 2
    cut_references(coco, tmp_path / 'two', per_class=2, limit=2)
    assert {row['image'] for row in rows(tmp_path / 'two')} == {'0.png', '1.png'}
    assert cut_references(coco, tmp_path / 'small', per_class=5, min_size=7, classes=['a']) == {'a': 5}
    cut_references(coco, tmp_path / 'val', per_class=1, split='val', classes=['b/c'])
    assert [(row['label'], row['image']) for row in rows(tmp_path / 'val')] == [('b/c', '3.png')]


def test_another_set_in_the_folder_stays(coco, tmp_path):
    out = tmp_path / 'out'
    cut_references(coco, out, per_class=1)
    before = (out / 'metadata.csv').read_bytes()
    with pytest.raises(DataError, match='per_class'):
        cut_references(coco, out, per_class=2)
    assert (out / 'metadata.csv').read_bytes() == before
    assert cut_references(coco, out, per_class=2, force=True) == {'a': 2, 'b/c': 2}


@pytest.mark.parametrize('options, kind, text', [
    (dict(per_class=4), DataError, r'a \(3\), b/c \(3\)'), (dict(split='tran'), DataError, 'Did you mean "train"'),
    (dict(classes=['x']), DataError, '"x"'), (dict(per_class=0), ConfigError, 'per_class'),
    (dict(margin=-1), ConfigError, 'margin'), (dict(limit=1, per_class=2), DataError, 'in 1 images')])
def test_what_cannot_be_cut(options, kind, text, coco, tmp_path):
    with pytest.raises(kind, match=text):
        cut_references(coco, tmp_path / 'out', **options)
    assert not (tmp_path / 'out').exists()


def test_broken_images_and_sets_without_boxes(coco, tmp_path):
    with pytest.raises(ConfigError, match='folder'):
        cut_references(coco / 'images', tmp_path / 'out')
    with pytest.raises(DataError, match='folder of its source'):
        cut_references(coco, coco / 'out')
    (coco / 'images' / '1.png').write_bytes(b'x')
    with pytest.raises(DataError, match=r'1\.png'):
        cut_references(coco, tmp_path / 'out', per_class=3)
    (coco / 'images' / '1.png').unlink()
    with pytest.raises(DataError, match=r'1\.png'):
        cut_references(coco, tmp_path / 'out', per_class=3)


def test_a_broken_box_is_left_out(coco, tmp_path):
    file = coco / 'annotations' / 'train.json'
    content = json.loads(file.read_text())
    content['annotations'][0]['bbox'] = [1, 2, None, 4]
    file.write_text(json.dumps(content))
    content['annotations'][1]['bbox'] = [85, 40, 20, 20]
    file.write_text(json.dumps(content))
    report = cut_references(coco, tmp_path / 'out', per_class=2)
    assert report.pop('boxes left out') == {'bad_box': 1, 'outside': 1} and report == {'a': 2, 'b/c': 2}
    with pytest.raises(DataError, match='left out: .*1 outside'):
        cut_references(coco, tmp_path / 'more', per_class=3)
    assert {row['image'] for row in rows(tmp_path / 'out') if row['label'] == 'a'} == {'1.png', '2.png'}


@pytest.mark.parametrize('names, folders', [
    (('WBC', 'wbc'), ['class_0', 'class_1']), (('class_1', 'b/c'), ['class_1', 'class_1_']), (('..', 'b c'), [
        'class_0', 'b c'])])
def test_no_two_classes_share_a_folder(names, folders, coco, tmp_path):
    for file in coco.glob('annotations/*.json'):
        content = json.loads(file.read_text())
        content['categories'] = [{'id': i, 'name': name} for i, name in enumerate(names, 1)]
        file.write_text(json.dumps(content))
    cut_references(coco, tmp_path / 'out', per_class=1)
    assert [row['path'].partition('/')[0] for row in rows(tmp_path / 'out')] == folders
    assert [row['label'] for row in rows(tmp_path / 'out')] == list(names)


def test_command(coco, tool, tmp_path, capsys):
    out = tmp_path / 'out'
    assert tool('prepare_data').main(['references', str(coco), str(out), '--per-class', '2', '--margin', '0']) == 0
    assert capsys.readouterr().out.splitlines()[-2:] == ['a: 2', 'b/c: 2']
    assert len(list(out.glob('*/*.png'))) == 4
    assert tool('prepare_data').main(['references', str(coco), str(out), '--per-class', '0']) == 2
