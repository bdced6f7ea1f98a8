"""Commands in processes of their own: what they leave, what they cost, and that they end with their parent."""
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from cxrdet.analysis.trainings import Trainings, checkpoint_of, cost_of, drop_checkpoints, last_words, measured

REPOSITORY = Path(__file__).parents[2]
#: Runs two commands that never end by themselves; the first takes a while to die, as one that saves a checkpoint.
PARENT = """
import sys
from functools import partial
from pathlib import Path
from cxrdet.analysis.trainings import Trainings
work = Path(sys.argv[1])
child = '''import os, signal, sys, time
from pathlib import Path
def end(*_):
    Path('saved').write_text('whole')
    sys.exit(143)
signal.signal(signal.SIGTERM, end)
Path('pid').write_text(str(os.getpid()))
time.sleep(600)'''
trainings = Trainings(threads=1)
def job(name):
    (work / name).mkdir(exist_ok=True)
    trainings.call([sys.executable, '-c', child], work / name, 'train', cwd=work / name)
trainings.run_all({name: partial(job, name) for name in 'ab'}, workers=2)
"""


def python(text: str, *arguments: str) -> list[str]:
    return [sys.executable, '-c', text, *arguments]


def until(condition) -> None:
    for _ in range(600):
        if condition():
            return
        time.sleep(0.05)
    raise TimeoutError


def hears_ctrl_c() -> None:
    """In the child: a shell starts programs in the background with SIGINT ignored, and children inherit that."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def runs(pid: int) -> bool:
    try:
        return Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0] != 'Z'
    except OSError:
        return False


@pytest.mark.skipif(sys.platform != 'linux', reason='looks into /proc')
@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGKILL], ids=['Ctrl-C', 'kill -9'])
def test_no_process_outlives_the_one_that_began_it(tmp_path, number):
    parent = subprocess.Popen(python(PARENT, str(tmp_path)), env=os.environ | {'PYTHONPATH': str(REPOSITORY)},
                              stderr=subprocess.DEVNULL, preexec_fn=hears_ctrl_c)
    files = [tmp_path / name / 'pid' for name in 'ab']
    until(lambda: all(file.is_file() and file.read_text() for file in files))
    children = [int(file.read_text()) for file in files]
    parent.send_signal(number)
    parent.wait(60)
    until(lambda: not any(map(runs, children)))
    for name in 'ab':
        assert (tmp_path / name / 'saved').read_text() == 'whole'  # it was told, not killed
        assert (tmp_path / name / 'running').exists()  # so that the next one knows that this was cut off


def test_a_failure_is_told_with_the_last_error_of_the_log_and_stops_no_other(tmp_path):
    trainings, finished = Trainings(threads=1), []

    def job(name, text):
        trainings.call(python(text), tmp_path / name, 'train', title='cxrdet train')
        finished.append(name)
    failures = trainings.run_all({
        'bad': partial(job, 'bad', "print('error: no such folder: data'); print('bye'); raise SystemExit(2)"),
        'good': partial(job, 'good', 'pass')}, workers=1)
    assert finished == ['good'] and list(failures) == ['bad']
    assert (failures['bad'].cmd, failures['bad'].returncode, failures['bad'].output) == (
        'cxrdet train', 2, 'error: no such folder: data')


def test_a_fault_of_the_program_is_no_failed_job():
    with pytest.raises(ZeroDivisionError):
        Trainings(threads=1).run_all({'job': lambda: 1 / 0}, workers=1)


def test_each_running_job_has_a_device_to_itself(tmp_path):
    """Four jobs on two devices, which wait for one another two by two: each device is used, never twice at a time."""
    text = ("import os, sys, time; from pathlib import Path; name = os.environ['CUDA_VISIBLE_DEVICES']; "
            'mine = Path(sys.argv[1], name); mine.touch(exist_ok=False); time.sleep(0.2); mine.unlink(); '
            "print(name, os.environ['OMP_NUM_THREADS'])")
    trainings = Trainings(threads=3, devices=['GPU-0', '5'])
    jobs = {i: partial(trainings.call, python(text, str(tmp_path)), tmp_path / str(i), 'train') for i in range(4)}
    assert trainings.run_all(jobs, workers=4) == {}
    assert {(tmp_path / str(i) / 'train.log').read_text() for i in range(4)} == {'GPU-0 3\n', '5 3\n'}


def test_costs_add_up_and_what_is_done_is_not_done_again(tmp_path):
    trainings = Trainings(threads=1)
    (tmp_path / 'running').touch()  # as a killed run leaves it
    assert cost_of(tmp_path) == {'wall': 0.0, 'cpu': 0.0, 'peak': 0, 'interrupted': 0}
    for _ in range(2):
        trainings.call(python('sum(range(10**5))'), tmp_path, 'train', once='trained')
    cost = cost_of(tmp_path)
    assert cost['interrupted'] == 1 and cost['wall'] > 0 and cost['cpu'] > 0 and cost['peak'] > 1000
    trainings.call(python('pass'), tmp_path, 'test')
    assert cost_of(tmp_path) == cost  # the cost of a test is none of the training


def test_checkpoints_and_figures_of_a_work_folder(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match='best_'):
        checkpoint_of(tmp_path, 'best')
    with pytest.raises(FileNotFoundError):
        measured(tmp_path)
    for age, name in enumerate(('best_b.pth', 'best_a.pth', 'epoch_1.pth', 'epoch_2.pth')):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (age, age))
    (tmp_path / 'last_checkpoint').write_text(f'{tmp_path}/epoch_2.pth\n')
    assert checkpoint_of(tmp_path, 'best') == tmp_path / 'best_a.pth'  # the newer
    monkeypatch.chdir(tmp_path)  # one path is relative, the other not
    drop_checkpoints(Path(), but=tmp_path / 'best_a.pth')
    assert {path.name for path in tmp_path.glob('*.pth')} == {'best_a.pth', 'epoch_2.pth'}
    (tmp_path / 'last_checkpoint').write_text('elsewhere/epoch_2.pth')
    assert checkpoint_of(tmp_path, 'last') == tmp_path / 'epoch_2.pth'  # of a folder that was moved
    (tmp_path / 'last_checkpoint').write_text('elsewhere/epoch_3.pth')
    assert checkpoint_of(tmp_path, 'last') == Path('elsewhere/epoch_3.pth')
    for age, name in enumerate('ab'):
        (tmp_path / name).mkdir()
        (tmp_path / name / f'{name}.json').write_text(f'{{"x": {age}}}')
        os.utime(tmp_path / name / f'{name}.json', (age, age))
    assert measured(tmp_path) == {'x': 1}


@pytest.mark.parametrize(('text', 'expected'), [
    ('', ''), ('one\ntwo\n\n', 'two'), ('error: this\nTraceback\n', 'error: this'),
    ('error: a\nerror: b\nc', 'error: b')])
def test_last_words(tmp_path, text, expected):
    (tmp_path / 'log').write_text(text)
    assert last_words(tmp_path / 'log') == expected
