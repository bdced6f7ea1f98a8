"""Reading COCO files: every defect has its own words; training raises on them."""
import json

import pytest

from cxrdet.core.errors import DataError
from cxrdet.core.files import write_json
from cxrdet.datasets.formats import coco as reader
from cxrdet.datasets.formats.coco import coco_annotation


def coco(**changed):
    content = {
        'images': [{'id': 7, 'file_name': 'a.png', 'height': 40, 'width': 60}, {'id': 3, 'file_name': 'b.png'}],
        'annotations': [{'id': 1, 'image_id': 3, 'category_id': 9, 'bbox': [1, 2, 3, 4]},
                        {'id': 2, 'image_id': 7, 'category_id': 4, 'bbox': [5, 6, 7.5, 8]},
                        {'id': 5, 'image_id': 3, 'category_id': 4, 'bbox': [0, 0, 2, 2]}],
        'categories': [{'id': 9, 'name': 'WBC'}, {'id': 4, 'name': 'RBC'}]}
    content.update(changed)
    return {key: value for key, value in content.items() if value is not None}


def read(path, on_bad='error'):
    """The table, and the codes of the boxes that are left out, as training takes them."""
    table = reader.read(path)
    return table, table.raise_errors(on_bad=on_bad)


@pytest.fixture
def written(tmp_path):
    def write(content):
        path = tmp_path / 'set.json'
        path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
        return path
    return write


def test_contents(written):
    got, dropped = read(written(coco()))
    assert got.classes == ('RBC', 'WBC')                   # in the order of the ids
    assert [place.id for place in got.places] == [7, 3]    # in the order of the file
    assert [place.id for place in got.box_places] == [1, 2, 5] and got.box_image.tolist() == [1, 0, 1]
    assert got.boxes.tolist() == [[1, 2, 4, 6], [5, 6, 12.5, 14], [0, 0, 2, 2]] and got.box_label.tolist() == [1, 0, 0]
    assert not dropped and not got.findings


@pytest.mark.parametrize('value, flag', [('0', 0), ('1', 1), (True, 1), (1.0, 1), ('false', 0), (None, 0), ('', None),
                                         ([1], None), (2, None), ('maybe', None)])
@pytest.mark.parametrize('key', ['iscrowd', 'ignore'])
def test_flags(written, key, value, flag):
    """A text "0" is no crowd; what is no flag is an error."""
    boxes = [{**box, key: value} for box in coco()['annotations']]
    table, _ = read(written(coco(annotations=boxes)), 'drop')
    bad = [finding.code for finding in table.findings if finding.level == 'error']
    assert bad == (['bad_flag'] * 3 if flag is None and value != '' else [])
    assert table.crowd.tolist() == [bool(value if flag is None else flag) and key == 'iscrowd'] * 3
    told = [finding for finding in table.findings if finding.code == 'marked_ignore']
    assert len(told) == (3 if flag and key == 'ignore' else 0)


def test_a_file_without_any_box_is_a_file(written):
    assert len(read(written(coco(annotations=[])))[0].boxes) == 0


def test_byte_order_mark_and_string_ids(written):
    content = coco(annotations=[{'id': 'x', 'image_id': 'i', 'category_id': 'c', 'bbox': [0, 0, 2, 2]}],
                   images=[{'id': 'i', 'file_name': 'a.png'}],
                   categories=[{'id': 'c', 'name': 'RBC'}, {'id': 2, 'name': 'WBC'}])
    for data in (b'\xef\xbb\xbf' + json.dumps(content).encode(), json.dumps(content).encode('utf-16'),
                 json.dumps(content).encode('utf-16-le')):
        got, _ = read(written(data))
        assert got.classes == ('WBC', 'RBC')  # numbers first
        assert got.box_image.tolist() == [0] and got.box_label.tolist() == [1]


def test_ids_as_pandas_writes_them(written):
    """1.0 is 1, wherever it stands."""
    content = coco()
    content['annotations'][1].update(id=2., image_id=7., category_id=4.)
    content['images'][1]['id'], content['categories'][0]['id'] = 3., 9.
    got, _ = read(written(content))
    assert got.box_image.tolist() == [1, 0, 1] and [place.id for place in got.box_places] == [1, 2, 5]
    content['annotations'][1]['id'] = 1.
    with pytest.raises(DataError, match=r'annotations\[1\] \(id 1\): annotation id 1 is used before'):
        read(written(content))


