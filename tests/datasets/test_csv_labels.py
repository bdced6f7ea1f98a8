"""The data set over a metadata CSV: classes, splits, limits, groups, errors."""
import json
from collections import Counter

import cv2
import numpy as np
import pytest

from cxrdet.core.errors import ConfigError, DataError
from cxrdet.datasets.csv_labels import CSVImageDataset

CLASSES = ('ascus', 'asch', 'lsil')


def write(folder, rows, header='path,label,split', classes=CLASSES):
    """Write a set whose images are one byte each: nothing here decodes them."""
    folder.mkdir(exist_ok=True)
    for row in rows:
        (folder / row[0]).parent.mkdir(parents=True, exist_ok=True)
        (folder / row[0]).write_bytes(b'x')
    (folder / 'metadata.csv').write_text('\n'.join([header, *(','.join(map(str, row)) for row in rows)]))
    (folder / 'label2id.json').write_text(json.dumps({name: i for i, name in enumerate(classes)}))
    return folder


@pytest.fixture
def sorted_set(tmp_path):
    """60 training images sorted by class, 6 for validation."""
    rows = [(f'images/{label}/{n}.png', label, 'train') for label in CLASSES for n in range(20)]
    rows += [(f'images/{label}/v{n}.png', label, 'val') for label in CLASSES for n in range(2)]
    return write(tmp_path / 'set', rows)


def labels(dataset):
    return [dataset.get_data_info(i)['gt_label'] for i in range(len(dataset))]


def test_rows_of_a_split(sorted_set):
    train = CSVImageDataset(data_root=str(sorted_set), split='train')
    assert len(train) == 60
    assert train.metainfo['classes'] == CLASSES
    assert labels(train) == [0] * 20 + [1] * 20 + [2] * 20
    assert train.get_data_info(0)['img_path'] == f'{sorted_set}/images/ascus/0.png'
    assert train.get_cat_ids(59) == [2]  # what ClassBalancedDataset asks for
    assert len(CSVImageDataset(data_root=str(sorted_set), split='val')) == 6
    assert len(CSVImageDataset(data_root=str(sorted_set))) == 66


def test_prefix_and_names(tmp_path):
    folder = write(tmp_path / 'set', [('a.png', 'asch', '7')], header='Image,Finding,Patient')
    (folder / 'images').mkdir()
    (folder / 'a.png').rename(folder / 'images' / 'a.png')
    dataset = CSVImageDataset(data_root=str(folder), data_prefix='images',
                              columns=dict(path='Image', label='Finding', group='Patient'))
    info = dataset.get_data_info(0)
    assert (info['img_path'], info['gt_label'], info['group']) == (f'{folder}/images/a.png', 1, '7')


@pytest.mark.parametrize('number', [3, 7, 59])
def test_a_limit_keeps_all_classes(sorted_set, number):
    dataset = CSVImageDataset(data_root=str(sorted_set), split='train', indices=number)
    count = Counter(labels(dataset))
    assert sum(count.values()) == number
    assert max(count.values()) - min(count[i] for i in range(3)) <= 1
    again = CSVImageDataset(data_root=str(sorted_set), split='train', indices=number)
    assert [again.get_data_info(i)['img_path'] for i in range(number)] == [
        dataset.get_data_info(i)['img_path'] for i in range(number)]


def test_a_limit_beyond_the_set_and_a_list(sorted_set):
    assert len(CSVImageDataset(data_root=str(sorted_set), split='train', indices=1000)) == 60
    chosen = CSVImageDataset(data_root=str(sorted_set), split='train', indices=[0, 59])
    assert labels(chosen) == [0, 2]


def grouped_set(folder, split=False):
    rng = np.random.default_rng(0)
    rows = [(f'{n}.png', CLASSES[rng.integers(3)], f'p{rng.integers(40)}') for n in range(200)]
    return write(folder, rows, header='path,label,group')


def test_a_split_is_drawn_by_groups(tmp_path):
    folder = grouped_set(tmp_path / 'set')
    train, val = (CSVImageDataset(data_root=str(folder), split=split) for split in ('train', 'val'))
    assert len(train) + len(val) == 200
    assert len(val) / 200 == pytest.approx(0.2, abs=0.04)
    groups = [{d.get_data_info(i)['group'] for i in range(len(d))} for d in (train, val)]
    assert not groups[0] & groups[1]
    third = CSVImageDataset(data_root=str(folder), split='test', shares=dict(train=0.6, val=0.2, test=0.2))
    assert len(third) / 200 == pytest.approx(0.2, abs=0.04)
    other = CSVImageDataset(data_root=str(folder), split='val', split_seed=1)
    assert {other.get_data_info(i)['group'] for i in range(len(other))} != groups[1]


