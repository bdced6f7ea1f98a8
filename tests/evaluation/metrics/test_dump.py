"""DumpPredictions writes what came in, with the names of the classes, and reads back without executing code."""
import cxrdet  # noqa: F401  # isort: skip (it serves the operators that mmdet imports)
import numpy as np
import torch

from cxrdet.evaluation.metrics import DumpPredictions
from cxrdet.inference.ensemble_files import read_predictions


def test_boxes_and_scores(tmp_path):
    boxes = dict(img_path='a/1.png', img_id=1, scale_factor=(np.float64(0.5), np.float64(0.5)), gt_instances=1,
                 pred_instances=dict(bboxes=torch.tensor([[1., 2., 3., 4.]]), scores=torch.tensor([0.5]),
                                     labels=torch.tensor([1])))
    scores = dict(img_path='a/2.png', pred_score=torch.tensor([0.25, 0.75]), gt_label=torch.tensor([1]))
    metric = DumpPredictions(str(tmp_path / 'out.npz'))
    metric.dataset_meta = dict(classes=('x', 'y'))
    metric.process({}, [boxes, scores])
    assert metric.evaluate(2) == {}
    found = read_predictions(tmp_path / 'out.npz')
    assert found.classes == ('x', 'y')
    assert found.images['a/1.png']['boxes'].tolist() == [[1, 2, 3, 4]]
    assert found.images['a/1.png']['labels'].tolist() == [1]
    assert found.images['a/2.png']['scores'].tolist() == [0.25, 0.75]
    assert 'gt_instances' not in found.records[0]
    assert 'gt_instances' in boxes
