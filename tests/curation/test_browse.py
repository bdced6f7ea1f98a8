"""Sheets of samples: what is drawn, for detectors and classifiers, and what is said where nothing can be."""
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.structures import InstanceData
from mmpretrain.structures import DataSample

from cxrdet.core.errors import ConfigError
from cxrdet.curation.browse import browse, draw_sample
from cxrdet.preflight.config import load_config
from cxrdet.visualization.boxes import PALETTE

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[2]
CELL = ROOT / 'configs' / 'faster_rcnn_bifpn_cell_tiny.py'


def drawn(picture, color):
    """Extent (x1, y1, x2, y2) of the pixels of a colour."""
    rows, columns = np.nonzero((abs(picture.astype(int) - np.array(color)) < 25).all(axis=2))
    return [columns.min(), rows.min(), columns.max(), rows.max()] if len(rows) else []


def detection(boxes, labels, ignored=()):
    data = DetDataSample(metainfo=dict(img_path='some/where/cells_7.png'))
    data.gt_instances = InstanceData(bboxes=torch.tensor(boxes).reshape(-1, 4), labels=torch.tensor(labels).long())
    data.ignored_instances = InstanceData(bboxes=torch.tensor(ignored).reshape(-1, 4),
                                          labels=torch.zeros(len(ignored)).long())
    return data


@pytest.mark.parametrize(('side', 'factor'), [(480, 1), (120, 2)])
def test_boxes(side, factor):
    """Small images are enlarged, with their boxes; ignored ones are grey and dotted."""
    sample = dict(inputs=torch.full((3, side, side), 255, dtype=torch.uint8),
                  data_samples=detection([[10., 20., 60., 90.]], [2], [[70., 20., 110., 60.]]))
    picture, title, labels = draw_sample(sample, ('a', 'b', 'c'))
    assert picture.shape == (side * factor, side * factor, 3) and title == 'cells_7.png' and labels == {2}
    assert drawn(picture, PALETTE[2]) == pytest.approx([10 * factor, 20 * factor, 60 * factor, 90 * factor], abs=2)
    assert drawn(picture, (90, 90, 90)) == pytest.approx([70 * factor, 20 * factor, 110 * factor, 60 * factor], abs=2)


def test_no_box():
    sample = dict(inputs=torch.zeros(3, 300, 300, dtype=torch.uint8), data_samples=detection([], []))
    picture, _, labels = draw_sample(sample, ('a', ))
    assert not picture.any() and labels == set()


def test_floating_point_images_are_stretched():
    """What ZScore leaves: its lowest value black, its highest white, its mean in between."""
    inputs = torch.linspace(-1, 3, 300 * 300).reshape(1, 300, 300)
    picture, _, _ = draw_sample(dict(inputs=inputs, data_samples=DataSample().set_gt_label(0)))
    assert picture.shape == (300, 300, 3) and picture[0, 0, 0] == 0 and picture[-1, -1, 0] == 255
    assert picture[150, 0, 0] == pytest.approx(128, abs=1)
    flat, _, _ = draw_sample(dict(inputs=torch.zeros(1, 300, 300), data_samples=DataSample().set_gt_label(0)))
    assert not flat.any()


@pytest.mark.parametrize(('data', 'text'), [
    (DataSample().set_gt_label(1), 'Mass'),
    (DataSample().set_gt_label([0, 2]), 'Edema, Nodule'),
    (DataSample().set_gt_score(torch.tensor([1.0, 0.0, float('nan')])), 'Edema, Nodule?'),
    (DataSample().set_gt_score(torch.zeros(3)), 'no label'),
], ids=['one', 'several', 'unknown', 'none'])
def test_labels_of_classifiers(data, text):
    data.set_metainfo(dict(img_path='films/1.png'))
    _, title, labels = draw_sample(dict(inputs=torch.zeros(3, 64, 64, dtype=torch.uint8), data_samples=data),
                                   ('Edema', 'Mass', 'Nodule'))
    assert title == f'1.png: {text}' and labels == set()


def test_nothing_packed():
    with pytest.raises(ConfigError, match='must end with PackDetInputs or PackInputs'):
        draw_sample(dict(img=np.zeros((4, 4, 3), np.uint8)))


def browse_cells(root, out, *options, **kwargs):
    return browse(load_config(CELL, data_root=root, cfg_options=list(options)), out, **kwargs)


def test_sheets_of_detectors(cell_phantoms, tmp_path):
    """Eighteen samples of eight images on two sheets; the seed decides what is drawn."""
    files = browse_cells(cell_phantoms, tmp_path / 'a', number=18, columns=5)
    assert [file.name for file in files] == ['train_00.png', 'train_01.png']
    sheets = [cv2.imread(str(file)) for file in files]
    assert sheets[0].shape[1] == 5 * (256 + 4) + 4 and sheets[0].shape[0] > 4 * 256 > sheets[1].shape[0] > 256
    for color in PALETTE[:3]:
        assert (sheets[0] == np.array(color)).all(axis=2).sum() > 200
    again, same, other = (browse_cells(cell_phantoms, tmp_path / name, number=2, seed=seed)[0].read_bytes()
                          for name, seed in (('b', 0), ('c', 0), ('d', 1)))
    assert again == same != other


@pytest.mark.parametrize('name', ['mosaic', 'copy_paste', 'albumentations'])
def test_mixed_sets_are_run(name, cell_phantoms, tmp_path):
    done = []
    cfg = load_config(f'faster_rcnn_fpn_cell+{name}', data_root=cell_phantoms)
    files = browse(cfg, tmp_path, number=3, columns=3, progress=lambda *state: done.append(state))
    assert cv2.imread(str(files[0])).shape[1] > 3 * 640 and done == [(1, 3), (2, 3), (3, 3)]


def test_sheets_of_classifiers(tmp_path):
    (tmp_path / 'set').mkdir()
    for k in range(4):
        cv2.imwrite(str(tmp_path / 'set' / f'{k}.png'), np.full((80, 80, 3), 60 * k, np.uint8))
    lines = [f'{k}.png,{"ab"[k % 2]},{"train" if k < 3 else "val"}' for k in range(4)]
    (tmp_path / 'set' / 'metadata.csv').write_text('\n'.join(['path,label,split', *lines]) + '\n')
    (tmp_path / 'set' / 'label2id.json').write_text(json.dumps({'a': 0, 'b': 1}))
    cfg = load_config('resnet18_crops_64', data_root=tmp_path / 'set')
    sheet = cv2.imread(str(browse(cfg, tmp_path / 'out', split='val', number=1)[0]))
    assert sheet.shape[0] > 240 and sheet[sheet.shape[0] // 2, sheet.shape[1] // 2].tolist() == [180, 180, 180]


@pytest.mark.parametrize(('kwargs', 'text'), [
    (dict(split='training'), 'must be one of train, val, test .*got "training"'),
    (dict(number=0), 'at least one sample and one column, got 0 and 4'),
    (dict(columns=0), 'got 16 and 0')])
def test_wrong_arguments(kwargs, text, tmp_path):
    with pytest.raises(ConfigError, match=text):
        browse(Config(dict(train_dataloader=dict(dataset={}))), tmp_path, **kwargs)
