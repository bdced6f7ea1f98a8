"""Label Studio: boxes worked out by hand, other shapes, URLs of images, several annotations, defects."""
import json

import pytest

from cxrdet.core.errors import DataError
from cxrdet.datasets.formats.sets import find_format, read_set


def shape(kind='rectanglelabels', label='cell', **value):
    return {'id': 'x', 'type': kind, 'original_width': 200, 'original_height': 100, 'value': value | (
        {kind: [label]} if label else {})}


def task(*shapes, image='/data/upload/1/0a1b2c3d-a.png', number=7, **more):
    return {'id': number, 'data': {'image': image}, 'annotations': [{'result': list(shapes), **more}]}


def write(root, *tasks):
    (root / 'export.json').write_text(json.dumps(tasks))
    return root / 'export.json'


RECTANGLE = shape(x=40, y=30, width=20, height=40)


@pytest.mark.parametrize('entry, box, told', [
    (RECTANGLE, [80, 30, 120, 70], None),
    # around its upper left corner, in pixels: 20 x 60 at (100, 20) turned by 90 degrees
    (shape(x=50, y=20, width=10, height=60, rotation=90), [40, 20, 100, 40], 'turned box'),
    (shape('polygonlabels', points=[[10, 10], [50, 20], [25, 80]]), [20, 10, 100, 80], 'polygon'),
    (shape('ellipselabels', x=50, y=50, radiusX=15, radiusY=10), [70, 40, 130, 60], 'ellipse'),
    (shape('brushlabels', format='rle', rle=[1]), None, 'brushlabels'),
    (shape('keypointlabels', x=1, y=2, width=3), None, 'keypointlabels'),
    (shape('choices', label='', choices=['good']), None, 'choices')])
def test_shapes(tmp_path, write_png, boxes_of, entry, box, told):
    write(tmp_path, task(entry))
    write_png(tmp_path / 'images' / 'a.png')
    assert find_format(tmp_path) == find_format(tmp_path / 'export.json') == 'label-studio'
    table = read_set(tmp_path)
    assert boxes_of(table) == ([('a.png', 'cell', box)] if box else [])
    assert [f.text.startswith(f'1 x {told}') and f.level == 'info' for f in table.findings] == [True] * bool(told)


def test_json_min(tmp_path, write_png, boxes_of):
    label = {'x': 40, 'y': 30, 'width': 20, 'height': 40, 'rotation': 0, 'rectanglelabels': ['cell'],
             'original_width': 200, 'original_height': 100}
    write_png(tmp_path / 'a.png')
    write(tmp_path, {'image': 's3://bucket/films/a.png', 'id': 1, 'label': [label], 'annotator': 1})
    assert boxes_of(read_set(tmp_path)) == [('a.png', 'cell', [80, 30, 120, 70])]


@pytest.mark.parametrize('url', ['/data/local-files/?d=train/f%20%231.png', 'https://host/x/train/f%20%231.png?v=2',
                                 '/data/upload/3/12ab34cd-f%20%231.png', 'train/f%20%231.png',
                                 'train\\f%20%231.png', '/data/local-files/?d=train\\f%20%231.png'])
def test_urls(tmp_path, write_png, url):
    found = write_png(tmp_path / 'train' / 'f #1.png')
    write(tmp_path, task(RECTANGLE, image=url))
    table = read_set(tmp_path)
    assert (table.names, table.files, table.splits) == (['train/f #1.png'], [str(found)], ['train'])


def test_several_annotations(tmp_path, boxes_of, codes_of):
    """The ground truth, else the newest that was not cancelled; predictions where there is no annotation."""
    def entry(x, **more):
        return {'result': [shape(x=x, y=0, width=10, height=10)], **more}
    write(tmp_path, *({'data': {'image': name}, **lists} for name, lists in {
        'a.png': {'annotations': [entry(10, created_at='2024-02'), entry(20, created_at='2024-03'),
                                  entry(30, created_at='2024-04', was_cancelled=True)]},
        'b.png': {'annotations': [entry(10, ground_truth=True), entry(20, created_at='2024-03')]},
        'c.png': {'annotations': [], 'predictions': [entry(40)]}}.items()))
    table = read_set(tmp_path)
    assert table.boxes[:, 0].tolist() == [40, 20, 80]
    assert codes_of(table) == {'several_annotations': 2, 'skipped_annotation': 1, 'predictions_only': 1}


