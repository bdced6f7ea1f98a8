"""Everything that the advice names exists: files, plugins, settings, options; and every finding has advice."""
import re
from pathlib import Path

import pytest
import yaml

from cxrdet.core.advice import ADVICE, KINDS, Switch, advice_for

ROOT = Path(__file__).parents[2]
SWITCHES = sorted({switch for codes in ADVICE.values() for switches in codes.values() for switch in switches})
SIZES = ('small_boxes', 'medium_boxes', 'large_boxes')
TYPES = ('classification', 'localisation', 'both', 'duplicate', 'background', 'missed')


def test_the_table():
    assert list(ADVICE) == ['detection', 'multi-label', 'single-label']
    assert all(isinstance(switch, Switch) and switch.kind in KINDS and switch.text for switch in SWITCHES)
    assert all(switches for codes in ADVICE.values() for switches in codes.values())
    first = advice_for('overfit', 'detection')[0]
    assert set(first) == {'kind', 'name', 'text'}
    with pytest.raises(KeyError):
        advice_for('nothing', 'detection')


def test_every_finding_has_advice():
    """The codes that the modules write down, and those that they build from sizes and types of errors."""
    for task, module in (('detection', 'diagnosis_detection'), ('multi-label', 'diagnosis_classes'),
                         ('single-label', 'diagnosis_classes')):
        text = (ROOT / 'cxrdet/core/diagnosis.py').read_text() + (ROOT / f'cxrdet/core/{module}.py').read_text()
        codes = set(re.findall(r"finding\('(\w+)'", text)) | {'overconfident', 'underconfident'}
        codes -= {'never_called', 'shifted'} if task == 'single-label' else set()
        codes |= {*SIZES, *TYPES} if task == 'detection' else set()
        assert len(codes) >= 9 and codes == set(ADVICE[task])


@pytest.mark.parametrize('switch', SWITCHES, ids=lambda switch: switch.name)
def test_what_is_named_exists(switch):
    if switch.kind in ('config', 'tool'):
        assert (ROOT / switch.name).is_file() and switch.name.startswith(f'{switch.kind}s/')
    if switch.kind == 'plugin':
        plugins = yaml.safe_load((ROOT / 'configs/metafile.yml').read_text())['plugins']
        assert switch.name in [plugin['name'] for plugin in plugins]
    assert bool(switch.where) == (switch.kind == 'setting')
    for name in re.findall(r'(?:configs|tools)/[\w/]+\.py', switch.text):
        assert (ROOT / name).is_file()
    for option in re.findall(r'--[a-z-]+', switch.text):
        tools = [switch.name] if switch.kind == 'tool' else re.findall(r'tools/\w+\.py', switch.text) or [
            'tools/train.py']
        assert any(f"'{option}'" in (ROOT / tool).read_text() for tool in tools), option


def test_settings_exist():
    from mmengine.config import Config
    configs = {}
    for switch in (switch for switch in SWITCHES if switch.kind == 'setting'):
        node = configs.setdefault(switch.where, Config.fromfile(str(ROOT / switch.where)))
        for key in switch.name.split('.'):
            node = node[int(key)] if key.isdigit() else node[key]
    assert configs['configs/faster_rcnn_fpn_cell.py'].train_dataloader.dataset.pipeline[2].type == 'Resize'
