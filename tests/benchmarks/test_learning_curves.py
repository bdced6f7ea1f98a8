"""Learning curves: points from the cells of a table, the page made from them, and what the tables train."""
from pathlib import Path

import pytest
from zoo_tables import read_table

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope='module')
def curves(benchmark):
    return benchmark('learning_curves')


def cells(*values):
    return [dict(row=f'{kind} weights, {images} images', run=run, metrics={'mAP': value})
            for kind, images, run, value in values]


def test_points_and_their_lines(curves):
    found = curves.points(cells(('pretrained', 60, 'a', 0.5), ('pretrained', 20, 'a', 0.4), ('random', 20, 'a', 0.1),
                                ('random', 20, 'b', 0.3)), 'mAP')
    assert found == [(20, [0.1, 0.3], [0.4]), (60, [], [0.5])]
    text = curves.section({'cells, mAP': found})
    assert '| cells, mAP | 20 | 0.200 (0.100, 0.300) | 0.400 | +0.200 |' in text
    assert '| cells, mAP | 60 |  | 0.500 |  |' in text
    assert '(images/learning_curves.png)' in text


def test_nothing_measured(curves):
    assert 'Not measured yet' in curves.section({'cells, mAP': curves.points([], 'mAP')})


def test_page_is_up_to_date(curves):
    text = curves.PAGE.read_text()
    assert text == curves.page(text, curves.read_curves())


@pytest.mark.parametrize('name', ['learning_curve_bccd', 'learning_curve_crops', 'learning_curve_nih'])
def test_rows_differ_in_images_and_weights_alone(curves, name):
    table, limits = read_table(REPOSITORY / 'benchmarks' / 'tables' / f'{name}.yml'), {}
    assert len({spec['config'] for spec in table['rows'].values()}) == 1 and len(table['runs']) == 2
    for row, spec in table['rows'].items():
        kind, images = curves.ROW.fullmatch(row).groups()
        options = list(spec.get('train', ()))
        assert ('--from-scratch' in options) == (kind == 'random')
        limited = '--train-limit' in options
        limits.setdefault(kind, {})[images] = options[options.index('--train-limit') + 1] if limited else ''
    assert limits['random'] == limits['pretrained']
    assert list(limits['random'].values()) == ['20', '60', ''] == [*list(limits['random'])[:2], '']
    assert curves.CURVES[name][1] in table['metrics']


def test_a_picture(curves, tmp_path):
    curves.plot({'cells, mAP': curves.points(cells(('random', 20, 'a', 0.1), ('random', 60, 'a', 0.2)), 'mAP'),
                 'films, AUROC': []}, tmp_path / 'a.png')
    assert (tmp_path / 'a.png').read_bytes().startswith(b'\x89PNG')
