"""The TFRecord reader against a writer made here from the description of the format, byte by byte."""
import json
import struct

import cv2
import numpy as np
import pytest

from cxrdet.core.errors import ConfigError, DataError
from cxrdet.curation.prepare import prepare_cdetector
from cxrdet.datasets.cell import CellDataset
from cxrdet.datasets.formats.tfrecord import (
    CDETECTOR_CLASSES,
    masked_crc32c,
    parse_example,
    read,
    read_record_image,
)

TABLE = []
for _byte in range(256):
    for _ in range(8):
        _byte = _byte >> 1 ^ (0x82F63B78 if _byte & 1 else 0)
    TABLE.append(_byte)


def plain_crc(data):
    register = 0xFFFFFFFF
    for byte in data:
        register = TABLE[(register ^ byte) & 255] ^ register >> 8
    return register ^ 0xFFFFFFFF


def masked(crc):
    return ((crc >> 15 | crc << 17 & 0xFFFFFFFF) + 0xA282EAD8) % 2 ** 32


def frame(data):
    length = struct.pack('<Q', len(data))
    return b''.join([length, struct.pack('<I', masked(plain_crc(length))),
                     data, struct.pack('<I', masked(plain_crc(data)))])


def varint(value):
    value %= 2 ** 64
    out = b''
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def delimited(number, data):
    return varint(number << 3 | 2) + varint(len(data)) + data


def feature(value, packed=True):
    if isinstance(value, bytes):
        return delimited(1, delimited(1, value))
    if isinstance(value, float):
        return delimited(2, delimited(1, struct.pack('<f', value)))
    return delimited(3, delimited(1, varint(value)) if packed else varint(1 << 3) + varint(value))


def example(packed=True, **features):
    entries = b''.join(delimited(1, delimited(1, key.encode()) + delimited(2, feature(value, packed)))
                       for key, value in features.items())
    return delimited(1, entries)


def record(name='a.jpg', height=6, width=8, rows=((1, 2, 4, 6, 3),), seed=0, **changed):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    values = {'img_name': name.encode(), 'img_height': height, 'img_width': width, 'img': pixels.tobytes(),
              'gtboxes_and_label': np.array(rows, '<i4').tobytes(), 'num_objects': len(rows), **changed}
    return pixels, example(**{key: value for key, value in values.items() if value is not None})


@pytest.fixture
def written(tmp_path):
    def write(*records, name='x.tfrecord'):
        path = tmp_path / name
        path.write_bytes(b''.join(frame(item) for item in records))
        return path
    return write


@pytest.mark.parametrize(('data', 'crc'), [  # RFC 3720, B.4, and the check value of the CRC catalogue
    (b'', 0), (b'123456789', 0xE3069283), (bytes(32), 0x8A9136AA), (b'\xff' * 32, 0x62A8AB43),
    (bytes(range(32)), 0x46DD794E), (bytes(range(31, -1, -1)), 0x113FDB5C)])
def test_crc32c_known_values(data, crc):
    assert masked_crc32c(data) == masked(crc)


@pytest.mark.parametrize('length', [1, 2, 3, 4, 5, 63, 64, 65, 127, 128, 1000, 8191, 40_001])
def test_crc32c_of_any_length(length):
    data = np.random.default_rng(length).bytes(length)
    assert masked_crc32c(data) == masked_crc32c(memoryview(data)) == masked(plain_crc(data))


@pytest.mark.parametrize('packed', [True, False])
def test_protocol_buffer(packed):
    features = parse_example(example(packed, a=b'\x00\xff', b=300, c=-7, d=1.5, e=b''))
    assert features == {'a': [b'\x00\xff'], 'b': [300], 'c': [-7], 'd': [1.5], 'e': [b'']}


@pytest.mark.parametrize('data', [b'\x0a', b'\x0a\x05ab', b'\xff' * 11, b'\x0b', b'\x0a\x04\x0a\x02\x08\x01',
                                  b'\x0a\x0b\x0a\x09\x0a\x01a\x12\x04\x0a\x02\x08\x7f'])
def test_no_protocol_buffer(data):
    with pytest.raises(ValueError, match=r'example|field|varint|wire|Example'):
        parse_example(data)


def pixels_of(path):
    table = read(path, files=[path])
    table.raise_errors()
    return [read_record_image(file, check=True)[..., ::-1] for file in table.files]


