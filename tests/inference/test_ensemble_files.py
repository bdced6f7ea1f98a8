"""Saved predictions, fused on a data set with classes of its own (MMDetection's CocoDataset): orders and scores."""
import cxrdet  # noqa: F401  # isort: skip (it serves the operators that mmdet imports)
import json

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config

from cxrdet.core.errors import ConfigError
from cxrdet.core.sample_files import read_samples, write_samples
from cxrdet.inference.ensemble import Fusion
from cxrdet.inference.ensemble_files import read_predictions
from cxrdet.inference.ensemble_files import test_predictions as evaluate

pytestmark = pytest.mark.long

BOX, FAR = [10., 10., 30., 30.], [40., 40., 50., 50.]


@pytest.fixture(scope='module')
def cfg(tmp_path_factory):
    """One image of 60 px with an object of class a at BOX; classes a and b, in the order of the annotation file."""
    root = tmp_path_factory.mktemp('stock')
    cv2.imwrite(str(root / 'x.png'), np.zeros((60, 60, 3), np.uint8))
    (root / 'ann.json').write_text(json.dumps(dict(
        images=[dict(id=1, file_name='x.png', width=60, height=60)],
        annotations=[dict(id=1, image_id=1, category_id=1, bbox=[10, 10, 20, 20], area=400, iscrowd=0)],
        categories=[dict(id=1, name='a'), dict(id=2, name='b')])))
    cfg = Config.fromfile('configs/faster_rcnn_bifpn_cell_tiny.py')
    dataset = dict(type='CocoDataset', data_root=f'{root}/', ann_file='ann.json', metainfo=dict(classes=('a', 'b')),
                   data_prefix=dict(img=''), test_mode=True, pipeline=cfg.test_dataloader.dataset.pipeline)
    for name in ('train', 'val', 'test'):
        cfg[f'{name}_dataloader'].dataset = dict(dataset)
    cfg.model.roi_head.bbox_head.num_classes = 2
    cfg.test_evaluator = dict(type='CocoMetric', ann_file=str(root / 'ann.json'), metric='bbox')
    return cfg


def file_of(folder, name, classes, *found):
    """A file of --out; ``found``: (box, score, name of its class)."""
    boxes, scores, labels = zip(*found) if found else ((), (), ())
    predicted = dict(bboxes=torch.tensor(boxes).reshape(-1, 4), scores=torch.tensor(scores),
                     labels=torch.tensor([classes.index(label) for label in labels], dtype=torch.int64))
    write_samples(folder / name, [dict(img_path='x.png', classes=classes, pred_instances=predicted)])
    return folder / name


def fused(cfg, folder, *files, **more):
    """Metrics, and (class, score) of what was fused."""
    metrics = evaluate(cfg.copy(), files, fusion=Fusion(**more), out=folder / 'out.npz')
    (record,) = read_samples(folder / 'out.npz')
    found = record['pred_instances']
    return metrics, [(record['classes'][label], score) for label, score in zip(found['labels'].tolist(),
                                                                               found['scores'].tolist())]


@pytest.mark.parametrize('turned', [False, True])
def test_order_of_the_files_does_not_matter(cfg, tmp_path, turned):
    files = [file_of(tmp_path, 'ab.npz', ('a', 'b'), (BOX, 0.9, 'a')),
             file_of(tmp_path, 'ba.npz', ('b', 'a'), (BOX, 0.7, 'a'))]
    metrics, found = fused(cfg, tmp_path, *(files[::-1] if turned else files))
    assert metrics['coco/bbox_mAP'] == pytest.approx(1.0)
    assert found == [('a', pytest.approx(0.8))]


def test_classes_other_than_those_of_the_data_set(cfg, tmp_path):
    files = [file_of(tmp_path, f'{i}.npz', ('b', 'a', 'c'), (BOX, 0.9, 'a'), (FAR, 0.8, 'c')) for i in range(2)]
    with pytest.raises(ConfigError, match='test set .* a, b, .* b, a, c'):
        evaluate(cfg.copy(), files)
    metrics, found = fused(cfg, tmp_path, *files, allow_missing=True)
    assert metrics['coco/bbox_mAP'] == pytest.approx(1.0)
    assert found == [('a', pytest.approx(0.9))]
    with pytest.raises(ConfigError, match='no member knows b'):
        evaluate(cfg.copy(), [file_of(tmp_path, 'a.npz', ('a', ), (BOX, 0.9, 'a'))], fusion=Fusion(allow_missing=True))


