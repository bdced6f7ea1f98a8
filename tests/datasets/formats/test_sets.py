"""One reader a format: training raises exactly where check_data finds an error of the file; nothing goes untold."""
import json
import unicodedata
from collections import Counter

import cv2
import numpy as np
import pytest

from cxrdet.core.errors import DataError
from cxrdet.curation.check_data import check_data
from cxrdet.datasets.cell import CellDataset, CellVOCDataset
from cxrdet.datasets.csv_labels import CSVImageDataset
from cxrdet.datasets.detection_folder import CellTFRecordDataset
from cxrdet.datasets.formats.sets import find_format
from cxrdet.datasets.nih import NIHChestXray14

GEOMETRY = {'zero_area_box', 'inverted_box', 'outside_box'}  # errors of the check, dropped and counted by training
PNG = cv2.imencode('.png', np.zeros((9, 9, 3), np.uint8))[1].tobytes()


def place(root, names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(PNG)


def refused(call):
    try:
        call()
    except DataError as error:
        return str(error)
    return ''


def agree(path, train):
    """Whether both refuse; an error if only one does, or if training names no file that the check names."""
    reports = []
    told = refused(lambda: reports.append(check_data(path, pixels=False)))
    errors = [finding for report in reports for finding in report.findings
              if finding.level == 'error' and finding.code not in GEOMETRY]
    trained = refused(train)
    assert bool(trained) == bool(told or errors), (trained, told, errors)
    assert not errors or not trained or any(finding.file in trained for finding in errors)
    return bool(trained)


# ------------------------------------------------------------------------------------------------- of one mind

def coco(**changed):
    content = {'images': [{'id': 1, 'file_name': 'a.png', 'height': 90, 'width': 90},
                          {'id': 2, 'file_name': 'b.png', 'height': 90, 'width': 90}],
               'annotations': [{'id': k, 'image_id': 1, 'category_id': 1, 'bbox': [1, 2, 30, 40]} for k in (1, 2)],
               'categories': [{'id': 1, 'name': 'x'}]}
    for key, value in changed.items():
        name, _, number = key.partition('_')
        if number:
            content[name][int(number)] |= value
        else:
            content[name] = value
    return {key: value for key, value in content.items() if value is not None}


COCO = [coco(), coco(annotations_1={'bbox': [1, 2, 0, 40]}), coco(annotations_1={'bbox': [9, 9, -4, 4]}),
        coco(annotations_1={'bbox': [900, 9, 4, 4]}), *(
    coco(**{f'annotations_{1}': change}) for change in (
        {'category_id': None}, {'image_id': None}, {'id': None}, {'bbox': None}, {'id': 1}, {'id': 1.0}, {'id': 2.0},
        {'image_id': '1'}, {'image_id': [1]}, {'image_id': 1.0}, {'category_id': 5}, {'category_id': True},
        {'category_id': 1.0}, {'bbox': [1, 2, 3]}, {'bbox': [1, 2, 3, None]}, {'bbox': 'wide'},
        {'bbox': [1, 2, 3, 10 ** 400]})),
    coco(categories=None), coco(categories=[]), coco(images=[]), coco(images=None), coco(annotations=None),
    coco(annotations={}), coco(annotations=[3]), coco(images=[3]), coco(categories=[{'id': 1}]), coco(categories=[7]),
    coco(categories=[{'id': 1, 'name': 'x'}, {'id': 1, 'name': 'y'}]),
    coco(categories=[{'id': 1, 'name': 'x'}, {'id': 2, 'name': 'x'}]),
    coco(images_1={'id': 1}), coco(images_1={'file_name': 'a.png'}), coco(images_1={'file_name': './a.png'}),
    coco(images_1={'id': None}), coco(images_1={'id': 2.0}), coco(images_1={'id': 2.5}), coco(images_1={'height': '9'}),
    coco(images_1={'width': -2}), coco(images_1={'width': 10 ** 400}), coco(images_1={'file_name': '../../b.png'}),
    coco(images_1={'file_name': '/etc/b.png'}), coco(images_1={'file_name': 'b\0.png'}), [], 7, None]


@pytest.mark.parametrize('content', COCO)
def test_coco(tmp_path, content):
    (tmp_path / 'annotations').mkdir()
    place(tmp_path / 'images', ['a.png', 'b.png'])
    path = tmp_path / 'annotations' / 'train.json'
    path.write_text(json.dumps(content))
    agree(tmp_path, lambda: CellDataset('annotations/train.json', data_root=str(tmp_path)))


@pytest.mark.parametrize('data', [b'', b' ', b'{"images": [1', b'\xff\xfe\x00', b'\xff', b'[' * 100_000, b'1' * 5000])
def test_no_json(tmp_path, data):
    (tmp_path / 'annotations').mkdir()
    (tmp_path / 'annotations' / 'train.json').write_bytes(data)
    assert agree(tmp_path, lambda: CellDataset('annotations/train.json', data_root=str(tmp_path)))


BOX = '<object><name>x</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>8</xmax><ymax>8</ymax></bndbox></object>'
SIZE = '<size><width>9</width><height>9</height></size>'
VOC = [SIZE + BOX, SIZE + BOX + BOX.replace('>8<', '>1<'), SIZE + BOX + BOX.replace('<name>x</name>', ''),
       SIZE + BOX + BOX.replace('>8<', '>e<'), SIZE + BOX + BOX.replace('<ymax>8</ymax>', ''),
       SIZE.replace('>9<', '>wide<') + BOX, SIZE.replace('>9<', '>-9<') + BOX, SIZE + BOX + '<object/>', '<x', '&y;']


@pytest.mark.parametrize('content', VOC)
@pytest.mark.parametrize('listed', ['a\n', 'case/b\na', None])
def test_voc(tmp_path, content, listed):
    for folder in ('Annotations/case', 'ImageSets/Main'):
        (tmp_path / folder).mkdir(parents=True)
    place(tmp_path / 'JPEGImages', ['a.png', 'case/b.png'])
    (tmp_path / 'Annotations' / 'a.xml').write_text(f'<annotation>{content}</annotation>')
    if listed is None or 'case' in listed:
        (tmp_path / 'Annotations' / 'case' / 'b.xml').write_text(f'<annotation>{SIZE + BOX}</annotation>')
    if listed is not None:
        (tmp_path / 'ImageSets' / 'Main' / 'train.txt').write_text(listed)
    agree(tmp_path, lambda: CellVOCDataset('' if listed is None else 'ImageSets/Main/train.txt',
                                                    data_root=str(tmp_path)))


@pytest.mark.parametrize('listed', ['a\na\n', 'a\nz\n', '', '\n', 'b'])
def test_lists_of_a_voc_set(tmp_path, listed):
    for folder in ('Annotations', 'ImageSets/Main'):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / 'Annotations' / 'a.xml').write_text(f'<annotation>{SIZE + BOX}</annotation>')
    (tmp_path / 'ImageSets' / 'Main' / 'train.txt').write_text(listed)
    assert agree(tmp_path, lambda: CellVOCDataset('ImageSets/Main/train.txt', data_root=str(tmp_path)))


