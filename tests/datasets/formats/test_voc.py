"""Reading Pascal VOC files safely: every defect is told; training raises on it."""
from collections import Counter

import numpy as np
import pytest

from cxrdet.core.errors import ConfigError, DataError
from cxrdet.datasets.formats import voc
from cxrdet.datasets.formats.voc import read_list

OBJECT = ('<object><name> RBC </name><difficult>1</difficult><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>30.5</xmax>'
          '<ymax>40</ymax></bndbox></object>')
SIZE = '<filename>a.jpg</filename><size><width>60</width><height>50</height><depth>3</depth></size>'


def read(path, corners='exclusive', on_bad='error'):
    """The table of one file in a folder of its own, and reasons of the boxes left out, as training takes them."""
    table = voc.read(path.parent, path.parent, annotations=path.parent, lists={}, corners=corners)
    return table, Counter(table.raise_errors(on_bad=on_bad).values())


@pytest.fixture
def written(tmp_path):
    def write(content, root='annotation'):
        path = tmp_path / 'a.xml'
        path.write_bytes(content if isinstance(content, bytes) else f'<{root}>{content}</{root}>'.encode())
        return path
    return write


@pytest.mark.parametrize(('corners', 'box'), [('exclusive', (1, 2, 30.5, 40)), ('inclusive', (0, 1, 30.5, 40))])
def test_contents(written, corners, box):
    got, _ = read(written(SIZE + OBJECT), corners=corners)
    assert got.files[0].endswith('/a.jpg') and got.sizes.tolist() == [[50, 60]]
    assert (got.classes, got.boxes.tolist(), got.crowd.tolist()) == (('RBC', ), [list(box)], [True])


def test_what_may_be_missing(written):
    got, _ = read(written(OBJECT.replace('<difficult>1</difficult>', '')))
    assert np.isnan(got.sizes).all() and got.crowd.tolist() == [False]
    assert len(read(written(SIZE))[0].boxes) == 0


@pytest.mark.parametrize('text, flag', [('0', False), ('0.0', False), (' False ', False), ('no', False), ('1', True),
                                        ('True', True)])
def test_difficult(written, text, flag):
    assert read(written(SIZE + OBJECT.replace('>1</difficult', f'>{text}</difficult')))[0].crowd.tolist() == [flag]


def test_difficult_that_says_neither(written):
    _, dropped = read(written(SIZE + OBJECT.replace('>1</difficult', '>perhaps</difficult')), on_bad='drop')
    assert dropped == {'bad_flag': 1}


def test_boxes_of_parts_are_not_boxes_of_objects(written):
    part = '<part><name>head</name><bndbox><xmin>3</xmin><ymin>3</ymin><xmax>4</xmax><ymax>4</ymax></bndbox></part>'
    got, _ = read(written(OBJECT.replace('<bndbox>', part + '<bndbox>', 1)))
    assert got.boxes.tolist() == [[1, 2, 30.5, 40]]


def test_encodings(written):
    text = '<?xml version="1.0" encoding="{}"?><annotation>' + OBJECT.replace('RBC', 'Zellé') + '</annotation>'
    for encoding in ('utf-8', 'utf-16', 'iso-8859-1'):
        assert read(written(text.format(encoding).encode(encoding)))[0].classes == ('Zellé',)


BOMB = '<!DOCTYPE a [<!ENTITY l0 "ha">' + ''.join(
    f'<!ENTITY l{n + 1} "{f"&l{n};" * 10}">' for n in range(12)) + ']><annotation>&l12;</annotation>'


@pytest.mark.parametrize(('text', 'name'), [
    ('<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/hostname">]><annotation><filename>&x;</filename></annotation>', 'x'),
    ('<!DOCTYPE a [<!ENTITY x "ours">]><annotation><filename>&x;</filename></annotation>', 'x'),
    ('<!DOCTYPE a [<!ENTITY % p SYSTEM "http://127.0.0.1:9/a.dtd"> %p;]><annotation/>', 'p'),
    (BOMB, 'l0')])