def test_a_file_that_lacks_a_class_does_not_lower_its_scores(cfg, tmp_path):
    """As with models: 0.9 for b, which one file knows; a is known to both, and the mean is that of 0.8 and nothing."""
    files = [file_of(tmp_path, 'ab.npz', ('a', 'b'), (BOX, 0.9, 'b'), (FAR, 0.8, 'a')),
             file_of(tmp_path, 'a.npz', ('a', ))]
    assert fused(cfg, tmp_path, *files, allow_missing=True, method='voting')[1] == [
        ('b', pytest.approx(0.9)), ('a', pytest.approx(0.4))]


def test_as_many_boxes_stay_as_of_models(cfg, tmp_path):
    many = [([i / 10, 0., i / 10 + 0.05, 9.], 0.001 + i / 1000, 'a') for i in range(400)]
    found = fused(cfg, tmp_path, file_of(tmp_path, 'many.npz', ('a', 'b'), *many))[1]
    assert len(found) == 300
    assert found[-1][1] == pytest.approx(0.101)  # the 100 lowest are gone


@pytest.mark.parametrize('weights', [[1], [0, 0], [1, -1], [1, float('inf')]])
def test_weights_are_checked_as_those_of_models(cfg, tmp_path, weights):
    files = [file_of(tmp_path, f'{i}.npz', ('a', 'b'), (BOX, 0.9, 'a')) for i in range(2)]
    with pytest.raises(ConfigError, match='expected 2 weights >= 0, one per member and not all 0'):
        evaluate(cfg.copy(), files, fusion=Fusion(weights=weights))


@pytest.mark.parametrize(('more', 'message'), [
    (dict(options=dict(weights=[1])), '--ensemble-predictions: an option of fusion "wbf" must be .* got "weights"'),
    (dict(options=dict(conf_type='maxx')), '--ensemble-predictions: conf_type must be .* Did you mean "max"'),
    (dict(method='soft_nms', options=dict(method='gauss')), "--ensemble-predictions: method must be .* 'gauss'"),
])
def test_options_are_checked(cfg, tmp_path, more, message):
    with pytest.raises(ConfigError, match=message):
        evaluate(cfg.copy(), [file_of(tmp_path, 'a.npz', ('a', 'b'), (BOX, 0.9, 'a'))], fusion=Fusion(**more))


def test_boxes_that_cannot_be_fused_are_left_out(cfg, tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr('cxrdet.inference.ensemble_files.print_log', lambda text, logger, level=20: told.append(text))
    wrong = ([30., 10., 10., 30.], 0.95, 'a'), (BOX, float('nan'), 'b')
    metrics, found = fused(cfg, tmp_path, file_of(tmp_path, 'w.npz', ('a', 'b'), (BOX, 0.9, 'a'), *wrong))
    assert metrics['coco/bbox_mAP'] == pytest.approx(1.0)
    assert found == [('a', pytest.approx(0.9))]
    assert told[0].endswith('w.npz: 2 of 3 boxes are inverted or not finite and are left out')


@pytest.mark.parametrize(('score_thr', 'warned'), [(0.3, True), (0.05, False), (0, False), (None, False)])
def test_boxes_that_a_file_left_out(tmp_path, monkeypatch, score_thr, warned):
    told, content = [], dict(classes=['a'], images=[dict(file='x.png', boxes=[BOX], scores=[0.9], labels=[0])])
    monkeypatch.setattr('cxrdet.inference.ensemble_files.print_log', lambda text, logger, level: told.append(text))
    (tmp_path / 'p.json').write_text(json.dumps(content | ({} if score_thr is None else dict(score_thr=score_thr))))
    assert read_predictions(tmp_path / 'p.json').images['x.png']['boxes'].tolist() == [BOX]
    assert told == [f'{tmp_path / "p.json"}: it holds boxes with scores from 0.3 on only, so that scores of the '
                    'ensemble come out too low; write it with cxrdet predict --score-thr 0'][:warned]
