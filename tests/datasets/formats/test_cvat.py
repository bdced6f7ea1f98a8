"""CVAT for images 1.1: boxes worked out by hand, other shapes, defects."""
import math

import pytest

from cxrdet.core.errors import DataError
from cxrdet.datasets.formats.sets import find_format, read_set

META = '<meta><task><labels><label><name>clump</name></label><label><name>cell</name></label></labels></task></meta>'


def write(root, images, meta=META, name='annotations.xml'):
    (root / name).write_text(f'<?xml version="1.0" encoding="utf-8"?>\n<annotations><version>1.1</version>{meta}'
                             f'{images}</annotations>')
    return root / name


def image(content, name='a.png', more=''):
    return f'<image id="3" name="{name}" width="200" height="100" {more}>{content}</image>'


@pytest.mark.parametrize('shape, box, told', [
    ('<box label="cell" xtl="80" ytl="30" xbr="120.5" ybr="70"/>', [80, 30, 120.5, 70], None),
    ('<box label="cell" xtl="80" ytl="40" xbr="120" ybr="60" rotation="90"/>', [90, 30, 110, 70], 'turned box'),
    ('<polygon label="cell" points="20,10;100,20;50.5,80"/>', [20, 10, 100, 80], 'polygon'),
    ('<ellipse label="cell" cx="100" cy="50" rx="30" ry="10" rotation="90"/>', [90, 20, 110, 80], 'ellipse'),
    ('<mask label="cell" rle="1, 2" left="10" top="20" width="30" height="40"/>', [10, 20, 40, 60], 'mask'),
    ('<points label="cell" points="1,2"/>', None, '<points>'), ('<tag label="cell"/>', None, '<tag>'),
    ('<cuboid label="cell"/>', None, '<cuboid>')])
def test_shapes(tmp_path, write_png, boxes_of, shape, box, told):
    write(tmp_path, image(shape))
    write_png(tmp_path / 'images' / 'a.png')
    assert find_format(tmp_path) == 'cvat'
    table = read_set(tmp_path)
    assert table.classes == ('clump', 'cell') and table.files == [str(tmp_path / 'images' / 'a.png')]
    assert boxes_of(table) == ([('a.png', 'cell', box)] if box else [])
    assert [f.text.startswith(f'1 x {told}') and f.level == 'info' for f in table.findings] == [True] * bool(told)
    assert table.sizes.tolist() == [[100, 200]]


def test_splits_and_undeclared_classes(tmp_path, write_png):
    box = '<box label="{}" xtl="80" ytl="30" xbr="120" ybr="70"/>'
    write(tmp_path, image(box.format('b'), more='subset="Train"') + image(box.format('a'), 'b.png', 'subset="default"'),
          '')
    write_png(tmp_path / 'images' / 'Train' / 'a.png')
    found = write_png(tmp_path / 'elsewhere' / 'b.png')
    table = read_set(tmp_path)
    assert table.classes == ('a', 'b') and table.splits == ['train', ''] and table.files[1] == str(found)


@pytest.mark.parametrize('content, code, row', [
    (image('<box label="cell" xtl="x" ytl="30" xbr="120" ybr="70"/>'), 'bad_box', 'image "3", shape 1'),
    (image('<box label="cell" xtl="80"/>'), 'bad_box', 'image "3", shape 1'),
    (image('<polygon label="cell" points="1,2;3"/>'), 'bad_box', 'image "3", shape 1'),
    (image('<box label="sell" xtl="80" ytl="30" xbr="120" ybr="70"/>'), 'unknown_category', 'image "3", shape 1'),
    (image('<box xtl="80" ytl="30" xbr="120" ybr="70"/>'), 'no_category', 'image "3", shape 1'),
    ('<image id="3"/>', 'bad_image', 'image "3"'), ('<track id="0" label="cell"/>', 'bad_image', 'track 0')])
def test_defects(tmp_path, content, code, row):
    file = write(tmp_path, content + image('', 'b.png'))
    table = read_set(file)
    assert [(f.level, f.code, f.file, f.row) for f in table.findings] == [('error', code, str(file), row)]
    assert len(table.boxes) == 0 or math.isnan(table.boxes[0, 0]) == (code == 'bad_box')


@pytest.mark.parametrize('encoding', ['utf-8', 'utf-16'])
def test_a_file_of_windows(tmp_path, write_png, encoding):
    image = write_png(tmp_path / 'images' / 'sub' / 'a.png')
    (tmp_path / 'x.xml').write_bytes((f'<?xml version="1.0" encoding="{encoding}"?><annotations><image id="0" '
                                      'name="sub\\a.png" width="9" height="9"/></annotations>').encode(encoding))
    table = read_set(tmp_path)
    assert (table.kind, table.names, table.files) == ('cvat', ['sub/a.png'], [str(image)])


def test_torn_files(tmp_path):
    (tmp_path / 'a.xml').write_text('<annotations><image')
    with pytest.raises(DataError, match='a.xml: malformed XML at line 1'):
        read_set(tmp_path)
    write(tmp_path, image(''), name='b.xml')
    assert [(f.code, f.file) for f in read_set(tmp_path).findings] == [
        ('unreadable_annotations', str(tmp_path / 'a.xml'))]
