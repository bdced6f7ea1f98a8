import numpy as np
import pytest
import torch
from mmpretrain.structures import DataSample

from cxrdet.core.errors import ConfigError, DataError
from cxrdet.registry import MODELS

NAN = float('nan')


def build(classes=3, channels=4, **kwargs):
    torch.manual_seed(0)
    head = MODELS.build(dict(type='cxrdet.MultiLabelHead', num_classes=classes, in_channels=channels, **kwargs))
    head.init_weights()
    return head


def samples(*labels):
    return [DataSample(metainfo=dict(img_path='a.png')).set_gt_score(np.array(row, np.float32)) for row in labels]


def test_layers_in_order():
    head = build(hidden=(6, 5), dropout=0.5, norm=True, act_cfg=dict(type='GELU'))
    assert [type(layer).__name__ for layer in head.hidden] == [
        'Linear', 'BatchNorm1d', 'GELU', 'Dropout', 'Linear', 'BatchNorm1d', 'GELU', 'Dropout']
    assert head.fc.in_features == 5
    assert [type(layer).__name__ for layer in build(dropout=0.3, norm=True).hidden] == ['BatchNorm1d', 'Dropout']
    assert len(build().hidden) == 0
    shares = build(hidden=(6,), dropout=(0.5, 0.3)).hidden
    assert [type(layer).__name__ for layer in shares] == ['Dropout', 'Linear', 'ReLU', 'Dropout']
    assert (shares[0].p, shares[3].p) == (0.5, 0.3)


def test_forward_by_hand():
    """Maps are flattened; the last stage counts."""
    head = build(channels=8, hidden=(16,)).eval()
    maps = torch.randn(2, 2, 2, 2, generator=torch.Generator().manual_seed(1))
    first, last = head.hidden[0], head.fc
    expected = (maps.reshape(2, 8) @ first.weight.T + first.bias).clamp(min=0) @ last.weight.T + last.bias
    torch.testing.assert_close(head((torch.zeros(2, 5), maps)), expected)
    assert head((maps[:0],)).shape == (0, 3)


def test_initial_scale():
    """Hidden layers keep the variance of their input; the classifier starts near 0."""
    head = build(channels=4096, hidden=(512,))
    assert head.hidden[0].weight.std().item() == pytest.approx((2 / 4096) ** 0.5, rel=0.02)
    assert head.fc.weight.std().item() == pytest.approx(0.01, rel=0.05)


def test_loss_is_the_mean_over_known_labels():
    head = build()
    feats = (torch.randn(2, 4, generator=torch.Generator().manual_seed(2)),)
    p = head(feats).sigmoid().detach().numpy().astype(float)
    losses = head.loss(feats, samples([1, 0, NAN], [NAN, NAN, 1]))
    by_hand = -(np.log(p[0, 0]) + np.log(1 - p[0, 1]) + np.log(p[1, 2])) / 3
    assert losses['loss'].item() == pytest.approx(by_hand, rel=1e-5)
    losses['loss'].backward()
    assert torch.isfinite(head.fc.weight.grad).all()


def test_training_accuracy_is_that_of_scikit_learn():
    """Right decisions at each class's threshold over the known labels; not given in evaluation, nor without a label."""
    from sklearn.metrics import accuracy_score
    rng = np.random.default_rng(0)
    labels = rng.choice([0.0, 1.0, NAN], (40, 3))
    feats = (torch.from_numpy(rng.normal(0, 3, (40, 4)).astype(np.float32)),)
    for thr in (None, (0.2, 0.5, 0.9)):
        head = build(thr=thr)
        torch.nn.init.normal_(head.fc.weight)
        called = head(feats).sigmoid().detach().numpy() >= (0.5 if thr is None else np.array(thr, np.float32))
        known = ~np.isnan(labels)
        found = head.loss(feats, samples(*labels))['accuracy']
        assert found.item() == pytest.approx(accuracy_score(labels[known], called[known]))
    assert head.loss((feats[0][:1],), samples([NAN] * 3))['accuracy'].isnan()
    assert set(head.eval().loss(feats, samples(*labels))) == {'loss'}


def test_labels_by_index():
    """Data sets of the host give positions; absent ones are 0."""
    head, feats = build(), (torch.ones(1, 4),)
    by_index = head.loss(feats, [DataSample().set_gt_label([0, 2])])['loss']
    assert by_index.item() == pytest.approx(head.loss(feats, samples([1, 0, 1]))['loss'].item(), rel=1e-6)


def test_other_losses():
    feats = (torch.randn(2, 4, generator=torch.Generator().manual_seed(3)),)
    labels = samples([1, 0, 1], [0, 0, 1])
    found = build(loss=dict(type='mmpretrain.CrossEntropyLoss', use_sigmoid=True)).loss(feats, labels)
    plain = build().loss(feats, labels)
    assert found['loss'].item() == pytest.approx(plain['loss'].item(), rel=1e-6)


def test_threshold_per_class():
    head = build(thr=(0.2, 0.5, 0.9)).eval()
    torch.nn.init.zeros_(head.fc.weight)
    head.fc.bias.data = torch.logit(torch.tensor([0.3, 0.4, 0.95]))
    with torch.no_grad():
        sample, = head.predict((torch.zeros(1, 4),))
    assert sample.pred_label.tolist() == [0, 2]
    np.testing.assert_allclose(sample.pred_score.numpy(), [0.3, 0.4, 0.95], rtol=1e-5)
    assert 'thr' not in head.state_dict()
    single, = build(thr=0.35).eval().predict((torch.zeros(1, 4),))
    assert single.pred_label.tolist() == [0, 1, 2]  # probabilities of 0.5
    best, = build(topk=1).eval().predict((torch.zeros(1, 4),))
    assert len(best.pred_label) == 1


@pytest.mark.parametrize(('kwargs', 'text'), [
    (dict(dropout=1.0), r'dropout must be within 0 \.\. 1 and below 1, got 1\.0'),
    (dict(hidden=(5,), dropout=(0.5,)), r'1 hidden layer\(s\) take one dropout, or 2'),
    (dict(hidden=(5,), dropout=(0.5, 1)), 'dropout must be within'),
    (dict(hidden=(0,)), 'at least 1 unit'),
    (dict(thr=1.5), 'thresholds must be within'),
    (dict(thr=(0.5, 0.5)), '2 thresholds for 3 classes'),
])
def test_wrong_arguments(kwargs, text):
    with pytest.raises(ConfigError, match=text):
        build(**kwargs)


def test_labels_of_another_number_of_classes():
    with pytest.raises(DataError, match=r'a\.png: 2 labels, but the head has 3 classes'):
        build().loss((torch.zeros(1, 4),), samples([1, 0]))
