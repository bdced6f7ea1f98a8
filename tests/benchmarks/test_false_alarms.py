"""The list of false alarms that somebody looks through: its shares by hand, its faults, and how it is made."""
import csv

import cv2
import numpy as np
import pytest

from cxrdet.core.predictions import Collected

HEAD = 'image,class,score,x1,y1,x2,y2,best IoU,verdict\n'


@pytest.fixture(scope='module')
def alarms(benchmark):
    return benchmark('false_alarms')


def test_shares_by_hand(alarms, tmp_path):
    path = tmp_path / 'list.csv'
    path.write_text(HEAD + 'a.jpg,RBC,0.9,0,0,9,9,0.00,unlabelled\n' * 3 + 'a.jpg,RBC,0.6,0,0,9,9,0.40,labelled\n')
    text = alarms.count(path)
    assert text.startswith('4 false alarms looked at one by one: 3 (75%) ') and '1 (25%) a labelled object' in text


@pytest.mark.parametrize(('text', 'message'), [
    (HEAD + 'a.jpg,RBC,0.9,0,0,9,9,0.00,perhaps\n', 'line 2: .*perhaps'), ('a,b\n', 'line 1: expected the columns'),
    (HEAD + 'a.jpg,RBC,0.9,0,0,9,9,0.00,\n', 'a verdict in every line, 1 of 1'), (HEAD, 'a verdict in every line')])
def test_bad_lists(alarms, text, message, tmp_path):
    path = tmp_path / 'list.csv'
    path.write_text(text)
    with pytest.raises(ValueError, match=f'list.csv.*{message}'):
        alarms.count(path)


def test_list_and_pictures(alarms, tmp_path, monkeypatch):
    """One hit, one detection beside every label, one below the score; a verdict given before stays."""
    record = dict(image='images/a.png', width=40, height=30, facts={}, labels=np.array([0, 1, 1]),
                  boxes=np.array([[0, 0, 10, 10], [20, 10, 31, 21], [1, 1, 5, 5]], float),
                  scores=np.array([.9, .8, .2]),
                  gt_boxes=np.array([[0, 0, 10, 11.]]), gt_labels=np.array([0]), gt_ignore=np.array([False]))
    judged = Collected('detection', ('RBC', 'WBC'), 'val', np.array([[1., 0]]), [{}], [record],
                       read=lambda _: np.full((30, 40, 3), 200, np.uint8))
    for place, value in (('preflight.config.load_config', None), ('inference.split_predictions.load_model', None),
                         ('inference.split_predictions.collect', judged)):
        monkeypatch.setattr(f'cxrdet.{place}', lambda *_, value=value, **__: value)
    monkeypatch.setattr(alarms, 'TABLES', tmp_path)
    command = ['list', 'config', 'model.pth', '--data-root', 'x', '--table', 'cells', '--pictures', str(tmp_path / 'p')]
    for verdict in ('', 'nothing'):
        assert alarms.main(command) == 0
        path = tmp_path / 'cells_false_alarms.csv'
        with path.open(newline='') as file:
            assert [list(line.values()) for line in csv.DictReader(file)] == [
                ['a.png', 'WBC', '0.80', '20', '10', '31', '21', '0.00', verdict]]
        path.write_text(path.read_text().replace('0.00,\n', '0.00,nothing\n'))
    assert cv2.imread(str(tmp_path / 'p' / 'a.png')).shape == (960, 1280, 3)
    assert alarms.main(['count', '--table', 'cells']) == 0
