"""The detector's diagnosis on constructed images whose errors are known by hand."""
import math

import numpy as np
import pytest

from cxrdet.core.classification.calibration import calibration_error
from cxrdet.core.detection.diagnosis import (
    best_score,
    class_rows,
    detection_calibration,
    detection_findings,
    error_section,
    score_curve,
    size_sections,
    worst_images,
)
from cxrdet.core.detection.error_types import ERROR_TYPES, error_table
from cxrdet.core.detection.matching import pair_boxes

CLASSES = ('RBC', 'WBC')
A, B, C, D = [0, 0, 10, 10], [100, 0, 110, 10], [200, 0, 300, 100], [0, 200, 50, 250]
NAMES = ('boxes', 'labels', 'scores')


def image(found=(), truth=(), ignore=None):
    """(box, label, score) of the detections, (box, label) of the truth."""
    target = {'boxes': [t[0] for t in truth], 'labels': [t[1] for t in truth],
              'ignore': [False] * len(truth) if ignore is None else ignore}
    return dict(zip(NAMES, ([f[i] for f in found] for i in range(3)))), target


def tables(*images, score=0.5):
    table = error_table(pair_boxes([i[0] for i in images], [i[1] for i in images], 2))
    return table, table.from_score(score)


# two right, one of them unsure; one class confusion, one badly placed, one twice, one background, one missed
IMAGES = (image([(A, 0, .9), (B, 1, .4)], [(A, 0), (B, 1)]),
          image([(A, 1, .8), (C, 0, .7), (C, 0, .6), ([0, 200, 50, 220], 0, .65)], [(A, 0), (C, 0), (D, 0)]),
          image([(D, 0, .95)], [(B, 1)]), image())


def test_scores():
    table, shown = tables(*IMAGES)
    curve = score_curve(table)
    assert [row['score'] for row in curve[:3]] == [0.05, 0.06, 0.07] and curve[-1]['score'] == 0.95
    at = {round(row['score'], 2): row for row in curve}
    # 6 boxes; 8 detections: A and C right at 0.5, with B below
    assert at[.5] == {'score': .5, 'precision': pytest.approx(2 / 6), 'recall': pytest.approx(2 / 6),
                      'F1': pytest.approx(4 / 12)}
    assert at[.4]['recall'] == 0.5 and at[.95] == {'score': .95, 'precision': 0., 'recall': 0., 'F1': 0.}
    assert best_score(curve) == 0.05  # 3 of 7 and 6: the lowest of equally good ones
    for score in (0.3, 0.5, 0.66, 0.7):
        counts = pair_boxes(*zip(*IMAGES), 2).lesions().counts(score).total()
        row = score_curve(table, [score])[0]
        assert row['F1'] == pytest.approx(2 * counts.tp / (2 * counts.tp + counts.fp + counts.fn))


def test_scores_of_nothing():
    table, shown = tables()
    curve = score_curve(table)
    assert best_score(curve) == 0.5 and math.isnan(curve[0]['F1'])
    section = detection_calibration(table, shown)
    assert math.isnan(section['ece']) and not any(row['count'] for row in section['bins'])
    assert worst_images(shown, CLASSES, []) == []
    assert all(math.isnan(row['score']) and not row['flag'] for row in class_rows(CLASSES, table, shown))
    assert size_sections(shown, [])['relative'][0]['boxes'] == 0
    assert math.isnan(error_section(table, shown)['mAP'])


def test_class_rows():
    table, shown = tables(*IMAGES)
    rbc, wbc = class_rows(CLASSES, table, shown, train=table, train_counts=[7, 3])
    assert (rbc['val'], wbc['val'], rbc['train'], wbc['train']) == (4, 2, 7, 3)
    # RBC by score: background .95, hit .9, hit .7, then errors; recall 1/4 and 2/4 with precision 2/3: 51 of 101 points
    assert rbc['score'] == pytest.approx(51 * (2 / 3) / 101) == rbc['train_score'] and not rbc['flag']
    # WBC: false .8, hit .4: precision 1/2 up to a recall of 1/2
    assert wbc['score'] == pytest.approx(51 * 0.5 / 101) and wbc['flag']
    assert (rbc['precision'], rbc['recall'], rbc['F1']) == (2 / 5, 2 / 4, 4 / 9)
    assert (wbc['precision'], wbc['recall'], wbc['F1']) == (0, 0, 0)


