"""Files of an earlier run are moved, none is lost."""
import os
import time

from cxrdet.engine.hooks.history import move_earlier_run

OF_A_RUN = ('history.json', 'metrics.json', 'training_plot.png', 'last_checkpoint', 'epoch_3.pth', 'iter_7.pth',
            'best_coco_bbox_mAP_epoch_2.pth')
OTHERS = ('config.py', 'resnet50.pth', 'notes.txt')


def write(folder, names, text):
    for name in names:
        (folder / name).write_text(text + name)


def contents(folder):
    return {path.name: path.read_text() for path in folder.iterdir() if path.is_file()}


def test_records_and_checkpoints_are_moved(tmp_path):
    write(tmp_path, OF_A_RUN + OTHERS, 'a ')
    (tmp_path / '20260101_000000').mkdir()
    os.utime(tmp_path / 'history.json', (0, 1e9))
    folder = move_earlier_run(tmp_path)
    assert folder == tmp_path / time.strftime('earlier_%Y%m%d_%H%M%S', time.localtime(1e9))
    assert contents(folder) == {name: f'a {name}' for name in OF_A_RUN}
    assert set(contents(tmp_path)) == set(OTHERS)
    assert (tmp_path / '20260101_000000').is_dir()
    assert move_earlier_run(tmp_path) is None


def test_no_earlier_run(tmp_path):
    write(tmp_path, ('epoch_1.pth', 'metrics.json'), 'a ')
    assert move_earlier_run(tmp_path) is None
    assert move_earlier_run(tmp_path / 'new') is None
    assert len(list(tmp_path.iterdir())) == 2


def test_nothing_is_overwritten(tmp_path):
    for text in ('a ', 'b ', 'c '):
        write(tmp_path, OF_A_RUN, text)
        os.utime(tmp_path / 'history.json', (0, 1e9))
        folder = move_earlier_run(tmp_path)
    found = contents(folder)
    assert len(found) == 3 * len(OF_A_RUN)
    assert [found[name] for name in ('epoch_3.pth', 'epoch_3_2.pth', 'epoch_3_3.pth')] == [
        'a epoch_3.pth', 'b epoch_3.pth', 'c epoch_3.pth']


def test_the_checkpoint_that_the_new_run_begins_with_stays(tmp_path):
    write(tmp_path, OF_A_RUN, 'a ')
    folder = move_earlier_run(tmp_path, keep=f'{tmp_path}/../{tmp_path.name}/epoch_3.pth')
    assert set(contents(tmp_path)) == {'epoch_3.pth'}
    assert set(contents(folder)) == set(OF_A_RUN) - {'epoch_3.pth'}
