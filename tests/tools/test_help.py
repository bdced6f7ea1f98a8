"""--help of every command and tool answers without loading a framework, whose imports take many seconds."""
import json
import subprocess
import sys
from pathlib import Path

import pytest

from cxrdet.cli import COMMANDS

TOOLS = Path(__file__).parents[2] / 'tools'
SHOWN = {'balance_data': ['--backgrounds'], 'check_data': ['--fix', '--no-pixels'], 'plot_curves': ['--keys'],
         'browse_data': ['--out-dir', '--data-root', '--split', '--number', '--columns', '--seed', '--cfg-options']}
LOADED = """
print(json.dumps(sorted({'numpy', 'torch', 'torchvision', 'mmcv', 'mmengine', 'mmdet', 'mmpretrain', 'cv2'}
                        & set(sys.modules))))
"""
ASK = """
import json, runpy, sys
sys.argv = [sys.argv[1], '--help']
try:
    runpy.run_path(sys.argv[0], run_name='__main__')
except SystemExit as end:
    assert not end.code, end.code
"""
ASK_ALL = """
import json, sys
from cxrdet.cli import COMMANDS, main
assert main(['--help']) == 0
for command in COMMANDS:
    assert main([command, '--help']) == 0
"""


def answers(code, *arguments):
    done = subprocess.run([sys.executable, '-c', code + LOADED, *map(str, arguments)], capture_output=True, text=True,
                          check=True)
    text, _, loaded = done.stdout.rstrip().rpartition('\n')
    return text, json.loads(loaded)


@pytest.mark.parametrize('name', sorted({path.stem for path in TOOLS.glob('*.py')} - {'launch'}))  # starts the others
def test_help_loads_no_framework(name):
    text, loaded = answers(ASK, TOOLS / f'{name}.py')
    assert loaded == []
    assert all(option in text for option in SHOWN.get(name, ['usage']))


def test_help_of_every_command_loads_no_framework():
    text, loaded = answers(ASK_ALL)
    assert loaded == []
    assert all(f'usage: cxrdet {command}' in text for command in COMMANDS)
