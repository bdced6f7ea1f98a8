"""The terminal's text of diagnoses: narrow enough for long names, whole for empty sets and for each task."""
import json

import numpy as np
import pytest

from cxrdet.analysis.diagnose_text import WIDTH, diagnosis_text
from cxrdet.core.model_diagnosis import diagnosis_of
from cxrdet.core.predictions import Collected

LONG = 'Squamous intraepithelial lesion of low grade, number '


def record(rng, task, number, index):
    entry = {'image': f'/data/{"x" * 80}_{index}.png', 'width': 640, 'height': 480,
             'facts': {'view': ['AP', 'PA'][index % 2], 'sex': 'F'}}
    if task == 'detection':
        corners = rng.uniform(0, 400, (6, 2))
        boxes = np.hstack([corners, corners + rng.uniform(5, 200, (6, 2))])
        return entry | {'boxes': boxes, 'scores': np.sort(rng.random(6))[::-1], 'labels': rng.integers(0, number, 6),
                        'gt_boxes': boxes[:4] + rng.normal(0, 9, (4, 4)).clip(-2, 2), 'gt_ignore': np.zeros(4, bool),
                        'gt_labels': rng.integers(0, number, 4)}
    truth = (rng.random(number) < 0.3).astype(float)
    if task == 'single-label':
        truth = np.eye(number)[rng.integers(number)]
    truth[0] = max(truth[0], index % 2) if task == 'multi-label' else truth[0]
    prob = rng.random(number)
    return entry | {'truth': truth, 'probabilities': prob / prob.sum() if task == 'single-label' else prob}


def made(task, split, images, classes):
    rng = np.random.default_rng(images)
    records = [record(rng, task, len(classes), index) for index in range(images)]
    labels = [np.bincount(entry['gt_labels'], minlength=len(classes)) if task == 'detection' else entry['truth']
              for entry in records]
    return Collected(task, classes, split, np.array(labels, float).reshape(-1, len(classes)),
                     [entry['facts'] for entry in records], records)


@pytest.mark.parametrize('task', ['detection', 'multi-label', 'single-label'])
@pytest.mark.parametrize('number', [2, 5, 7, 11, 30])
@pytest.mark.parametrize('images', [(0, 0), (70, None), (70, 90)])
def test_text(task, number, images):
    classes = tuple(f'{LONG}{i}' for i in range(number))
    judged, train = (None if count is None else made(task, split, count, classes)
                     for split, count in zip(('test', 'train'), images))
    report = {'config': 'configs/x.py', 'checkpoint': 'y.pth'} | diagnosis_of(judged, train)
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    text = diagnosis_text(report)
    assert max(map(len, text.splitlines())) <= WIDTH and 'nan' not in text.split() and 'None' not in text
    assert not any(line != line.rstrip() for line in text.splitlines())
    for part in ('Fit: ', 'Classes', 'Calibration', 'Findings: '):
        assert part in text
    assert ('Confusion matrix' in text) == (task != 'multi-label' and number <= 11)
    assert ('Errors as in TIDE' in text) == (task == 'detection')
    if images[0] and task == 'multi-label':
        assert 'Most confident misses' in text and 'Confounding' in text and '-> as for' not in text.split('1.')[0]
    if images == (70, None):
        assert 'no training images judged' in text and report['fit']['verdict'] == 'unknown'


def test_operating_points_of_the_checkpoint():
    classes = ('a', 'b')
    points = {'classes': ['b', 'a'], 'thresholds': {'0.5': [.5, .5], 'youden': [.2, float('nan')]},
              'rules': {'0.5': '0.5', 'youden': 'youden'}, 'temperature': 1.5, 'images': 99}
    report = diagnosis_of(made('multi-label', 'val', 40, classes), points=points)
    assert [row['threshold'] for row in report['per_class']] == [.5, .2]  # NaN: 0.5
    assert report['operating_point'] == ('operating point "youden" (youden) of the checkpoint, chosen on 99 validation '
                                         'images, so that rates on validation are a little too good')
    test = diagnosis_of(made('multi-label', 'test', 40, classes), points=points)
    assert test['operating_point'].endswith('chosen on 99 validation images')


def test_the_mean_over_findings_stands_beside_that_over_all_classes():
    from sklearn.metrics import roc_auc_score
    classes = ('Effusion', 'No Finding', 'Mass')
    judged, train = (made('multi-label', split, count, classes) for split, count in (('val', 60), ('train', 80)))
    report = diagnosis_of(judged, train)
    assert report['fit']['over'] == list(classes)
    for name, part in (('val', judged), ('train', train)):
        areas = roc_auc_score(part.matrix('truth'), part.matrix('probabilities'), average=None)
        assert report['fit'][name] == pytest.approx(areas.mean())
        assert report['fit']['more']['AUROC of findings'][name] == pytest.approx(areas[[0, 2]].mean())
    text = diagnosis_text({'config': 'configs/x.py', 'checkpoint': 'y.pth'} | report)
    assert 'AUROC of findings' in text
