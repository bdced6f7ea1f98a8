"""No patient on both sides: an error before training, whatever the data set class."""
import copy
import json
import re

import cv2
import numpy as np
import pytest
from mmengine.config import Config

from cxrdet.core.errors import ConfigError, DataError
from cxrdet.datasets.csv_labels import CSVImageDataset
from cxrdet.preflight.check import Examined, Part
from cxrdet.preflight.config import load_config
from cxrdet.preflight.data import check_run, group_problems


class Grouped:
    """A data set class that tells its groups: a list of those of images 0, 1 …, or image -> group."""
    SPLIT_HINT = 'Split by patient.'

    def __init__(self, groups=(), pipeline=()):
        pass

    @classmethod
    def read_groups(cls, cfg):
        if cfg['groups'] == 'broken':
            raise DataError('cannot be read')
        return cfg['groups'] if isinstance(cfg['groups'], dict) else dict(enumerate(cfg['groups']))


class Other(Grouped):
    """Has patients of its own, and no word on how to split."""
    SPLIT_HINT = ''


def parts(found=Grouped, **groups):
    return [Part(path=f'{name}_dataloader.dataset', place=f'{name}_dataloader.dataset', scope='mmengine', places=(),
                 cfg=dict(type='x', groups=values), found=found, unknown=False) for name, values in groups.items()]


def shared(found):
    return group_problems(Examined(Config(), found))


def test_apart():
    assert shared(parts(train=[1, 1, 2], val=[3], test=[4, 5])) == []
    assert shared(parts(train=[], val=[])) == []
    assert shared([]) == []


def test_shared():
    found = parts(train=range(10), val=[7, 8, 8, 20], test=[0, 1, 2, 3, 4, 5, 11])
    assert shared(found) == [
        'val_dataloader: 2 of its 3 patients (groups) are in the training set as well: 7, 8. Its scores would be too '
        'good: give it images of other patients. Split by patient.',
        'test_dataloader: 6 of its 7 patients (groups) are in the training set as well: 0, 1, 2, 3, 4, …. Its scores '
        'would be too good: give it images of other patients. Split by patient.']


def test_validation_and_test():
    """The very same images are allowed, also twice; a part of them, or other films of their patients, are not."""
    assert shared(parts(train=[1], val=[2, 3], test=[2, 3])) == []
    assert shared(parts(train=[1], val=[2, 3]) + parts(test=[2, 3]) + parts(test=[2, 3])) == []
    assert shared(parts(train=[1], val=[2, 3], test={'a': None, 'b': 4})) == []
    text = ('test_dataloader: 1 of its {} patients (groups) are in the validation set as well: {}. The best checkpoint '
            'and its thresholds are chosen there, so that its scores would be too good: give it images of other '
            'patients. Split by patient.')
    assert shared(parts(train=[1], val=[2, 3], test=[2])) == [text.format(1, 2)]
    assert shared(parts(train=[1], val=[2, 3], test=[3, 4])) == [text.format(2, 3)]


def test_unknown_patients_and_other_classes_and_broken_sets_are_left_out():
    assert shared(parts(train={'a': None, 'b': 1}, val={'c': None})) == []
    assert shared(parts(train=[1]) + parts(Other, val=[1])) == []
    assert shared(parts(train=[1], val=[2], test='broken')) == []
    assert shared(parts(train=[1]) + parts(object, val=[1])) == []


def test_images_of_unknown_patients():
    found = parts(Other, train={'a': None, 'b': None, 'c': 1}, val={'a': None, 'c': None, 'd': None}, test={'e': None})
    assert shared(found) == [
        'val_dataloader: 2 of its 3 images are in the training set as well: a, c. Its scores would be too good: give '
        'it images of other patients.']
    found = parts(train={'a': None}, val={'b': None}, test={'b': None, 'c': None})
    assert shared(found) == [
        'test_dataloader: 1 of its 2 images are in the validation set as well: b. The best checkpoint and its '
        'thresholds are chosen there, so that its scores would be too good: give it images of other patients. '
        'Split by patient.']
    found = parts(train={'a': None, 'b': 1}, val={'a': None, 'c': 1})
    assert 'val_dataloader: 1 of its 1 patients (groups)' in shared(found)[0]


@pytest.fixture
def listed(tmp_path):
    """24 listed images of two classes without split and group column."""
    for k in range(24):
        cv2.imwrite(str(tmp_path / f'{k}.png'), np.full((8, 8), k, np.uint8))
    (tmp_path / 'metadata.csv').write_text('\n'.join(['file,label', *(f'{k}.png,{"ab"[k % 2]}' for k in range(24))]))
    (tmp_path / 'label2id.json').write_text(json.dumps(dict(a=0, b=1)))

    def load(*options):
        return load_config('configs/resnet18_crops_64.py', data_root=tmp_path,
                           cfg_options=['columns.path=file', *options])
    return load


