"""The table of backbones: what is measured of one, that a run goes on where it was, and the page in the docs."""
from pathlib import Path

import pytest
import torchvision

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope='module')
def backbones(benchmark):
    return benchmark('backbones')


@pytest.mark.long
def test_measures_and_goes_on(backbones, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(backbones, 'SIZE', 64)
    table, out = tmp_path / 'table.csv', tmp_path / 'page.md'
    arguments = ['--table', str(table), '--out', str(out), '--rounds', '1', '--only', 'resnet18']
    backbones.main(arguments)
    row, = backbones.read(table)
    assert (row['backbone'], row['strides'], row['channels']) == ('resnet18', '4 8 16 32', '64 128 256 512')
    reference = torchvision.models.resnet18(weights=None)
    assert int(row['parameters']) == sum(p.numel() for p in reference.parameters()) - 513 * 1000
    assert int(row['parameters_with_bifpn']) > int(row['parameters']) and float(row['ms']) > 0
    before = table.read_text()
    monkeypatch.setattr(backbones, 'measure', None)  # nothing is measured twice
    backbones.main(arguments)
    assert table.read_text() == before and '| 4/8/16/32 | 64/128/256/512 | 11.2 M |' in out.read_text()


def test_page_holds_every_backbone_and_is_up_to_date(backbones):
    rows = backbones.read(REPOSITORY / 'benchmarks' / 'tables' / 'backbones.csv')
    assert {row['backbone'] for row in rows} == {path.stem for path in backbones.PIECES.glob('*.py')}
    assert (REPOSITORY / 'docs' / 'backbones.md').read_text() == backbones.page(rows, rounds=5)
    assert {row['strides'] for row in rows} == {'4 8 16 32'}
