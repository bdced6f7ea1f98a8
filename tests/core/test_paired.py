"""Paired differences, by hand with the table of Student's t, by SciPy's test, and by their coverage."""
import numpy as np
import pytest
from scipy import stats

from cxrdet.core.paired import paired_difference


def test_by_hand():
    """Differences 1, 2, 3: mean 2, deviation 1; t of two degrees of freedom is 4.303, of 90 % 2.920."""
    mean, low, high = paired_difference([2, 4, 6], [1, 2, 3])
    assert (mean, low, high) == pytest.approx((2, 2 - 4.303 / 3 ** .5, 2 + 4.303 / 3 ** .5), abs=1e-3)
    mean, low, high = paired_difference([2, 4, 6], [1, 2, 3], test_to_train=2 / 3, level=0.9)
    assert (mean, low, high) == pytest.approx((2, 2 - 2.920, 2 + 2.920), abs=1e-3)


def test_equals_scipy():
    a, b = np.random.default_rng(0).normal(size=(2, 7))
    expected = stats.ttest_rel(a, b).confidence_interval(0.95)
    assert paired_difference(a, b) == pytest.approx((np.mean(a - b), expected.low, expected.high), abs=1e-12)


def test_few_runs():
    assert np.isnan(paired_difference([], [])).all()
    mean, *ends = paired_difference([3, np.nan], [1, 1])
    assert mean == 2 and np.isnan(ends).all()


def test_interval_covers_zero_at_its_rate():
    rng = np.random.default_rng(1)
    covered = [low <= 0 <= high for _, low, high in (paired_difference(*rng.normal(size=(2, 5))) for _ in range(2000))]
    assert np.mean(covered) == pytest.approx(0.95, abs=0.02)


@pytest.mark.parametrize(('arguments', 'options', 'message'), [
    (([1], [1, 2]), {}, 'the same runs of both, got 1 and 2'), (([], []), dict(level=1), 'level within 0 and 1'),
    (([], []), dict(test_to_train=-1), 'test_to_train >= 0')])
def test_errors(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        paired_difference(*arguments, **options)