@pytest.mark.parametrize('options', [(), ('split_seed=1', ), ('shares.val=1', ), ('shares.test=0.2', ),
                                     ('shares.val=1', 'val_dataloader.dataset.split_seed=0')])
def test_listed_images_that_are_dealt_out_alike(listed, options):
    cfg = listed(*options)
    check_run(cfg, mode='train')
    train, val = (CSVImageDataset.read_groups(cfg[f'{name}_dataloader'].dataset) for name in ('train', 'val'))
    assert not set(train) & set(val)
    assert len(train) + len(val) == 24 or 'shares.test=0.2' in options
    share = 1 / 1.8 if 'shares.val=1' in options else 0.2
    assert len(val) == pytest.approx(share * 24, abs=1.5)


@pytest.mark.parametrize('option', ['train_dataloader.dataset.split_seed=1', 'train_dataloader.dataset.shares.val=1'])
def test_listed_images_that_are_dealt_out_differently(listed, option, tmp_path):
    with pytest.raises(ConfigError) as caught:
        check_run(listed('split_seed=3', option), mode='train')
    assert re.search(rf'val_dataloader: \d of its \d images are in the training set as well: {tmp_path}/\d+\.png',
                     str(caught.value))
    assert 'need the same split_seed, shares and columns: --cfg-options split_seed=1 reaches all' in str(caught.value)
    assert 'prepare_data.py nih' not in str(caught.value)


@pytest.fixture
def cfg(tmp_path):
    """A classifier on six films of three patients; the config takes one list for training and one for validation."""
    rows = ['Image Index,Finding Labels,Patient ID']
    (tmp_path / 'images').mkdir()
    for k in range(6):
        rows.append(f'{k}.png,{"Mass" if k % 2 else "No Finding"},{k // 2}')
        cv2.imwrite(str(tmp_path / 'images' / f'{k}.png'), np.full((8, 8), k, np.uint8))
    (tmp_path / 'Data_Entry_2017.csv').write_text('\n'.join(rows) + '\n')
    (tmp_path / 'train.txt').write_text('0.png\n1.png\n2.png\n')
    (tmp_path / 'val.txt').write_text('4.png\n5.png\n')
    (tmp_path / 'leak.txt').write_text('3.png\n5.png\n')
    (tmp_path / 'test.txt').write_text('0.png\n')

    def loader(name):
        return dict(batch_size=1, sampler=dict(type='DefaultSampler'), dataset=dict(
            type='cxrdet.NIHChestXray14', data_root=str(tmp_path), split_file=name,
            pipeline=[dict(type='cxrdet.LoadImage'), dict(type='PackInputs')]))
    head = dict(type='MultiLabelLinearClsHead', num_classes=15, in_channels=512)
    return Config(dict(
        default_scope='mmpretrain', custom_imports=dict(imports=['cxrdet']), val_cfg=dict(),
        model=dict(type='ImageClassifier', backbone=dict(type='ResNet', depth=18), neck=dict(
            type='GlobalAveragePooling'), head=head),
        train_dataloader=loader('train.txt'), val_dataloader=loader('val.txt'), train_cfg=dict(max_epochs=1),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)), val_evaluator=dict(type='cxrdet.MultiLabelMetric')))


def test_before_a_training_run(cfg):
    check_run(cfg, mode='train')
    cfg.val_dataloader.dataset.split_file = 'leak.txt'
    with pytest.raises(ConfigError, match=r'1 problem\n  val_dataloader: 1 of its 2 patients .* as well: 1\. Its.*'
                                          r'"python tools/prepare_data\.py nih" splits by patient'):
        check_run(cfg, mode='train')
    cfg.train_dataloader.dataset = dict(type='RepeatDataset', times=2, dataset=cfg.train_dataloader.dataset)
    with pytest.raises(ConfigError, match='val_dataloader: 1 of its 2 patients'):
        check_run(cfg, mode='train')


def test_a_test_set_beside_the_validation_set(cfg):
    cfg.test_cfg, cfg.test_dataloader = dict(), copy.deepcopy(cfg.val_dataloader)
    cfg.test_evaluator = cfg.val_evaluator
    check_run(cfg, mode='train')
    cfg.train_dataloader.dataset.split_file, cfg.val_dataloader.dataset.split_file = 'test.txt', 'leak.txt'
    with pytest.raises(ConfigError, match=r'1 problem\n  test_dataloader: 1 of its 1 patients .* validation set as'):
        check_run(cfg, mode='train')
    check_run(cfg, mode='test')  # which has one side


def test_a_missing_list_is_told_once(cfg):
    cfg.val_dataloader.dataset.split_file = 'none.txt'
    with pytest.raises(ConfigError) as caught:
        check_run(cfg, mode='train')
    assert str(caught.value).count('\n') == 1
    assert 'val_dataloader.dataset: ' in str(caught.value) and 'none.txt: no such list of images' in str(caught.value)
