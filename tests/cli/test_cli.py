"""The command ``cxrdet``: its commands, what their options may be, and how plugins come to be registered."""
import csv
import subprocess
import sys

import pytest

from cxrdet.cli import COMMANDS, command_parser, full_parser, main, overview


def test_every_command_is_listed(capsys):
    assert main([]) == main(['--help']) == 0
    assert all(f'\n  {command} ' in overview() for command in COMMANDS)
    assert main(['--version']) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith('cxrdet ')


def test_an_unknown_command(capsys):
    assert main(['tarin']) == 2
    assert 'Did you mean "train"?' in capsys.readouterr().err


def test_one_parser_of_all_commands():
    """For completion: with the options of each."""
    args = full_parser().parse_args(['train', 'c.py', '--seed', '3'])
    assert args.command == 'train' and args.config == 'c.py' and args.seed == 3


C = ['c.py', 'w.pth']
WRONG = [
    ['train', 'c.py', '--seed', '-1'], ['train', 'c.py', '--seed', '4294967296'], ['train', 'c.py', '--seed', '1.5'],
    ['train', 'c.py', '--train-limit', '0'], ['train', 'c.py', '--valid-limit', '-3'], ['train'],
    ['train', 'c.py', '--timeout', '0'], ['train', 'c.py', '--work-dir', ''], ['test', *C, '--out', 'x.pkl'],
    ['test', *C, '--valid-limit', '0'], ['predict', *C, 'i', '--out-dir', 'o', '--batch-size', '0'],
    ['predict', *C, 'i', '--out-dir', 'o', '--score-thr', '2'], ['predict', *C, 'i', '--out-dir', 'o', '--page', '-1'],
    ['predict', *C, 'i', '--out-dir', 'o', '--score-thr', 'nan'], ['check-data', 'd', '--workers', '-1'],
    ['check-data', 'd', '--examples', '-1'], ['check-data', 'd', '--json', 'x.txt'],
    ['check-data', 'd', '--min-side', '-1'], ['balance-data', 'd', 'o', '--target', '-1'],
    ['balance-data', 'd', 'o', '--most', '0'], ['balance-data', 'd', 'o', '--alarm-score', '1.1'],
    ['balance-data', 'd', 'o', '--seed', '-1'], ['prepare-data', 'cell-phantom', 'o', '--train', '-1'],
    ['prepare-data', 'cell-phantom', 'o', '--seed', '-1'], ['prepare-data', 'convert', 'd', 'o', '--val-share', '1'],
    ['diagnose', *C, '--out', 'x.txt'], ['diagnose', *C, '--workers', '-1'], ['diagnose', *C, '--train-images', '-1'],
    ['diagnose', *C, '--worst', '-1'], ['report', *C, '--out', 'x.txt'], ['report', *C, '--out', 'x.html',
                                                                          '--samples', '0'],
    ['report', *C, '--out', 'x.html', '--pictures', '-1'], ['compare', *C, '--out', 'x.txt'],
    ['compare', *C, '--out', 'x.png', '--columns', '0'], ['compare', *C, '--out', 'x.png', '--images', '0'],
    ['plot-curves', 'r', '--out', 'x.txt'], ['browse-data', 'c.py', '--out-dir', 'o', '--columns', '0'],
    ['train', 'c.py', '--train-limit', '99999999999999999999'], ['balance-data', 'd', 'o', '--target', str(2 ** 31)],
    ['diagnose', *C, '--workers', '9999999'], ['balance-data', 'd', 'o', '--targets', 'a=99999999999999999999'],
    ['browse-data', 'c.py', '--out-dir', 'o', '--number', '0'], ['publish', 'w.pth', 'x.txt'],
]


@pytest.mark.parametrize('argv', WRONG, ids=' '.join)
def test_a_wrong_option_is_refused_in_one_line(argv, capsys):
    assert main(argv) == 2
    said = capsys.readouterr()
    assert said.out == ''
    assert said.err.startswith('error: ') and said.err.count('\n') == 1


@pytest.mark.parametrize(('argv', 'meant'), [
    (['train', 'c.py', '--sed', '3'], '--seed'), (['prepare-data', 'cell-phantoms', 'd'], 'cell-phantom'),
    (['predict', *C, 'i', '--out-dir', 'o', '--format', 'cocoo'], 'coco')])
