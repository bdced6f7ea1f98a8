"""Folds of each kind of data set: complete, disjoint, with whole patients, and as its reader reads them."""
import csv
import json
import shutil
from copy import deepcopy
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from mmengine.registry import DATASETS, DefaultScope

from cxrdet.core.errors import ConfigError, DataError
from cxrdet.curation.folds import (
    Pool,
    deal_out,
    fold_table,
    keep,
    pool_of,
    rare_classes,
    read_folds,
    shares_images,
    whole_groups,
    write_folds,
)
from cxrdet.preflight.config import load_config

FOLDS = 3
COCO_CATEGORIES = [{'id': 7, 'name': 'round'}, {'id': 3, 'name': 'long'}]
VOC = ('<annotation><size><width>32</width><height>32</height></size><object><name>{}</name><bndbox><xmin>2</xmin>'
       '<ymin>3</ymin><xmax>9</xmax><ymax>9</ymax></bndbox></object></annotation>')


def write_image(path: Path, value: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((32, 32, 3), value, np.uint8))


def config(scope: str, train: dict, val: dict, **other) -> Config:
    sets = {'train': train, 'val': val, 'test': other.pop('test', val)}
    loaders = {f'{name}_dataloader': {'dataset': deepcopy(one)} for name, one in sets.items()}
    return Config(dict(default_scope=scope, model={}, **loaders, val_evaluator=dict(type='x'),
                       test_evaluator=dict(type='x'), **other))


def coco_config(root: Path) -> Config:
    """Twelve images of six patients in two files with the same ids, other folders, and categories in another order."""
    for side, first, categories in (('train', 0, COCO_CATEGORIES), ('val', 8, [
            {'id': 1, 'name': 'long'}, {'id': 2, 'name': 'round'}])):
        count = 8 if side == 'train' else 4
        by_name = {category['name']: category['id'] for category in categories}
        images = [{'id': i, 'file_name': f'{first + i}.png', 'height': 32, 'width': 32,
                   'patient_id': f'p{(first + i) // 2}'} for i in range(count)]
        boxes = [{'id': i, 'image_id': i, 'bbox': [1, 1, 9, 9], 'area': 81, 'iscrowd': 0,
                  'category_id': by_name['long' if (first + i) % 4 == 0 else 'round']} for i in range(count)]
        root.mkdir(exist_ok=True)
        (root / f'{side}.json').write_text(json.dumps(dict(images=images, annotations=boxes, categories=categories)))
        for i in range(count):
            write_image(root / side / f'{first + i}.png', first + i)
    train, val = (dict(type='cxrdet.CellDataset', data_root=str(root), ann_file=f'{side}.json',
                       data_prefix=dict(img=f'{side}/'), pipeline=[]) for side in ('train', 'val'))
    return config('mmdet', dict(type='RepeatDataset', times=2, dataset=train), dict(val, test_mode=True))


def voc_config(root: Path) -> Config:
    """Nine images, of which one alone has the class "rare"."""
    for i in range(9):
        write_image(root / 'JPEGImages' / f'i{i}.png', i)
        (root / 'Annotations').mkdir(exist_ok=True)
        (root / 'Annotations' / f'i{i}.xml').write_text(VOC.format('rare' if i == 4 else 'common'))
    for side, names in (('train', range(6)), ('val', range(6, 9))):
        (root / f'{side}.txt').write_text(''.join(f'i{i}\n' for i in names))
    train, val = (dict(type='cxrdet.CellVOCDataset', data_root=str(root), ann_file=f'{side}.txt', pipeline=[])
                  for side in ('train', 'val'))
    return config('mmdet', train, dict(val, test_mode=True))


def csv_config(root: Path) -> Config:
    """Fourteen images of seven patients, two classes; two more are of the test split."""
    rows = [(f'img/{i}.png', 'ab'[i % 4 == 0], 'test' if i >= 14 else 'val' if i >= 10 else 'train', f'p{i // 2}')
            for i in range(16)]
    for i, (path, *_) in enumerate(rows):
        write_image(root / path, i)
    with open(root / 'metadata.csv', 'w', newline='') as file:
        csv.writer(file, delimiter=';').writerows([('file', 'label', 'split', 'patient'), *rows])
    (root / 'label2id.json').write_text('{"a": 0, "b": 1}')
    train, val, test = (dict(type='cxrdet.CSVImageDataset', data_root=str(root), split=side, columns={'path': 'file'},
                             pipeline=[])
                        for side in ('train', 'val', 'test'))
    return config('mmpretrain', train, val, test=test)


@pytest.fixture(scope='module')
def chest(tmp_path_factory) -> Path:
    from cxrdet.datasets.phantoms import write_chest_phantoms
    folder = tmp_path_factory.mktemp('chest') / 'set'
    write_chest_phantoms(folder, num_images=40, size=64)
    return folder


@pytest.fixture
def cfg_of(tmp_path, chest):
    def make(kind: str) -> Config:
        if kind == 'nih':
            return load_config('resnet18_chest_phantom', data_root=chest)
        return {'coco': coco_config, 'voc': voc_config, 'csv': csv_config}[kind](tmp_path / kind)
    return make


