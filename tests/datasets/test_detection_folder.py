"""DetectionFolder and YOLODataset: splits, boxes worked out by hand, errors, and one set in two formats.
CellTFRecordDataset against the converted set; index, workers, torn and changed files."""
import json

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DATASETS, init_default_scope
from torch.utils.data import DataLoader

from cxrdet.core.errors import ConfigError, DataError
from cxrdet.core.recipes import find_config
from cxrdet.curation.prepare import prepare_cdetector
from cxrdet.datasets.cell import CellDataset
from cxrdet.datasets.described import handed_over
from cxrdet.datasets.detection_folder import CellTFRecordDataset, DetectionFolder, YOLODataset
from cxrdet.datasets.formats.tfrecord import read, read_record_image, record_spans, split_record_path

LOAD = [dict(type='cxrdet.LoadImage'), dict(type='LoadAnnotations', with_bbox=True)]


@pytest.fixture(scope='module', autouse=True)
def scope():
    init_default_scope('mmdet')


@pytest.fixture
def yolo(tmp_path):
    """Two training images of 200 x 100 px, the second without boxes, and one of validation."""
    (tmp_path / 'data.yaml').write_text('train: images/train\nval: images/val\nnames: [cell, clump]\n')
    for name, text in {'train/a': '1 0.5 0.5 0.2 0.4\n0 0.5 0.5 0.001 0.4\n', 'train/b': '', 'val/c': '0 0.5 0.5 1 1\n',
                       }.items():
        for folder in ('images', 'labels'):
            (tmp_path / folder / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / 'labels' / f'{name}.txt').write_text(text)
        cv2.imwrite(str(tmp_path / 'images' / f'{name}.png'), np.full((100, 200), 90, np.uint8))
    return tmp_path


def test_a_split(yolo):
    dataset = YOLODataset(data_root=str(yolo), split='train', pipeline=LOAD)
    assert len(dataset) == 2 and dataset.metainfo['classes'] == ('cell', 'clump')
    info = dataset.get_data_info(0)
    assert [(box['bbox'], box['bbox_label']) for box in info['instances']] == [([80, 30, 120, 70], 1)]
    assert dataset.dropped == {'degenerate': 1} and (info['img_id'], info['height'], info['width']) == (1, 100, 200)
    assert dataset[0]['img'].shape == (100, 200, 3) and dataset[0]['gt_bboxes'].shape == (1, 4)
    assert [len(DetectionFolder(data_root=str(yolo), split=split, pipeline=[])) for split in ('val', '')] == [1, 3]


@pytest.mark.parametrize('kind', [YOLODataset, DetectionFolder])
def test_what_was_read_of_one_split_is_not_handed_to_another(kind, yolo):
    """All splits stand in one file; a training once got the images of the validation."""
    cfgs = [dict(data_root=str(yolo), split=split, on_bad_annotation='drop') for split in ('train', 'val', '')]
    known = [kind.described(cfg) for cfg in cfgs]
    for part in known:
        kind.check_contents(part)
    with handed_over(known):
        assert [len(kind(**cfg, pipeline=[])) for cfg in cfgs] == [2, 1, 3]


def test_classes_in_another_order(yolo):
    dataset = YOLODataset(data_root=str(yolo), metainfo=dict(classes=('clump',)), split='train', pipeline=[])
    assert dataset.get_data_info(0)['instances'][0]['bbox_label'] == 0 and dataset.dropped == {'unknown_class': 1}


def test_what_the_preflight_asks(yolo):
    cfg = dict(type='cxrdet.YOLODataset', data_root=str(yolo), split='val', pipeline=[])
    assert YOLODataset.read_classes(cfg) == ('cell', 'clump')
    assert YOLODataset.image_files(cfg) == [yolo / 'images' / 'val' / 'c.png']
    YOLODataset.check_contents(cfg)
    with pytest.raises(DataError, match='no image of the split "tset"; there are train, val'):
        YOLODataset.check_contents(dict(cfg, split='tset'))