@pytest.mark.parametrize('names, data, boxes, codes', [
    (('image', 'img2'), {'image': 'a.png', 'image2': 'b.png'}, [('a.png', 80), ('b.png', 100)], {}),
    (('right', 'left'), {'left': 'a.png', 'right': 'b.png'}, [('b.png', 80), ('a.png', 100)], {}),
    (('one', 'two'), {'image': 'a.png', 'image2': 'b.png'}, [], {'unknown_image': 2}),
    ((None, 'image'), {'image': 'a.png', 'image2': 'b.png'}, [('a.png', 100)], {'unknown_image': 1}),
    (('image', 'img2'), {'image': 'a.png', 'image2': 'https://host/7'}, [('a.png', 80)], {'unknown_image': 1}),
    (('img', 'img'), {'picture': 'a.png'}, [('a.png', 80), ('a.png', 100)], {})])
def test_several_images(tmp_path, write_png, codes_of, names, data, boxes, codes):
    """A box is of the image that it names, or left out and told."""
    shapes = [shape(x=x, y=30, width=20, height=40) | {'id': str(x), 'to_name': name}
              for x, name in zip((40, 50), names)]
    for name in ('a.png', 'b.png'):
        write_png(tmp_path / name)
    write(tmp_path, {'id': 3, 'data': data, 'annotations': [{'result': shapes}]})
    table = read_set(tmp_path)
    assert [(table.names[image], box[0]) for image, box in zip(table.box_image, table.boxes.tolist())] == boxes
    assert codes_of(table) == codes


def test_a_turned_image(tmp_path, codes_of):
    write(tmp_path, task(RECTANGLE | {'image_rotation': 90}), task(RECTANGLE | {'image_rotation': 0}, number=8,
                                                                   image='b.png'))
    assert codes_of(read_set(tmp_path)) == {'bad_box': 1}


def test_a_shape_is_taken_once(tmp_path, codes_of):
    """With <Rectangle> and <Labels> a box comes as a bare rectangle and again with its label, of one id."""
    write(tmp_path, task(shape('rectangle', '', x=40, y=30, width=20, height=40),
                         shape('labels', x=40, y=30, width=20, height=40)))
    assert read_set(tmp_path).boxes.tolist() == [[80, 30, 120, 70]]
    write(tmp_path, task(shape('rectangle', '', x=40, y=30, width=20, height=40)))
    assert codes_of(read_set(tmp_path)) == {'no_category': 1}


@pytest.mark.parametrize('entry, code, row', [
    (task(shape(x='a', y=30, width=20, height=40)), 'bad_box', 'task 1, result[0]'),
    (task(shape(y=30, width=20, height=40)), 'bad_box', 'task 1, result[0]'),
    (task(shape('polygonlabels', points=[[1, 2], 3])), 'bad_box', 'task 1, result[0]'),
    (task({**RECTANGLE, 'value': {**RECTANGLE['value'], 'rectanglelabels': ['cell', 'clump']}}), 'several_labels',
     'task 1, result[0]'),
    ({'data': {}, 'annotations': []}, 'bad_image', 'task 1'), ({'data': 5, 'annotations': 5}, 'bad_image', 'task 1')])
def test_defects(tmp_path, entry, code, row):
    file = write(tmp_path, entry, task(image='b.png', number=8))
    assert [(f.code, f.file, f.row) for f in read_set(tmp_path).findings] == [(code, str(file), row)]


def test_no_task(tmp_path):
    (tmp_path / 'a.json').write_text('[{"data": ')
    with pytest.raises(DataError, match='a.json: invalid JSON'):
        read_set(tmp_path)