def test_what_may_have_been_meant(argv, meant, capsys):
    assert main(argv) == 2
    assert f'Did you mean "{meant}"?' in capsys.readouterr().err


def test_options_of_the_config_may_come_in_several_places():
    args = command_parser('train').parse_args(['c.py', '--cfg-options', 'a=1', '--seed', '3', '--cfg-options', 'b=2'])
    assert args.cfg_options == ['a=1', 'b=2'] and args.seed == 3


@pytest.mark.parametrize(('argv', 'option'), [
    (['train', 'c.py', '--work-dir'], 'work_dir'), (['predict', *C, 'i', '--out-dir'], 'out_dir'),
    (['check-data', 'd', '--fix'], 'fix'), (['balance-data', 'd'], 'out'),
    (['prepare-data', 'cell-phantom'], 'out_dir'), (['browse-data', 'c.py', '--out-dir'], 'out_dir')])
def test_a_folder_that_cannot_be_written(tmp_path, argv, option, capsys):
    (tmp_path / 'file').write_text('mine')
    (tmp_path / 'link').symlink_to(tmp_path / 'none')
    for name in ('file', 'file/below', 'link', 'x' * 300, 'a\0b'):
        assert main([*argv, str(tmp_path / name)]) == 2
        assert 'expected a folder to write into' in capsys.readouterr().err
    assert (tmp_path / 'file').read_text() == 'mine'
    assert vars(command_parser(argv[0]).parse_args([*argv[1:], str(tmp_path / 'new/new')]))[option]
    assert sorted(path.name for path in tmp_path.iterdir()) == ['file', 'link']


@pytest.mark.parametrize(('command', 'name'), [(['report', *C], 'x.html'), (['compare', *C], 'x.png'),
                                               (['plot-curves', 'r'], 'x.svg'), (['diagnose', *C], 'x.json')])
def test_a_file_that_cannot_be_written(tmp_path, command, name, capsys):
    (tmp_path / name).mkdir()
    (tmp_path / 'file').touch()
    for place in (tmp_path / name, tmp_path / 'file' / name):
        assert main([*command, '--out', str(place)]) == 2
        assert str(place.parent) in capsys.readouterr().err


REGISTERS = """
import sys
import cxrdet
assert not {'mmengine', 'torch', 'numpy'} & set(sys.modules)
from mmengine.registry import MODELS, HOOKS
assert 'cxrdet.registry' in sys.modules and cxrdet.registry.MODELS.scope == 'cxrdet'
assert HOOKS.children['cxrdet'] is cxrdet.registry.HOOKS
"""
LATE = """
import sys
import mmengine.registry
import cxrdet
assert mmengine.registry.MODELS.children['cxrdet'] is cxrdet.registry.MODELS
"""


@pytest.mark.parametrize('code', [REGISTERS, LATE], ids=['before', 'after'])
def test_registries_stand_whatever_is_imported_first(code):
    subprocess.run([sys.executable, '-c', code], check=True)


def test_list_tells_recipes_with_results_and_mods(capsys):
    assert main(['list']) == 0
    text = capsys.readouterr().out
    recipes, mods = text.split('\nMods ')
    assert '  faster_rcnn_bifpn_cell\n' in recipes and '  faster_rcnn_fpn_bccd_ohem\n' not in text
    with open('configs/results.csv', newline='') as file:
        tiny = next(line for line in csv.DictReader(file) if line['recipe'] == 'faster_rcnn_bifpn_cell_tiny')
    assert f'mAP {float(tiny["mean"]):.3f}' in recipes.split('  faster_rcnn_bifpn_cell_tiny\n')[1].split('\n  f')[0]
    assert '  ohem\n' in mods


@pytest.mark.parametrize(('words', 'found', 'others'), [
    (['bccd', 'ohem'], 'faster_rcnn_fpn_bccd_ohem_loss', 'faster_rcnn_fpn_bccd_320'),
    (['coordinate', 'layer'], 'cxrdet.CoordinateAttention', 'cxrdet.ECA'), (['nothing of the kind'], '', 'cxrdet')])
def test_list_finds(words, found, others, capsys):
    assert main(['list', '--find', *words]) == 0
    text = capsys.readouterr().out
    assert found in text and f'  {others}\n' not in text