def test_defects_of_the_split_are_errors(yolo, monkeypatch):
    """As check_data has them; those of another split are not, and 'drop' leaves boxes out."""
    (yolo / 'labels' / 'train' / 'b.txt').write_text('0 320 240 20 20\n0 0.1 0.1 0.5 0.1 0.3 0.8\n')
    with pytest.raises(DataError, match='b.txt: line 1'):
        YOLODataset(data_root=str(yolo), split='train', pipeline=[])
    assert len(YOLODataset(data_root=str(yolo), split='val', pipeline=[])) == 1
    lines = []
    monkeypatch.setattr('cxrdet.datasets.detection_folder.print_log', lambda text, *_: lines.append(text))
    dataset = YOLODataset(data_root=str(yolo), split='train', on_bad_annotation='drop', pipeline=[])
    assert len(lines) == 1 and 'other_shape: b.txt line 2: 1 x segment' in lines[0]
    assert dataset.dropped == {'degenerate': 1, 'bad_box': 1}
    assert [box['bbox'] for box in dataset.get_data_info(1)['instances']] == [pytest.approx([20, 10, 100, 80])]


def test_other_formats(tmp_path, yolo):
    """Pascal VOC through the same class; a set of labels of images has no boxes."""
    from cxrdet.curation.convert import convert_set
    convert_set(yolo, tmp_path.with_name(f'{tmp_path.name}-coco'))
    for split in ('train', 'val'):
        one = YOLODataset(data_root=str(yolo), split=split, pipeline=[])
        other = DetectionFolder(data_root=f'{tmp_path}-coco', split=split, pipeline=[])
        assert [one.get_data_info(k)['instances'] for k in range(len(one))] == [
            other.get_data_info(k)['instances'] for k in range(len(other))]
    (tmp_path / 'listed').mkdir()
    (tmp_path / 'listed' / 'metadata.csv').write_text('path,label\na.png,x\n')
    (tmp_path / 'listed' / 'label2id.json').write_text(json.dumps({'x': 0}))
    with pytest.raises(ConfigError, match='"csv" has no boxes'):
        DetectionFolder(data_root=str(tmp_path / 'listed'), pipeline=[])
    with pytest.raises(ConfigError, match='needs data_root'):
        DetectionFolder(pipeline=[])


def test_the_config(yolo):
    cfg = Config.fromfile(find_config('faster_rcnn_bifpn_yolo'))
    assert cfg.train_dataloader.dataset.split == 'train' and cfg.val_dataloader.dataset.test_mode
    for name, length in (('train', 2), ('val', 1)):
        dataset = DATASETS.build({**cfg[f'{name}_dataloader'].dataset, 'data_root': str(yolo)})
        assert type(dataset) is YOLODataset and len(dataset) == length
        assert dataset[0]['inputs'].shape[0] == 3


# --- TFRecord files


@pytest.fixture(scope='module')
def records(tmp_path_factory, write_tfrecord):
    """Two files, of three and one images; rows ymin, xmin, ymax, xmax (inclusive), label."""
    root, rng = tmp_path_factory.mktemp('records'), np.random.default_rng(0)
    rows = [[(1, 2, 4, 6, 3), (0, 0, 19, 29, 11)], [(2, 2, 2, 2, 1), (5, 9, 3, 12, 2), (90, 90, 95, 99, 5)], [],
            [(3, 1, 18, 9, 7)]]
    images = [(name, rng.integers(0, 256, (20 + k, 30 + k, 3), np.uint8), row)
              for k, (name, row) in enumerate(zip(['a.jpg', 'dir/b.png', 'c', 'é d.png'], rows))]
    (root / 'train').mkdir()
    write_tfrecord(root / 'train' / 'cells-00000.tfrecord', images[:3])
    write_tfrecord(root / 'train' / 'cells-00001.tfrecord', images[3:])
    (root / 'train' / 'README').write_text('no such file')
    return root, images


