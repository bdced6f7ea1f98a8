"""Grouped, stratified splits against exhaustive search, scikit-learn and plain counting."""
from itertools import product

import numpy as np
import pytest

from cxrdet.core.errors import DataError
from cxrdet.core.splits import check_disjoint, grouped_folds, grouped_split, groups_with, shared_groups


def chi_square(columns, part, shares):
    """From the definition; ``columns`` (N, K) of 0 and 1, all of them present; the number of rows is one more."""
    columns = np.c_[columns, np.ones(len(columns))]
    total = 0.
    for number, share in enumerate(np.asarray(shares) / np.sum(shares)):
        observed, expected = columns[part == number].sum(axis=0), share * columns.sum(axis=0)
        total += ((observed - expected) ** 2 / expected).sum()
    return total


def films(seed, rows=500, patients=150):
    """Multi-label rows of unequal patients, whose labels hang together: (labels with NaN, patients, views)."""
    rng = np.random.default_rng(seed)
    group = np.sort(rng.integers(0, patients, rows) * rng.integers(0, 2, rows))
    risk = rng.beta(0.4, 1.6, (patients, 5)) * [1, 0.8, 0.5, 0.2, 0.1]
    labels = (rng.random((rows, 5)) < risk[group]).astype(float)
    labels[rng.random(labels.shape) < 0.05] = np.nan
    return labels, np.char.add('p', group.astype(str)), np.where(rng.random(rows) < 0.4, 'AP', 'PA')


@pytest.mark.parametrize('seed', range(3))
@pytest.mark.parametrize('shares', [(0.7, 0.1, 0.2), (3, 1), (1, 1, 1, 1, 1)])
def test_groups_stay_whole_and_labels_are_spread(seed, shares):
    labels, groups, view = films(seed)
    groups = np.where(groups == 'p0', np.char.add('q', np.arange(len(groups)).astype(str)), groups)  # no giant
    part = grouped_split(labels, groups, shares, seed=seed, strata=(view, ))
    assert part.shape == (500, ) and part.dtype == np.int64
    assert set(part.tolist()) == set(range(len(shares)))
    for group in np.unique(groups):
        assert len(set(part[groups == group])) == 1, group
    share = np.asarray(shares) / np.sum(shares)
    wanted = np.c_[labels == 1, view == 'AP', view == 'PA', np.ones(500)]
    for number in range(len(shares)):
        off = wanted[part == number].sum(axis=0) - share[number] * wanted.sum(axis=0)
        assert np.abs(off).max() <= 3, off  # rows, of up to 500 expected


def test_same_seed_same_split_whatever_the_order_of_rows():
    labels, groups, view = films(0)
    part = grouped_split(labels, groups, (2, 1), seed=4, strata=(view, ))
    assert (part == grouped_split(labels, groups, (2, 1), seed=4, strata=(view, ))).all()
    order = np.random.default_rng(1).permutation(len(part))
    assert (part[order] == grouped_split(labels[order], groups[order], (2, 1), seed=4, strata=(view[order], ))).all()
    assert (part != grouped_split(labels, groups, (2, 1), seed=5, strata=(view, ))).any()


def test_no_global_random_numbers_are_drawn():
    np.random.seed(3)
    before = np.random.get_state()[1].copy()
    grouped_folds(*films(0)[:2], 3)
    assert (np.random.get_state()[1] == before).all()


@pytest.mark.parametrize('seed', range(8))
def test_near_the_best_of_all_splits(seed):
    """Nine groups in two parts: all 510 splits are counted out."""
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(9), rng.integers(1, 7, 9))
    labels = (rng.random((len(groups), 3)) < 0.4).astype(float)
    labels[:3] = np.eye(3)  # each label is there
    every = [chi_square(labels, np.array(choice)[groups], (2, 1)) for choice in product((0, 1), repeat=9)
             if 0 < sum(choice) < 9]
    found = chi_square(labels, grouped_split(labels, groups, (2, 1), seed=seed), (2, 1))
    assert found <= np.quantile(every, 0.01)  # among the five best


def test_as_good_as_scikit_learn_on_single_labels():
    """StratifiedGroupKFold on groups that favour one class each; means over ten sets."""
    from sklearn.model_selection import StratifiedGroupKFold
    ours, theirs = [], []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        groups = rng.integers(0, 80, 600)
        classes = np.where(rng.random(600) < 0.5, groups % 4, rng.choice(4, 600, p=[.6, .25, .1, .05]))
        other = np.empty(600, int)
        folds = StratifiedGroupKFold(5, shuffle=True, random_state=seed).split(classes, classes, groups)
        for number, (_, rows) in enumerate(folds):
            other[rows] = number
        part = grouped_folds(classes, groups, 5, seed=seed)
        ours.append(chi_square(np.eye(4)[classes], part, np.ones(5)))
        theirs.append(chi_square(np.eye(4)[classes], other, np.ones(5)))
    assert np.mean(ours) < np.mean(theirs)


def test_names_of_classes_are_labels_too():
    names = np.array(['cat', 'dog'] * 30)
    part = grouped_folds(names, None, 3)
    assert [[(names[part == fold] == name).sum() for name in ('cat', 'dog')] for fold in range(3)] == [[10, 10]] * 3


