"""MultiLabelMetric on synthetic samples: against scikit-learn, its keys, intervals, log, files and what it refuses."""
import json
import logging
import math

import numpy as np
import pytest
import torch
from mmengine.evaluator import Evaluator
from mmengine.logging import MMLogger
from mmpretrain.structures import DataSample
from sklearn.metrics import average_precision_score, f1_score, hamming_loss, recall_score, roc_auc_score

from cxrdet.core.classification.operating_points import choose_points
from cxrdet.core.classification.roc import bootstrap_areas, delong_interval, percentile_interval
from cxrdet.evaluation.metrics.multi_label_metric import MultiLabelMetric
from cxrdet.registry import METRICS

CLASSES = ('Cardiomegaly', 'Edema', 'Hernia')
NAN = math.nan


def draw(n=120, c=3, seed=0):
    rng = np.random.default_rng(seed)
    true = (rng.random((n, c)) < 0.3).astype(np.float32)
    return true, (1 / (1 + np.exp(-rng.normal(size=(n, c)) - true))).astype(np.float32)


def samples_of(true, score, patients=None):
    made = []
    for i, (labels, scores) in enumerate(zip(true, score)):
        sample = DataSample(metainfo={'img_path': f'{i}.png'}).set_gt_score(torch.tensor(labels))
        sample.set_pred_score(torch.tensor(scores))
        if patients is not None:
            sample.set_metainfo({'patient_id': patients[i]})
        made.append(sample)
    return made


def run(samples, classes=CLASSES, stored=None, **options):
    metric = METRICS.build({'type': 'cxrdet.MultiLabelMetric', 'resamples': 50, **options})
    if stored is not None:
        metric.use_operating_points(*stored)
    evaluator = Evaluator(metric)
    evaluator.dataset_meta = {'classes': classes}
    for i in range(0, len(samples), 50):
        evaluator.process(samples[i:i + 50])
    return evaluator.evaluate(len(samples)), metric


@pytest.fixture
def log():
    """Text of all that was logged so far; MMEngine's loggers do not hand their records to pytest's caplog."""
    records = []
    handler = logging.Handler()
    handler.emit = lambda record: records.append(record.getMessage())
    logger = MMLogger.get_current_instance()
    logger.addHandler(handler)
    yield lambda: '\n'.join(records)
    logger.removeHandler(handler)


def test_values_are_those_of_scikit_learn():
    true, score = draw()
    found, metric = run(samples_of(true, score), classwise=True)
    assert isinstance(metric, MultiLabelMetric)
    found = {key.removeprefix('multi-label/'): value for key, value in found.items()}
    areas = roc_auc_score(true, score, average=None)
    assert found['AUROC_mean'] == pytest.approx(areas.mean(), abs=1e-9)
    assert found['AUROC_micro'] == pytest.approx(roc_auc_score(true, score, average='micro'), abs=1e-9)
    assert found['AP_mean'] == pytest.approx(average_precision_score(true, score), abs=1e-9)
    assert found['AP_micro'] == pytest.approx(average_precision_score(true, score, average='micro'), abs=1e-9)
    for name, threshold in (('0.5', 0.5), ('screening', 0.3), ('surgery', 0.7)):
        called = score >= threshold
        assert found[f'F1_macro@{name}'] == pytest.approx(f1_score(true, called, average='macro'), abs=1e-9)
        assert found[f'F1_micro@{name}'] == pytest.approx(f1_score(true, called, average='micro'), abs=1e-9)
        assert found[f'hamming_micro@{name}'] == pytest.approx(hamming_loss(true, called), abs=1e-9)
        assert found[f'accuracy_macro@{name}'] == pytest.approx(1 - hamming_loss(true, called), abs=1e-9)
        assert found[f'F1_Edema@{name}'] == pytest.approx(f1_score(true[:, 1], called[:, 1]), abs=1e-9)
    low, high = delong_interval(true, score)
    for i, name in enumerate(CLASSES):
        assert found[f'AUROC_{name}'] == pytest.approx(areas[i], abs=1e-9)
        assert (found[f'AUROC_{name}_low'], found[f'AUROC_{name}_high']) == (low[i], high[i])
    assert found['AUROC_mean_low'] < found['AUROC_mean'] < found['AUROC_mean_high']
    assert found['recall_macro@sensitive'] >= 0.9 and (found['undefined_classes'], found['left_out_classes']) == (0, 0)
    assert found['F1_macro@diagnosis'] == max(value for key, value in found.items() if key.startswith('F1_macro@'))


