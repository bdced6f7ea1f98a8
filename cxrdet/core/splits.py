"""Splits that keep groups (patients) whole and labels balanced, many labels at once.

Method: the order of iterative stratification (K. Sechidis, G. Tsoumakas, I. Vlahavas,
"On the stratification of multi-label data", ECML PKDD 2011: whatever carries the rarest
remaining label is placed first), with a whole group in place of an example. A group
goes to the part where Pearson's chi-square of the split grows the least; at the end
groups are moved as long as a move makes it smaller. The number of rows counts as one
more label. Small sets are split several times, from random orders too, and the split
with the least chi-square is taken.
"""
from collections.abc import Hashable, Iterable, Mapping, Sequence
from itertools import combinations

import numpy as np

from cxrdet.core.errors import DataError

_SWEEPS = 20  # rounds of moves; three or four are enough before nothing moves any more
_VISITS = 20_000  # groups to be placed in all starts together, and at most
_STARTS = 20


def grouped_split(labels, groups, shares: Sequence[float] | np.ndarray, *, seed: int = 0, strata=()) -> np.ndarray:
    """Split rows by groups into parts of the given shares, with each label spread in
    the same shares; (N,) int64 numbers of the parts. With ``groups``, the result
    depends on the set of rows, not on their order.

    Args:
        labels: (N, C) of 1, 0 or NaN (unknown, taken as not positive), or (N,) class names or numbers, one a row.
        groups: (N,) what must stay together, for example patient ids. None: each row for itself.
        shares: Of the P parts, each above 0; they are scaled to the sum 1.
        seed: Decides between groups that are alike.
        strata: Further (N,) columns of names or numbers whose values are spread like labels, for example the view.

    Raises: ValueError if lengths do not fit, or a share is not above 0; DataError if a part stays empty.

    Returns: (N,) int64 number of the part of each row, 0 to P-1; no group is in two parts.
    """
    shares = np.asarray(shares, dtype=np.float64)
    if shares.ndim != 1 or not len(shares) or not (np.isfinite(shares) & (shares > 0)).all():
        raise ValueError(f'expected shares above 0, one for each part, got {shares.tolist()}')
    columns = _columns(labels, strata)
    groups = np.arange(len(columns)) if groups is None else np.asarray(groups)
    if groups.shape != (len(columns), ):
        raise ValueError(f'expected {len(columns)} groups, one a row, got an array of shape {groups.shape}')
    names, member = np.unique(groups, return_inverse=True)
    if len(names) < len(shares):
        raise DataError(f'{len(names)} groups (patients) cannot be split into {len(shares)} parts: each part needs one '
                        'at least.')
    member = member.reshape(-1)
    counts = np.stack([np.bincount(member, weights=column, minlength=len(names)) for column in columns.T], axis=1)
    rng = np.random.default_rng(seed)
    starts = min(max(_VISITS // len(names), 1), _STARTS)
    orders = (_rarest_first(counts, rng) if start == 0 else rng.permutation(len(names)) for start in range(starts))
    _, part = min((_place(counts, shares / shares.sum(), order, rng) for order in orders), key=lambda found: found[0])
    empty = np.setdiff1d(np.arange(len(shares)), part)
    if len(empty):
        raise DataError(f'{len(names)} groups (patients) are too few or too unequal for the shares {shares.tolist()}: '
                        f'part {empty[0]} stays empty. Ask for larger shares, or bring more groups.')
    return part[member]


def grouped_folds(labels, groups, folds: int, *, seed: int = 0, strata=()) -> np.ndarray:
    """:func:`grouped_split` into ``folds`` parts of equal size: fold k is the validation set of run k.

    Arguments and errors as for :func:`grouped_split`; ValueError for less than two folds.

    Returns: (N,) int64 fold of each row, 0 to ``folds`` - 1.
    """
    if folds < 2:
        raise ValueError(f'expected at least 2 folds, got {folds}')
    return grouped_split(labels, groups, np.ones(folds), seed=seed, strata=strata)


def groups_with(labels, groups) -> np.ndarray:
    """(C,) int64: how many groups have each label; with fewer than K of them, some of K folds lack it.

    Args:
        labels: (N, C) of 1, 0 or NaN (unknown, taken as not positive).
        groups: (N,) what stays together.
    """
    names, member = np.unique(np.asarray(groups), return_inverse=True)
    found = np.zeros((len(names), np.shape(labels)[1]), bool)
    rows, columns = np.nonzero(np.asarray(labels) == 1)
    found[member.reshape(-1)[rows], columns] = True
    return found.sum(axis=0)


def shared_groups(parts: Mapping[str, Iterable[Hashable]]) -> dict[tuple[str, str], list]:
    """Groups that stand in two parts: (name, name) -> the sorted groups that both hold;
    pairs that share none are left out.
    ``parts`` maps the name of a part to its groups, repeated or not.
    """
    sets = {name: set(groups) for name, groups in parts.items()}
    both = {(one, other): sorted(sets[one] & sets[other], key=_natural) for one, other in combinations(sets, 2)}
    return {pair: groups for pair, groups in both.items() if groups}


def check_disjoint(parts: Mapping[str, Iterable[Hashable]]) -> None:
    """Raise DataError with the number and the first five of the patients that stand in
    two parts; arguments as for :func:`shared_groups`.
    """
    shared = shared_groups(parts)
    if shared:
        texts = [f'{one} and {other} share {len(groups)} patients: {", ".join(map(str, groups[:5]))}'
                 f'{", …" if len(groups) > 5 else ""}' for (one, other), groups in shared.items()]
        raise DataError('; '.join(texts))


def _natural(group: Hashable) -> tuple[int, str]:
    """Sorts numbers by size without a word on what kinds of groups there are."""
    return len(str(group)), str(group)


def _columns(labels, strata) -> np.ndarray:
    labels = np.asarray(labels)
    if labels.ndim not in (1, 2):
        raise ValueError(f'expected labels of shape (N, C) or (N,), got {labels.shape}')
    blocks = [_one_hot(labels) if labels.ndim == 1 else (labels == 1).astype(np.float64)]
    for values in map(np.asarray, strata):
        if values.shape != labels.shape[:1]:
            raise ValueError(f'expected {len(labels)} values in each of strata, got an array of shape {values.shape}')
        blocks.append(_one_hot(values))
    return np.concatenate([*blocks, np.ones((len(labels), 1))], axis=1)


def _one_hot(values: np.ndarray) -> np.ndarray:
    names, index = np.unique(values, return_inverse=True)
    return np.eye(len(names))[index.reshape(-1)]


def _place(counts: np.ndarray, shares: np.ndarray, order: Iterable[int],
           rng: np.random.Generator) -> tuple[float, np.ndarray]:
    """Chi-square, and part of each group; ``counts`` (G, K): rows with each label; ``shares`` (P,) of sum 1."""
    counts = counts[:, counts.any(axis=0)]
    expected = shares[:, None] * counts.sum(axis=0)
    missing = expected.copy()  # (P, K): what a part still lacks; below 0 where it has too much
    part = np.full(len(counts), -1)
    for group in order:
        x = counts[group]
        part[group] = choice = np.argmin(((x - 2 * missing) * x / expected).sum(axis=1))
        missing[choice] -= x
    for _ in range(_SWEEPS):
        moved = False
        for group in rng.permutation(len(counts)):
            x, old = counts[group], part[group]
            missing[old] += x  # taken out; and put where it costs least
            cost = ((x - 2 * missing) * x / expected).sum(axis=1)
            choice = int(np.argmin(cost))
            if cost[choice] > cost[old] - 1e-9:
                choice = old
            missing[choice] -= x
            part[group] = choice
            moved |= choice != old
        if not moved:
            break
    return float((missing ** 2 / expected).sum()), part


def _rarest_first(counts: np.ndarray, rng: np.random.Generator) -> Iterable[int]:
    """Groups label by label, the rarest among those that are left first, rich ones first."""
    order = rng.permutation(len(counts))
    while len(order):
        left = counts[order]
        totals = left.sum(axis=0)
        label = np.argmin(np.where(totals > 0, totals, np.inf))
        carriers = left[:, label] > 0
        chosen = order[carriers]
        yield from chosen[np.lexsort((-left[carriers, -1], -left[carriers, label]))]
        order = order[~carriers]
