"""Everything that the advice names exists: files, plugins, settings, options; and every finding has advice."""
import re
from functools import cache
from pathlib import Path
from statistics import mean, stdev

import pytest
import yaml
from scipy import stats
from zoo_pages import read_results

from cxrdet.cli import COMMANDS, command_parser
from cxrdet.core.advice import ADVICE, KINDS, Switch, advice_for
from cxrdet.core.evidence import Evidence, _read, tell, worth
from cxrdet.core.recipes import find_config, recipes

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
    assert {switch.measured for switch in SWITCHES if switch.measured} <= {*_read()}
    with pytest.raises(KeyError):
        advice_for('nothing', 'detection')


def differences(table, row):
    """Of the first two metrics of a table: mean over the folds and both ends, by the formula of Nadeau and Bengio."""
    content = read_results(ROOT)['tables'][table]
    cells = [{cell['run']: cell['metrics'] for cell in content['results'] if cell['row'] == name}
             for name in (row, content['baseline']['row'])]
    for metric in content['baseline']['metrics']:
        gaps = [cells[0][run][metric] - cells[1][run][metric] for run in cells[0]]
        half = stats.t.ppf(0.975, len(gaps) - 1) * stdev(gaps) * (
            1 / len(gaps) + content['baseline']['test_to_train']) ** 0.5
        yield metric, mean(gaps), mean(gaps) - half, mean(gaps) + half


@pytest.mark.parametrize('task', ['multi-label', 'single-label'])
def test_advice_for_imbalance_says_what_it_cost(task):
    hints = {hint['name']: hint['text'] for hint in advice_for('imbalance', task)}
    for name, row in (('cxrdet.ClassBalancedSampler', 'DenseNet, class-balanced sampling'),
                      ('cxrdet.PositiveWeightHook', 'DenseNet, positive weights')):
        told = [f'{metric} {change:+.3f} ({low:+.3f} to {high:+.3f})'
                for metric, change, low, high in differences('nih_779', row)]
        if name in hints:
            assert hints[name].endswith(f'; made things worse on 779 chest films: {", ".join(told)}')
    if task == 'multi-label':
        assert list(hints) == ['cxrdet.LabelCountSampler', 'cxrdet.PositiveWeightHook', 'cxrdet.ClassBalancedSampler']
        assert 'made no sure difference on 779 chest films: AUROC +0.0' in hints['cxrdet.LabelCountSampler']


def test_best_first():
    def found(change, low, high):
        return Evidence('t', 'r', 'films', 'AUROC', change, low, high, 1 if low is None else 3),
    order = [found(.3, .2, .4), found(.1, .01, .2), (), found(-.1, -.3, .1), found(-.5, None, None),
             found(-.1, -.15, -.05), found(-.3, -.4, -.2)]
    assert sorted([*order[:2][::-1], *order[2:5], *order[5:][::-1]], key=worth) == order
    assert [tell(part).split(' on')[0] for part in order] == [
        'helped', 'helped', '', 'made no sure difference', 'made no sure difference', *['made things worse'] * 2]
    assert tell(order[4]).endswith('films: AUROC -0.500 in a single run')


def test_every_finding_has_advice():
    """The codes that the modules write down, and those that they build from sizes and types of errors."""
    for task, module in (('detection', 'detection'), ('multi-label', 'classification'),
                         ('single-label', 'classification')):
        text = ''.join((ROOT / 'cxrdet/core' / place).read_text() for place in (
            'diagnosis.py', f'{module}/diagnosis.py'))
        codes = set(re.findall(r"finding\('(\w+)'", text)) | {'overconfident', 'underconfident'}
        codes -= {'never_called', 'shifted'} if task == 'single-label' else set()
        codes |= {*SIZES, *TYPES} if task == 'detection' else set()
        assert len(codes) >= 9 and codes == set(ADVICE[task])


@cache
def options_of(command):
    """The options of a command and of its own commands."""
    parser = command_parser(command)
    inner = [action.choices for action in parser._actions if isinstance(action.choices, dict)]
    return {option for each in (parser, *(sub for choices in inner for sub in choices.values()))
            for option in each._option_string_actions}


@pytest.mark.parametrize('switch', SWITCHES, ids=lambda switch: switch.name)
def test_what_is_named_exists(switch):
    if switch.kind == 'config':
        assert switch.name in recipes() or (
            (ROOT / switch.name).is_file() and switch.name.startswith('configs/'))
    if switch.kind == 'tool':
        assert switch.name.split() in [['cxrdet', command] for command in COMMANDS]
    if switch.kind == 'mod':
        assert (ROOT / 'configs' / '_base_' / 'mods' / f'{switch.name[1:]}.py').is_file()
    for name in re.findall(r'\w+_(?:nih|cell)(?:_\d+)?\b', switch.text):
        assert name in recipes()
    if switch.kind == 'plugin':
        plugins = yaml.safe_load((ROOT / 'configs/metafile.yml').read_text())['plugins']
        assert switch.name in [plugin['name'] for plugin in plugins]
    assert bool(switch.where) == (switch.kind == 'setting')
    for name in re.findall(r'configs/[\w/]+\.py', switch.text):
        assert (ROOT / name).is_file()
    for option in re.findall(r'--[a-z-]+', switch.text):
        commands = re.findall(r'cxrdet ([a-z-]+)', f'{switch.name} {switch.text}') or ['train']
        assert any(option in options_of(command) for command in commands), option


def test_settings_exist():
    from mmengine.config import Config
    configs = {}
    for switch in (switch for switch in SWITCHES if switch.kind == 'setting'):
        node = configs.setdefault(switch.where, Config.fromfile(find_config(switch.where)))
        for key in switch.name.split('.'):
            node = node[int(key)] if key.isdigit() else node[key]
    assert configs['configs/faster_rcnn_fpn_cell.py'].train_dataloader.dataset.pipeline[2].type == 'Resize'
