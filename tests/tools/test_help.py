"""--help of every tool answers without loading a framework, whose imports take many seconds."""
import json
import subprocess
import sys
from pathlib import Path

import pytest

TOOLS = Path(__file__).parents[2] / 'tools'
SHOWN = {'balance_data': ['--backgrounds'], 'check_data': ['--fix', '--no-pixels'], 'plot_curves': ['--keys'],
         'browse_data': ['--out-dir', '--data-root', '--split', '--number', '--columns', '--seed', '--cfg-options']}
ASK = """
import json, runpy, sys
sys.argv = [sys.argv[1], '--help']
try:
    runpy.run_path(sys.argv[0], run_name='__main__')
except SystemExit as end:
    assert not end.code, end.code
print(json.dumps(sorted({'torch', 'torchvision', 'mmcv', 'mmengine', 'mmdet', 'mmpretrain', 'cv2'} & set(sys.modules))))
"""


@pytest.mark.parametrize('name', sorted(path.stem for path in TOOLS.glob('*.py')))
def test_help_loads_no_framework(name):
    done = subprocess.run([sys.executable, '-c', ASK, str(TOOLS / f'{name}.py')], capture_output=True, text=True,
                          check=True)
    *text, loaded = done.stdout.splitlines()
    assert json.loads(loaded) == []
    assert all(option in '\n'.join(text) for option in SHOWN.get(name, ['usage']))
