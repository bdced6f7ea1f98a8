"""The checks find the training set that a config names, whatever its format."""
import pytest
from mmengine.config import Config

from cxrdet.preflight.data import training_quality

BOX = '<object><name>a</name><bndbox><xmin>{}</xmin><ymin>20</ymin><xmax>60</xmax><ymax>60</ymax></bndbox></object>'


def write(root, write_tfrecord):
    import numpy as np
    rows = [(10, 10, 39, 39, 1), (39, 39, 10, 10, 1)]
    write_tfrecord(root / 'train.tfrecord', [('a', np.zeros((90, 90, 3), np.uint8), rows)])
    (root / 'Annotations').mkdir()
    for name, left in (('a', 20), ('b', 90), ('c', 90)):
        (root / 'Annotations' / f'{name}.xml').write_text(
            f'<annotation><size><width>90</width><height>90</height></size>{BOX.format(left)}{BOX.format(15)}'
            '</annotation>')
    (root / 'train.txt').write_text('a\nb\n')
    return root


@pytest.mark.parametrize(('options', 'numbers'), [
    (dict(type='cxrdet.CellTFRecordDataset', ann_file='train.tfrecord'), (1, 2, 1)),
    (dict(type='cxrdet.CellVOCDataset', ann_file='train.txt'), (2, 4, 1)),       # b has one; c is not in the list
    (dict(type='cxrdet.CellVOCDataset', data_prefix=dict(img='JPEGImages/', ann='Annotations/')), (3, 6, 2)),
    (dict(type='RepeatDataset', times=2, dataset=dict(type='cxrdet.CellVOCDataset', ann_file='train.txt')), (2, 4, 1))])
def test_formats(tmp_path, write_tfrecord, options, numbers):
    root = write(tmp_path, write_tfrecord)
    (options.get('dataset') or options)['data_root'] = str(root)
    got = training_quality(Config(dict(default_scope='mmdet', train_dataloader=dict(dataset=options))))
    assert (got['images'], got['boxes'], got['faulty']) == numbers and got['low']


@pytest.mark.parametrize(('options', 'why'), [
    (dict(type='cxrdet.CellDataset', ann_file='none.json'), 'none.json: cannot read'),
    (dict(type='mmdet.XMLDataset'), 'do not know')])
def test_unknown(tmp_path, options, why):
    cfg = Config(dict(default_scope='mmdet', train_dataloader=dict(dataset=dict(options, data_root=str(tmp_path)))))
    assert why in training_quality(cfg)['unknown']
    assert 'no training data' in training_quality(Config(dict(default_scope='mmdet')))['unknown']
