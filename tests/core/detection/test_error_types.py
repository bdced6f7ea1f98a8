"""Error types on constructed cases with known answers, and against PyPI's tidecv where it is installed."""
import math

import numpy as np
import pytest

from cxrdet.core.detection.error_types import (
    ERROR_TYPES,
    HIT,
    IGNORED,
    confusion_table,
    error_table,
    errors_by_size,
    mending_gains,
)
from cxrdet.core.detection.matching import pair_boxes

A, B = [0, 0, 10, 10], [100, 0, 110, 10]


def image(found=(), truth=(), ignore=None):
    """One image: predictions as (box, label, score), truth as (box, label)."""
    target = {'boxes': [t[0] for t in truth], 'labels': [t[1] for t in truth]}
    if ignore is not None:
        target['ignore'] = ignore
    return {'boxes': [f[0] for f in found], 'labels': [f[1] for f in found], 'scores': [f[2] for f in found]}, target


def table(*images, classes=2, **options):
    return error_table(pair_boxes([i[0] for i in images], [i[1] for i in images], classes, **options))


@pytest.mark.parametrize('found, truth, kind', [
    ([(A, 0, .9)], [(A, 0)], 'hit'),
    ([([0, 0, 10, 4], 0, .9)], [(A, 0)], 'localisation'),  # IoU 0.4
    ([([0, 0, 10, 1], 0, .9)], [(A, 0)], 'localisation'),  # IoU 0.1 exactly
    ([(A, 1, .9)], [(A, 0)], 'classification'),
    ([([0, 0, 10, 5], 1, .9)], [(A, 0)], 'classification'),  # IoU 0.5 exactly
    ([([0, 0, 10, 4], 1, .9)], [(A, 0)], 'both'),
    ([(B, 0, .9)], [(A, 0)], 'background'),
    ([(A, 0, .9)], [], 'background'),
    ([([0, 0, 10, .9], 1, .9)], [(A, 0)], 'background'),  # IoU 0.09
])
def test_one_detection(found, truth, kind):
    result = table(image(found, truth))
    assert result.kind.tolist() == [HIT if kind == 'hit' else ERROR_TYPES.index(kind)]
    missed = kind in ('both', 'background') and bool(truth)
    expected = {name: int(name == kind) for name in ERROR_TYPES} | {'missed': int(missed)}
    assert result.counts() == expected
    assert result.target.tolist() == [0 if kind != 'background' else -1]


def test_duplicates_missed_and_ignored():
    result = table(image([(A, 0, .9), (A, 0, .8), (B, 1, .7)], [(A, 0), ([50, 50, 60, 60], 1), (B, 1)],
                         ignore=[False, False, True]), image(), image([], [(A, 1)]))
    assert result.kind.tolist() == [HIT, ERROR_TYPES.index('duplicate'), IGNORED]
    assert result.missed.tolist() == [False, True, False, True]
    assert result.target_image.tolist() == [0, 0, 0, 2]
    assert result.counts()['missed'] == 2 and result.counts()['duplicate'] == 1


def test_gains_by_hand():
    # Two boxes of class 0. A hit at 0.9, a false alarm at 0.8, a badly placed box at 0.7: AP = 51 / 101.
    result = table(image([(A, 0, .9), ([300, 0, 310, 10], 0, .8), ([100, 0, 110, 4], 0, .7)], [(A, 0), (B, 0)]),
                   classes=1)
    gains = mending_gains(result)
    base = 51 / 101
    assert gains['mAP'] == pytest.approx(base)
    assert gains['localisation'] == pytest.approx((51 + 50 * 2 / 3) / 101 - base)  # hit, false, hit
    assert gains['background'] == 0  # without it precision falls nowhere: the recall above 0.5 stays out of reach
    assert gains['missed'] == 0  # the badly placed box points at it
    assert gains['false_negative'] == pytest.approx(1 - base)
    assert gains['classification'] == gains['both'] == gains['duplicate'] == 0


def test_best_of_two_that_point_at_one_box():
    result = table(image([([0, 0, 10, 4], 0, .6), (A, 1, .9)], [(A, 0)]))
    gains = mending_gains(result)
    assert gains['mAP'] == 0
    assert gains['classification'] == 1  # becomes a hit of class 0, above the other
    assert gains['localisation'] == 0  # the better one took the box: this one vanishes


def test_nothing():
    empty = error_table(pair_boxes([], [], 3))
    assert empty.counts() == dict.fromkeys(ERROR_TYPES, 0)
    gains = mending_gains(empty)
    assert math.isnan(gains['mAP']) and math.isnan(gains['missed'])
    assert mending_gains(table(image([], [(A, 0)])))['mAP'] == 0
    assert [row['boxes'] for row in errors_by_size(empty)] == [0, 0, 0]
    assert confusion_table(pair_boxes([], [], 2)).tolist() == [[0] * 3] * 3


def random_set(seed, images=25, classes=4):
    """Truth, and predictions that copy it with all kinds of mistakes; scores differ, some classes are rare."""
    rng = np.random.default_rng(seed)
    truth, found = [], []
    for _ in range(images):
        n = int(rng.integers(0, 7))
        corner, size = rng.uniform(0, 300, (n, 2)), np.exp(rng.uniform(2.5, 4.5, (n, 2)))
        boxes = np.concatenate([corner, corner + size], 1)
        labels = rng.integers(0, classes, n)
        picks = rng.integers(0, n, int(rng.integers(0, 10))) if n else np.zeros(0, int)
        noise = rng.normal(0, 1, (len(picks), 4)) * rng.choice([.03, .2], (len(picks), 1))
        noise *= size[picks][:, [0, 1, 0, 1]]
        wrong = rng.random(len(picks)) < .25
        extra = rng.uniform(0, 350, (2, 2))
        truth.append({'boxes': boxes, 'labels': labels})
        found.append({'boxes': np.concatenate([boxes[picks] + noise, np.concatenate([extra, extra + 20], 1)]),
                      'labels': np.append(np.where(wrong, rng.integers(0, classes, len(picks)), labels[picks]), [0, 1]),
                      'scores': rng.random(len(picks) + 2)})
    return found, truth


