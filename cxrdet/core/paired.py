"""Whether one model is better than another: differences over the same folds or seeds, with an interval."""
from collections.abc import Sequence

import numpy as np
from scipy import stats


def paired_difference(values: Sequence[float], baseline: Sequence[float], *, test_to_train: float = 0.0,
                      level: float = 0.95) -> tuple[float, float, float]:
    """Mean of ``values - baseline`` over paired runs, with the ends of its interval by Student's t.

    With ``test_to_train`` the variance of the mean is ``(1 / k + test_to_train) * s^2``
    over k folds, which share films: the corrected resampled t-test of Nadeau and Bengio
    ("Inference for the Generalization Error", Machine Learning 52, 2003).

    Args:
        values, baseline: (k,) the same measure of both in each run; a run where one is NaN is left out.
        test_to_train: number of test cases over that of training cases, 1 / 4 for five folds; 0 for seeds.

    Returns: Mean difference and both ends; the ends are NaN for a single run, all three without any.
    Raises: ValueError for different numbers of runs, or an argument out of its range.
    """
    if len(values) != len(baseline):
        raise ValueError(f'expected the same runs of both, got {len(values)} and {len(baseline)}')
    if not (test_to_train >= 0 and 0 < level < 1):
        raise ValueError(f'expected test_to_train >= 0 and a level within 0 and 1, got {test_to_train} and {level}')
    found = np.asarray(values, np.float64) - np.asarray(baseline, np.float64)
    found = found[~np.isnan(found)]
    if len(found) < 2:
        return float(found.mean()) if len(found) else np.nan, np.nan, np.nan
    half = stats.t.ppf((1 + level) / 2, len(found) - 1) * np.sqrt((1 / len(found) + test_to_train) * found.var(ddof=1))
    return float(found.mean()), float(found.mean() - half), float(found.mean() + half)
