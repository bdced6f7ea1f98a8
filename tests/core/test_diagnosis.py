"""Rules of the diagnosis: over- and underfitting, imbalance, weak classes, reliability, what JSON can hold."""
import json
import math

import numpy as np
import pytest
from sklearn.calibration import calibration_curve

from cxrdet.core.classification.calibration import calibration_error
from cxrdet.core.classification.labels import imbalance
from cxrdet.core.diagnosis import (
    calibration_section,
    fit_findings,
    fit_verdict,
    imbalance_findings,
    listed,
    plain,
    weak_findings,
)


@pytest.mark.parametrize(('train', 'val', 'chance', 'verdict'), [
    (0.9, 0.85, 0, 'good'), (0.9, 0.79, 0, 'overfit'), (0.9, 0.81, 0, 'good'), (0.49, 0.45, 0, 'underfit'),
    (0.49, 0.3, 0, 'overfit and underfit'), (0.5, 0.5, 0, 'good'), (0.8, 0.95, 0, 'good'),
    (0.74, 0.7, 0.5, 'underfit'), (0.76, 0.7, 0.5, 'good'),  # AUROC: 2 * 0.75 - 1 = 0.5
    (None, 0.9, 0, 'unknown'), (math.nan, 0.9, 0, 'unknown'), (0.9, math.nan, 0, 'unknown')])
def test_verdicts(train, val, chance, verdict):
    assert fit_verdict(train, val, chance=chance) == verdict


def test_fit_findings():
    fit = {'metric': 'mAP@0.5', 'split': 'validation', 'train': 0.49, 'val': 0.3, 'low': 0.5,
           'verdict': 'overfit and underfit'}
    over, under = fit_findings(fit, 'detection')
    assert (over['code'], under['code']) == ('overfit', 'underfit') and over['level'] == 'problem'
    assert 'mAP@0.5 is 0.490 on training images and 0.300 on validation, a gap of 0.190 (limit 0.1)' in over['text']
    assert 'only 0.490 on the training images themselves (limit 0.5)' in under['text']
    assert fit_findings(fit | {'verdict': 'good'}, 'detection') == []


def row(name, score, val=50, train=50, flag=None):
    return {'class': name, 'score': score, 'val': val, 'train': train, 'flag': score < 0.3 if flag is None else flag}


def test_imbalance():
    assert imbalance('abc', [10, 2, 50]) == {'largest': {'class': 'c', 'count': 50}, 'ratio': 25.,
                                             'smallest': {'class': 'b', 'count': 2}, 'absent': []}
    assert imbalance('abc', [0, 2, 8]) == {'largest': {'class': 'c', 'count': 8}, 'ratio': 4.,
                                           'smallest': {'class': 'b', 'count': 2}, 'absent': ['a']}
    assert imbalance('ab', [0, 0]) == {'largest': None, 'smallest': None, 'ratio': None, 'absent': ['a', 'b']}
    assert imbalance('', []) == {'largest': None, 'smallest': None, 'ratio': None, 'absent': []}


def test_imbalance_findings():
    def found(counts, rows, part='training'):
        return imbalance_findings({'of': 'boxes', 'part': part} | imbalance('ab', counts), rows, 'detection', 'AP@0.5')
    rows = [row('a', 0.9), row('b', 0.4)]
    assert found([50, 10], rows) == []  # exactly 5 to 1
    problem, = found([60, 10], rows)
    assert problem['code'] == 'imbalance' and problem['level'] == 'problem' and problem['classes'] == ['b']
    assert problem['text'] == ('Class imbalance: 60 boxes of a against 10 of b in the training set, 6 to 1 (limit 5). '
                               'b may suffer from it: AP@0.5 0.400, mean of all classes 0.650.')
    note, = found([60, 10], [row('a', 0.9), row('b', 0.85)])
    assert note['level'] == 'note' and 'does not suffer from it so far: AP@0.5 0.850' in note['text']
    few, = found([60, 10], [row('a', 0.9), row('b', 0.85, val=9)])
    assert few['level'] == 'problem' and few['text'].endswith('(limit 5).')  # nine boxes say nothing
    absent, = found([60, 0], rows)
    assert absent['code'] == 'absent_class' and absent['text'].startswith('There are no boxes of b in the training set')
    assert found([60, 0], rows, part='validation') == [] and found([0, 0], rows) == []


def test_weak_findings():
    rows = [row('a', 0.9), row('b', 0.2), row('c', 0.1, train=0), row('d', 0.25, val=9, train=None)]
    weak, few = weak_findings(rows, 'detection', 'AP@0.5', limit=0.3)
    assert weak['text'] == ('Weak classes, AP@0.5 below 0.3: b 0.200 (50 in validation, 50 in training); '
                            'd 0.250 (9 in validation).')  # c is told as absent
    assert weak['classes'] == ['b', 'd'] and few['classes'] == ['d'] and few['level'] == 'note'
    assert 'below 10): d 9' in few['text']
    assert weak_findings(rows[:1], 'detection', 'AP@0.5', limit=0.3) == []


def test_reliability_bins():
    score, right = [0.05, 0.1, 2 / 15, 0.95, 1.0, 0.5], [0, 1, 0, 1, 0, math.nan]
    section = calibration_section(right, score)
    bins = section['bins']
    assert [part['count'] for part in bins] == [1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]
    assert bins[1]['mean_score'] == pytest.approx(7 / 60) and bins[1]['share_right'] == 0.5
    assert math.isnan(bins[4]['mean_score']) and bins[14]['low'] == pytest.approx(14 / 15) and bins[14]['high'] == 1
    assert section['mean_score'] == pytest.approx(np.mean(score[:5])) and section['share_right'] == 0.4
    empty = calibration_section([], [])
    assert all(part['count'] == 0 for part in empty['bins']) and math.isnan(empty['ece'] + empty['temperature'])


def test_table_of_scores_sums_up_to_the_printed_calibration_error():
    rng = np.random.default_rng(0)
    score = rng.random(500)
    right = (rng.random(500) < score ** 2).astype(float)
    share, mean = calibration_curve(right, score, n_bins=15)  # of scikit-learn
    bins = [part for part in calibration_section(right, score)['bins'] if part['count']]
    np.testing.assert_allclose([part['mean_score'] for part in bins], mean)
    np.testing.assert_allclose([part['share_right'] for part in bins], share)
    ece = sum(abs(part['mean_score'] - part['share_right']) * part['count'] for part in bins) / 500
    assert ece == pytest.approx(calibration_error(right, score)[0])


def test_lists_and_json():
    assert listed('abc') == 'a, b, c' and listed('abcdefg', 5) == 'a, b, c, d, e and 2 more' and listed([]) == ''
    mixed = {'a': np.float64(np.nan), 'b': (np.int64(3), np.bool_(True)), 1: np.arange(2), 'c': math.inf, 'd': 'x'}
    assert plain(mixed) == {'a': None, 'b': [3, True], '1': [0, 1], 'c': None, 'd': 'x'}
    assert json.dumps(plain(mixed), allow_nan=False)
