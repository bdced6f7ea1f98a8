"""COCO and VOC sets in the layouts of Roboflow, labelImg and others; what is of no format is told."""
import json
import os

import pytest

from cxrdet.core.errors import DataError
from cxrdet.datasets.formats.sets import find_format, read_set


def xml(name='cell', box=(80, 30, 120, 70), tag='annotation verified="yes"'):
    corners = ''.join(f'<{key}>{value}</{key}>' for key, value in zip(('xmin', 'ymin', 'xmax', 'ymax'), box))
    return (f'<{tag}><size><width>200</width><height>100</height></size><object><name>{name}</name><bndbox>{corners}'
            f'</bndbox></object></{tag.split()[0]}>')


def coco(name, category='cell', bbox=(80, 30, 40, 40)):
    return json.dumps({'images': [{'id': 1, 'file_name': name, 'width': 200, 'height': 100}],
                       'annotations': [{'id': 1, 'image_id': 1, 'category_id': 5, 'bbox': list(bbox)}],
                       'categories': [{'id': 5, 'name': category}]})


LAYOUTS = {  # name: (format, files with their texts, images, splits)
    'Roboflow COCO': ('coco', {'train/_annotations.coco.json': coco('a.png'), 'README.roboflow.txt': 'x',
                               'valid/_annotations.coco.json': coco('a.png')},
                      ['train/a.png', 'valid/a.png'], ['train', 'val']),
    'COCO beside images': ('coco', {'test.json': coco('a.png')}, ['images/a.png'], ['test']),
    'COCO without splits': ('coco', {'_annotations.coco.json': coco('a.png')}, ['a.png'], ['']),
    'COCO of Label Studio': ('coco', {'result.json': coco('images/a.png')}, ['images/a.png'], ['']),
    'labelImg': ('voc', {'a.xml': xml(), 'sub/b.xml': xml()}, ['a.png', 'sub/b.png'], ['', '']),
    'Roboflow VOC': ('voc', {'train/a.xml': xml(), 'valid/a.xml': xml()}, ['train/a.png', 'valid/a.png'],
                     ['train', 'val']),
    'annotations beside images': ('voc', {'annotations/a.xml': xml()}, ['images/a.png'], ['']),
    'several VOC folders': ('voc', {'VOC2007/Annotations/a.xml': xml(), 'VOC2012/Annotations/a.xml': xml(),
                                    'VOC2007/ImageSets/Main/val.txt': 'a\n', 'VOC2012/ImageSets/Main/train.txt': 'a\n'},
                            ['VOC2007/JPEGImages/a.png', 'VOC2012/JPEGImages/a.png'], ['val', 'train']),
    'VOC in folders': ('voc', {'Annotations/case1/a.xml': xml(), 'Annotations/case2/a.xml': xml()},
                       ['JPEGImages/case1/a.png', 'JPEGImages/case2/a.png'], ['', '']),
}


@pytest.mark.parametrize('kind, files, images, splits', LAYOUTS.values(), ids=LAYOUTS)
def test_layouts(tmp_path, write_png, codes_of, kind, files, images, splits):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    for name in images:
        write_png(tmp_path / name)
    assert find_format(tmp_path) == kind
    table = read_set(tmp_path)
    assert [os.path.relpath(file, tmp_path) for file in table.files] == images and table.splits == splits
    assert table.boxes.tolist() == [[80, 30, 120, 70]] * len(images) and not codes_of(table)
    assert table.box_image.tolist() == list(range(len(images))) and table.classes == ('cell',)
    assert len(set(table.names)) == len(images)


def test_findings_of_several_folders_stand_in_their_places(tmp_path, write_png):
    for folder, name in (('one', 'b'), ('two', 'a')):
        (tmp_path / folder / 'Annotations').mkdir(parents=True)
        (tmp_path / folder / 'Annotations' / 'x.xml').write_text(xml(name))
        (tmp_path / folder / 'Annotations' / 'y.xml').write_text(xml('', (1, 2, 3, 'x')))
    table = read_set(tmp_path)
    assert table.names == ['one/x', 'one/y', 'two/x', 'two/y'] and table.classes == ('a', 'b')
    assert table.box_label.tolist() == [1, -1, 0, -1] and sorted(table.source) == table.names
    assert [(f.code, os.path.relpath(f.file, tmp_path), f.image, f.box) for f in table.findings if f.box >= 0] == [
        (code, f'{folder}/Annotations/y.xml', row, row) for folder, row in (('one', 1), ('two', 3))
        for code in ('bad_box', 'no_category')]


@pytest.mark.parametrize('name, text', [
    ('boxes.json', '{"regions": []}'),
    ('createml.json', '[{"image": "a.png", "annotations": [{"label": "a", "coordinates": {"x": 1}}]}]'),
    ('sub/notes.xml', '<data/>'), ('a.txt', 'cell 1 2 3'), ('sub/t.csv', 'a,b\n'),
    ('1/2/3/4/5/x.json', '{}'), ('x.jsonl', '{}'), ('boxes.mat', 'x'), ('boxes.parquet', 'x'), ('t.tsv', 'a'),
    ('t.xlsx', 'a')])
def test_what_is_not_understood_is_an_error(tmp_path, write_png, name, text):
    """The file and the known formats are named; README and LICENSE say nothing, and 'folder' looks at images only."""
    write_png(tmp_path / 'a.png')
    (tmp_path / 'README.txt').write_text('1')
    (tmp_path / 'LICENSE.txt').write_text('1')
    assert find_format(tmp_path) == 'folder'
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=f'{name}.*yolo'):
        read_set(tmp_path)
    assert len(read_set(tmp_path, 'folder').names) == 1


@pytest.mark.parametrize('suffix', ['pkl', 'yaml', 'h5'])
def test_files_that_no_format_reads_are_told(tmp_path, write_png, suffix):
    write_png(tmp_path / 'a.png')
    (tmp_path / f'boxes.{suffix}').write_text('x')
    finding, = read_set(tmp_path).findings
    assert (finding.level, finding.code) == ('warning', 'unread_annotations')
    assert f'boxes.{suffix}' in finding.text and 'coco' in finding.text
    assert not read_set(tmp_path, 'folder').findings
