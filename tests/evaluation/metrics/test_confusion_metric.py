"""The metric: names of the scalars, the log, the picture, and samples as MMPretrain's classifiers give them."""
import cv2
import numpy as np
import pytest
import torch
from mmengine.visualization import Visualizer
from mmpretrain.structures import DataSample

from cxrdet.evaluation.metrics.confusion_metric import ConfusionMatrixMetric

CLASSES = ('ascus', 'asch', 'lsil', 'hsil')
PAIRS = [(0, 0), (0, 0), (0, 1), (1, 1), (2, 0), (2, 0)]  # (true, predicted); no image of class 3, 2 never predicted


def evaluate(pairs, **kwargs):
    metric = ConfusionMatrixMetric(**{'picture': False} | kwargs)
    metric.dataset_meta = {'classes': CLASSES}
    for start in range(0, len(pairs), 4):
        samples = [DataSample().set_gt_label(true).set_pred_label(predicted).to_dict()
                   for true, predicted in pairs[start:start + 4]]
        metric.process(None, samples)
    return metric, metric.evaluate(size=len(pairs))


def test_scalars_by_hand():
    metric, scalars = evaluate(PAIRS)
    assert scalars['accuracy/top1'] == pytest.approx(3 / 6)
    assert scalars['accuracy/balanced'] == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert scalars['accuracy/macro_F1'] == pytest.approx((4 / 7 + 2 / 3 + 0) / 3)
    assert scalars['accuracy/precision_ascus'] == pytest.approx(2 / 4)
    assert scalars['accuracy/recall_ascus'] == pytest.approx(2 / 3)
    assert scalars['accuracy/F1_lsil'] == 0
    assert np.isnan([scalars['accuracy/precision_lsil'], scalars['accuracy/recall_hsil']]).all()
    np.testing.assert_array_equal(metric.matrix, [[2, 1, 0, 0], [0, 1, 0, 0], [2, 0, 0, 0], [0, 0, 0, 0]])


def test_roc_curves_are_of_each_class_against_the_others(tmp_path, monkeypatch):
    """Drawn are the scores of all batches, beside a picture that PNG readers take."""
    from sklearn.metrics import roc_auc_score

    from cxrdet.evaluation.metrics import confusion_metric
    drawn, make = [], confusion_metric.roc_panels
    monkeypatch.setattr(confusion_metric, 'roc_panels',
                        lambda *args, groups: (drawn.extend((*args, groups)), make(*args))[1])
    rng = np.random.default_rng(0)
    true, score = np.arange(12) % 4, rng.dirichlet(np.ones(4), 12)
    metric = ConfusionMatrixMetric(picture=False, out_dir=str(tmp_path / 'curves'))
    metric.dataset_meta = {'classes': CLASSES}
    for rows in (slice(0, 7), slice(7, 12)):
        metric.process(None, [DataSample().set_gt_label(int(label)).set_pred_score(torch.tensor(row)).set_pred_label(
            int(row.argmax())).to_dict() | {'group': group} for label, row, group in zip(
                true[rows], score[rows], [f'smear {i % 3}' for i in range(12)][rows], strict=True)])
    metric.evaluate(size=12)
    onehot, scores, classes, groups = drawn
    path = tmp_path / 'curves' / 'roc.png'
    assert groups.tolist() == [0, 1, 2] * 4
    assert tuple(classes) == CLASSES and cv2.imread(str(path)) is not None
    assert roc_auc_score(onehot, scores) == pytest.approx(roc_auc_score(true, score, multi_class='ovr'))


def test_fewer_scalars_and_another_prefix():
    _, scalars = evaluate(PAIRS, classwise=False, prefix='smear')
    assert set(scalars) == {'smear/top1', 'smear/balanced', 'smear/macro_F1'}


def test_log_names_what_is_not_defined(monkeypatch):
    lines = []
    monkeypatch.setattr('cxrdet.evaluation.metrics.confusion_metric.print_log',
                        lambda text, **_unused: lines.append(text))
    evaluate(PAIRS)
    text = '\n'.join(lines)
    assert '6 images, accuracy 0.5000, balanced 0.5556; ' in text
    assert '; most frequent errors: lsil taken for ascus: 2; ascus taken for asch: 1\n' in text
    assert '1 of 4 classes have no image here; their values are NaN and left out of the means: hsil' in text
    assert '1 of 4 classes were never predicted; their precision is NaN: lsil' in text
    assert ['ascus', '3', '0.5000', '0.6667', '0.5714'] in map(str.split, text.splitlines())


def test_picture_is_written(tmp_path):
    evaluate(PAIRS, picture=str(tmp_path / 'new' / 'matrix.png'))
    assert min(cv2.imread(str(tmp_path / 'new' / 'matrix.png')).shape[:2]) > 300


@pytest.mark.parametrize(('backends', 'where'), [
    (['TensorboardVisBackend'], 'vis_data'), (['TensorboardVisBackend', 'LocalVisBackend'], 'vis_data'), ([], None)])
def test_picture_without_a_local_backend(backends, where, tmp_path, monkeypatch):
    lines = []
    monkeypatch.setattr('cxrdet.evaluation.metrics.confusion_metric.print_log',
                        lambda text, **_unused: lines.append(text))
    monkeypatch.setattr(Visualizer, '_instance_dict', type(Visualizer._instance_dict)())
    Visualizer.get_instance('pictures', vis_backends=[dict(type=kind) for kind in backends], save_dir=str(tmp_path))
    evaluate(PAIRS, picture=True)
    found = [path.parent.name for path in tmp_path.rglob('confusion_matrix.png')]
    assert found == ([] if where is None else [where])
    assert any('the confusion matrix is not drawn' in line for line in lines) is (where is None)


def test_no_samples_of_one_class_only():
    with pytest.raises(ValueError, match='the samples have no "gt_label"'):
        ConfusionMatrixMetric().process(None, [DataSample().set_pred_label(0).to_dict()])
    sample = dict(gt_label=torch.tensor([0, 2]), pred_label=torch.tensor([0]))
    with pytest.raises(ValueError, match=r'labels \[0, 2\] and .*\[0\]'):
        ConfusionMatrixMetric().process(None, [sample])
