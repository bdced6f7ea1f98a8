"""The classifier's diagnosis on labels and probabilities whose answers are known by hand or by scikit-learn."""
import math

import numpy as np
import pytest
from sklearn import metrics

from cxrdet.core.classification import diagnosis as classes
from cxrdet.core.classification.diagnosis import classifier_findings, confounding
from cxrdet.core.diagnosis import calibration_section

NAMES = ('Mass', 'Edema', 'Hernia')
NAN = math.nan


def random_labels(n=200, seed=0):
    rng = np.random.default_rng(seed)
    true = (rng.random((n, 3)) < [0.4, 0.2, 0.02]).astype(float)
    prob = np.clip(0.3 * true + 0.7 * rng.random((n, 3)), 0.001, 0.999)
    return true, prob


def test_multi_label_fit():
    true, prob = random_labels()
    train_true, train_prob = random_labels(300, 1)
    fit = classes.multi_label_fit(NAMES, true, prob, train_true, train_prob)
    assert true[:, 2].sum() < 10 and fit['over'] == ['Mass', 'Edema']  # Hernia has too few
    for part, labels, values in (('val', true, prob), ('train', train_true, train_prob)):
        assert fit[part] == pytest.approx(np.mean([metrics.roc_auc_score(labels[:, i], values[:, i]) for i in (0, 1)]))
    few = classes.multi_label_fit(NAMES, true[:12], prob[:12])
    assert few['train'] is None and 'Mass' in few['over'] and not math.isnan(few['val'])
    none = classes.multi_label_fit(NAMES, np.zeros((0, 3)), np.zeros((0, 3)))
    assert math.isnan(none['val']) and none['over'] == []


def test_label_rows():
    true, prob = random_labels()
    true[:5, 0] = NAN
    mass, edema, hernia = classes.label_rows(NAMES, true, prob, np.array([.5, .6, .5]), train_counts=[4, 5, 6])
    known = ~np.isnan(true[:, 0])
    assert mass['score'] == pytest.approx(metrics.roc_auc_score(true[known, 0], prob[known, 0]))
    assert mass['low'] < mass['score'] <= mass['high'] and mass['val'] == true[known, 0].sum()
    assert edema['AP'] == pytest.approx(metrics.average_precision_score(true[:, 1], prob[:, 1]))
    tn, fp, fn, tp = metrics.confusion_matrix(true[:, 1], prob[:, 1] >= .6).ravel()
    assert (edema['tn'], edema['fp'], edema['fn'], edema['tp']) == (tn, fp, fn, tp) and edema['threshold'] == .6
    assert edema['sensitivity'] == tp / (tp + fn) and edema['specificity'] == tn / (tn + fp)
    assert (mass['train'], edema['train'], hernia['train']) == (4, 5, 6) and mass['train_score'] is None
    rows = classes.label_rows(('a', 'b'), [[1, 1], [0, 0], [0, 0]], [[.5, .9], [.6, .1], [.4, .2]], np.array([.5, .5]))
    assert [(row['score'], row['flag']) for row in rows] == [(.5, True), (1, False)]  # flagged below 0.65


def one_hot(labels, number=3):
    return np.eye(number)[labels]


def test_single_label():
    true = one_hot([0, 0, 0, 0, 1, 1, 2])
    prob = np.full((7, 3), 0.1)
    prob[range(7), [0, 0, 0, 1, 0, 0, 2]] = 0.8
    rows, matrix = classes.single_label_rows(NAMES, true, prob, train_counts=[9, 9, 9])
    assert matrix.tolist() == [[3, 1, 0], [2, 0, 0], [0, 0, 1]]
    assert [row['score'] for row in rows] == [0.75, 0, 1] and [row['flag'] for row in rows] == [False, True, False]
    assert [row['val'] for row in rows] == [4, 2, 1] and rows[0]['precision'] == 0.6
    assert rows[0]['AUROC'] == pytest.approx(metrics.roc_auc_score(true[:, 0], prob[:, 0]))
    assert classes.single_label_fit(true, prob) == {'val': pytest.approx(4 / 7), 'train': None}
    assert classes.single_label_fit(true, prob, true, true)['train'] == 1
    assert math.isnan(classes.single_label_fit(np.zeros((0, 3)), np.zeros((0, 3)))['val'])