HEADER = 'path,label,split,group\n'
ROW = 'a.png,x,train,p1\n'
CSV = {  # content -> whether it is refused
    HEADER + ROW: False, HEADER + 'a.png,x ,train,p1\n': False, HEADER + 'a.png, x, train, p1\n': False,
    HEADER + ROW + ',,,\n ,,,\n\n': False, 'path , label,split,group,\n' + ROW: False,
    HEADER + '"a.png",x,train,p1\n': False,
    (HEADER + ROW).replace(',', ';'): False, (HEADER + ROW).replace(',', '\t'): False, '\ufeff' + HEADER + ROW: False,
    (HEADER + ROW).replace('\n', '\r\n'): False, HEADER + ROW + 'b.png,y,val,61\nc.png,y,val,61.0\n': False,
    HEADER + 'sub\\d.png,x,train,p1\n': False, HEADER + 'e%20f.png,x,train,p1\n': False,
    HEADER + ROW + 'b.png,é,train,p2\n': False, HEADER + ROW + 'b.png,e\u0301,train,p2\n': False,
    HEADER + 'g\u00e9.png,x,train,p1\n': False, 'path,label,split,patient_id\n' + ROW: False,
    'path,label\na.png,x\n': False,
    '': True, HEADER: True, HEADER.replace('path', 'file') + ROW: True, HEADER + 'a.png,x\n': True,
    HEADER + 'a.png,x,train,p1,7\n': True, HEADER + ',x,train,p1\n': True, HEADER + 'a.png,,train,p1\n': True,
    HEADER + 'a.png,z,train,p1\n': True, HEADER + 'a.png,x,tain,p1\n': True, HEADER + 'a.png,x,,p1\n': True,
    HEADER + 'a.png,x,train,\n': True, HEADER + ROW + ROW: True, HEADER + ROW + './a.png,y,train,p1\n': True,
    HEADER + ROW + 'a.png,x,val,p1\n': True, HEADER + ROW + 'b.png,x,val,p1\n': True,
    HEADER + ROW + 'b.png,x,train,61\nc.png,y,val,61.0\n': True,
    HEADER + ROW + '"b.png,x,train,p2\nc.png,x,train,p3\n': True,
    HEADER + ROW + '"b"b.png,x,train,p2\n': True, HEADER + ROW + '../b.png,x,train,p2\n': True,
    HEADER + ROW + '/etc/hosts,x,train,p2\n': True, HEADER + ROW + 'C:\\b.png,x,train,p2\n': True,
    'path,label,path\na.png,x,b.png\n': True, 'path,label,split,patient_id\n' + ROW + 'b.png,x,val,p1\n': True}


