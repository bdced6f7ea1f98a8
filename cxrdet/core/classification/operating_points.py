"""Operating points: named thresholds, given or chosen on a validation set, as a checkpoint keeps them.

A point is written in a config as a threshold (``0.3``), as one for each class (``[0.3,
0.4]``), or as a rule by which they are chosen (``'youden'``, ``'F1'``,
``'sensitivity>=0.9'``, see :mod:`cxrdet.core.classification.thresholds`).
"""
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from cxrdet.core.classification.calibration import fit_temperature, to_logit
from cxrdet.core.classification.thresholds import choose_thresholds, parse_rule
from cxrdet.core.errors import CheckpointError, check_choice

#: Screening misses little, surgery calls little that is not there; between them the best F1. Youden and a sensitivity
#: of 0.9 are the field's customary choices.
DEFAULT_POINTS: dict[str, float | str] = {'0.5': 0.5, 'screening': 0.3, 'surgery': 0.7, 'youden': 'youden',
                                          'diagnosis': 'F1', 'sensitive': 'sensitivity>=0.9'}


class OperatingPoints(NamedTuple):
    """What was chosen on a validation set."""

    classes: tuple[str, ...]
    thresholds: dict[str, np.ndarray]  # by name of the point, (C,) float64; NaN where it could not be chosen
    rules: dict[str, str]  # by name, how it is written in the config (``'0.3'``, ``'youden'`` ...)
    temperature: float
    images: int  # on which they were chosen

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, numbers and strings, which any checkpoint loader reads."""
        return {'classes': list(self.classes), 'rules': dict(self.rules), 'temperature': float(self.temperature),
                'images': int(self.images), 'thresholds': {name: np.asarray(values, np.float64).tolist()
                                                           for name, values in self.thresholds.items()}}

    def pick(self, name: str | None = None) -> tuple[str, np.ndarray]:
        """Name and thresholds (C,) of the point called ``name``; for None of the first
        that a rule chose, or the first of all.

        Raises: ConfigError if there is no such point.
        """
        if name is None:
            name = next((name for name, rule in self.rules.items() if is_rule(rule)), next(iter(self.rules)))
        check_choice('The operating point', name, self.thresholds)
        return name, self.thresholds[name]


def is_rule(point: Any) -> bool:
    """Whether a point is chosen on data, not given."""
    try:
        return isinstance(point, str) and bool(parse_rule(point))
    except ValueError:
        return False


def check_points(points: Mapping[str, float | str | Sequence[float]]) -> dict[str, Any]:
    """Return ``points`` as a dict of floats, arrays (C,) and rules.

    Raises: ValueError for an empty name, a threshold out of [0, 1] or an unknown rule.
    """
    checked: dict[str, Any] = {}
    for name, point in points.items():
        if not isinstance(name, str) or not name or '/' in name:
            raise ValueError(f'expected a name without "/" for an operating point, got {name!r}')
        if isinstance(point, str):
            parse_rule(point)
            checked[name] = point
            continue
        values = np.asarray(point, dtype=np.float64)
        if values.ndim > 1 or not ((values >= 0) & (values <= 1)).all():
            raise ValueError(f'operating point "{name}": expected a threshold in [0, 1], one for each class or a rule, '
                             f'got {point}')
        checked[name] = float(values) if values.ndim == 0 else values
    return checked


def choose_points(points: Mapping[str, Any], y_true: np.ndarray, y_score: np.ndarray,
                  classes: Sequence[str]) -> OperatingPoints:
    """Thresholds of all ``points`` and the temperature, chosen on the labels and probabilities given, (N, C) each.

    Raises: ValueError as :func:`cxrdet.core.classification.roc.as_columns`, or if a list of thresholds has not C of
        them.
    """
    thresholds = {name: choose_thresholds(y_true, y_score, point) if is_rule(point) else given_thresholds(
        name, point, len(classes)) for name, point in points.items()}
    return OperatingPoints(tuple(classes), thresholds, {name: written(point) for name, point in points.items()},
                           float(fit_temperature(y_true, to_logit(y_score))), len(y_true))


def given_thresholds(name: str, point: Any, classes: int) -> np.ndarray:
    """A given point as (C,) thresholds; ValueError if it is a list of another length."""
    values = np.asarray(point, dtype=np.float64)
    if values.shape not in ((), (classes,)):
        raise ValueError(f'operating point "{name}": expected one threshold or {classes}, one a class, '
                         f'got {len(values)}')
    return np.broadcast_to(values, (classes,)).copy()


def written(point: Any) -> str:
    """How a point is written in a config."""
    return point if isinstance(point, str) else ', '.join(f'{value:g}' for value in np.atleast_1d(point))


def read_points(content: Any, classes: Sequence[str], source: str) -> OperatingPoints:
    """The :meth:`OperatingPoints.to_dict` that a checkpoint holds, in the order of
    ``classes``; CheckpointError if it is none, or of other classes.
    """
    try:
        own = [str(name) for name in content['classes']]
        order = [own.index(name) for name in classes]
        thresholds = {str(name): np.asarray(values, np.float64)[order]
                      for name, values in content['thresholds'].items()}
        if len(own) != len(classes) or list(thresholds) != list(content['rules']) or not thresholds:
            raise ValueError
        return OperatingPoints(tuple(classes), thresholds, {name: str(rule) for name, rule in content['rules'].items()},
                               float(content['temperature']), int(content['images']))
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise CheckpointError(f'{source}: its operating points (meta.operating_points) cannot be used: expected '
                              'thresholds, rules, temperature and images for the classes '
                              f'{", ".join(classes)}') from error
