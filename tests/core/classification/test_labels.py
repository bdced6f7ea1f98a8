"""Weights from labels, by hand and by simulation of the draw that they stand for."""
import numpy as np
import pytest

from cxrdet.core.classification.labels import as_labels, class_balanced_weights, label_count_weights, positive_weights

NAN = np.nan
LABELS = np.array([[1, 0, 0], [1, 1, 0], [0, NAN, 0], [1, 0, NAN], [0, 0, 0]])


def test_label_count_weights():
    assert label_count_weights(LABELS).tolist() == [1.04, 2.04, 0.04, 1.04, 0.04]
    assert label_count_weights(LABELS, 0).tolist() == [1, 2, 0, 1, 0]
    assert label_count_weights(np.zeros((0, 3))).shape == (0, )


@pytest.mark.parametrize(('power', 'expected'), [
    (1, [1 / 3, 1 / 3 + 1, 1 / 2, 1 / 3, 1 / 2]),  # three films of class 0, one of class 1, two of none
    (0, [1, 2, 1, 1, 1]),
    (0.5, [3 ** -.5, 3 ** -.5 + 1, 2 ** -.5, 3 ** -.5, 2 ** -.5]),
])
def test_class_balanced_weights(power, expected):
    assert class_balanced_weights(LABELS, power) == pytest.approx(np.array(expected) / sum(expected), abs=1e-15)


def test_class_balanced_weights_are_those_of_drawing_a_class_first():
    rng = np.random.default_rng(0)
    labels = (rng.random((40, 4)) < [0.5, 0.2, 0.1, 0.05]).astype(float)
    labels[0] = 1
    films = [np.flatnonzero(column) for column in labels.T] + [np.flatnonzero(labels.sum(axis=1) == 0)]
    drawn = np.zeros(40)
    for kind in rng.integers(0, 5, 100_000):
        drawn[rng.choice(films[kind])] += 1
    share = class_balanced_weights(labels)
    spread = np.sqrt(share * (1 - share) / 100_000)
    assert (np.abs(drawn / 100_000 - share) < 5 * spread + 1e-12).all()


def test_class_balanced_weights_without_films():
    assert class_balanced_weights(np.zeros((0, 2))).shape == (0, )
    assert class_balanced_weights(np.zeros((2, 0))).tolist() == [0.5, 0.5]


def test_class_balanced_weights_of_films_of_which_nothing_is_known():
    """Each of the three films that are left is alone in its class."""
    labels = [[1, NAN], [NAN, NAN], [0, NAN], [NAN, 1]]
    assert class_balanced_weights(labels).tolist() == pytest.approx([1 / 3, 0, 1 / 3, 1 / 3])
    assert class_balanced_weights(np.full((2, 3), NAN)).tolist() == [0, 0]


def test_positive_weights():
    """Negatives over positives: 2 / 3, 3 / 1 (one unknown), and a class without positives."""
    assert positive_weights(LABELS).tolist() == [2 / 3, 3, 1]
    assert positive_weights(LABELS, cap=2.5).tolist() == [2 / 3, 2.5, 1]
    assert positive_weights([[1, 0, NAN], [1, 0, NAN]]).tolist() == [1, 1, 1]
    assert positive_weights(np.zeros((0, 2))).tolist() == [1, 1]


def test_positive_weights_balance_torchs_loss():
    """At logit 0 the gradients of all positives and of all negatives of a class cancel."""
    torch = pytest.importorskip('torch')
    labels = torch.tensor(np.random.default_rng(1).random((90, 3)) < [0.5, 0.2, 0.1]).float()
    logits = torch.zeros(90, 3, requires_grad=True)
    weights = torch.tensor(positive_weights(labels.numpy()), dtype=torch.float32)
    torch.nn.functional.binary_cross_entropy_with_logits(logits, labels, pos_weight=weights).backward()
    assert logits.grad.sum(dim=0).abs().max() < 1e-6
    assert logits.grad.abs().max() > 1e-3


@pytest.mark.parametrize(('call', 'message'), [
    (lambda: as_labels([1, 0]), r'expected labels of shape \(N, C\), got \(2,\)'),
    (lambda: as_labels([[0, 1], [0, 2]]), 'must be 1, 0 or NaN .unknown., got 2.0 in row 1, column 1'),
    (lambda: label_count_weights(LABELS, -1), 'offset must lie in .*, got -1'),
    (lambda: class_balanced_weights(LABELS, 2), 'power must lie in .*, got 2'),
    (lambda: positive_weights(LABELS, cap=0), 'cap must lie in .*, got 0'),
])
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()
