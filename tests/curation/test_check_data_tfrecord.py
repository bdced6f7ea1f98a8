"""check_data and --fix on TFRecord files: rows of five, ymin first, inclusive corners."""
import json

import cv2
import numpy as np
import pytest

from cxrdet.core.errors import ConfigError
from cxrdet.curation.check_data import check_data
from cxrdet.datasets.cell import CellDataset
from cxrdet.datasets.formats.sets import find_format, read_set


def tall(seed=0, height=200, width=60):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


GOOD = [(100, 10, 139, 49, 3), (150, 5, 179, 54, 11), (0, 0, 49, 59, 1)]


def test_rows_of_five_with_ymin_first(tmp_path, write_tfrecord):
    """A good set of tall images. An old reader took the first 4N of 5N numbers as boxes and exchanged x and y: so read,
    box 0 were (100, 10, 139, 49) in an image 60 px wide, and box 1 (3, 150, 5, 179), 2 px wide."""
    path = write_tfrecord(tmp_path / 'train.tfrecord', [('a.jpg', tall(), GOOD), ('b.jpg', tall(1), GOOD[:1])])
    table = read_set(path)
    assert table.boxes.tolist() == [[10, 100, 50, 140], [5, 150, 55, 180], [0, 0, 60, 50], [10, 100, 50, 140]]
    assert table.box_label.tolist() == [2, 10, 0, 2] and table.box_image.tolist() == [0, 0, 0, 1]
    report = check_data(path)
    codes = {finding.code for finding in report.findings}
    assert codes == {'class_without_samples'} and not report.failed
    assert report.numbers['classes']['train'] == {**dict.fromkeys(table.classes, 0), 'lsil': 2, 'actinomyces': 1,
                                                  'ascus': 1}


BAD = [(100, 10, 139, 49, 3), (139, 49, 100, 10, 3), (20, 10, 19, 30, 2), (100, 40, 139, 69, 5), (30, 30, 34, 34, 1),
       (100, 10, 139, 49, 3), (300, 10, 320, 30, 1), (5, 5, 30, 30, 12)]


def test_findings_and_fix(tmp_path, write_tfrecord):
    """One of each fault: inverted, without area, beyond the border, tiny, twice, outside, no such class."""
    folder = tmp_path / 'records'
    folder.mkdir()
    write_tfrecord(folder / 'train-00000-of-00002.tfrecord', [('x/a.jpg', tall(), BAD), ('b.jpg', tall(1), [])])
    write_tfrecord(folder / 'train-00001-of-00002.tfrecord', [('c.jpg', tall(2), GOOD)])
    write_tfrecord(folder / 'test.tfrecord', [('a.jpg', tall(3), GOOD)])
    assert find_format(folder) == 'tfrecord'
    report = check_data(folder, fix=tmp_path / 'mended')
    boxes = {finding.code: finding.row for finding in report.findings if finding.box >= 0}
    assert boxes == {'inverted_box': 'record 0, box 1', 'zero_area_box': 'record 0, box 2',
                     'out_of_bounds_box': 'record 0, box 3', 'tiny_box': 'record 0, box 4',
                     'duplicate_box': 'record 0, box 5', 'outside_box': 'record 0, box 6',
                     'unknown_category': 'record 0, box 7'}
    assert [finding.text for finding in report.findings if finding.code == 'image_without_boxes'] == [
        '"b.jpg" has no box']
    assert not report.failed  # what is left are warnings
    for split, number in (('train', 3), ('test', 1)):
        dataset = CellDataset(f'annotations/{split}.json', data_root=str(tmp_path / 'mended'), pipeline=[])
        assert len(dataset) == number and not dataset.dropped
    content = json.loads((tmp_path / 'mended' / 'annotations' / 'train.json').read_text())
    assert [(box['bbox'], box['category_id']) for box in content['annotations'] if box['image_id'] == 1] == [
        ([10, 100, 40, 40], 3), ([11, 101, 38, 38], 3), ([40, 100, 20, 40], 5), ([30, 30, 5, 5], 1)]
    image = cv2.imread(str(tmp_path / 'mended' / 'images' / 'train' / 'a.png'))
    np.testing.assert_array_equal(image[..., ::-1], tall())
    assert not check_data(tmp_path / 'mended').failed
    with pytest.raises(ConfigError, match='nothing to link to'):
        check_data(folder, fix=tmp_path / 'other', link=True)
    assert not (tmp_path / 'other').exists()


@pytest.mark.parametrize(('change', 'code', 'images'), [
    (lambda data: data[:-9], 'unreadable_annotations', 1),
    (lambda data: data[:20_000] + bytes([data[20_000] ^ 1]) + data[20_001:], 'unreadable_image', 2)])
def test_damage(tmp_path, write_tfrecord, change, code, images):
    """Of a torn file what is before the tear is kept; a changed pixel is found by the checksum."""
    (tmp_path / 'data').mkdir()
    path = write_tfrecord(tmp_path / 'data' / 'x.tfrecord', [('a.jpg', tall(), GOOD), ('b.jpg', tall(1), GOOD)])
    path.write_bytes(change(path.read_bytes()))
    report = check_data(path, fix=tmp_path / 'mended')
    assert code in {finding.code for finding in report.findings} and report.numbers['images'] == images
    assert not report.failed
    assert len(json.loads((tmp_path / 'mended/annotations/x.json').read_text())['images']) == 1


def test_equal_images(tmp_path, write_tfrecord):
    write_tfrecord(tmp_path / 'train.tfrecord', [('a', tall(), GOOD), ('b', tall(1), GOOD)])
    write_tfrecord(tmp_path / 'test.tfrecord', [('c', tall(1), GOOD)])
    found = [finding.text for finding in check_data(tmp_path).findings if finding.level == 'error']
    assert len(found) == 1 and '"b" is byte for byte "c" (train and test)' in found[0]
