"""DetectionFolder and YOLODataset: splits, boxes worked out by hand, errors, and one set in two formats."""
import json

import pytest
from mmengine.config import Config
from mmengine.registry import DATASETS, init_default_scope

from cxrdet.core.errors import ConfigError, DataError
from cxrdet.core.recipes import find_config
from cxrdet.datasets.detection_folder import DetectionFolder, YOLODataset

LOAD = [dict(type='cxrdet.LoadImage'), dict(type='LoadAnnotations', with_bbox=True)]


@pytest.fixture(scope='module', autouse=True)
def scope():
    init_default_scope('mmdet')


@pytest.fixture
def yolo(tmp_path):
    """Two training images of 200 x 100 px, the second without boxes, and one of validation."""
    import cv2
    import numpy as np
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
