"""Curves as SVG: places by hand, gaps, ticks, empty panels."""
import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from cxrdet.visualization.panels import Line, Panel
from cxrdet.visualization.report.page import TEMPLATES
from cxrdet.visualization.report.svg import _log_ticks, _ticks, drawn

figures = TEMPLATES.get_template('macros.html').module.figures


def figure_of(panel):
    return TEMPLATES.get_template('macros.html').module.figure(panel, drawn(panel))


def parts(panel):
    return ElementTree.fromstring(figure_of(panel))


def paths(panel, look='curve'):
    found = [path for path in parts(panel).iter('path') if look in path.get('class').split()]
    return [[tuple(map(float, place.split())) for place in re.findall(r'[ML]([^MLZ]+)', path.get('d'))]
            for path in found]


def panel(*lines, **options):
    return Panel('title <&>', 'across', 'up', lines, 'note', **options)


def test_places():
    """The frame runs from 46 to 310 across and from 206 up to 12."""
    line = Line(np.array([0, 0.5, 1, 2]), np.array([0, 0.5, 1, -1]))
    assert paths(panel(line)) == [[(46, 206), (178, 109), (310, 12), (310, 206)]]


def test_steps_gaps_and_bands():
    line = Line(np.array([0, 0.5, 1]), np.array([1, 0.5, 0]), step=True)
    assert paths(panel(line)) == [[(46, 12), (46, 109), (178, 109), (178, 206), (310, 206)]]
    gap = Line(np.array([0, 0.5, 1]), np.array([1, np.nan, 0]))
    drawn, = (path.get('d') for path in parts(panel(gap)).iter('path'))
    assert drawn == 'M46 12M310 206'
    band = (np.array([0, 1]), np.array([0.5, np.nan]), np.array([1, 1]))
    assert paths(panel(line._replace(band=band)), 'band') == [[(46, 109), (46, 12)]]


def test_points_that_fall_together_are_left_out():
    x = np.linspace(0, 1, 100_000)
    text = figure_of(panel(Line(x, x)))
    assert len(text) < 60_000


def test_logarithmic_axes():
    line = Line(np.array([1 / 16, 1, 16]), np.array([0, 0.5, 1]))
    found = parts(panel(line, x_range=(1 / 16, 16), log_x=True))
    assert paths(panel(line, x_range=(1 / 16, 16), log_x=True)) == [[(46, 206), (178, 109), (310, 12)]]
    assert [text.text for text in found.iter('text')][:5] == ['1/16', '1/4', '1', '4', '16']
    rate = Line(np.array([1., 2.]), np.array([0., 1e-3]))
    assert np.isfinite(paths(panel(rate, x_range=None, y_range=None, log_y=True))).all()


@pytest.mark.parametrize('ends, expected', [((0, 1), [0, 0.2, 0.4, 0.6, 0.8, 1]), ((0, 12), [0, 5, 10]),
                                            ((3.1, 3.3), [3.1, 3.15, 3.2, 3.25, 3.3])])
def test_ticks(ends, expected):
    assert _ticks(*ends) == pytest.approx(expected)


def test_log_ticks():
    assert _log_ticks(1e-6, 1e-3, binary=False) == pytest.approx([1e-6, 1e-5, 1e-4, 1e-3])
    assert _log_ticks(0.1, 1, binary=False) == pytest.approx([0.1, 0.2, 0.5, 1])


def test_words_for_those_who_do_not_see_it():
    found = parts(panel(Line(np.array([0, 1]), np.array([0, 1]), 'name <&>')))
    assert found.find('svg').get('role') == 'img'
    assert found.find('svg/title').text == 'title <&>: up against across. note'
    assert found.find('figcaption/ul/li').itertext().__next__() == 'name <&>'


@pytest.mark.parametrize('lines', [[], [Line(np.zeros(0), np.zeros(0))], [Line(np.array([1.]), np.array([np.nan]))]])
def test_empty_panels(lines):
    figure_of(panel(*lines, x_range=None, y_range=None))
    assert ('no data' in figure_of(panel(*lines))) == (not lines)
    assert figures([]).strip() == '<div class="panels"></div>'


def test_one_value_only():
    assert np.isfinite(paths(panel(Line(np.array([1.]), np.array([2.])), x_range=None, y_range=None))).all()


def test_several_lines_differ_by_more_than_colour():
    found = [path.get('class') for path in parts(panel(*(Line(np.array([0, 1]), np.array([0, 1]), look=i)
                                                         for i in range(3)))).iter('path')]
    assert found == ['curve look0', 'curve look1', 'curve look2']
