"""Reading COCO files strictly: every defect has its own words."""
import json

import pytest

from cxrdet.core.errors import ConfigError, DataError
from cxrdet.datasets.formats.coco import read_coco, write_json


def coco(**changed):
    content = {
        'images': [{'id': 7, 'file_name': 'a.png', 'height': 40, 'width': 60}, {'id': 3, 'file_name': 'b.png'}],
        'annotations': [{'id': 1, 'image_id': 3, 'category_id': 9, 'bbox': [1, 2, 3, 4]},
                        {'id': 2, 'image_id': 7, 'category_id': 4, 'bbox': [5, 6, 7.5, 8]},
                        {'id': 5, 'image_id': 3, 'category_id': 4, 'bbox': [0, 0, 2, 2]}],
        'categories': [{'id': 9, 'name': 'WBC'}, {'id': 4, 'name': 'RBC'}]}
    content.update(changed)
    return {key: value for key, value in content.items() if value is not None}


@pytest.fixture
def written(tmp_path):
    def write(content):
        path = tmp_path / 'set.json'
        path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
        return path
    return write


def test_contents(written):
    got = read_coco(written(coco()))
    assert list(got.categories.items()) == [(4, 'RBC'), (9, 'WBC')]  # in the order of the ids
    assert [image['id'] for image in got.images] == [7, 3]           # in the order of the file
    assert {key: [item['id'] for item in items] for key, items in got.annotations.items()} == {3: [1, 5], 7: [2]}
    assert not got.dropped


def test_a_file_without_any_box_is_a_file(written):
    assert read_coco(written(coco(annotations=[]))).annotations == {}


def test_byte_order_mark_and_string_ids(written):
    content = coco(annotations=[{'id': 'x', 'image_id': 'i', 'category_id': 'c', 'bbox': [0, 0, 2, 2]}],
                   images=[{'id': 'i', 'file_name': 'a.png'}],
                   categories=[{'id': 'c', 'name': 'RBC'}, {'id': 2, 'name': 'WBC'}])
    got = read_coco(written(b'\xef\xbb\xbf' + json.dumps(content).encode()))
    assert list(got.categories) == [2, 'c']
    assert len(got.annotations['i']) == 1


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
    (b'{}', 'expected a list "categories" in a COCO file, found nothing'),
    (coco(categories=None), 'expected a list "categories" in a COCO file, found "images", "annotations"'),
    (coco(images=None), 'expected a list "images"'),
    (coco(annotations=None), 'expected a list "annotations"'),
    (coco(annotations={}), 'expected a list "annotations"'),
    (coco(categories=[]), 'the list "categories" is empty'),
    (coco(images=[]), 'the list "images" is empty'),
    (coco(annotations=[3]), r'annotations\[0\] must be an object, got 3'),
    (coco(categories=[{'id': 1}]), r'categories\[0\] needs an "id" and a "name"'),
    (coco(categories=[{'id': 1, 'name': 'a'}, {'id': 1, 'name': 'b'}]), r'the id 1 \("a" and "b"\)'),
    (coco(categories=[{'id': 1, 'name': 'a'}, {'id': 2, 'name': 'a'}]), 'categories 1 and 2 are both named "a"'),
    (coco(images=[{'id': 1}]), r'images\[0\] needs an "id" and a "file_name"'),
    (coco(images=[{'id': [1], 'file_name': 'a'}]), r'images\[0\] needs an "id"'),
    (coco(images=[{'id': 1, 'file_name': 'a'}, {'id': 1, 'file_name': 'b'}]),
     r'images\[0\] and images\[1\] \("b"\) have the same id 1'),
    (coco(images=[{'id': 1, 'file_name': 'a', 'height': '480'}]), r'"height" \'480\', expected a number of pixels'),
    (coco(images=[{'id': 1, 'file_name': 'a', 'width': -2}]), '"width" -2, expected a number of pixels')])
def test_files_that_cannot_be_used(written, content, text):
    with pytest.raises(DataError, match=rf'set\.json.*{text}'):
        read_coco(written(content))
    with pytest.raises(DataError, match=text):  # not a matter of single annotations
        read_coco(written(content), on_bad='drop')


@pytest.mark.parametrize(('changed', 'reason', 'text'), [
    ({'category_id': None}, 'no_category_id', 'has no "category_id"'),
    ({'image_id': None}, 'no_image_id', 'has no "image_id"'),
    ({'id': None}, 'no_id', 'has no "id"'),
    ({'bbox': None}, 'no_bbox', 'has no "bbox"'),
    ({'id': 1}, 'duplicate_id', 'has an id that an annotation before it has too'),
    ({'image_id': '7'}, 'unknown_image_id', 'has the "image_id" \'7\', which "images" lacks'),
    ({'image_id': [7]}, 'bad_image_id', r'has the "image_id" \[7\], expected a number'),
    ({'category_id': 5}, 'unknown_category_id', r'has the "category_id" 5, which "categories" lacks \(it has 4, 9\)'),
    ({'category_id': True}, 'bad_category_id', 'has the "category_id" True'),
    ({'bbox': [1, 2, 3]}, 'bad_bbox', r'has the "bbox" \[1, 2, 3\], expected four numbers'),
    ({'bbox': [1, 2, 3, None]}, 'bad_bbox', r'has the "bbox" .* expected four numbers x, y, width, height'),
    ({'bbox': 'wide'}, 'bad_bbox', 'has the "bbox" \'wide\'')])
def test_defective_annotations(written, changed, reason, text):
    content = coco()
    content['annotations'][1].update(changed)
    if list(changed.values()) == [None]:  # left out and null mean the same
        del content['annotations'][1][next(iter(changed))]
    path = written(content)
    with pytest.raises(DataError, match=rf'set\.json: annotations\[1\] \(id .*\) {text}.*on_bad_annotation="drop"'):
        read_coco(path)
    got = read_coco(path, on_bad='drop')
    assert got.dropped == {reason: 1}
    assert sum(map(len, got.annotations.values())) == 2


def test_all_defects_are_counted_in_the_message(written):
    content = coco()
    del content['annotations'][0]['bbox'], content['annotations'][1]['category_id'], content['annotations'][2]['bbox']
    with pytest.raises(DataError, match=r'first of 3 defective annotations \(2 no_bbox, 1 no_category_id\)'):
        read_coco(written(content))


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(DataError, match=r'none\.json: cannot read the annotation file: No such file or directory'):
        read_coco(tmp_path / 'none.json')
    with pytest.raises(DataError, match='cannot read the annotation file: Is a directory'):
        read_coco(tmp_path)


def test_policy_that_is_none(written):
    with pytest.raises(ConfigError, match='on_bad_annotation must be "error" or "drop", got \'ignore\''):
        read_coco(written(coco()), on_bad='ignore')


def test_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / 'new' / 'set.json'
    write_json(path, coco())
    assert json.loads(path.read_text()) == coco()
    with pytest.raises(TypeError):
        write_json(path, {'images': object()})
    assert json.loads(path.read_text()) == coco()
    assert [entry.name for entry in path.parent.iterdir()] == ['set.json']