@pytest.mark.parametrize('number', range(len(CSV)))
def test_csv(tmp_path, number):
    root, content = tmp_path / 'set', list(CSV)[number]
    encoding = ('utf-8', 'utf-16', 'utf-16-le')[number % 3]
    place(root, ['a.png', 'b.png', 'c.png', 'sub/d.png', 'e f.png', unicodedata.normalize('NFD', 'gé.png'), '../b.png'])
    (root / 'label2id.json').write_text('{"x": 0, "y": 1, "é": 2}')
    (root / 'metadata.csv').write_bytes(content.encode(encoding))
    assert agree(root, lambda: CSVImageDataset(data_root=str(root))) == CSV[content]


@pytest.mark.parametrize('classes', ['{"x": 0}', '{"x": 0, "x": 1}', '{"x": 1}', '{"x ": 0}', '{}', '[]', '',
                                     '{"x": true}'])
def test_classes_of_a_csv(tmp_path, classes):
    place(tmp_path, ['a.png'])
    (tmp_path / 'label2id.json').write_text(classes)
    (tmp_path / 'metadata.csv').write_text(HEADER + ROW)
    assert agree(tmp_path, lambda: CSVImageDataset(data_root=str(tmp_path))) == (classes != '{"x": 0}')


COLUMNS = 'Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position\n'
FILM = 'a.png,Mass,0,1,58,M,PA\n'
NIH = {COLUMNS + FILM: False, COLUMNS + 'a.png,Mass,0.0,61.0,58.0,M,PA\n': False,
       COLUMNS + ' a.png , Mass ,0, 1,058Y,M,PA,\n': False,
       (COLUMNS + FILM).replace(',', ';'): False, COLUMNS + FILM + ',,,,,,\n': False,
       COLUMNS: True, '': True, COLUMNS + 'a.png,Mas,0,1,58,M,PA\n': True, COLUMNS + 'a.png,,0,1,58,M,PA\n': True,
       COLUMNS + 'a.png,Mass|Mass,0,1,58,M,PA\n': True, COLUMNS + 'a.png,Mass|No Finding,0,1,58,M,PA\n': True,
       COLUMNS + 'a.png,Mass,0,,58,M,PA\n': True, COLUMNS + 'a.png,Mass,0,x,58,M,PA\n': True,
       COLUMNS + 'a.png,Mass,0,1.5,58,M,PA\n': True, COLUMNS + 'a.png,Mass,0,1,old,M,PA\n': True,
       COLUMNS + 'a.png,Mass,one,1,58,M,PA\n': True, COLUMNS + FILM + FILM: True,
       COLUMNS + FILM + ',Mass,0,1,58,M,PA\n': True,
       COLUMNS + FILM + 'b.png,Mass\n': True, COLUMNS + FILM + 'b.png,"Mass,0,1,58,M,PA\n': True,
       COLUMNS.replace('Patient ID', 'Patient') + FILM: True}


@pytest.mark.parametrize('content', NIH)
def test_nih(tmp_path, content):
    place(tmp_path, ['a.png', 'b.png'])
    (tmp_path / 'Data_Entry_2017.csv').write_text(content)
    assert agree(tmp_path, lambda: NIHChestXray14(data_root=str(tmp_path))) == NIH[content]


@pytest.mark.parametrize('names, label, cut, bad', [
    (['a', 'b'], 1, 0, False), (['a', 'b'], 12, 0, True), (['a', 'b'], 1, 7, True),
    (['p/a.png', 'q/a.jpg'], 1, 0, True)])
