"""Panels of curves as inline SVG: sharp at any size, small, with the colours of the page's style sheet."""
import math
from collections.abc import Sequence

import numpy as np

from cxrdet.visualization.panels import Line, Panel
from cxrdet.visualization.report.html import Html, tag

__all__ = ['figure_of', 'figures']

_WIDTH, _HEIGHT = 320, 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 310, 12, 206
_STYLES = 6  # looks that the style sheet tells apart by colour and dashes


def figures(panels: Sequence[Panel]) -> Html:
    """All panels in a grid."""
    return tag('div', [figure_of(panel) for panel in panels], class_='panels')


def figure_of(panel: Panel) -> Html:
    """A figure: the plot, named for screen readers by its title and note, and a caption with both and a legend."""
    named = [line for line in panel.lines if line.name]
    legend = tag('ul', [tag('li', _sample(line.look), line.name) for line in named], class_='legend') if named else None
    about = f'{panel.title}: {panel.y_label or "values"} against {panel.x_label}. {panel.note}'.strip()
    return tag('figure', _plot(panel, about), tag('figcaption', tag('strong', panel.title), ' ', panel.note, legend))


def _plot(panel: Panel, about: str) -> Html:
    x_ends, y_ends = (_ends(panel, axis) for axis in (0, 1))
    parts = [*_axis(panel, 0, x_ends), *_axis(panel, 1, y_ends)]
    to_x = _Scale(*x_ends, panel.log_x, _LEFT, _RIGHT)
    to_y = _Scale(*y_ends, panel.log_y, _BOTTOM, _TOP)
    alone = sum(line.look >= 0 for line in panel.lines) == 1
    for line in panel.lines:
        parts += _drawn(line, alone, to_x, to_y)
    parts.append(tag('rect', x=_LEFT, y=_TOP, width=_RIGHT - _LEFT, height=_BOTTOM - _TOP, class_='frame'))
    parts.append(tag('text', panel.x_label, x=(_LEFT + _RIGHT) / 2, y=_HEIGHT - 8, class_='label',
                     text_anchor='middle'))
    parts.append(tag('text', panel.y_label, x=-(_TOP + _BOTTOM) / 2, y=12, class_='label', text_anchor='middle',
                     transform='rotate(-90)'))
    if not any(line.look >= 0 for line in panel.lines):
        parts.append(tag('text', 'no data', x=(_LEFT + _RIGHT) / 2, y=(_TOP + _BOTTOM) / 2, class_='label',
                         text_anchor='middle'))
    return tag('svg', tag('title', about), parts, viewBox=f'0 0 {_WIDTH} {_HEIGHT}', role='img', class_='plot')


class _Scale:
    """From values to places on the page; what lies outside is cut off at the frame."""

    def __init__(self, low: float, high: float, log: bool, start: float, end: float) -> None:
        self.low, self.high, self.log, self.start, self.end = low, high, log, start, end

    def __call__(self, values) -> np.ndarray:
        values = np.asarray(values, np.float64)
        if self.log:
            with np.errstate(divide='ignore', invalid='ignore'):
                share = np.log(np.where(values > 0, values, np.nan) / self.low) / math.log(self.high / self.low)
        else:
            share = (values - self.low) / (self.high - self.low)
        return self.start + np.clip(share, 0, 1) * (self.end - self.start)


def _ends(panel: Panel, axis: int) -> tuple[float, float]:
    """Ends of an axis; where the panel names none, those of its values with some air."""
    given = panel.x_range if axis == 0 else panel.y_range
    if given is not None:
        return given
    log = panel.log_x if axis == 0 else panel.log_y
    values = np.concatenate([np.zeros(0), *(np.asarray(line[axis], np.float64) for line in panel.lines)])
    values = values[np.isfinite(values) & ((values > 0) | (not log))]
    if not values.size:
        return (0.1, 1) if log else (0, 1)
    low, high = float(values.min()), float(values.max())
    if log:
        return (low / 1.2, high * 1.2)
    air = 0.05 * (high - low) if axis == 1 else 0
    low, high = (0 if 0 <= low < high / 2 else low - air, high + air)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _axis(panel: Panel, axis: int, ends: tuple[float, float]) -> list[Html]:
    log = panel.log_x if axis == 0 else panel.log_y
    ticks = _log_ticks(*ends, binary=axis == 0) if log else _ticks(*ends)
    parts = []
    if axis == 0:
        for x, value in zip(_Scale(*ends, log, _LEFT, _RIGHT)(ticks), ticks, strict=True):
            parts.append(tag('line', x1=_short(x), x2=_short(x), y1=_TOP, y2=_BOTTOM, class_='grid'))
            parts.append(tag('text', _tick_text(value, log), x=_short(x), y=_BOTTOM + 14, text_anchor='middle'))
        return parts
    for y, value in zip(_Scale(*ends, log, _BOTTOM, _TOP)(ticks), ticks, strict=True):
        parts.append(tag('line', x1=_LEFT, x2=_RIGHT, y1=_short(y), y2=_short(y), class_='grid'))
        parts.append(tag('text', _tick_text(value, False), x=_LEFT - 5, y=_short(y + 3.5), text_anchor='end'))
    return parts