def test_keys():
    found, _ = run(samples_of(*draw()), prefix='val')
    own = ['AUROC_mean', 'AUROC_mean_low', 'AUROC_mean_high', 'AUROC_micro', 'AP_mean', 'AP_micro', 'ECE', 'ECE_mean',
           'ECE_scaled', 'temperature', 'undefined_classes', 'left_out_classes']
    own += [f'{rate}_{kind}@{point}' for point in ('0.5', 'screening', 'surgery', 'youden', 'diagnosis', 'sensitive')
            for rate in ('accuracy', 'precision', 'recall', 'specificity', 'F1', 'hamming')
            for kind in ('macro', 'micro')]
    own += [f'{name}_{c}{end}' for c in CLASSES for name, ends in
            (('AUROC', ('', '_low', '_high')), ('AP', ('',)), ('ECE', ('',))) for end in ends]
    assert set(found) == {f'val/{key}' for key in own}
    assert not [key for key in found if 'loss' in key or 'time' in key]  # MMEngine logs those as running means


def test_unknown_labels_and_classes_without_positives(log):
    true, score = draw()
    true[:, 2] = 0
    true[:40, 0] = NAN
    found, _ = run(samples_of(true, score))
    known = roc_auc_score(true[40:, 0], score[40:, 0]), roc_auc_score(true[:, 1], score[:, 1])
    assert found['multi-label/AUROC_mean'] == pytest.approx(np.mean(known), abs=1e-9)
    for key in ('AUROC_Hernia', 'AUROC_Hernia_low', 'AP_Hernia'):
        assert math.isnan(found[f'multi-label/{key}'])
    assert (found['multi-label/undefined_classes'], found['multi-label/left_out_classes']) == (1, 1)
    called = score[:, :2] >= 0.5
    recall = [(called & (true[:, :2] == 1)).sum(axis=0) / (true[:, :2] == 1).sum(axis=0)]
    assert found['multi-label/recall_macro@0.5'] == pytest.approx(np.mean(recall))
    assert ('1 of 3 classes lack positives or negatives here; their AUROC is NaN and they are left out of '
            'the means: Hernia') in log()