def test_tfrecord(tmp_path, write_tfrecord, names, label, cut, bad):
    path = write_tfrecord(tmp_path / 'train.tfrecord', [(name, np.zeros((9, 9, 3), np.uint8), [(1, 1, 5, 5, label)])
                                                        for name in names])
    path.write_bytes(path.read_bytes()[:path.stat().st_size - cut])
    assert agree(path, lambda: CellTFRecordDataset('train.tfrecord', data_root=str(tmp_path))) == bad


# ------------------------------------------------------------------------------------------------- nothing untold

def random_name(rng, k):
    return f'i{k}.png' if rng.random() < .6 else str(rng.choice([
        f'sub/i{k}.png', f'./i{k}.png', f'sub\\i{k}.png', f'i%20{k}.png', f'e\u0301{k}.png', f'../out{k}.png',
        f'/elsewhere/i{k}.png', f'gone{k}.png', 'i0.png']))


def put(root, rng, name, k):
    """The file that a random name means, mostly; broken, empty or a copy of another at times."""
    if 'gone' in name or name.startswith(('..', '/')):
        return
    data = cv2.imencode('.png', np.random.default_rng(k).integers(0, 255, (40, 40, 3), np.uint8))[1].tobytes()
    path = root / unicodedata.normalize('NFC', name.replace('\\', '/').replace('%20', ' '))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data if rng.random() < .9 else [b'', data[:60], PNG][rng.integers(3)])


def random_box(rng):
    x, y, w, h = rng.uniform(0, 25, 4).tolist()
    return [[x, y, w + 1, h + 1], [x, y, -w, h], [x, y, 0, h], [500, y, w, h], [x, y, w, 100], [x, y, 'w', h], [x, y],
            None, [float('nan'), y, w, h]][int(rng.choice(9, p=[.6] + [.05] * 8))]


def coco_set(root, rng):
    images = [{'id': k, 'file_name': random_name(rng, k), 'height': 40, 'width': 40} for k in range(8)]
    boxes = [{'id': int(rng.integers(0, 60)), 'image_id': int(rng.integers(0, 9)), 'bbox': random_box(rng),
              'category_id': int(rng.integers(1, 4))} for _ in range(20)]
    for k, image in enumerate(images):
        put(root / 'images', rng, image['file_name'], k)
    images += [{'id': 0, 'file_name': 'i7.png'}, {'id': 30}, 'x'][:rng.integers(4)]
    boxes += [3, {}, {'id': 99}][:rng.integers(4)]
    (root / 'annotations').mkdir(parents=True)
    (root / 'annotations' / 'train.json').write_text(json.dumps({
        'images': images, 'annotations': boxes, 'categories': [{'id': 1, 'name': 'x'}, {'id': 2, 'name': 'y'}]}))
    return len(images), len(boxes)


def coco_left(out):
    contents = [json.loads(path.read_text()) for path in (out / 'annotations').glob('*.json')]
    return (sum(len(content['images']) for content in contents),
            sum(len(content['annotations']) for content in contents))


def voc_set(root, rng):
    names, boxes = [f'{"case/" * int(rng.integers(2))}i{k}' for k in range(8)], {}
    for k, name in enumerate(names):
        texts = []
        for _ in range(rng.integers(4)):
            box = random_box(rng)
            box = box if box and len(box) == 4 else ['', '', '', '']
            corners = ''.join(f'<{side}>{value}</{side}>' for side, value in zip(('xmin', 'ymin', 'xmax', 'ymax'), box))
            texts.append(f'<object><name>{rng.choice(["x", "y", ""])}</name><bndbox>{corners}</bndbox></object>')
        whole = rng.random() < .85
        boxes[name] = len(texts) if whole else 0
        path = root / 'Annotations' / f'{name}.xml'
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'<annotation>{"".join(texts)}' + ('</annotation>' if whole else '<x>'))
        put(root / 'JPEGImages', rng, f'{name if rng.random() < .9 else "gone"}.png', k)
    listed = [name for name in names if rng.random() < .8]
    (root / 'ImageSets' / 'Main').mkdir(parents=True)
    for split, some in (('train', listed[:6]), ('val', listed[4:])):
        (root / 'ImageSets' / 'Main' / f'{split}.txt').write_text('\n'.join([*some, *some[:1]]))
    used = [*listed[:6], *listed[4:], *(name for name in names if name not in listed)]  # an image in two lists: twice
    return len(used) + bool(listed[:6]) + bool(listed[4:]), sum(boxes[name] for name in used)