def test_calibration():
    true, prob = random_labels()
    section = calibration_section(true, prob)
    assert section['share_right'] == pytest.approx(true.mean()) and section['mean_score'] == pytest.approx(prob.mean())
    assert section['ece_after'] < section['ece'] and sum(row['count'] for row in section['bins']) == 600
    # 80 % right at a confidence of 0.98: the error is 0.18, and a temperature makes 0.8 of it
    called = np.full((50, 3), 0.01)
    called[:, 0] = 0.98
    labels = one_hot([0] * 40 + [1] * 5 + [2] * 5)
    section = classes.single_label_calibration(labels, called)
    assert section['ece'] == pytest.approx(0.18) and section['share_right'] == 0.8
    assert section['temperature'] > 1 and section['ece_after'] == pytest.approx(0, abs=1e-6)
    assert math.isnan(classes.single_label_calibration(np.zeros((0, 3)), np.zeros((0, 3)))['ece'])
    assert calibration_section(np.zeros((0, 3)), np.zeros((0, 3)))['bins'][0]['count'] == 0


def test_wrong_calls():
    true = np.zeros((98, 2))
    true[:48, 0], true[0, 1] = 1, 1
    prob = np.tile([0.5, 0.02], (98, 1))
    prob[60, 0], prob[3, 0], prob[70, 1] = 0.99, 0.05, 0.5
    true[5, 0], prob[5, 0] = NAN, 0.01  # unknown: no error
    calls = classes.wrong_calls(('common', 'rare'), true, prob, [f'{i}.png' for i in range(98)])
    first, second = calls['false_alarms'][:2]
    assert (first['image'], first['class'], first['probability']) == ('60.png', 'common', 0.99)
    assert first['usual'] == pytest.approx(48 / 99) and second['image'] == '70.png'
    assert first['excess'] == pytest.approx(math.log(1 - 48 / 99) - math.log(1 - 0.99))
    miss = calls['misses'][0]
    assert (miss['image'], miss['class']) == ('3.png', 'common')
    # 2 % for a finding that 2 of 100 have is no bad call, even of the image that has it
    assert all(call['class'] == 'common' for call in calls['misses'] if call['excess'] > 0.01)
    assert len(classes.wrong_calls(('common', 'rare'), true, prob, 'x' * 98, most=1)['false_alarms']) == 1
    assert classes.wrong_calls(('a',), np.zeros((0, 1)), np.zeros((0, 1)), []) == {'false_alarms': [], 'misses': []}


def test_wrong_images():
    true, prob = one_hot([0, 1, 2, 1]), np.array([[.8, .1, .1], [.5, .4, .1], [.9, .09, .01], [.1, .8, .1]])
    rows = classes.wrong_images(NAMES, true, prob, list('abcd'), single=True)
    assert [(row['image'], row['index']) for row in rows] == [('c', 2), ('b', 1)]
    assert rows[0]['why'] == 'Hernia (0.01) called Mass (0.90)' and rows[0]['loss'] == pytest.approx(-math.log(.01))
    true, prob = np.tile([[1., 0.], [0., 1.]], (10, 1)), np.tile([[.6, .4], [.4, .6]], (10, 1))
    prob[3], prob[4, 0] = [.97, .004], .2
    rows = classes.wrong_images(('a', 'b'), true, prob, [str(i) for i in range(20)], single=False)
    assert [(row['image'], row['errors']) for row in rows] == [('3', 2), ('4', 1)]
    assert rows[0]['why'] == 'b present, but 0.004; a absent, but 0.97' and rows[1]['why'] == 'a present, but 0.20'
    assert rows[0]['loss'] == pytest.approx(2 * math.log(.5) - math.log(.03) - math.log(.004))
    assert classes.wrong_images(NAMES, true[:0], prob[:0], [], single=False) == []


