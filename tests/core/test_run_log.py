"""Records from MMEngine's log: means by hand, resumed runs, iterations."""
import json

import pytest

from cxrdet.core.errors import DataError
from cxrdet.core.run_log import read_logs


def write(path, *lines):
    path.write_text(''.join(json.dumps(line) + '\n' for line in lines))
    return path


def line(epoch, iteration, loss, lr=0.1):
    return dict(lr=lr, base_lr=lr, data_time=1, loss=loss, loss_cls=loss / 2, time=1., epoch=epoch, iter=iteration,
                step=iteration)


def test_epochs_of_a_resumed_run(tmp_path):
    judged = {'coco/bbox_mAP': 0.5, 'val/loss': 1., 'step': 1, 'data_time': 1, 'time': 2.}
    first = write(tmp_path / 'a.json', line(1, 10, 4.), line(1, 20, 2.), judged, line(2, 30, 9.))
    second = write(tmp_path / 'b.json', line(2, 30, 1., lr=0.01), {'coco/bbox_mAP': float('nan'), 'step': 2})
    assert read_logs([first, second]) == [
        {'epoch': 1, 'iter': 20, 'train': {'loss': 3., 'loss_cls': 1.5}, 'lr': {'all': 0.1},
         'val': {'coco/bbox_mAP': 0.5, 'val/loss': 1.}},
        {'epoch': 2, 'iter': 30, 'train': {'loss': 1., 'loss_cls': 0.5}, 'lr': {'all': 0.01},
         'val': {'coco/bbox_mAP': None}}]


def test_iterations(tmp_path):
    lines = [{key: value for key, value in line(0, i, float(i)).items() if key != 'epoch'} for i in (1, 2, 3, 4, 5)]
    path = write(tmp_path / 'a.json', *lines[:2], {'score': 0.2, 'step': 2}, *lines[2:4], {'score': 0.4, 'step': 4},
                 lines[4])
    records = read_logs([path])
    assert [(record['iter'], record['train']['loss'], record.get('val')) for record in records] == [
        (2, 1.5, {'score': 0.2}), (4, 3.5, {'score': 0.4}), (5, 5., None)]


def test_errors(tmp_path):
    with pytest.raises(DataError, match='no line of training, with "loss" and "iter"'):
        read_logs([write(tmp_path / 'empty.json')])
    (tmp_path / 'torn.json').write_text('{"loss": 1')
    with pytest.raises(DataError, match=r'torn.json: expected one JSON object a line'):
        read_logs([tmp_path / 'torn.json'])