@pytest.mark.parametrize('encoding', ['utf-8', 'utf-16'])
def test_entities_are_refused(written, text, name, encoding):
    """The bomb would grow to 2 TB."""
    with pytest.raises(DataError, match=rf'a\.xml: refused: the XML declares or fetches the entity "{name}"'):
        read(written(text.encode(encoding)))


@pytest.mark.parametrize(('content', 'text'), [
    (b'', r'the annotation file is empty \(0 bytes\)'),
    (b'<annotation>\n <object>\n</annotation>', 'malformed XML at line 3, column 3: mismatched tag'),
    (b'<annotation><object>', 'malformed XML at line 1, column 21: no element found'),
    (b'{"images": []}', 'malformed XML at line 1, column 1: '),
    (b'<?xml version="1.0" encoding="klingon"?><annotation/>', 'malformed XML'),
    (b'<html></html>', 'expected <annotation> as the root of a VOC file, got <html>'),
    (b'<annotation><size><width>wide</width><height>3</height></size></annotation>',
     '<size/width> must be a number of pixels, got "wide"')])
def test_files_that_cannot_be_used(written, content, text):
    for on_bad in ('error', 'drop'):
        with pytest.raises(DataError, match=rf'a\.xml: {text}'):
            read(written(content), on_bad=on_bad)


@pytest.mark.parametrize(('defect', 'reason', 'text'), [
    (OBJECT.replace(' RBC ', ''), 'no_category', r'object 2: \(""\) has no <name>'),
    (OBJECT.replace('<name> RBC </name>', ''), 'no_category', 'has no <name>'),
    ('<object><name>RBC</name></object>', 'bad_box', r'object 2: \("RBC"\) needs a <bndbox> with numbers'),
    (OBJECT.replace('30.5', 'x'), 'bad_box', 'needs a <bndbox> with numbers xmin, ymin, xmax, ymax'),
    (OBJECT.replace('<ymax>40</ymax>', ''), 'bad_box', 'needs a <bndbox>')])
def test_defective_objects(written, defect, reason, text):
    path = written(OBJECT + defect + OBJECT)
    with pytest.raises(DataError, match=rf'a\.xml: .*{text}.*on_bad_annotation="drop"'):
        read(path)
    got, dropped = read(path, on_bad='drop')
    assert dropped == {reason: 1} and len(got.boxes) == 3


def test_missing_file(tmp_path):
    with pytest.raises(DataError, match=r'b\.xml: cannot read the annotation file: No such file'):
        voc.parse_xml(tmp_path / 'b.xml')


@pytest.mark.parametrize(('option', 'text'), [
    ({'corners': 'legacy'}, 'corners must be "exclusive" or "inclusive", got \'legacy\'')])
def test_options_that_are_none(written, option, text):
    with pytest.raises(ConfigError, match=text):
        read(written(OBJECT), **option)


def test_list_of_names(tmp_path):
    path = tmp_path / 'train.txt'
    path.write_bytes(b'\xef\xbb\xbfb \r\n\r\na b\nsub/c')
    assert read_list(path) == ['b', 'a b', 'sub/c']


@pytest.mark.parametrize(('content', 'text'), [
    (b'', 'the list of images is empty'), (b'\n \n', 'the list of images is empty'),
    (b'a\nb\n\na\n', 'lines 1 and 4 both name "a"'), (b'\xff\xd8\xff', 'is not UTF-8 text')])
def test_lists_that_cannot_be_used(tmp_path, content, text):
    path = tmp_path / 'train.txt'
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf'train\.txt: .*{text}'):
        read_list(path)
    with pytest.raises(DataError, match='cannot read the list of images: No such file'):
        read_list(tmp_path / 'val.txt')


@pytest.mark.parametrize('folder', ['JPEGImages', 'images', 'elsewhere/deep'])
def test_images_beside_annotations(tmp_path, folder):
    """As Label Studio's VOC export has them; by name where it is unique below the set."""
    (tmp_path / 'Annotations').mkdir()
    (tmp_path / 'Annotations' / 'a.xml').write_text(f'<annotation>{SIZE}{OBJECT}</annotation>')
    (tmp_path / folder).mkdir(parents=True)
    (tmp_path / folder / 'a.jpg').write_bytes(b'x')
    assert voc.read(tmp_path).files == [str(tmp_path / folder / 'a.jpg')]