def built(cfg: Config, loader: str):
    """The data set of a loader, within its wrappers."""
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        dataset = DATASETS.build(dict(cfg[loader].dataset, _scope_=cfg.default_scope))
    return getattr(dataset, 'dataset', dataset)


def images_of(dataset) -> set[str]:
    return {str(Path(dataset.get_data_info(i)['img_path']).absolute()) for i in range(len(dataset))}


@pytest.mark.parametrize(('kind', 'images', 'unit'), [
    ('coco', 12, 'patient'), ('voc', 9, 'image'), ('csv', 14, 'patient'), ('nih', 40, 'patient')])
def test_folds_are_complete_and_disjoint_and_read_by_the_data_sets(cfg_of, tmp_path, kind, images, unit):
    cfg = cfg_of(kind)
    pool = pool_of(cfg)
    assert (len(pool.names), len(pool.files), len(pool.groups), pool.labels.shape, pool.unit) == (
        images, images, images, (images, len(pool.classes)), unit)
    named = {'coco': ['round', 'long'], 'voc': ['common', 'rare'], 'csv': ['a', 'b']}
    assert named.get(kind, pool.classes) == pool.classes
    fold = deal_out(pool, FOLDS, seed=1)
    owner = dict(zip(pool.files, whole_groups(pool)))
    configs = write_folds(cfg, pool, fold, tmp_path / 'folds')
    seen = []
    for k, one in enumerate(configs):
        sides = {side: images_of(built(one, f'{side}_dataloader')) for side in ('train', 'val', 'test')}
        assert sides['val'] == sides['test'] == {pool.files[row] for row in np.flatnonzero(fold == k)}
        assert sides['train'] == set(pool.files) - sides['val']
        assert not {owner[path] for path in sides['train']} & {owner[path] for path in sides['val']}
        seen += sorted(sides['val'])
    assert sorted(seen) == sorted(pool.files)
    assert cfg.to_dict() == cfg_of(kind).to_dict()  # it is not changed


def test_coco_folds_hold_the_boxes_of_their_images_under_their_names(cfg_of, tmp_path):
    """Both files number their images from 0 and their categories otherwise: ids become those of the first file."""
    cfg = cfg_of('coco')
    cfg.test_evaluator = dict(type='CocoMetric', ann_file='elsewhere.json')
    pool = pool_of(cfg)
    one = write_folds(cfg, pool, deal_out(pool, FOLDS), tmp_path / 'folds')[0]
    assert one.test_evaluator.ann_file == one.val_dataloader.dataset.ann_file == one.test_dataloader.dataset.ann_file
    assert one.val_dataloader.dataset.data_prefix.img == str(tmp_path / 'coco')
    files = [json.loads(Path(dataset.ann_file).read_text()) for dataset in (
        one.train_dataloader.dataset.dataset, one.val_dataloader.dataset)]
    assert all(content['categories'] == COCO_CATEGORIES for content in files)
    named = {image['id']: image['file_name'] for content in files for image in content['images']}
    assert len(named) == 12 and {'train/0.png', 'val/11.png'} < set(named.values())
    labels = {named[box['image_id']]: box['category_id'] for content in files for box in content['annotations']}
    assert labels == {f'{"train" if i < 8 else "val"}/{i}.png': 3 if i % 4 == 0 else 7 for i in range(12)}


def test_labels_are_spread_evenly(chest):
    """Of nine classes, each fold has about a third of the positives of each: closer than films dealt out by chance."""
    pool = pool_of(load_config('resnet18_chest_phantom', data_root=chest))
    fold = deal_out(pool, FOLDS)
    counts = np.array([np.nansum(pool.labels[fold == k], axis=0) for k in range(FOLDS)])
    expected = counts.sum(axis=0) / FOLDS
    assert (np.abs(counts - expected).max(axis=0) <= 2).all()
    sizes = np.bincount(fold)
    assert sizes.max() - sizes.min() <= 3


def test_voc_folds_name_the_classes_that_a_fold_may_lack(cfg_of, tmp_path):
    cfg = cfg_of('voc')
    for one in write_folds(cfg, (pool := pool_of(cfg)), deal_out(pool, FOLDS), tmp_path / 'folds'):
        assert built(one, 'train_dataloader').metainfo['classes'] == ('common', 'rare')
        assert built(one, 'val_dataloader').metainfo['classes'] == ('common', 'rare')


def test_test_images_are_left_out(cfg_of):
    cfg = cfg_of('csv')
    assert not shares_images(cfg, pool_of(cfg))
    cfg.test_dataloader.dataset.split = 'val'
    assert shares_images(cfg, pool_of(cfg))


def pool_with(files: list[str], groups: list, labels=None) -> Pool:
    names = [Path(file).name for file in files]
    labels = np.array(labels or [[1]] * len(files))
    return Pool(names, files, labels, [f'class {i}' for i in range(labels.shape[1])], groups, None)