def test_equal_to_the_converted_set(records, tmp_path):
    """The same boxes, labels, sizes, ids, dropped boxes and pixels, to the last bit."""
    root, images = records
    prepare_cdetector(sorted((root / 'train').glob('*.tfrecord')), tmp_path / 'set', split='train')
    one = CellTFRecordDataset('train', data_root=str(root), pipeline=LOAD)
    other = CellDataset('annotations/train.json', data_root=str(tmp_path / 'set'), pipeline=LOAD)
    assert one.metainfo == other.metainfo and len(one) == len(other) == 4
    assert one.dropped == other.dropped == {'degenerate': 1, 'outside': 1}
    for k in range(4):
        mine, theirs = one.get_data_info(k), other.get_data_info(k)
        assert {key: mine[key] for key in ('img_id', 'height', 'width', 'instances')} == {
            key: theirs[key] for key in ('img_id', 'height', 'width', 'instances')}
        np.testing.assert_array_equal(one[k]['img'], other[k]['img'])
        np.testing.assert_array_equal(one[k]['img'][..., ::-1], images[k][1])
    by_hand = [[box['bbox'] for box in one.get_data_info(k)['instances']] for k in range(4)]
    assert by_hand == [[[2, 1, 7, 5], [0, 0, 30, 20]], [[2, 2, 3, 3]], [], [[1, 3, 10, 19]]]
    assert [box['bbox_label'] for box in one.get_data_info(0)['instances']] == [2, 10]


@pytest.mark.parametrize('workers', [0, 2])
def test_in_a_data_loader(records, workers):
    """A shuffled loader, with workers, gives every image once."""
    root, images = records
    dataset = CellTFRecordDataset('train', data_root=str(root), pipeline=[dict(type='cxrdet.LoadImage')])
    loader = DataLoader(dataset, 1, shuffle=True, num_workers=workers, collate_fn=lambda batch: batch[0],
                        generator=torch.Generator().manual_seed(1))
    found = {sample['img_id']: sample['img'] for sample in loader}
    assert found.keys() == {1, 2, 3, 4}
    for k, (_, pixels, _) in enumerate(images, 1):
        np.testing.assert_array_equal(found[k][..., ::-1], pixels)


def test_index_reads_no_pixels(records):
    file = records[0] / 'train' / 'cells-00000.tfrecord'
    table = read(file)
    assert table.names == ['a.jpg', 'b.png', 'c'] and table.sizes.tolist() == [[20, 30], [21, 31], [22, 32]]
    assert table.box_image.tolist() == [0, 0, 1, 1, 1]
    spans = list(record_spans(file, file.read_bytes()))
    assert [(place.number, place.id) for place in table.places] == [(span.number, span.offset) for span in spans]
    assert [span.number for span in spans] == [0, 1, 2]
    assert spans[-1].offset + spans[-1].length + 16 == file.stat().st_size


def test_classes_and_files(records):
    root, _ = records
    some = CellTFRecordDataset('train/cells-00000.tfrecord', dict(classes=('actinomyces', 'lsil')), data_root=str(root),
                               pipeline=[])
    assert len(some) == 3 and some.dropped['unknown_class'] == 3
    assert [box['bbox_label'] for box in some.get_data_info(0)['instances']] == [1, 0]
    cfg = dict(type='cxrdet.CellTFRecordDataset', ann_file='train', data_root=str(root))
    assert len(CellTFRecordDataset.read_classes(cfg)) == 11
    assert [path.name for path in CellTFRecordDataset.image_files(cfg)] == ['cells-00000.tfrecord',
                                                                            'cells-00001.tfrecord']
    with pytest.raises(DataError, match='no class "lsli".* Did you mean "lsil"'):
        CellTFRecordDataset('train', dict(classes=('lsli',)), data_root=str(root), pipeline=[])
    with pytest.raises(ConfigError, match='needs ann_file'):
        CellTFRecordDataset(data_root=str(root))
    for name, text in (('none', 'none: no such TFRecord file'), ('.', 'there is no TFRecord file in this folder')):
        with pytest.raises(DataError, match=text):
            CellTFRecordDataset(name, data_root=str(root), pipeline=[])


