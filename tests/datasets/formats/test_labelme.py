"""labelme: boxes worked out by hand, other shapes, where images are found, defects."""
import json

import pytest

from cxrdet.core.errors import DataError
from cxrdet.datasets.formats.sets import find_format, read_set


def write(path, shapes, image='a.png', **more):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({'version': '5.4.1', 'flags': {}, 'shapes': shapes, 'imagePath': image,
                                'imageData': None, 'imageHeight': 100, 'imageWidth': 200, **more}))
    return path


def shape(kind, *points, label='cell'):
    return {'label': label, 'points': list(points), 'group_id': None, 'shape_type': kind, 'flags': {}}


@pytest.mark.parametrize('entry, box, told', [
    (shape('rectangle', [120, 70], [80, 30]), [80, 30, 120, 70], None),
    (shape('polygon', [20, 10], [100, 20], [50, 80.5]), [20, 10, 100, 80.5], 'polygon'),
    (shape('rotation', [100, 10], [140, 50], [100, 90], [60, 50]), [60, 10, 140, 90], 'rotation'),
    (shape('circle', [100, 50], [103, 54]), [95, 45, 105, 55], 'circle'),
    (shape('point', [1, 1]), None, 'point'), (shape('linestrip', [1, 1], [2, 2], [3, 3]), None, 'linestrip')])
def test_shapes(tmp_path, write_png, boxes_of, entry, box, told):
    write(tmp_path / 'a.json', [entry])
    write_png(tmp_path / 'a.png')
    assert find_format(tmp_path) == find_format(tmp_path / 'a.json') == 'labelme'
    table = read_set(tmp_path)
    assert boxes_of(table) == ([('a.png', 'cell', box)] if box else [])
    assert [f.text.startswith(f'1 x {told}') and f.level == 'info' for f in table.findings] == [True] * bool(told)


def test_places_of_images(tmp_path, write_png):
    """Beside the file, by a path of Windows, and by the name alone; folders are splits."""
    write(tmp_path / 'train' / 'a.json', [])
    write(tmp_path / 'valid' / 'b.json', [], '..\\films\\b.png')
    write(tmp_path / 'c.json', [], 'gone/c.png')
    files = [write_png(tmp_path / name) for name in ('train/a.png', 'films/b.png', 'films/sub/c.png')]
    table = read_set(tmp_path)
    assert dict(zip(table.names, table.splits)) == {'films/sub/c.png': '', 'train/a.png': 'train', 'films/b.png': 'val'}
    assert sorted(map(str, files)) == sorted(str((tmp_path / name).resolve()) for name in table.names)


@pytest.mark.parametrize('entry, code', [
    (shape('rectangle', [80, 30]), 'bad_box'), (shape('rectangle', [80, 30], [None, 70]), 'bad_box'),
    (shape('polygon', 5, 'x'), 'bad_box'), (shape('circle', [1, 1]), 'bad_box'), ({'label': 'cell'}, 'bad_box'),
    (shape('rectangle', [80, 30], [120, 70], label=''), 'no_category')])
def test_defective_shapes(tmp_path, entry, code):
    file = write(tmp_path / 'a.json', [entry])
    assert [(f.level, f.code, f.file, f.row) for f in read_set(tmp_path).findings] == [
        ('error', code, str(file), 'shapes[0]')]


def test_defective_files(tmp_path, codes_of):
    write(tmp_path / 'a.json', [])
    write(tmp_path / 'b.json', 5)
    write(tmp_path / 'c.json', [], image='')
    (tmp_path / 'd.json').write_text('{"shapes": [')
    (tmp_path / 'other.json').write_text('[1]')
    assert codes_of(read_set(tmp_path)) == {'unreadable_annotations': 3, 'other_file': 1}
    (tmp_path / 'a.json').unlink()
    with pytest.raises(DataError, match='d.json'):
        read_set(tmp_path)