def test_error_section():
    table, shown = tables(*IMAGES)
    section = error_section(table, shown)
    counts = {row['type']: row['count'] for row in section['types']}
    assert counts == {'classification': 1, 'localisation': 1, 'both': 0, 'duplicate': 1, 'background': 1, 'missed': 2}
    assert {row['type']: row['count_all'] for row in section['types']} == counts | {'missed': 1}
    assert sum(row['share'] for row in section['types']) == pytest.approx(1)
    assert section['found_below'] == 1 and section['sure_background'] == 1
    gains = {row['type']: row['gain'] for row in section['types']}
    # without the background box RBC has precision 1 up to a recall of 1/2
    assert gains['background'] == pytest.approx(51 * (1 - 2 / 3) / 101 / 2)
    assert section['mAP'] == pytest.approx((51 * (2 / 3) + 51 * .5) / 101 / 2)


def test_sizes():
    table, shown = tables(*IMAGES, score=0)
    sections = size_sections(shown, [300 * 300] * 4)
    small, medium, large = sections['absolute']  # A, B: 100 px; D: 2,500 px; C: 10,000 px
    assert [(row['boxes'], row['found']) for row in (small, medium, large)] == [(4, 2), (1, 0), (1, 1)]
    assert (medium['background'], large['duplicate'], small['localisation']) == (1, 1, 1)
    assert (small['low'], small['high'], large['high']) == (0, 1024, math.inf)
    small, medium, large = sections['relative']  # shares 0.0011, 0.028, 0.11; edges 0.0033 and 0.03
    assert [row['boxes'] for row in (small, medium, large)] == [4, 1, 1]
    one = tables(image([], [(D, 0)]))[1]
    assert [row['boxes'] for row in size_sections(one, [50 * 50])['relative']] == [0, 0, 1]
    assert [row['boxes'] for row in size_sections(one, [5000 * 5000])['relative']] == [1, 0, 0]


def test_calibration():
    table, shown = tables(*IMAGES)
    section = detection_calibration(table, shown)
    right, score = [1, 1, 0, 1, 0, 0, 0], [.9, .4, .8, .7, .6, .65, .95]
    assert section['ece'] == pytest.approx(calibration_error(right, score)[0]) and section['detections'] == 7
    assert section['share_right'] == pytest.approx(2 / 6) and section['mean_score'] == pytest.approx(4.6 / 6)
    assert sum(row['count'] for row in section['bins']) == 7 and section['ece_after'] <= section['ece']


def test_worst_images():
    _, shown = tables(*IMAGES)
    rows = worst_images(shown, CLASSES, ['a.png', 'b.png', 'c.png', 'd.png'])
    assert [(row['image'], row['index'], row['errors'], row['F1']) for row in rows] == [
        ('b.png', 1, 3, pytest.approx(2 / 7)), ('c.png', 2, 2, 0), ('a.png', 0, 1, pytest.approx(2 / 3))]
    assert set(rows[0]['why'].split('; ')) == {'1 RBC called WBC (score 0.80)', '1 RBC twice (score 0.60)',
                                               '1 RBC badly placed (score 0.65)'}
    assert rows[1]['why'] == '1 RBC where nothing is (score 0.95); 1 WBC missed'
    assert rows[2]['why'] == '1 WBC missed' and len(worst_images(shown, CLASSES, 'abcd', most=2)) == 2
    crowd = tables(image([(A, 0, .9), (B, 0, .6)], [], None))[1]
    assert worst_images(crowd, CLASSES, ['x'])[0]['why'] == '2 RBC where nothing is (up to 0.90)'
    ignored = tables(image([(A, 0, .9)], [(A, 0)], [True]))[1]
    assert worst_images(ignored, CLASSES, ['x']) == []


def report(images, score=0.5):
    table, shown = tables(*images, score=score)
    curve = score_curve(table)
    at = {round(row['score'], 2): row for row in curve}
    return {'errors': error_section(table, shown), 'score_thr': score, 'default_score': at[.3],
            'best_score_thr': at[best_score(curve)], 'by_size': size_sections(shown, [300 * 300] * len(images)),
            'calibration': detection_calibration(table, shown)}