@pytest.mark.parametrize('seed', range(6))
def test_numbers_are_those_of_tidecv(seed, monkeypatch):
    tidecv = pytest.importorskip('tidecv')
    # 35 / 100 and COCO's linspace differ in the last bit, which decides where a recall is just that
    monkeypatch.setattr('cxrdet.core.detection.average_precision._RECALLS', np.array([k / 100 for k in range(101)]))
    found, truth = random_set(seed, images=3 if seed == 5 else 25)
    real, guess = tidecv.Data('real'), tidecv.Data('guess')
    for number, (prediction, target) in enumerate(zip(found, truth)):
        real.add_image(number, str(number))
        for box, label in zip(target['boxes'], target['labels']):
            real.add_ground_truth(number, int(label), [*box[:2], *(box[2:] - box[:2])])
        for box, label, score in zip(prediction['boxes'], prediction['labels'], prediction['scores']):
            guess.add_detection(number, int(label), float(score), [*box[:2], *(box[2:] - box[:2])])
    run = tidecv.TIDE().evaluate(real, guess, mode=tidecv.TIDE.BOX)
    result = error_table(pair_boxes(found, truth, 4))
    names = dict(zip(('Cls', 'Loc', 'Both', 'Dupe', 'Bkg', 'Miss'), ERROR_TYPES))
    counts = {names[kind.short_name]: count for kind, count in run.count_errors().items()}
    assert result.counts() == counts and (seed == 5 or min(counts.values()) > 0)
    gains = mending_gains(result)
    known = {int(k) for target in truth for k in target['labels']} == {0, 1, 2, 3}  # TIDE counts absent classes as 0
    assert known
    assert gains['mAP'] == pytest.approx(run.ap / 100)
    for kind, gain in run.fix_main_errors().items():
        assert gains[names[kind.short_name]] == pytest.approx(gain / 100), kind.short_name
    special = {kind.short_name: gain / 100 for kind, gain in run.fix_special_errors().items()}
    assert (gains['false_positive'], gains['false_negative']) == pytest.approx((special['FalsePos'],
                                                                                special['FalseNeg']))


@pytest.mark.parametrize('seed', range(4))
def test_confusions_count_everything_once(seed):
    found, truth = random_set(seed)
    pairing = pair_boxes(found, truth, 4)
    matrix, counts = confusion_table(pairing, score_thr=.3), pairing.lesions().counts(.3)
    np.testing.assert_array_equal(np.diag(matrix)[:4], counts.tp)
    np.testing.assert_array_equal(matrix[:, :4].sum(0), counts.tp + counts.fp)
    np.testing.assert_array_equal(matrix[:4].sum(1), counts.tp + counts.fn)
    assert matrix[4, 4] == 0 and (matrix[:4, :4].sum() > np.trace(matrix))


def test_confusions_by_hand():
    # A found as class 1; a second detection on A; B missed; one on nothing; one below the threshold; one ignored
    case = image([(A, 1, .9), (A, 1, .8), ([300, 0, 310, 10], 0, .7), (B, 1, .2), ([50, 0, 60, 10], 0, .9)],
                 [(A, 0), (B, 1), ([50, 0, 60, 10], 0)], ignore=[0, 0, 1])
    matrix = confusion_table(pair_boxes([case[0]], [case[1]], 2))
    assert matrix.tolist() == [[0, 1, 0], [0, 0, 1], [1, 1, 0]]
    # where boxes of both classes lie on each other, each detection goes to its own class, whatever its score
    twins = image([(A, 1, .9), (A, 0, .8)], [(A, 0), (A, 1)])
    assert confusion_table(pair_boxes([twins[0]], [twins[1]], 2)).tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 0]]


def test_sizes_by_hand():
    big = [0, 0, 200, 200]
    rows = errors_by_size(table(image([(A, 0, .9), (big, 1, .8)], [(A, 0), (big, 0), ([300, 0, 350, 50], 0)])))
    assert [(row['boxes'], row['found'], row['hits'], row['missed']) for row in rows] == [
        (1, 1, 1, 0), (1, 0, 0, 1), (1, 0, 0, 0)]
    assert rows[0]['area'] == (0, 1024) and rows[2]['classification'] == 1 and math.isinf(rows[2]['area'][1])
    assert rows[0]['recall'] == 1 and rows[1]['recall'] == 0
    assert math.isnan(errors_by_size(table(image()))[0]['recall'])


@pytest.mark.parametrize('call, text', [
    (lambda: table(image([(A, 2, .9)])), r'image 0: predicted labels must lie in 0\.\.1, got 2\.\.2'),
    (lambda: table(image([], [(A, -1)])), r'ground-truth labels must lie in 0\.\.1, got -1\.\.-1'),
    (lambda: table(image(), lowest=.6), 'noted from an overlap of 0.1 on, got 0.6'),
])
def test_errors(call, text):
    with pytest.raises(ValueError, match=text):
        call()