def test_examples_are_read_exactly(written):
    first, a = record('a.jpg', rows=((1, 2, 4, 6, 3), (0, 0, 5, 7, 11)))
    second, b = record('é b.png', height=3, width=2, rows=np.zeros((0, 5)), seed=1)
    path = written(a, b)
    got = read(path)
    assert got.names == ['a.jpg', 'é b.png'] and got.sizes.tolist() == [[6, 8], [3, 2]]
    for image, expected in zip(pixels_of(path), (first, second), strict=True):
        np.testing.assert_array_equal(image, expected)
    assert got.boxes.tolist() == [[2, 1, 7, 5], [0, 0, 8, 6]]  # the second covers the image of 8 x 6
    assert [CDETECTOR_CLASSES[label] for label in got.box_label] == ['lsil', 'actinomyces']
    assert got.box_image.tolist() == [0, 0]


def test_converted_set_is_what_the_reader_of_sets_reads(written, tmp_path):
    first, a = record('a.jpg', rows=((1, 2, 4, 6, 3), (0, 0, 5, 7, 11)))
    second, b = record('dir/b.png', seed=1, rows=((2, 2, 2, 2, 1),))  # one pixel, inclusive corners
    third, c = record('c', seed=2, rows=np.zeros((0, 5)))
    out = tmp_path / 'set'
    summary = prepare_cdetector([written(a, b), written(c, name='y.tfrecord')], out, split='train')
    assert summary == {'images': 3, 'boxes': 3, **dict.fromkeys(CDETECTOR_CLASSES, 0), 'lsil': 1, 'actinomyces': 1,
                       'ascus': 1}
    coco = json.loads((out / 'annotations/train.json').read_text())
    assert [item['bbox'] for item in coco['annotations']] == [[2, 1, 5, 4], [0, 0, 8, 6], [2, 2, 1, 1]]
    assert [item['area'] for item in coco['annotations']] == [20, 48, 1]
    assert [item['name'] for item in coco['categories']] == list(CDETECTOR_CLASSES)
    assert [item['id'] for item in coco['categories']] == list(range(1, 12))

    dataset = CellDataset('annotations/train.json', data_root=str(out))
    assert dataset.metainfo['classes'] == CDETECTOR_CLASSES
    assert [[box['bbox'] for box in dataset.get_data_info(i)['instances']] for i in range(3)] == [
        [[2, 1, 7, 5], [0, 0, 8, 6]], [[2, 2, 3, 3]], []]
    assert not dataset.dropped
    for index, pixels in enumerate((first, second, third)):
        stored = cv2.imread(dataset.get_data_info(index)['img_path'])
        np.testing.assert_array_equal(stored[:, :, ::-1], pixels)  # PNG: to the last bit, red and blue in place


def tree(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob('*') if '.cxrdet' not in path.parts)


def test_conversion_may_be_repeated(written, tmp_path):
    out = tmp_path / 'set'
    prepare_cdetector([written(record('a')[1], record('b')[1])], out, split='train')
    before = tree(out)
    prepare_cdetector([written(record('a')[1], record('b')[1])], out, split='train')
    assert tree(out) == before == ['annotations', 'annotations/train.json', 'images', 'images/train',
                                   'images/train/a.png', 'images/train/b.png']
    prepare_cdetector([written(record('c')[1])], out, split='train', suffix='.jpg')
    prepare_cdetector([written(record('a')[1])], out, split='test')  # the other split stays
    assert tree(out / 'images') == ['test', 'test/a.png', 'train', 'train/c.jpg']


def test_a_conversion_that_fails_leaves_nothing_behind(written, tmp_path):
    out = tmp_path / 'set'
    path = written(record('a')[1], record('b')[1])
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(DataError, match='truncated'):
        prepare_cdetector([path], out, split='train')
    assert not out.exists()
    prepare_cdetector([written(record('c')[1])], out, split='train')
    before = tree(out), (out / 'annotations/train.json').read_text()
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(DataError, match='truncated'):
        prepare_cdetector([path], out, split='train')
    assert before == (tree(out), (out / 'annotations/train.json').read_text())