@pytest.mark.parametrize(('content', 'text'), [
    (b'', r'the annotation file is empty \(0 bytes\)'),
    (b' \n', r'the annotation file is empty \(2 bytes\)'),
    (b'{"images": [],\n "annotations" []}', 'invalid JSON at line 2, column 16: Expecting .:. delimiter'),
    (b'{"images": [{"id": 1, "file_name": "a', 'invalid JSON at line 1, column 36: Unterminated string'),
    (b'{"images": [1, 2', 'The file seems to be cut off'),
    (b'\xff\xfe\x00', r'not UTF-8 text \(byte 0\)'),
    (b'[' * 100_000, 'nested too deeply'),
    (b'1' * 5_000, 'invalid annotation file: Exceeds the limit'),
    (b'[]', r'expected a COCO file \(a JSON object\), got a list'),
    (b'{}', 'expected a list "images" in a COCO file, found nothing'),
    (coco(categories=None), 'expected a list "categories" in a COCO file, found "images", "annotations"'),
    (coco(images=None), 'expected a list "images"'),
    (coco(annotations=None), 'expected a list "annotations"'),
    (coco(annotations={}), 'expected a list "annotations"'),
    (coco(categories=[]), 'the list "categories" is empty'),
    (coco(images=[]), 'the list "images" is empty'),
    (coco(annotations=[3]), r'annotations\[0\]: must be an object, got 3'),
    (coco(categories=[{'id': 1}]), r'categories\[0\]: needs an "id" and a "name"'),
    (coco(categories=[{'id': 1, 'name': 'a'}, {'id': 1, 'name': 'b'}]), r'categories\[1\]: .*the id 1 \("a" and "b"\)'),
    (coco(categories=[{'id': 1, 'name': 'a'}, {'id': 2, 'name': 'a'}]), 'categories 1 and 2 are both named "a"'),
    (coco(images=[{'id': 1}]), r'images\[0\] \(id 1\): needs an "id" and a "file_name"'),
    (coco(images=[{'id': [1], 'file_name': 'a'}]), r'images\[0\]: needs an "id"'),
    (coco(images=[{'id': 1, 'file_name': 'a'}, {'id': 1, 'file_name': 'b'}]),
     r'images\[1\] \(id 1\): image id 1 is used before, by "a"'),
    (coco(images=[{'id': 1, 'file_name': 'a', 'height': '480'}]), r'"height" \'480\', expected a number of pixels'),
    (coco(images=[{'id': 1, 'file_name': 'a', 'width': -2}]), '"width" -2, expected a number of pixels')])
def test_files_that_cannot_be_used(written, content, text):
    with pytest.raises(DataError, match=rf'(?s)set\.json.*{text}') as caught:
        read(written(content))
    assert '..' not in str(caught.value) and str(caught.value).endswith('.')
    with pytest.raises(DataError, match=text):  # not a matter of single annotations
        read(written(content), on_bad='drop')


@pytest.mark.parametrize(('changed', 'reason', 'text'), [
    ({'category_id': None}, 'no_category', 'has no "category_id"'),
    ({'image_id': None}, 'unknown_image', 'has no "image_id"'),
    ({'id': None}, 'no_annotation_id', 'has no "id"'),
    ({'bbox': None}, 'bad_box', 'has no "bbox"'),
    ({'id': 1}, 'annotation_id_twice', r'annotation id 1 is used before, in annotations\[0\]'),
    ({'image_id': '7'}, 'unknown_image', 'has the "image_id" \'7\', which "images" lacks'),
    ({'image_id': [7]}, 'unknown_image', r'has the "image_id" \[7\], expected a number'),
    ({'category_id': 5}, 'unknown_category', r'has the "category_id" 5, which "categories" lacks \(it has 4, 9\)'),
    ({'category_id': True}, 'unknown_category', 'has the "category_id" True'),
    ({'bbox': [1, 2, 3]}, 'bad_box', r'has the "bbox" \[1, 2, 3\], expected four numbers'),
    ({'bbox': [1, 2, 3, None]}, 'bad_box', r'has the "bbox" .* expected four numbers x, y, width, height'),
    ({'bbox': 'wide'}, 'bad_box', 'has the "bbox" \'wide\'')])
def test_defective_annotations(written, changed, reason, text):
    content = coco()
    content['annotations'][1].update(changed)
    if list(changed.values()) == [None]:  # left out and null mean the same
        del content['annotations'][1][next(iter(changed))]
    path = written(content)
    with pytest.raises(DataError, match=rf'set\.json: annotations\[1\].*: {text}.*on_bad_annotation="drop"'):
        read(path)
    assert read(path, on_bad='drop')[1] == {1: reason}


