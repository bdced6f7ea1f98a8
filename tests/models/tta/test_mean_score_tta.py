"""MeanScoreTTAModel: means and labels by hand, and a metric that reads the labels."""
import pytest
import torch
from mmpretrain.models.heads import ClsHead, MultiLabelClsHead
from mmpretrain.structures import DataSample
from torch import nn

import cxrdet  # noqa: F401
from cxrdet.evaluation.metrics import ConfusionMatrixMetric
from cxrdet.models.tta import MeanScoreTTAModel
from cxrdet.registry import MODELS

# Two of three views are for class 0, the mean is for class 1: (0.4 + 0.4 + 0) / 3 against (0.35 + 0.35 + 0.9) / 3.
VIEWS = [(0.40, 0.35, 0.25), (0.40, 0.35, 0.25), (0.00, 0.90, 0.10)]


class Classifier(nn.Module):
    """Gives each view's scores and the label that they alone stand for."""

    def __init__(self, head: nn.Module):
        super().__init__()
        self.head = head
        self.views = iter(VIEWS)

    def test_step(self, data):
        score = torch.tensor(next(self.views))
        return [DataSample().set_gt_label(1).set_pred_score(score).set_pred_label(score.argmax())]


def merge(head):
    model = MODELS.build(dict(type='cxrdet.MeanScoreTTAModel', module=Classifier(head)))
    assert isinstance(model, MeanScoreTTAModel)
    (merged,) = model.test_step(dict(inputs=[[0]] * 3, data_samples=[[DataSample()]] * 3))
    assert merged.pred_score.tolist() == pytest.approx([0.8 / 3, 1.6 / 3, 0.6 / 3])
    assert merged.gt_label.tolist() == [1]
    return merged


def test_label_is_that_of_the_mean():
    merged = merge(ClsHead())
    assert merged.pred_label.tolist() == [1]
    metric = ConfusionMatrixMetric(picture=False)
    metric.dataset_meta = dict(classes=('a', 'b', 'c'))
    metric.process(None, [merged.to_dict()])
    assert metric.compute_metrics(metric.results)['top1'] == 1.0


@pytest.mark.parametrize(('choice', 'labels'), [(dict(thr=0.25), [0, 1]), (dict(thr=0.3), [1]), (dict(topk=2), [1, 0])])
def test_several_labels_are_chosen_as_the_head_does(choice, labels):
    assert merge(MultiLabelClsHead(**choice)).pred_label.tolist() == labels


def test_threshold_of_each_class():
    head = MultiLabelClsHead(thr=0.5)
    head.thr = torch.tensor([0.2, 0.9, 0.1])
    assert merge(head).pred_label.tolist() == [0, 2]
