"""A made-up report with names that would be markup if they were not escaped."""
import cv2
import numpy as np
import pytest

CLASSES = ['RBC', '<script>alert(1)</script>', 'a"b\'&amp;{c}', 'Straße\u2028 $title']
KINDS = {'missed': 'missed', 'background': 'nothing is there'}


def jpeg(seed):
    noise = np.random.default_rng(seed).integers(0, 255, (12, 16, 3)).astype(np.uint8)
    return cv2.imencode('.jpg', cv2.resize(noise, (160, 120)))[1].tobytes()


def diagnosis():
    gains = zip(('classification', 'localisation', 'both', 'duplicate', 'background', 'missed'),
                (0.0, 0.1, 0.02, 0.0, 0.3, None))
    scores = [0.5, 0.25, None, 0.9]
    return {
        'task': 'detection', 'classes': CLASSES, 'split': 'val', 'score_name': 'AP@0.5', 'score_thr': 0.5,
        'fit': {'metric': 'mAP@0.5', 'train': 0.9, 'val': 0.6, 'verdict': 'overfit', 'split': 'validation'},
        'per_class': [{'class': name, 'train': 10 * i, 'val': i, 'score': score, 'train_score': 0.5, 'precision': 0.5,
                       'recall': None, 'F1': 0.1, 'flag': i == 1} for i, (name, score) in
                      enumerate(zip(CLASSES, scores))],
        'errors': {'types': [{'type': kind, 'count': 3, 'share': 0.5, 'gain': gain} for kind, gain in gains]},
        'confusion': {'labels': [*CLASSES, 'background'], 'matrix': np.arange(25).reshape(5, 5).tolist()},
        'confusions': [{'true': CLASSES[1], 'predicted': 'RBC', 'count': 4, 'share': 0.5}],
        'by_size': {'absolute': [{'size': 'small', 'boxes': 4, 'found': 1, 'recall': 0.25}]},
        'calibration': {'ece': 0.2, 'temperature': 1.5, 'ece_after': 0.1},
        'findings': [{'code': 'overfit', 'level': 'problem', 'text': '<img src=x onerror=alert(2)>', 'classes': [],
                      'advice': [{'kind': 'tool', 'name': '<b>tool</b>', 'text': 'use & see'}]},
                     {'code': 'few', 'level': 'note', 'text': 'few', 'classes': [], 'advice': []}]}


@pytest.fixture(scope='session')
def content():
    from cxrdet.visualization.panels import Line, Panel
    from cxrdet.visualization.report import Content, Picture
    x = np.linspace(0, 1, 50)
    curves = [Panel(f'{name}  (9)', 'recall', 'precision', [
        Line(x, 1 - x ** 2, name, i, band=(x, 0.9 - x ** 2, 1.1 - x ** 2))], 'AP <0.5>') for i, name in
        enumerate(CLASSES)]
    marks = [[(0, 'missed')], [(1, 'background')], [(0, 'background'), (1, 'missed')], [(3, 'missed')]]
    pictures = [Picture(jpeg(i), (160, 120), f'</figure>{i}.jpg', f'{i} "missed" <here>', mark) for i, mark in
                enumerate(marks)]
    told = diagnosis()
    rows = [row | {'AP': row['score'], 'AP_low': 0.1, 'AP_high': 0.6, 'AP50_low': None, 'AP50_high': None}
            for row in told['per_class']]
    return Content(
        title='Report of <x>', about='A test & more', diagnosis=told, rows=rows, kinds=KINDS, pictures=pictures,
        scores=[dict(name='mAP', value=0.5, low=0.4, high=0.6), dict(name='F1', value=float('nan'), low=float('nan'),
                                                                    high=float('nan'))],
        data=[('Files', '<none>')], model=[('Parameters', '1')], reproduce=[('Seed', '0')], command='python <x>',
        training=[Panel('loss', 'epoch', '', [Line(np.arange(5.), np.array([5, 3, np.nan, 2, 1]), 'train/loss', 0)],
                        x_range=None, y_range=None)],
        curves={'Precision & recall': curves}, calibration=curves[:1], pictures_note='note')


@pytest.fixture(scope='session')
def page(content, tmp_path_factory):
    from cxrdet.visualization.report import render_page
    path = tmp_path_factory.mktemp('report') / 'report.html'
    path.write_text(render_page(content), encoding='utf-8')
    return path