@pytest.mark.parametrize(('images', 'cut', 'text'), [
    ([('a', 1), ('b', 1)], 7, r'x\.tfrecord: record 1 at byte \d+: the file is truncated'),
    ([('a', 1), ('b', 12)], 0, r'x\.tfrecord: record 1, box 0: the box has the label 12, expected 1 to 11'),
    ([('p/a.png', 1), ('q/a.jpg', 1)], 0, r'x\.tfrecord: record 1 .*: .*name of an image before it: .*@0/a\.png')])
def test_bad_files(tmp_path, write_tfrecord, images, cut, text):
    path = write_tfrecord(tmp_path / 'x.tfrecord', [(name, np.zeros((9, 9, 3), np.uint8), [(1, 1, 5, 5, label)])
                                                    for name, label in images])
    path.write_bytes(path.read_bytes()[:path.stat().st_size - cut])
    with pytest.raises(DataError, match=text):
        CellTFRecordDataset('x.tfrecord', data_root=str(tmp_path), pipeline=[])
    if images[-1][1] == 12:
        kept = CellTFRecordDataset('x.tfrecord', data_root=str(tmp_path), pipeline=[], on_bad_annotation='drop')
        assert kept.dropped == {'unknown_category': 1}


def test_a_file_that_changes_while_it_is_used(tmp_path, write_tfrecord):
    path = write_tfrecord(tmp_path / 'x.tfrecord', [('a', np.zeros((9, 9, 3), np.uint8), [(1, 1, 5, 5, 1)])] * 1)
    dataset = CellTFRecordDataset('x.tfrecord', data_root=str(tmp_path), pipeline=LOAD[:1])
    image = dataset.get_data_info(0)['img_path']
    assert read_record_image(image).shape == (9, 9, 3) and split_record_path(image) == (str(path), 0)
    assert split_record_path('images/a@3/b.png') is None
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(DataError, match=r'x\.tfrecord@0/a: there is no whole record at byte 0'):
        dataset[0]


def test_images_on_both_sides_are_found(tmp_path, write_tfrecord):
    """The second image of training is the first of validation, under another name; the third differs in one pixel."""
    from cxrdet.preflight.check import examine
    from cxrdet.preflight.data import copy_problems
    rng = np.random.default_rng(5)
    pixels = [rng.integers(0, 256, (90, 80, 3), np.uint8) for _ in range(4)]
    other = pixels[2].copy()
    other[0, 0] ^= 1
    box = [(1, 1, 40, 40, 1)]
    write_tfrecord(tmp_path / 'train.tfrecord', [(f't{k}', pixels[k], box) for k in range(3)])
    write_tfrecord(tmp_path / 'test.tfrecord', [('v0', pixels[1], box), ('v1', other, box), ('v2', pixels[3], box)])
    cfg = Config.fromfile(find_config('faster_rcnn_bifpn_cdetector_tfrecord'))
    for name in ('train', 'val', 'test'):
        cfg[f'{name}_dataloader'].dataset.data_root = str(tmp_path)
    problem, = copy_problems(examine(cfg))
    assert 'val_dataloader: 1 of its 3 images are in the training set' in problem and '/v0 = ' in problem
    assert copy_problems(examine(Config(dict(cfg, allow_shared_images=True)))) == []


def test_the_config_of_records(records):
    cfg = Config.fromfile(find_config('faster_rcnn_bifpn_cdetector_tfrecord'))
    part = dict(cfg.train_dataloader.dataset, data_root=str(records[0]), ann_file='train')
    dataset = DATASETS.build(part)
    packed = dataset[0]
    assert packed['inputs'].shape[0] == 3 and packed['data_samples'].gt_instances.labels.tolist() == [2, 10]
    assert cfg.val_dataloader.dataset.type == 'cxrdet.CellTFRecordDataset' and cfg.val_dataloader.dataset.test_mode
    small = Config.fromfile(find_config('faster_rcnn_bifpn_cdetector_small'))
    assert small.train_dataloader.dataset.ann_file == 'annotations/train_small.json'
