"""Resampling of whole groups (patients, images), and the intervals that follow from it."""
from collections.abc import Iterator

import numpy as np


def percentile_interval(draws, *, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """The middle ``level`` of resampled values, (samples, C) or (samples,): lower and upper ends, (C,) or ().

    NaN draws are left out; NaN where that is all of them.
    """
    if not 0 < level < 1:
        raise ValueError(f'level must lie between 0 and 1, got {level}')
    draws, tail = np.asarray(draws, dtype=np.float64), (1 - level) / 2
    ends = np.full((2, *draws.shape[1:]), np.nan)
    defined = ~np.isnan(draws).all(axis=0) & (len(draws) > 0)
    if defined.any():
        ends[:, defined] = np.nanquantile(draws[:, defined], (tail, 1 - tail), axis=0).reshape(2, -1)
    return ends[0], ends[1]


def draws_of_groups(rows: int, *, groups=None, samples: int = 1000, seed: int = 0) -> Iterator[np.ndarray]:
    """Yield how often each row is counted in draws of whole groups with replacement, (rows, up to 50 draws) int32;
    raises ValueError if there is not one group a row, or less than one sample.
    """
    group = np.arange(rows) if groups is None else np.unique(groups, return_inverse=True)[1].reshape(-1)
    if len(group) != rows or samples < 1:
        raise ValueError(f'expected {rows} groups, one a row, and at least one sample, got {len(group)} and {samples}')
    rng, count = np.random.default_rng(seed), int(group.max(initial=-1)) + 1
    for start in range(0, samples if count else 0, 50):  # 50 draws at a time bound the memory
        drawn = rng.integers(count, size=(min(50, samples - start), count))
        times = np.stack([np.bincount(numbers, minlength=count) for numbers in drawn], axis=1)
        yield times.astype(np.int32)[group]
