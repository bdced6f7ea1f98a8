"""Panels as files and as SVG: places by hand, gaps, ticks, words, empty panels; the numbers are of tests/core."""
import re
import warnings
import xml.etree.ElementTree as ElementTree

import cv2
import numpy as np
import pytest

from cxrdet.core.detection.matching import LesionTable
from cxrdet.core.errors import ConfigError
from cxrdet.visualization.panels import (
    Line,
    Panel,
    calibration_panel,
    detection_pr_panels,
    froc_panels,
    pr_panels,
    roc_panels,
)
from cxrdet.visualization.plots import drawn, look_of, write_panels
from cxrdet.visualization.report.page import TEMPLATES

CLASSES = ['Mass', 'Nodule', 'Hernia']
LEFT, RIGHT, BOTTOM, TOP = 0.145 * 230.4, 0.97 * 230.4, 0.825 * 180, 0.045 * 180  # of the frame in 230.4 x 180 points
NAME = '{http://www.w3.org/2000/svg}'
figures = TEMPLATES.get_template('macros.html').module.figures


@pytest.fixture(scope='module')
def data():
    rng = np.random.default_rng(0)
    true = (rng.random((200, 3)) < 0.3).astype(float)
    true[:, 2] = 0
    true[:20, 0] = np.nan
    return true, rng.normal(size=true.shape) + np.nan_to_num(true)


@pytest.fixture(scope='module')
def table():
    rng = np.random.default_rng(2)
    labels, image = rng.integers(3, size=200), rng.integers(20, size=200)
    return LesionTable(rng.random(200), rng.random(200) < 0.5, labels, image, np.full((20, 3), 5))


def parts(panel):
    (_, text), = drawn([panel])
    return ElementTree.fromstring(text)


def texts(found):
    return [text.text for text in found.iter(f'{NAME}text')]


def paths(panel, number=0, kind='stroke'):
    """Points of the curves of a look, as shares of the frame from its left lower corner."""
    found = [path.get('d') for path in parts(panel).iter(f'{NAME}path')
             if re.search(rf'{kind}: var\(--look{number}\)', path.get('style', ''))]
    return [[pytest.approx(((float(x) - LEFT) / (RIGHT - LEFT), (BOTTOM - float(y)) / (BOTTOM - TOP)), abs=1e-3)
             for x, y in re.findall(r'[ML]([-\d.]+) ([-\d.]+)', d)] for d in found]


def panel(*lines, **options):
    return Panel('title <&>', 'across', 'up', lines, 'note', **options)


def inner(*shares):
    """Where shares of the range stand in the frame, which is a hundredth wider on each side."""
    return [tuple((share + 0.01) / 1.02 for share in pair) for pair in shares]


def test_places():
    assert paths(panel(Line(np.array([0, 0.5, 1]), np.array([0, 1, 0.25])))) == [inner((0, 0), (0.5, 1), (1, 0.25))]


def test_what_lies_outside_is_cut_off():
    cut, = paths(panel(Line(np.array([0, 3]), np.array([0.5, 0.5]))))
    clip = parts(panel()).find(f'.//{NAME}clipPath/{NAME}rect')
    end = float(clip.get('x')) + float(clip.get('width'))
    assert cut[0] == inner((0, 0.5))[0] and end == pytest.approx(RIGHT, abs=0.1)


def test_steps_and_gaps():
    line = Line(np.array([0, 0.5, 1]), np.array([1, 0.5, 0]), step=True)
    assert paths(panel(line)) == [inner((0, 1), (0, 0.5), (0.5, 0.5), (0.5, 0), (1, 0))]
    gap = Line(np.array([0, 0.2, 0.5, 0.8, 1]), np.array([1, 0.8, np.nan, 0.1, 0]))
    path, = (path.get('d') for path in parts(panel(gap)).iter(f'{NAME}path') if '--look0' in path.get('style', ''))
    assert path.count('M') == 2 and path.count('L') == 2


def test_points_that_fall_together_are_left_out():
    x = np.linspace(0, 1, 100_000)
    assert len(next(drawn([panel(Line(x, x))]))[1]) < 10_000