def test_findings_of_one_kind_of_error():
    """Twenty images with one defect each: that is found, with the gain that is known, and no other type is."""
    def kinds(found):
        others = ('overconfident', 'underconfident', 'score_threshold')
        return [item['code'] for item in found if item['code'] not in others]
    truth = [(A, 0), (B, 0)]
    for wrong, code in (((A, 1, .9), 'classification'), (([0, 0, 10, 4], 0, .9), 'localisation'),
                        ((D, 0, .95), 'background')):
        found = detection_findings(report([image([wrong, (B, 0, .8)], truth)] * 20))
        assert kinds(found)[0] == code and 'mAP@0.5 would be' in found[0]['text']
    assert kinds(detection_findings(report([image([(A, 0, .9), (B, 0, .8)], truth)] * 20))) == []
    missed = detection_findings(report([image([(A, 0, .9)], truth)] * 20))
    # half the boxes: AP 51/101; if they were not asked for, 1
    assert kinds(missed) == ['missed'] and f'would be {50 / 101:.3f} higher' in missed[0]['text']
    below = detection_findings(report([image([(A, 0, .9), (B, 0, .35)], truth)] * 20))
    assert kinds(below) == ['found_below'] and '20 of the 20 missed boxes are found' in below[0]['text']
    sure = detection_findings(report([image([(A, 0, .9), (B, 0, .8), (D, 0, .95)], truth)] * 20))
    assert '20 have scores from 0.9 on' in sure[0]['text']


def test_findings_of_sizes_and_scores():
    small = [image([(C, 0, .99), (D, 0, .99)], [(A, 0), (C, 0), (D, 0)])] * 20
    found = {item['code']: item for item in detection_findings(report(small))}
    assert found['small_boxes']['text'] == ('Small boxes are found less often: 0 of 20 (0%) against 100% of the '
                                            'others.')
    large = [image([(A, 0, .99), (D, 0, .99)], [(A, 0), (C, 0), (D, 0)])] * 20
    assert 'large_boxes' in [item['code'] for item in detection_findings(report(large))]
    few = [image([(C, 0, .99), (D, 0, .99)], [(A, 0), (C, 0), (D, 0)])] * 9
    assert 'small_boxes' not in [item['code'] for item in detection_findings(report(few))]  # nine boxes say nothing
    sure = detection_findings(report([image([(A, 0, .9), (D, 0, .9)], [(A, 0)])] * 20))
    text = next(item['text'] for item in sure if item['code'] == 'overconfident')
    assert 'they are too high, expected calibration error 0.400 (limit 0.1)' in text
    unsure = detection_findings(report([image([(A, 0, .6), (B, 0, .6)], [(A, 0), (B, 0)])] * 20))
    text = next(item['text'] for item in unsure if item['code'] == 'underconfident')
    assert 'they are too low, expected calibration error 0.400' in text
    noisy = [image([(A, 0, .9), (D, 0, .4)], [(A, 0)])] * 20
    text = next(item['text'] for item in detection_findings(report(noisy)) if item['code'] == 'score_threshold')
    assert text.startswith('The best F1, 1.000, is at scores from 0.41; at 0.30') and text.endswith('it is 0.667.')


@pytest.mark.parametrize('seed', range(20))
def test_planted_errors_are_counted(seed):
    """Cells far apart, each with an outcome that is drawn: every one is found, none invented."""
    rng, images, planned = np.random.default_rng(seed), [], []
    for _ in range(int(rng.integers(1, 6))):
        found, truth = [], []
        counts = dict.fromkeys(('hit', *ERROR_TYPES), 0)
        for cell in range(int(rng.integers(0, 12))):
            outcome, label, score = str(rng.choice(list(counts))), int(rng.integers(2)), float(rng.uniform(.5, 1))
            box = np.array([1000. * cell, 0, 1000. * cell + 100, 100])
            worse = box * [1, 1, 1, 0.4]  # IoU 0.4
            if outcome != 'background':
                truth.append((box, label))
            found += {'hit': [(box, label, score)], 'classification': [(box, 1 - label, score)],
                      'localisation': [(worse, label, score)], 'both': [(worse, 1 - label, score)],
                      'duplicate': [(box, label, score), (box, label, score / 2 + .2)],
                      'background': [(box, label, score)], 'missed': []}[outcome]
            counts[outcome] += 1
        counts['missed'] += counts['both']  # TIDE: a box that only "both" errors point at is missed
        images.append(image(found, truth))
        planned.append(counts)
    table, shown = tables(*images, score=0.4)
    total = {row['type']: row['count'] for row in error_section(table, shown)['types']}
    assert total == {name: sum(counts[name] for counts in planned) for name in total}
    worst = {row['index']: row for row in worst_images(shown, CLASSES, [''] * len(images))}
    for index, counts in enumerate(planned):
        expected = {name: number for name, number in counts.items() if name != 'hit'}
        assert worst.get(index, {'types': dict.fromkeys(expected, 0)})['types'] == expected