def voc_left(out):
    lines = [line for path in (out / 'ImageSets' / 'Main').glob('*.txt') for line in path.read_text().split()]
    boxes = {path.relative_to(out / 'Annotations').with_suffix('').as_posix(): path.read_text().count('<object>')
             for path in (out / 'Annotations').rglob('*.xml')}
    used = [*lines, *(boxes.keys() - set(lines))]
    return len(used), sum(boxes[name] for name in used)


def csv_set(root, rng):
    rows = []
    for k in range(10):
        name = random_name(rng, k)
        put(root, rng, name, k)
        rows.append(f'{name},{rng.choice(["x", "y", " x", "z", ""])},{rng.choice(["train", "val", "train "])},{k}')
    rows += ['i0.png,x', ',x,train,5', '"i1"i.png,x,train,7'][:rng.integers(4)]
    (root / 'label2id.json').write_text('{"x": 0, "y": 1}')
    (root / 'metadata.csv').write_text('path, label,split,group\n' + ''.join(f'{row}\n' for row in rows))
    return len(rows), 0


def csv_left(out):
    return len((out / 'metadata.csv').read_text().splitlines()) - 1, 0


def nih_set(root, rng):
    rows = []
    for k in range(10):
        name = f'i{k if rng.random() < .9 else 0}.png'
        put(root, rng, name, k)
        rows.append(f'{name},{rng.choice(["Mass", "No Finding", "Mas", ""])},{rng.choice(["1", "2.0", ""])}')
    rows += ['i0.png,Mass', ',Mass,1', 'i1.png,"Mass"x,1'][:rng.integers(4)]
    (root / 'Data_Entry_2017.csv').write_text('Image Index,Finding Labels,Patient ID\n' + '\n'.join(rows))
    boxes = [f'i{k}.png,{rng.choice(["Mass", "Mas"])},{",".join(map(str, random_box(rng) or "1234"))}'
             for k in range(9)]
    (root / 'BBox_List_2017.csv').write_text('Image Index,Finding Label,Bbox [x,y,w,h]\n' + '\n'.join(boxes))
    return len(rows), len(boxes)


def nih_left(out):
    return tuple(len((out / f'{name}_2017.csv').read_text().splitlines()) - 1 for name in ('Data_Entry', 'BBox_List'))


SETS = {'coco': (coco_set, coco_left), 'voc': (voc_set, voc_left), 'csv': (csv_set, csv_left),
        'nih': (nih_set, nih_left)}


@pytest.mark.parametrize('kind', SETS)
@pytest.mark.parametrize('seed', range(10))
def test_what_goes_in_comes_out_or_is_told(tmp_path, kind, seed):
    """Images and boxes of the files = those of the copy + those that mended.jsonl names, one by one or by number."""
    make, left = SETS[kind]
    (tmp_path / 'set').mkdir()
    images, boxes = make(tmp_path / 'set', np.random.default_rng(seed))
    assert find_format(tmp_path / 'set') == kind
    plan = check_data(tmp_path / 'set', fix=tmp_path / 'out').plan
    log = [json.loads(line) for line in (tmp_path / 'out' / 'mended.jsonl').read_text().splitlines()]
    assert len(log) == len(plan.changes) + len(plan.left)
    lines = [change.finding for change in plan.changes if change.what.startswith('dropped image')]
    gone_images = {row for finding in lines for row in (finding.image, finding.other)} & plan.drop_images
    gone_boxes = {change.finding.box for change in plan.changes if change.what.startswith('dropped box')}
    assert (gone_images, gone_boxes) == (plan.drop_images, plan.drop_boxes)
    unread = Counter('box' if 'BBox' in line['file'] else line['code'] for line in log if line['change'] == 'left out'
                     and line['code'] != 'boxes_without_image')
    for line in log:
        if line['code'] in ('rows_without_image', 'boxes_without_image'):
            unread[line['code']] = int(line['text'].split()[0])
    told = sum(unread[code] for code in ('bad_image', 'bad_row', 'listed_twice', 'rows_without_image'))
    told_boxes = unread['bad_annotation'] + unread['boxes_without_image'] + unread['box']
    kept_images, kept_boxes = left(tmp_path / 'out')
    assert images == kept_images + len(gone_images) + told
    assert boxes == kept_boxes + len(gone_boxes) + told_boxes


def test_an_empty_name_is_not_the_current_folder():
    with pytest.raises(DataError, match='empty name'):
        find_format('')