def test_all_defects_are_counted_in_the_message(written):
    content = coco()
    del content['annotations'][0]['bbox'], content['annotations'][1]['category_id'], content['annotations'][2]['bbox']
    with pytest.raises(DataError, match=r'annotations\[0\].* first of 3 errors \(2 bad_box, 1 no_category\)') as error:
        read(written(content))
    assert [line.split()[0] for line in str(error.value).splitlines()[1:]] == ['annotations[1]', 'annotations[2]']


def test_all_errors_are_counted_and_ten_are_named(written):
    entries = [{'id': k, 'image_id': 7, 'category_id': 4, 'bbox': None} for k in range(25)]
    with pytest.raises(DataError, match='first of 25 errors') as error:
        read(written(coco(annotations=entries)))
    lines = str(error.value).splitlines()
    assert [line.split()[0] for line in lines[1:10]] == [f'annotations[{k}]' for k in range(1, 10)]
    assert lines[10:] == ['  … and 15 more']


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(DataError, match=r'none\.json: .*No such file'):
        read(tmp_path / 'none.json')
    (tmp_path / 'annotations.json').mkdir()
    with pytest.raises(DataError, match='cannot read the annotation file: Is a directory'):
        read(tmp_path)
    with pytest.raises(DataError, match='no COCO file'):
        read(tmp_path / 'annotations.json')


@pytest.mark.parametrize('files, images, splits', [
    (['instances_default'], ['images/default/a.png'], ['']),
    (['instances_Train', 'instances_Validation'], ['images/Train/a.png', 'images/Validation/a.png'], ['train', 'val']),
    (['instances_train2017', 'instances_val2017'], ['train2017/a.png', 'val2017/a.png'], ['train', 'val']),
    (['train', 'valid'], ['images/train/a.png', 'images/valid/a.png'], ['train', 'valid']),
    (['train'], ['elsewhere/deep/a.png'], ['train']),
    (['person_keypoints_default'], ['images/default/a.png'], [''])])
def test_images_are_found_where_tools_put_them(tmp_path, files, images, splits):
    """CVAT's export, COCO as published, folders of splits; by name where it is unique below the set."""
    for name in (*files, *(['captions_x', 'person_keypoints_x'] if files[0].startswith('instances') else ())):
        write_json(tmp_path / 'annotations' / f'{name}.json', coco(
            images=[{'id': 7, 'file_name': 'a.png', 'height': 40, 'width': 60}], annotations=[]))
    for image in images:
        (tmp_path / image).parent.mkdir(parents=True)
        (tmp_path / image).write_bytes(b'x')
    table = reader.read(tmp_path)
    assert [str(tmp_path / image) for image in images] == table.files and table.splits == splits
    assert len(set(table.names)) == len(images)
    told = {finding.code for finding in table.findings}
    assert told == ({'other_file'} if files[0].startswith('instances') else set())
    if len(files) == 1:
        assert reader.read(tmp_path / 'annotations' / f'{files[0]}.json').files == table.files


def test_a_name_that_is_not_unique_or_of_another_image_finds_none(tmp_path):
    for image in ('x/a.png', 'y/a.png', 'images/s/b.png'):
        (tmp_path / image).parent.mkdir(parents=True)
        (tmp_path / image).write_bytes(b'x')
    write_json(tmp_path / 'annotations' / 'train.json', coco(annotations=[], images=[
        {'id': number, 'file_name': name} for number, name in enumerate(['a.png', 's/b.png', 'lost/b.png'])]))
    assert reader.read(tmp_path).files == [str(tmp_path / 'images' / name) for name in (
        'a.png', 's/b.png', 'lost/b.png')]


def test_an_annotation_of_corners():
    assert coco_annotation(3, 7, 4, (1, 2, 4, 6.5)) == {'id': 3, 'image_id': 7, 'category_id': 4, 'iscrowd': 0,
                                                        'bbox': [1, 2, 3, 4.5], 'area': 13.5}
    assert coco_annotation(3, 7, 4, (4, 2, 1, 6), crowd=True)['area'] == 0


def test_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / 'new' / 'set.json'
    write_json(path, coco())
    assert json.loads(path.read_text()) == coco()
    with pytest.raises(TypeError):
        write_json(path, {'images': object()})
    assert json.loads(path.read_text()) == coco()
    assert [entry.name for entry in path.parent.iterdir()] == ['set.json']
