"""tools/plot_curves.py on records of made-up runs."""

import pytest

from cxrdet.core.history import to_json

RECORDS = [{'epoch': i, 'iter': i, 'train': {'loss': 1 / i}, 'val': {'accuracy/top1': 50.0 + i}, 'lr': {'all': 0.1},
            'time': {'train': 1.0}} for i in (1, 2, 3)]


@pytest.fixture
def runs(tmp_path):
    for name in ('a/run', 'b/run', 'c'):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / 'history.json').write_text(to_json(RECORDS))
    return tmp_path


@pytest.fixture
def names(monkeypatch):
    import cxrdet.analysis.curves as curves
    seen, draw = [], curves.compare_histories
    monkeypatch.setattr(curves, 'compare_histories', lambda runs, keys: seen.extend(runs) or draw(runs, keys))
    return seen


def test_several_runs(tool, runs, names, capsys):
    out = runs / 'out' / 'curves.png'
    code = tool('plot_curves').main([str(runs / 'a/run'), str(runs / 'b/run/history.json'), str(runs / 'c'), '--out',
                                     str(out), '--keys', 'train/loss', 'accuracy/top1'])
    assert code == 0
    assert out.read_bytes().startswith(b'\x89PNG')
    assert names == ['a/run', 'b/run', f'{runs.name}/c']
    assert capsys.readouterr().out == f'3 runs: {out}\n'


@pytest.mark.parametrize(('run', 'options', 'text'), [
    ('c', ['--keys', 'train/los'], 'No run has "train/los". Did you mean "train/loss"?'),
    ('d', [], 'd: no such file. Expected the work folder')])
def test_one_message(run, options, text, tool, runs, capsys):
    code = tool('plot_curves').main([str(runs / run), '--out', str(runs / 'x.png'), *options])
    assert code == 2
    assert text in capsys.readouterr().err
    assert not (runs / 'x.png').exists()