def test_logarithmic_axes():
    line = panel(Line(np.array([1 / 16, 1, 16]), np.array([0, 0.5, 1])), x_range=(1 / 16, 16), log_x=True)
    assert paths(line) == [[(0, 0.01 / 1.02), (0.5, 0.5), (1, 1.01 / 1.02)]]
    assert texts(parts(line))[:5] == ['1/16', '1/4', '1', '4', '16']
    rate = panel(Line(np.array([1., 2., 3.]), np.array([0., 1e-4, 1e-3])), x_range=None, y_range=None, log_y=True)
    assert {'0.0001', '0.001'} <= set(texts(parts(rate)))
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        one = panel(Line(np.array([1.]), np.array([1e-7 + 1e-23])), x_range=None, y_range=None, log_y=True)
        assert '1e\N{MINUS SIGN}07' in texts(parts(one))
    flat = panel(Line(np.array([1., 2.]), np.array([0.003, 0.003])), x_range=None, y_range=None, log_y=True)
    assert len(texts(parts(flat))) > 4  # there is a number although no power of ten is in sight


def test_whole_epochs_and_the_best_of_them():
    line = Line(np.array([1., 2.]), np.array([0.25, 0.75]))
    found = parts(panel(line, x_range=(0.5, 2.5), y_range=None, whole_x=True, best=(2, 0.75)))
    assert texts(found)[:2] == ['1', '2'] and '0.75' in texts(found)


def test_words_for_those_who_do_not_see_it():
    found = ElementTree.fromstring(figures([panel(Line(np.array([0, 1]), np.array([0, 1]), 'name <&>'))]))
    plot = found.find('figure/div')
    assert (plot.get('role'), plot.get('title')) == ('img', 'title <&>: up against across. note')
    assert found.find('figure/figcaption/ul/li').itertext().__next__() == 'name <&>'
    assert figures([]).split() == ['<div', 'class="panels">', '</div>']


def test_nothing_in_the_page_is_named_twice_or_of_the_file():
    """Names would clash with those of the other plots, a style sheet would be that of the page, light colours too."""
    line = Line(np.array([0, 1]), np.array([0, 1]), band=(np.array([0, 1]), ) * 3, marks=True)
    text = figures([panel(line, line._replace(look=-1), best=(0, 1)) for _ in range(3)])
    names = re.findall(r' id="([^"]+)"', text)
    assert len(set(names)) == len(names) and set(re.findall(r'#(\w+)[")]', text)) <= set(names)
    assert not re.search(r'<style|<\?xml|<!DOCTYPE|font-family|: #|metadata|href="http', text)


def test_every_panel_has_its_own_curves_although_they_share_a_frame():
    one, other = (panel(Line(np.array([0, 1]), np.array([y, y]))) for y in (0.25, 0.75))
    both = [text for _, text in drawn([one, other, one])]
    assert [re.findall(r'd="([^"]+)"[^>]+--look0', text) for text in both] == [
        re.findall(r'd="([^"]+)"[^>]+--look0', next(drawn([single]))[1]) for single in (one, other, one)]


@pytest.mark.parametrize('lines', [[], [Line(np.zeros(0), np.zeros(0))], [Line(np.array([1.]), np.array([np.nan]))],
                                   [Line(np.array([1.]), np.array([2.]))]])
def test_little_to_draw(lines, tmp_path):
    parts(panel(*lines, x_range=None, y_range=None))
    assert ('no data' in texts(parts(panel(*lines)))) == (not lines)
    write_panels(tmp_path / 'a.svg', [panel(*lines)])


def test_lines_differ_by_more_than_colour():
    looks = [look_of(i) for i in range(36)]
    assert len(set(looks)) == 36 and len({dashes for _, dashes in looks[:6]}) == 6
    line = Line(np.array([0, 1]), np.array([0, 1]))
    styles = [path.get('style') for path in parts(panel(*(line._replace(look=i) for i in range(3)))).iter(f'{NAME}path')
              if '--look' in path.get('style', '')]
    assert ['dasharray' in style for style in styles] == [False, True, True]
    alone, = (path.get('style') for path in parts(panel(line._replace(look=1))).iter(f'{NAME}path')
              if '--look1' in path.get('style', ''))
    assert 'dasharray' not in alone


def written(monkeypatch):
    """Everything that is written into the figures from now on."""
    from matplotlib.axes import Axes
    seen, text, title = [], Axes.text, Axes.set_title
    monkeypatch.setattr(Axes, 'text', lambda self, x, y, s, **k: seen.append(s) or text(self, x, y, s, **k))
    monkeypatch.setattr(Axes, 'set_title', lambda self, s, **k: seen.append(s) or title(self, s, **k))
    return seen