def test_a_folder_of_somebody_else_is_not_replaced(written, tmp_path):
    mine = tmp_path / 'images' / 'train' / 'mine.png'
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b'mine')
    with pytest.raises(DataError, match='in the way, not written by prepare_data.train: images/train'):
        prepare_cdetector([written(record()[1])], tmp_path, split='train')
    assert mine.read_bytes() == b'mine'


@pytest.mark.parametrize(('records', 'text'), [
    ([record('x/a.jpg')[1], record('y/a.png')[1]], r'record 1 .*: "a.png" has the name of an image before .*/a.jpg'),
    ([record('a')[1], record('')[1]], 'record 1: the image has no name')])
def test_names_that_cannot_be_files(written, tmp_path, records, text):
    with pytest.raises(DataError, match=text):
        prepare_cdetector([written(*records)], tmp_path / 'set', split='train')
    assert not (tmp_path / 'set').exists()


@pytest.mark.parametrize(('split', 'suffix', 'text'), [
    ('../train', '.png', 'split must be a plain name'), ('', '.png', 'split must be a plain name'),
    ('train', '.bmp', r'suffix must be "\.png" or "\.jpg", got \'\.bmp\'')])
def test_arguments_that_cannot_be_meant(tmp_path, split, suffix, text):
    with pytest.raises(ConfigError, match=text):
        prepare_cdetector(['x.tfrecord'], tmp_path, split=split, suffix=suffix)


GOOD = frame(record()[1])


@pytest.mark.parametrize(('content', 'text'), [
    (b'', r'the TFRecord file is empty \(0 bytes\)'),
    (b'\x1f\x8b' + bytes(20), 'compressed by gzip; unpack it'),
    (b'hello world, I am text', 'record 0 at byte 0: wrong checksum of the length'),
    (GOOD + GOOD[:5], rf'record 1 at byte {len(GOOD)}: the file is truncated: 5 bytes are left'),
    (GOOD[:-1], rf'record 0 at byte 0: the file is truncated: the record has {len(GOOD)} bytes, {len(GOOD) - 1} '),
    (GOOD + GOOD[:40] + bytes([GOOD[40] ^ 1]) + GOOD[41:], rf'record 1 at byte {len(GOOD)}: wire type'),
    (frame(record('b.jpg')[1]) + GOOD[:200] + bytes([GOOD[200] ^ 1]) + GOOD[201:],  # a pixel
     rf'wrong checksum of the data of the record at byte {len(GOOD)}'),
    (GOOD[:-1] + bytes([GOOD[-1] ^ 1]), 'wrong checksum of the data of the record at byte 0')])
def test_damaged_files(tmp_path, content, text):
    path = tmp_path / 'x.tfrecord'
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf'x\.tfrecord.*{text}'):
        pixels_of(path)


def test_missing_file(tmp_path):
    with pytest.raises(DataError, match=r'none\.tfrecord: cannot read the TFRecord file: No such file'):
        pixels_of(tmp_path / 'none.tfrecord')


@pytest.mark.parametrize(('changed', 'text'), [
    ({'img': None}, r'expected one value \(bytes\) in the feature "img"; the record has .*\'img_name\': 1'),
    ({'img_height': b'6'}, r'expected one value \(int\) in the feature "img_height"'),
    ({'img_height': 7}, r'"a.jpg": 144 bytes of pixels, expected 7 x 8 x 3'),
    ({'img_height': -6, 'img_width': -8}, '144 bytes of pixels'),
    ({'gtboxes_and_label': bytes(21)}, 'expected rows of five int32'),
    ({'img_name': b'\xff'}, 'utf-8')])
def test_records_that_are_no_images_with_boxes(written, changed, text):
    path = written(record()[1], record(**changed)[1])
    with pytest.raises(DataError, match=rf'record 1 at byte {len(GOOD)}: .*{text}'):
        pixels_of(path)


@pytest.mark.parametrize(('rows', 'place'), [([(1, 2, 4, 6, 0)], r'box 0: .* label 0, expected 1 to 11'),
                                             ([(1, 2, 4, 6, 1), (1, 2, 4, 6, 12)], r'box 1: .* label 12')])
def test_labels_that_are_none(written, tmp_path, rows, place):
    with pytest.raises(DataError, match=f'record 1, {place}'):
        prepare_cdetector([written(record()[1], record('b', rows=rows)[1])], tmp_path / 'set', split='train')