def test_equal_files_stay_together_and_tie_their_patients(tmp_path):
    """a and d are the same picture, so that the patients A and B are one; c is nobody's, and alone."""
    for name, value in zip('abcdef', (1, 2, 3, 1, 5, 6)):
        write_image(tmp_path / f'{name}.png', value)
    pool = pool_with([str(tmp_path / f'{name}.png') for name in 'abcdef'], ['A', 'A', None, 'B', 'B', 'C'])
    assert whole_groups(pool) == ['a.png', 'a.png', 'c.png', 'a.png', 'a.png', 'f.png']
    assert whole_groups(pool, copies_apart=True) == ['a.png', 'a.png', 'c.png', 'd.png', 'd.png', 'f.png']
    with pytest.raises(DataError, match='^4 folds: .* 3 patients'):
        deal_out(pool, 4)


@pytest.mark.parametrize(('folds', 'expected'), [(2, {'class 1': 1, 'class 2': 0}), (3, {
    'class 0': 2, 'class 1': 1, 'class 2': 0})])
def test_classes_that_some_fold_must_lack(folds, expected):
    """Class 0: patients A and B; class 1: three films of A alone; class 2: unknown or absent."""
    labels = [[1, 1, 0], [0, 1, np.nan], [0, 1, 0], [1, 0, 0], [0, 0, 0]]
    pool = pool_with([f'/x/{i}.png' for i in range(5)], ['A', 'A', 'A', 'B', 'C'], labels)
    assert rare_classes(pool, folds) == expected


def test_a_table_of_folds_is_read_again(tmp_path):
    pool = pool_with(['/x/a.png', '/x/b,"c.png', '/x/d.png'], ['A', None, 'A'])
    fold = np.array([1, 0, 1])
    (tmp_path / 'folds.csv').write_text(fold_table(pool, fold))
    assert (tmp_path / 'folds.csv').read_text() == 'image,group,fold\na.png,A,1\n"b,""c.png",,0\nd.png,A,1\n'
    np.testing.assert_array_equal(read_folds(tmp_path / 'folds.csv', pool), fold)


@pytest.mark.parametrize(('text', 'said'), [
    ('image,fold\na,0\nb,1\n', 'expected each of the 3 images .* got 2 rows.* c'),
    ('image,fold\na,0\nb,1\nc,1\nc,0\n', 'got 4 rows.* twice'),
    ('image,fold\na,0\nb,0\nc,0\n', 'at least two'),
    ('image,fold\na,0\nb,2\nc,0\n', 'each with images, got 0, 2'),
    ('image,fold\na,0\nb,one\nc,0\n', "line 3: .* got 'one'"),
    ('image,part\na,0\n', 'columns image and fold, got image, part'),
    ('image,fold\na,0\nb,1\nc,1\n', 'share 1 patients'),
])
def test_bad_table_of_folds(tmp_path, text, said):
    (tmp_path / 'folds.csv').write_text(text)
    with pytest.raises(DataError, match=said):
        read_folds(tmp_path / 'folds.csv', pool_with(['/a', '/b', '/c'], ['A', None, 'A']))


def test_what_is_there_is_kept_and_never_replaced(tmp_path):
    keep(tmp_path / 'a', 'one')
    keep(tmp_path / 'a', 'one')
    with pytest.raises(ConfigError, match='another cross-validation'):
        keep(tmp_path / 'a', 'two')
    assert (tmp_path / 'a').read_text() == 'one'


def no_kind(cfg, root):
    cfg.train_dataloader.dataset.dataset.type = 'cxrdet.YOLODataset'


def two_kinds(cfg, root):
    cfg.val_dataloader.dataset.type = 'cxrdet.CellVOCDataset'


def several(cfg, root):
    one = cfg.train_dataloader.dataset
    cfg.train_dataloader.dataset = dict(type='ConcatDataset', datasets=[one.dataset, deepcopy(one.dataset)])


def limited(cfg, root):
    cfg.train_dataloader.dataset.dataset.indices = 5


def other_classes(cfg, root):
    content = json.loads((root / 'val.json').read_text())
    content['categories'].append({'id': 3, 'name': 'third'})
    (root / 'val.json').write_text(json.dumps(content))


@pytest.mark.parametrize(('change', 'said'), [
    (no_kind, r'train_dataloader.dataset.dataset.type: .* COCO .* not of cxrdet.YOLODataset'),
    (two_kinds, r'val_dataloader.dataset.type: .* of one kind'), (several, 'train_dataloader: .* got 2'),
    (limited, r'train_dataloader.dataset.dataset.indices'), (other_classes, 'val_dataloader.dataset: .* third')])
def test_what_cannot_be_folded_is_refused_by_its_place(cfg_of, tmp_path, change, said):
    cfg = cfg_of('coco')
    change(cfg, tmp_path / 'coco')
    with pytest.raises((ConfigError, DataError), match=said):
        pool_of(cfg)


def test_lists_of_different_folders_are_refused(cfg_of, tmp_path):
    cfg = cfg_of('voc')
    shutil.copytree(tmp_path / 'voc', tmp_path / 'other')
    cfg.val_dataloader.dataset.data_root = str(tmp_path / 'other')
    with pytest.raises(ConfigError, match='val_dataloader.dataset.data_root: .* as in train_dataloader.dataset'):
        pool_of(cfg)