@pytest.mark.parametrize('place', [0, 14])
def test_the_mean_of_the_literature_is_over_the_14_findings(place, log):
    """Against scikit-learn; the mean over all 15 classes keeps its name, and both intervals hold their mean."""
    true, score = draw(c=15, seed=1)
    classes = [f'F{i}' for i in range(14)]
    classes.insert(place, 'No Finding')
    patients = [i // 2 for i in range(len(true))]
    found, _ = run(samples_of(true, score, patients), classes=classes)
    areas = roc_auc_score(true, score, average=None)
    assert found['multi-label/AUROC_mean'] == pytest.approx(areas.mean(), abs=1e-9)
    name = 'multi-label/AUROC_mean_findings'
    assert found[name] == pytest.approx(np.delete(areas, place).mean(), abs=1e-9)
    of_findings, _ = run(samples_of(np.delete(true, place, 1), np.delete(score, place, 1), patients),
                         classes=[name for name in classes if name != 'No Finding'])
    for end in ('_low', '_high'):
        assert found[name + end] == pytest.approx(of_findings['multi-label/AUROC_mean' + end], abs=1e-9)
    assert name not in of_findings
    assert f'{found[name]:.4f}' in next(line for line in log().splitlines() if line.startswith('of findings'))


def test_a_class_that_every_film_has_stays_out_of_the_means(log):
    true, score = draw()
    true[:, 2], score[:, 2] = 1, 0.9
    found, _ = run(samples_of(true, score))
    assert found['multi-label/AP_mean'] == pytest.approx(average_precision_score(true[:, :2], score[:, :2]), abs=1e-9)
    for name, threshold in (('0.5', 0.5), ('screening', 0.3)):
        called = score[:, :2] >= threshold
        assert found[f'multi-label/F1_macro@{name}'] == pytest.approx(f1_score(true[:, :2], called, average='macro'))
        assert found[f'multi-label/recall_macro@{name}'] == pytest.approx(
            recall_score(true[:, :2], called, average='macro'))
    assert found['multi-label/AP_Hernia'] == 1
    assert (found['multi-label/undefined_classes'], found['multi-label/left_out_classes']) == (1, 1)
    assert 'classes have fewer than' not in log()


def test_over_how_many_classes_the_mean_precision_is(log):
    true, score = draw()
    score *= 0.6
    score[np.flatnonzero(true[:, 0])[0], 0] = 0.9
    found, _ = run(samples_of(true, score), operating_points={'surgery': 0.7, 'low': 0.1})
    assert found['multi-label/precision_macro@surgery'] == 1
    assert 'macro precision is over the classes in which something was called positive: 1 of 3 at "surgery"\n' in (
        log() + '\n')
    run(samples_of(true, score), operating_points={'low': 0.1})
    assert log().count('macro precision') == 1


def test_least_number_of_positives(log):
    true, score = draw()
    true[:, 1] = 0
    true[:9, 1] = 1
    found, _ = run(samples_of(true, score), min_positives=10)
    areas = roc_auc_score(true, score, average=None)
    assert found['multi-label/AUROC_mean'] == pytest.approx((areas[0] + areas[2]) / 2, abs=1e-9)
    assert found['multi-label/AUROC_Edema'] == pytest.approx(areas[1], abs=1e-9)
    assert (found['multi-label/undefined_classes'], found['multi-label/left_out_classes']) == (0, 1)
    assert '1 of 3 classes have fewer than 10 positives and are left out of the means: Edema' in log()


def test_labels_as_a_list():
    samples = [DataSample().set_gt_label([0, 2]).set_pred_score(torch.tensor([.9, .2, .8])),
               DataSample().set_gt_label([1]).set_pred_score(torch.tensor([.1, .7, .3])),
               DataSample().set_gt_label([]).set_pred_score(torch.tensor([.2, .1, .1]))]
    samples[2].gt_label = torch.tensor([], dtype=torch.long)
    found, _ = run(samples)
    assert found['multi-label/AUROC_mean'] == 1 and found['multi-label/accuracy_micro@0.5'] == 1


def test_patients_are_resampled_together():
    true, score = draw(n=60)
    copies = np.repeat(true, 3, axis=0), np.repeat(score, 3, axis=0)
    patients = [f'{i // 3:05d}' for i in range(180)]
    found, _ = run(samples_of(*copies, patients), resamples=80)
    expected = percentile_interval(bootstrap_areas(*copies, groups=patients, samples=80))
    for i, name in enumerate(CLASSES):
        ends = (found[f'multi-label/AUROC_{name}_low'], found[f'multi-label/AUROC_{name}_high'])
        assert ends == pytest.approx((expected[0][i], expected[1][i]))
    alone, _ = run(samples_of(*copies), resamples=80)
    width, narrow = (result['multi-label/AUROC_mean_high'] - result['multi-label/AUROC_mean_low']
                     for result in (found, alone))
    assert narrow < 0.8 * width


def test_without_bootstrap():
    found, _ = run(samples_of(*draw()), resamples=0)
    assert math.isnan(found['multi-label/AUROC_mean_low']) and found['multi-label/AUROC_Edema_low'] > 0


def test_stored_thresholds_are_used_not_chosen(log):
    validation, test = draw(seed=1), draw(seed=2)
    _, metric = run(samples_of(*validation))
    content = json.loads(json.dumps(metric.chosen.to_dict()))
    found, metric = run(samples_of(*test), stored=(content, 'best.pth'))
    assert metric.chosen is None
    called = test[1] >= np.array(content['thresholds']['youden'])
    assert found['multi-label/F1_macro@youden'] == pytest.approx(f1_score(test[0], called, average='macro'), abs=1e-9)
    assert found['multi-label/temperature'] == content['temperature']
    own = choose_points({'youden': 'youden'}, *test, CLASSES).thresholds['youden']
    assert (own != np.array(content['thresholds']['youden'])).any()
    assert ('Thresholds of youden, diagnosis, sensitive and the temperature are those stored in best.pth, chosen on '
            '120 validation images; none is chosen on this data') in log()


def test_nothing_stored_nothing_chosen(log):
    found, _ = run(samples_of(*draw()), stored=(None, 'epoch_3.pth'))
    assert 'multi-label/F1_macro@screening' in found and 'multi-label/temperature' not in found
    assert not [key for key in found if key.endswith(('@youden', '@diagnosis', '@sensitive'))]
    assert 'epoch_3.pth holds no thresholds for youden, diagnosis, sensitive: left out' in log()


def test_a_rule_that_changed_is_not_mistaken():
    _, metric = run(samples_of(*draw()))
    found, _ = run(samples_of(*draw()), stored=(metric.chosen.to_dict(), 'best.pth'),
                   operating_points={'sensitive': 'sensitivity>=0.95', 'youden': 'youden'})
    assert 'multi-label/F1_macro@youden' in found and 'multi-label/F1_macro@sensitive' not in found


def test_points_of_the_config():
    true, score = draw()
    found, _ = run(samples_of(true, score), operating_points={'own': [0.2, 0.5, 0.9]})
    called = score >= np.array([0.2, 0.5, 0.9])
    assert found['multi-label/hamming_micro@own'] == pytest.approx(hamming_loss(true, called))
    assert [key for key in found if '@' in key and not key.endswith('@own')] == []


def test_table(log):
    true, score = draw()
    found, _ = run(samples_of(true, score))
    lines = log().splitlines()
    head = next(i for i, line in enumerate(lines) if line.startswith('class '))
    assert lines[head].split()[:5] == ['class', 'positives', 'AUROC', '95', '%'] and 'at "youden"' in lines[head]
    assert lines[head + 1].split()[:5] == ['Cardiomegaly', str(int(true[:, 0].sum())), 'of', '120',
                                           f'{found["multi-label/AUROC_Cardiomegaly"]:.4f}']
    assert lines[head + 4].startswith('mean') and f'{found["multi-label/AUROC_mean"]:.4f}' in lines[head + 4]
    assert len(lines[head]) == len(lines[head + 1]) + len('   at "youden"')
    row = next(line for line in lines if line.startswith('screening micro'))
    assert row.split()[2] == f'{found["multi-label/accuracy_micro@screening"]:.4f}'


def test_files(tmp_path, log):
    true, score = draw()
    true[:, 2] = 0
    run(samples_of(true, score), out_dir=str(tmp_path / 'new'))
    content = json.loads((tmp_path / 'new' / 'metrics.json').read_text())
    assert content['images'] == 120 and content['metrics']['AUROC_Hernia'] is None
    assert content['metrics']['F1_Edema@0.5'] == pytest.approx(f1_score(true[:, 1], score[:, 1] >= 0.5))
    assert content['thresholds']['screening'] == dict.fromkeys(CLASSES, 0.3)
    for name in ('roc.png', 'pr.png'):
        assert (tmp_path / 'new' / name).read_bytes()[:4] == b'\x89PNG'


def test_nothing_to_judge():
    found, _ = run([])
    assert math.isnan(found['multi-label/AUROC_mean']) and found['multi-label/undefined_classes'] == 3


def test_ten_times_the_films_cost_hardly_more_calls(calls):
    """Films are stacked once; what follows are operations on whole arrays."""
    metric, counts = MultiLabelMetric(), []
    metric.dataset_meta = {'classes': [str(i) for i in range(14)]}
    for n in (200, 2000):
        true, score = draw(n, 14)
        results = [(s, t, i // 3, None) for i, (t, s) in enumerate(zip(true.astype(float), score.astype(float)))]
        counts.append(calls(metric.compute_metrics, results))
    assert counts[1] < 2 * counts[0]


@pytest.mark.parametrize(('sample', 'text'), [
    (DataSample().set_gt_score(torch.ones(3)), 'needs pred_score, the probability of each class, but the samples have'),
    (DataSample().set_pred_score(torch.ones(3)), 'neither gt_score nor gt_label: the pipeline has to end with PackInp'),
    (DataSample().set_pred_score(torch.ones(2)).set_gt_score(torch.ones(2)),
     r'expected 3 scores and labels an image, one a class \(Cardiomegaly, Edema, Hernia\), got 2 and 2'),
])
def test_samples_that_do_not_fit(sample, text):
    with pytest.raises(ValueError, match=text):
        run([sample])


@pytest.mark.parametrize(('options', 'text'), [
    ({'min_positives': 0}, r'min_positives must lie in \[1, .* got 0'),
    ({'resamples': -1}, r'resamples must lie in \[0, .*, got -1'),
    ({'operating_points': {'a': 'best'}}, 'youden, F1 or sensitivity'),
])
def test_bad_arguments(options, text):
    with pytest.raises(ValueError, match=text):
        MultiLabelMetric(**options)
