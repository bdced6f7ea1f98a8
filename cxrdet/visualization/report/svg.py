"""Where the parts of a panel of curves stand in the SVG that the template draws."""
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from cxrdet.visualization.panels import Line, Panel

_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 310, 12, 206  # the frame in a picture of 320 x 250, as in the template
_STYLES = 6  # looks that the style sheet tells apart by colour and dashes


def drawn(panel: Panel) -> dict[str, Any]:
    """The ``x_ticks`` and ``y_ticks``, (place, text) each, the ``lines``, and whether one of them is ``shown``."""
    x_ends, y_ends = (_ends(panel, axis) for axis in (0, 1))
    to_x = partial(_places, ends=x_ends, log=panel.log_x, span=(_LEFT, _RIGHT))
    to_y = partial(_places, ends=y_ends, log=panel.log_y, span=(_BOTTOM, _TOP))
    x_ticks = _log_ticks(*x_ends, binary=True) if panel.log_x else _ticks(*x_ends)
    y_ticks = _log_ticks(*y_ends, binary=False) if panel.log_y else _ticks(*y_ends)
    shown = sum(line.look >= 0 for line in panel.lines)
    return {'x_ticks': [(x, f'1/{1 / tick:g}' if panel.log_x and tick < 1 else f'{tick:g}')
                        for x, tick in zip(to_x(x_ticks), x_ticks, strict=True)],
            'y_ticks': [(y, f'{tick:g}') for y, tick in zip(to_y(y_ticks), y_ticks, strict=True)],
            'lines': [_line(line, ' alone' if shown == 1 else '', to_x, to_y) for line in panel.lines],
            'shown': shown > 0}


def look_of(number: int) -> str:
    """Name of a line's look in the style sheet."""
    return 'reference' if number < 0 else f'look{number % _STYLES}'


def place(value: float) -> str:
    """A coordinate to a tenth of a pixel."""
    return f'{value:.1f}'.removesuffix('.0')


def _places(values, *, ends: tuple[float, float], log: bool, span: tuple[float, float]) -> np.ndarray:
    """From values to places on the page; what lies outside is cut off at the frame."""
    low, high = ends
    values = np.asarray(values, np.float64)
    if log:
        with np.errstate(divide='ignore', invalid='ignore'):
            share = np.log(np.where(values > 0, values, np.nan) / low) / math.log(high / low)
    else:
        share = (values - low) / (high - low)
    return span[0] + np.clip(share, 0, 1) * (span[1] - span[0])


def _ends(panel: Panel, axis: int) -> tuple[float, float]:
    given, log = ((panel.x_range, panel.log_x), (panel.y_range, panel.log_y))[axis]
    if given is not None:
        return given
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


def _line(line: Line, alone: str, to_x: Callable, to_y: Callable) -> dict[str, Any]:
    points, band, bars = np.stack([to_x(line.x), to_y(line.y)], axis=1), None, []
    if line.band is not None:
        ends = np.stack([to_x(line.band[0]), to_y(line.band[1]), to_y(line.band[2])], axis=1)
        ends = ends[np.isfinite(ends).all(axis=1)]
        if line.marks:
            bars = ends.tolist()
        else:
            outline = np.concatenate([ends[:, (0, 1)], ends[::-1, (0, 2)]])
            band = _path(outline) + 'Z' if len(ends) else ''
    return {'look': look_of(line.look) + (alone if line.look >= 0 else ''), 'band': band, 'bars': bars,
            'curve': _path(_stairs(points) if line.step else points),
            'marks': points[np.isfinite(points).all(axis=1)].tolist() if line.marks else []}


def _stairs(points: np.ndarray) -> np.ndarray:
    """The value of a point holds from the point before it on."""
    stairs = np.repeat(points, 2, axis=0)
    return np.stack([stairs[:-1, 0], stairs[1:, 1]], axis=1)


def _path(points: Sequence[tuple[float, float]]) -> str:
    """Path data with gaps where a value is missing."""
    parts, last, pen = [], None, 'M'
    for x, y in points:
        if not (math.isfinite(x) and math.isfinite(y)):
            pen, last = 'M', None
            continue
        here = f'{place(x)} {place(y)}'
        if here != last:
            parts.append(f'{pen}{here}')
            pen, last = 'L', here
    return ''.join(parts)