@pytest.mark.parametrize('seed', range(12))
def test_every_row_is_in_one_fold_and_no_group_in_two(seed):
    """Sets of 5 to 60 rows, some groups of one row, some of half the set; 2 to 5 folds."""
    rng = np.random.default_rng(seed)
    rows, folds = int(rng.integers(5, 60)), int(rng.integers(2, 6))
    groups = np.r_[np.arange(folds), rng.zipf(1.6, rows) % (folds + rows // 3)]
    labels = np.where(rng.random((len(groups), 3)) < .1, np.nan, rng.random((len(groups), 3)) < rng.random(3))
    fold = grouped_folds(labels, groups, folds, seed=seed)
    assert fold.shape == groups.shape and set(fold.tolist()) == set(range(folds))
    for group in np.unique(groups):
        assert len(set(fold[groups == group].tolist())) == 1
    own = [np.nansum(labels[fold == k], axis=0) for k in range(folds)]
    most = max(np.nansum(labels[groups == group], axis=0).max() for group in np.unique(groups))
    by_chance = rng.permutation(len(np.unique(groups))) % folds
    other = by_chance[np.unique(groups, return_inverse=True)[1]]
    drawn = [np.nansum(labels[other == k], axis=0) for k in range(folds)]
    assert np.ptp(own, axis=0).max() <= max(np.ptp(drawn, axis=0).max(), most + 1)


def test_groups_with_a_label_by_hand():
    labels = [[1, 0, np.nan], [1, 0, 0], [0, 1, 0], [1, 1, np.nan]]
    assert groups_with(labels, ['a', 'a', 'b', 'c']).tolist() == [2, 2, 0]
    assert groups_with(np.zeros((0, 2)), []).tolist() == [0, 0]


def test_rows_without_group_are_their_own():
    labels = np.eye(2)[[0] * 8 + [1] * 4]
    part = grouped_split(labels, None, (3, 1))
    assert [labels[part == number].sum(axis=0).tolist() for number in range(2)] == [[6, 3], [2, 1]]


def test_by_hand():
    """Two patients with the rare label must part; the two others fill up to four rows each."""
    groups = np.array([1, 1, 1, 2, 2, 3, 4, 4])
    labels = np.array([1, 0, 0, 1, 0, 0, 0, 0])[:, None]
    for seed in range(5):
        part = grouped_folds(labels, groups, 2, seed=seed)
        assert part[0] == part[5] != part[3] == part[6]


def test_empty_labels():
    part = grouped_folds(np.zeros((6, 0)), [1, 1, 2, 2, 3, 3], 3)
    assert np.bincount(part).tolist() == [2, 2, 2]


def test_unknown_labels_and_absent_ones_do_no_harm():
    labels = np.full((6, 2), np.nan)
    labels[:, 1] = 0
    assert np.bincount(grouped_folds(labels, np.arange(6), 2)).tolist() == [3, 3]


@pytest.mark.parametrize(('call', 'message'), [
    (lambda: grouped_split(np.ones((3, 1)), [1, 2], (1, 1)), r'expected 3 groups, one a row, got .* shape \(2,\)'),
    (lambda: grouped_split(np.ones((3, 1, 1)), None, (1, 1)), r'labels of shape \(N, C\) or \(N,\), got \(3, 1, 1\)'),
    (lambda: grouped_split(np.ones((3, 1)), None, (1, 0)), r'shares above 0, one for each part, got \[1.0, 0.0\]'),
    (lambda: grouped_split(np.ones((3, 1)), None, ()), 'shares above 0'),
    (lambda: grouped_split(np.ones((3, 1)), None, (1, np.nan)), 'shares above 0'),
    (lambda: grouped_split(np.ones((3, 1)), None, (1, 1), strata=(['a'], )), 'expected 3 values in each of strata'),
    (lambda: grouped_folds(np.ones((3, 1)), None, 1), 'at least 2 folds, got 1'),
    (lambda: grouped_folds(np.ones((3, 1)), [1, 1, 1], 2), r'1 groups \(patients\) cannot be split into 2 parts'),
    (lambda: grouped_folds(np.zeros((0, 2)), None, 2), r'0 groups \(patients\) cannot be split'),
    (lambda: grouped_split(np.ones((9, 1)), np.arange(9) // 3, (98, 1, 1)), 'part 1 stays empty'),
])
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_shared_groups():
    parts = {'train': [3, 1, 1, 10, 9], 'val': [10, 2, 1, 9], 'test': {4}}
    assert shared_groups(parts) == {('train', 'val'): [1, 9, 10]}
    assert shared_groups({}) == {}
    check_disjoint({'train': ['a'], 'val': [], 'test': ['b']})


def test_check_disjoint_names_the_groups():
    with pytest.raises(DataError) as caught:
        check_disjoint({'train': range(10), 'val': range(3, 20), 'test': [19]})
    assert str(caught.value) == 'train and val share 7 patients: 3, 4, 5, 6, 7, …; val and test share 1 patients: 19'
    with pytest.raises(DataError, match='a and b share 1 patients: s'):
        check_disjoint({'a': 's', 'b': 's'})