def _ticks(low: float, high: float) -> list[float]:
    """About five round numbers."""
    rough = (high - low) / 5
    unit = 10. ** math.floor(math.log10(rough))
    step = next(factor * unit for factor in (1, 2, 5, 10) if factor * unit >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(i * step, 12) for i in range(first, math.floor(high / step + 1e-9) + 1)]


def _log_ticks(low: float, high: float, *, binary: bool) -> list[float]:
    if binary:
        exponents = range(math.ceil(math.log2(low) - 1e-9), math.floor(math.log2(high) + 1e-9) + 1)
        return [2. ** e for e in exponents if e % 2 == 0]
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    factors = (1,) if last - first > 2 else (1, 2, 5)
    return [f * 10. ** e for e in range(first, last + 1) for f in factors if low <= f * 10. ** e <= high]


def _tick_text(value: float, binary: bool) -> str:
    return f'1/{1 / value:g}' if binary and value < 1 else f'{value:g}'


def _drawn(line: Line, alone: bool, to_x: _Scale, to_y: _Scale) -> list[Html]:
    look = 'reference' if line.look < 0 else f'look{line.look % _STYLES}' + (' alone' if alone else '')
    parts = []
    if line.band is not None and line.marks:
        for x, low, high in zip(to_x(line.band[0]), to_y(line.band[1]), to_y(line.band[2]), strict=True):
            if np.isfinite([x, low, high]).all():
                parts.append(tag('line', x1=_short(x), x2=_short(x), y1=_short(low), y2=_short(high),
                                 class_=f'bar {look}'))
    elif line.band is not None:
        at, low, high = (np.asarray(part, np.float64) for part in line.band)
        keep = np.isfinite(low) & np.isfinite(high)
        x, low, high = to_x(at[keep]), to_y(low[keep]), to_y(high[keep])
        outline = [*zip(x, low, strict=True), *zip(x[::-1], high[::-1], strict=True)]
        parts.append(tag('path', d=_path(outline) + 'Z' if outline else '', class_=f'band {look}'))
    points = list(zip(to_x(line.x), to_y(line.y), strict=True))
    parts.append(tag('path', d=_path(_stairs(points) if line.step else points), class_=f'curve {look}'))
    if line.marks:
        parts += [tag('circle', cx=_short(x), cy=_short(y), r=2.2, class_=f'mark {look}') for x, y in points
                  if np.isfinite([x, y]).all()]
    return parts


def _stairs(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The value of a point holds from the point before it on."""
    stairs = list(points[:1])
    for (x, _), (new_x, new_y) in zip(points, points[1:]):
        stairs += [(x, new_y), (new_x, new_y)]
    return stairs


def _path(points: Sequence[tuple[float, float]]) -> str:
    """Path data with gaps where a value is missing; points that share a place at this precision are left out."""
    parts, last, pen = [], None, 'M'
    for x, y in points:
        if not (math.isfinite(x) and math.isfinite(y)):
            pen, last = 'M', None
            continue
        place = f'{_short(x)} {_short(y)}'
        if place != last:
            parts.append(f'{pen}{place}')
            pen, last = 'L', place
    return ''.join(parts)


def _sample(look: int) -> Html:
    return tag('svg', tag('line', x1=0, x2=28, y1=5, y2=5, class_=f'curve look{look % _STYLES}'), viewBox='0 0 28 10',
               class_='sample', aria_hidden='true')


def _short(value: float) -> str:
    return f'{value:.1f}'.removesuffix('.0')