def test_too_few_groups_name_the_file(tmp_path):
    folder = write(tmp_path / 'set', [(f'{n}.png', 'asch', 'p1') for n in range(4)], header='path,label,group')
    with pytest.raises(DataError, match=r'/set/metadata\.csv: 1 groups .* 2 parts'):
        CSVImageDataset(data_root=str(folder), split='train')


def test_without_groups_a_warning(tmp_path, monkeypatch):
    lines = []
    monkeypatch.setattr('cxrdet.datasets.csv_labels.print_log', lambda text, *_unused: lines.append(text))
    folder = write(tmp_path / 'set', [(f'{n}.png', CLASSES[n % 3]) for n in range(30)], header='path,label')
    assert len(CSVImageDataset(data_root=str(folder), split='train')) == 24
    assert any('each image is dealt out for itself. If several show one patient' in line for line in lines)


def test_questions_of_the_checks(tmp_path):
    folder = grouped_set(tmp_path / 'set')
    cfg = dict(type='cxrdet.CSVImageDataset', data_root=str(folder), split='val', pipeline=[dict(type='None')])
    assert CSVImageDataset.read_classes(cfg) == CLASSES
    files = CSVImageDataset.image_files(cfg)
    groups = CSVImageDataset.read_groups(cfg)
    assert len(files) == len(groups) == len(CSVImageDataset(data_root=str(folder), split='val'))
    assert all(file.is_file() for file in files)
    assert [str(file.resolve()) for file in files] == list(groups)
    others = CSVImageDataset.read_groups(cfg | dict(split='train'))
    assert not set(groups.values()) & set(others.values())


@pytest.mark.parametrize(('kwargs', 'error', 'expected'), [
    (dict(split='tain'), ConfigError, r'split="tain" is none of train, val, test\. Did you mean "train"'),
    (dict(split='test'), DataError, r'no row has the split "test"; there are: train, val'),
    (dict(label2id='l.json'), DataError, r'/l\.json: cannot read the label2id file'),
    (dict(ann_file='m.csv'), DataError, r'/m\.csv: cannot read the metadata file'),
    (dict(metainfo=dict(classes=('ascus', 'lsil', 'asch'))), DataError,
     r'the classes here are ascus, asch, lsil, in this order, but metainfo .* names ascus, lsil, asch'),
    (dict(metainfo=dict(classes=('ascus', 'assh', 'lsil'))), DataError, r'Did you mean "asch"\?'),
    (dict(shares=dict(train=0)), ConfigError, r"a share above 0, got \{'train': 0\}"),
    (dict(classes=CLASSES), ConfigError, r'takes its classes from the label2id file'),
])
def test_arguments_that_do_not_fit(sorted_set, kwargs, error, expected):
    with pytest.raises(error, match=expected):
        CSVImageDataset(data_root=str(sorted_set), **kwargs)


def test_missing_images_are_told_by_line(sorted_set):
    (sorted_set / 'images/asch/3.png').unlink()
    with pytest.raises(DataError, match=r'metadata\.csv: line 25: no such image file: .*asch/3\.png'):
        CSVImageDataset(data_root=str(sorted_set), split='train')
    assert len(CSVImageDataset(data_root=str(sorted_set), split='val')) == 6


def test_a_group_on_both_sides(tmp_path):
    rows = [('a.png', 'asch', 'train', 'p1'), ('b.png', 'asch', 'val', 'p2'), ('c.png', 'lsil', 'val', 'p1')]
    folder = write(tmp_path / 'set', rows, header='path,label,split,group')
    with pytest.raises(DataError, match=r'line 2: patient "p1" has 1 images in train and 1 in val'):
        CSVImageDataset(data_root=str(folder), split='train')


def test_real_crops(real_data):
    from mmengine.registry import DefaultScope
    steps = [dict(type='cxrdet.LoadImage'), dict(type='Resize', scale=32), dict(type='PackInputs')]
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        dataset = CSVImageDataset(data_root=str(real_data / 'cervical_crops'), split='val', pipeline=steps,
                                  test_mode=True)
    assert Counter(labels(dataset)) == Counter({0: 21, 1: 21, 2: 21, 3: 22, 4: 22, 5: 22, 6: 20, 7: 21, 8: 22, 9: 21,
                                                10: 20})
    sample = dataset[0]
    assert sample['inputs'].shape == (3, 32, 32)
    first = cv2.imread(dataset.get_data_info(0)['img_path'])
    np.testing.assert_allclose(sample['inputs'].numpy().mean(axis=(1, 2)), first.mean(axis=(0, 1)), atol=8)
    assert sample['data_samples'].gt_label.tolist() == [0]
