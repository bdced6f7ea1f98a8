"""Folders of single runs: how they are named, and which one a resumed run takes."""
import re
import time
from pathlib import Path

import pytest

from cxrdet.core.errors import ConfigError
from cxrdet.engine.run_name import RUN_TIME, run_folder


@pytest.fixture(autouse=True)
def no_launcher(monkeypatch):
    monkeypatch.delenv(RUN_TIME, raising=False)


def test_auto_is_config_and_time(tmp_path):
    before = time.strftime('%Y%m%d_%H%M%S')
    folder = run_folder(tmp_path, 'configs/resnet18_hybrid_csv.py', 'auto')
    assert folder.parent == tmp_path
    found = re.fullmatch(r'resnet18_hybrid_csv_(\d{8}_\d{6})', folder.name)
    assert before <= found[1] <= time.strftime('%Y%m%d_%H%M%S')
    assert not folder.exists()


def test_a_name_is_the_folder(tmp_path):
    for resume in (False, True, 'epoch_1.pth'):
        assert run_folder(tmp_path, 'a.py', 'heads 8', resume=resume) == tmp_path / 'heads 8'


def test_resume_takes_the_newest_with_a_checkpoint(tmp_path):
    names = ['a_20250101_000000', 'a_20261231_235959', 'a_20270101_000000', 'a_b_20280101_000000', 'a_last', 'other']
    for name in names:
        (tmp_path / name).mkdir()
        if name != 'a_20270101_000000':  # it ended before its first checkpoint
            (tmp_path / name / 'epoch_1.pth').touch()
    assert run_folder(tmp_path, 'a.py', 'auto', resume=True).name == 'a_20261231_235959'
    assert run_folder(tmp_path, 'a_b.py', 'auto', resume=True).name == 'a_b_20280101_000000'
    assert re.fullmatch(r'c_\d{8}_\d{6}', run_folder(tmp_path, 'c.py', 'auto', resume=True).name)


def test_processes_of_one_run_agree(tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match=r'--run-name auto: .*dist_train\.sh'):
        run_folder(tmp_path, 'a.py', 'auto', launcher='pytorch')
    monkeypatch.setenv(RUN_TIME, '20261128_202603')
    assert run_folder(tmp_path, 'a.py', 'auto', launcher='pytorch').name == 'a_20261128_202603'
    for script in ('launch.sh', 'slurm_train.sh'):
        assert f'export {RUN_TIME}=' in (Path(__file__).parents[2] / 'tools' / script).read_text()


@pytest.mark.parametrize(('name', 'resume', 'message'), [
    ('', False, "--run-name ''"), ('..', False, r"--run-name '\.\.'"), ('a/b', True, '--run-name .a/b.*--work-dir'),
    ('a\nb', False, r"--run-name 'a.nb'"), ('a\0b', False, '--run-name'), ('é' * 101, False, 'at most 200 bytes'),
    ('auto', 'runs/a_1/epoch_2.pth', '--run-name a_1 ')])
def test_what_is_refused(tmp_path, name, resume, message):
    with pytest.raises(ConfigError, match=message):
        run_folder(tmp_path, 'a.py', name, resume=resume)