def test_confounding():
    """The label is the view; the model knows the view and nothing else."""
    views = ['AP'] * 50 + ['PA'] * 50
    labels = np.zeros((100, 2))
    labels[:40, 0], labels[50:60, 0], labels[::7, 1] = 1, 1, 1
    prob = np.column_stack([np.where(np.arange(100) < 50, .8, .2), np.full(100, .5)])
    rows = confounding(('Mass', 'Edema'), 'view', labels, views, labels, prob, views)
    assert len(rows) == 1 and rows[0]['class'] == 'Mass' and rows[0]['shares'] == {'AP': .8, 'PA': .2}
    assert rows[0]['AUROC'] == rows[0]['fact_alone'] == pytest.approx(0.8) and rows[0]['within'] == 0.5
    assert rows[0]['V'] == pytest.approx(0.6, abs=0.02)
    knows = confounding(('Mass', 'Edema'), 'view', labels, views, labels, labels, views)
    assert knows[0]['AUROC'] == knows[0]['within'] == 1
    assert confounding(('Mass', 'Edema'), 'view', labels, [''] * 100, labels, prob, [''] * 100) == []


CALIBRATION = {'ece': 0.05, 'temperature': 1., 'ece_after': 0.01, 'mean_score': .5, 'share_right': .5}


def report(**parts):
    row = {'class': 'Mass', 'val': 50, 'tp': 1, 'fp': 0}
    return {'calibration': CALIBRATION, 'confounding': [], 'confusions': [],
            'per_class': [row], 'operating_point': 'half'} | parts


def test_findings():
    assert classifier_findings(report(), 'multi-label') == []
    part = CALIBRATION | {'ece': .2, 'temperature': 2., 'ece_after': .03, 'mean_score': .9, 'share_right': .7}
    sure, = classifier_findings(report(calibration=part), 'single-label')
    assert 'too sure: expected calibration error 0.200 (limit 0.1). A temperature of 2.00 would leave 0.030' in sure[
        'text'] and sure['code'] == 'overconfident'
    unsure, = classifier_findings(report(calibration=part | {'mean_score': .5}), 'single-label')
    assert unsure['code'] == 'underconfident' and 'not sure enough' in unsure['text']
    shifted, = classifier_findings(report(calibration=part), 'multi-label')
    assert shifted['code'] == 'shifted' and '0.900 on average, while 0.700 of the labels' in shifted['text']
    for temperature, code in ((2., 'overconfident'), (.5, 'underconfident')):
        wide, = classifier_findings(report(calibration=part | {'share_right': .9, 'temperature': temperature}),
                                    'multi-label')
        assert wide['code'] == code
    fact = {'fact': 'view', 'class': 'Mass', 'V': .5, 'shares': {'AP': .8, 'PA': .2}, 'fact_alone': .7, 'AUROC': .9,
            'within': .8}
    leans, = classifier_findings(report(confounding=[fact]), 'multi-label')
    assert leans['level'] == 'problem' and 'AP 80%, PA 20%' in leans['text'] and 'may be the view' in leans['text']
    fine, = classifier_findings(report(confounding=[fact | {'within': .88}]), 'multi-label')
    assert fine['level'] == 'note' and fine['text'].endswith('so it hardly leans on it.')
    few = report(confounding=[fact], per_class=[{'class': 'Mass', 'val': 9, 'tp': 1, 'fp': 1}])
    assert classifier_findings(few, 'multi-label') == []
    pair = {'true': 'HSIL', 'predicted': 'LSIL', 'count': 3, 'share': .3}
    confused, = classifier_findings(report(confusions=[pair, pair | {'count': 2}]), 'single-label')
    assert confused['text'] == 'Frequent confusions: HSIL called LSIL 3 times (30% of its images).'
    idle, = classifier_findings(report(per_class=[{'class': 'Mass', 'val': 50, 'tp': 0, 'fp': 0}]), 'multi-label')
    assert idle['code'] == 'never_called' and idle['text'] == 'Never called present: Mass (decided by half).'
