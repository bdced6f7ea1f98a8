"""The commands that only the command line has: config, env, publish, completion."""
import getpass
import platform
import re

import pytest

from cxrdet.cli import COMMANDS, main

TINY = 'faster_rcnn_bifpn_cell_tiny'


def test_config_prints_what_a_run_would_have(capsys):
    assert main(['config', TINY, '--cfg-options', 'max_epochs=7', '--data-root', '/d']) == 0
    text = capsys.readouterr().out
    assert 'max_epochs=7' in text and "data_root='/d'" in text and "work_dir = 'work_dirs/faster_rcnn" in text


def test_config_prints_what_differs(capsys):
    assert main(['config', 'faster_rcnn_bifpn_cell', '--against', 'faster_rcnn_fpn_cell']) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "- model.neck.type = 'FPN'" in lines and "+ model.neck.type = 'cxrdet.BiFPN'" in lines
    assert all(line.startswith(('- ', '+ ')) for line in lines)
    assert not any('backbone' in line for line in lines)
    assert main(['config', TINY, '--against', TINY]) == 0
    assert capsys.readouterr().out == 'no difference\n'


def test_env_names_versions_and_nothing_private(capsys):
    assert main(['env']) == 0
    text = capsys.readouterr().out
    for words in (platform.python_version(), 'torch', 'onedl-mmengine', 'cores', 'opencv', 'JPEG', 'operators'):
        assert words in text
    assert not re.search(r'(?<![\w.])/\w+/\w', text)
    assert platform.node() not in text.replace('none', '') or len(platform.node()) < 4


def test_env_tells_what_is_broken_instead_of_ending(capsys, monkeypatch):
    def broken():
        raise ImportError('libcudart.so: cannot open\n shared object')
    monkeypatch.setattr('cxrdet.cli.commands.env._processor', broken)
    assert main(['env']) == 0
    text = capsys.readouterr().out
    assert '\nprocessor     ImportError: libcudart.so: cannot open shared object\n' in text and '\nvariables ' in text


@pytest.fixture
def checkpoint(tmp_path):
    """One as a training writes it, with all that should not leave the house."""
    import torch
    secret = f'/srv/somebody/{getpass.getuser()}/{platform.node()}/thesis'
    weight = torch.arange(12.).reshape(3, 4)
    meta = {'dataset_meta': {'classes': ('RBC', 'WBC'), 'palette': [(1, 2, 3)], 'source': secret},
            'precision': 'float32', 'operating_points': {'points': {'youden': [0.5, 0.25]}, 'temperature': 1.5},
            'cfg': f'data_root = "{secret}"', 'experiment_name': secret, 'epoch': 3, 'iter': 30,
            'env': platform.node(), 'time': '20260101'}
    path = tmp_path / 'epoch_3.pth'
    torch.save({'meta': meta, 'state_dict': {'module.fc.weight': weight[:2]}, 'optimizer': {'lr': 0.1, 'log': secret},
                'message_hub': {'runtime_info': {'last_ckpt': secret}}, 'param_schedulers': [], 'history': secret},
               path)
    return path, secret


def test_publish(checkpoint, tmp_path, capsys):
    import hashlib

    import torch

    from cxrdet.checkpoints.checkpoint import Checkpoint
    path, secret = checkpoint
    assert main(['publish', str(path), str(tmp_path / 'out' / 'cells.pth')]) == 0
    made, = (tmp_path / 'out').iterdir()
    data = made.read_bytes()
    assert made.name == f'cells-{hashlib.sha256(data).hexdigest()[:8]}.pth'
    assert str(made) in capsys.readouterr().out
    found = Checkpoint.read(made)
    assert found.classes == ('RBC', 'WBC') and found.precision == 'float32'
    assert found.operating_points['points']['youden'] == [0.5, 0.25]
    assert set(found.content) == {'meta', 'state_dict'}
    assert set(found.meta) == {'dataset_meta', 'operating_points', 'precision'}
    assert torch.equal(found.weights['fc.weight'], torch.arange(8.).reshape(2, 4))
    assert set(torch.load(made, weights_only=True)) == {'meta', 'state_dict'}  # for those who have no cxrdet
    for word in (secret, str(tmp_path), '/srv', 'optimizer', 'message_hub', 'epoch_3', platform.node(),
                 getpass.getuser()):
        assert word.encode() not in data, word


def test_publish_needs_classes(tmp_path, capsys):
    import torch
    torch.save({'state_dict': {'w': torch.zeros(1)}}, tmp_path / 'w.pth')
    assert main(['publish', str(tmp_path / 'w.pth'), str(tmp_path / 'out.pth')]) == 2
    assert 'does not say its classes' in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ['w.pth']


@pytest.mark.parametrize('shell', ['bash', 'zsh'])
def test_completion(shell, capsys):
    pytest.importorskip('shtab')
    assert main(['completion', shell]) == 0
    text = capsys.readouterr().out
    assert all(command in text for command in COMMANDS) and '--resume' in text


def test_completion_says_what_it_needs(monkeypatch, capsys):
    import sys
    monkeypatch.setitem(sys.modules, 'shtab', None)
    assert main(['completion', 'bash']) == 2
    assert 'pip install' in capsys.readouterr().err
