"""Cramér's V by hand, and what it says of columns that go together and that do not."""
import numpy as np
import pytest

from cxrdet.core.classification.confounding import confounded_labels, cramers_v


def test_by_hand():
    assert cramers_v([[50, 0], [0, 50]]) == pytest.approx(1)
    assert cramers_v([[25, 25], [25, 25]]) == 0
    # [[30, 20], [20, 30]]: chi2 = 4, n = 100; phi2 - 1/99 = 0.04 - 0.0101; rows - 1 corrected = 1 - 1/99
    assert cramers_v([[30, 20], [20, 30]]) == pytest.approx(np.sqrt((0.04 - 1 / 99) / (1 - 1 / 99)))
    assert cramers_v([[30, 20, 0], [20, 30, 0], [0, 0, 0]]) == cramers_v([[30, 20], [20, 30]])


@pytest.mark.parametrize('counts', [[[3, 0], [5, 0]], [[0, 0], [0, 0]], [[1, 0], [0, 0]]])
def test_undefined(counts):
    assert np.isnan(cramers_v(counts))


def test_independent_columns_give_little():
    rng = np.random.default_rng(0)
    values = [cramers_v([rng.multinomial(100, [.5, .5]) for _ in range(2)]) for _ in range(300)]
    assert np.mean(values) < .06


def test_labels():
    rng = np.random.default_rng(1)
    views = np.where(rng.random(600) < .5, 'AP', 'PA')
    labels = np.stack([rng.random(600) < .3, rng.random(600) < np.where(views == 'AP', .8, .4)], axis=1)
    (label, value, shares), = confounded_labels(labels, views.tolist(), threshold=.15)
    assert label == 1 and value == pytest.approx(.4, abs=.08)
    assert shares == {'AP': pytest.approx(.8, abs=.06), 'PA': pytest.approx(.4, abs=.06)}
    assert confounded_labels(labels, [''] * 600) == []
    assert confounded_labels(labels[:40], views[:40].tolist()) == []
    assert confounded_labels(np.zeros((0, 2)), []) == []