def test_roc_file(data, tmp_path, monkeypatch):
    seen = written(monkeypatch)
    write_panels(tmp_path / 'sub' / 'roc.png', roc_panels(*data, CLASSES, groups=np.arange(200) // 2, samples=20))
    known = int((~np.isnan(data[0][:, 0])).sum())
    assert f'Mass  ({int(np.nansum(data[0][:, 0]))} of {known})' in seen and 'Hernia  (0 of 200)' in seen
    assert 'no curve: lacks positives or negatives' in seen
    assert sum(text.startswith('AUROC 0.7') and ' [0.' in text for text in seen) == 2
    picture = cv2.imread(str(tmp_path / 'sub' / 'roc.png'))
    assert min(picture.shape[:2]) > 400
    blue = (np.abs(picture.astype(int) - (178, 114, 0)).max(axis=2) < 10).sum()
    write_panels(tmp_path / 'plain.png', roc_panels(*data, CLASSES, samples=0))
    band = (np.abs(picture.astype(int) - (240, 227, 204)).max(axis=2) < 16).sum()
    bare = cv2.imread(str(tmp_path / 'plain.png')).astype(int)
    assert blue > 200 and band > 2000 > (np.abs(bare - (240, 227, 204)).max(axis=2) < 16).sum()


def test_pr_file(data, tmp_path, monkeypatch):
    seen = written(monkeypatch)
    write_panels(tmp_path / 'pr.png', pr_panels(*data, CLASSES))
    assert 'no curve: lacks positives' in seen and sum(text.startswith('AP 0.') for text in seen) == 2
    assert (tmp_path / 'pr.png').stat().st_size > 5000


def test_empty_data(tmp_path):
    for panels in (roc_panels, pr_panels):
        write_panels(tmp_path / 'empty.svg', panels(np.zeros((0, 3)), np.zeros((0, 3)), CLASSES))
        assert 'svg' in (tmp_path / 'empty.svg').read_text()[:400]


def test_calibration_and_froc_files(data, table, tmp_path, monkeypatch):
    seen = written(monkeypatch)
    true, score = np.nan_to_num(data[0]), 1 / (1 + np.exp(-data[1]))
    write_panels(tmp_path / 'calibration.png', [calibration_panel(true[:, i], score[:, i], name, samples=20)
                                                for i, name in enumerate(CLASSES)])
    assert sum(text.startswith('calibration error 0.') for text in seen) == 3
    write_panels(tmp_path / 'froc.png', froc_panels(table, CLASSES, samples=20))
    write_panels(tmp_path / 'pr.png', detection_pr_panels(table, CLASSES, samples=20))
    assert 'all classes  (300 boxes)' in seen and sum(text.startswith('AP 0.') for text in seen) == 3
    for name in ('calibration', 'froc', 'pr'):
        picture = cv2.imread(str(tmp_path / f'{name}.png')).astype(int)
        color = (178, 114, 0) if name != 'pr' else (0, 94, 213)
        assert (np.abs(picture - color).max(axis=2) < 10).sum() > 100, name


def test_long_names_are_broken_and_signs_drawn(tmp_path, monkeypatch):
    seen = written(monkeypatch)
    write_panels(tmp_path / 'a.png', [panel()._replace(title=f'{"word " * 12}$x', note='a\x1b$')])
    assert seen[-2].count('\n') == 1 and max(map(len, seen[-2].split('\n'))) <= 36 and seen[-2].endswith(r'\$x')
    assert seen[-1] == r'a\x1b\$'


def test_kinds_of_files(tmp_path):
    for name in ('plot.png', 'plot.svg', 'plot.pdf'):
        assert write_panels(tmp_path / name, [panel()]).stat().st_size > 5000
    with pytest.raises(ConfigError, match=r'plot.xyz: pictures can be written as .*\.png'):
        write_panels(tmp_path / 'plot.xyz', [panel()])
    with pytest.raises(ValueError, match='at least one panel'):
        write_panels(tmp_path / 'x.png', [])
    assert sorted(path.name for path in tmp_path.iterdir()) == ['plot.pdf', 'plot.png', 'plot.svg']
