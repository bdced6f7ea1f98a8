"""Why no box of a file can be used: the usual mistakes of exports, told by the numbers alone."""
from collections import Counter
from typing import Any

import numpy as np

_MOST, _ALL = 0.5, 0.999  # share of boxes that show a mistake: for it to be named; to hold for the whole file
_OUTSIDE = 'lie outside of their images: they seem to be those of images of another size, or x and y are exchanged.'
_SMALL = 'are less than a pixel wide or high.'
_NUMBERS = 'are not finite numbers.'
_WORDS = {  # of a file with widths and heights, of one with corners
    'not finite': (_NUMBERS, _NUMBERS),
    'normalised': ('are less than a pixel: they look normalised; multiply x and width by the width of the image, y and '
                   'height by its height.',
                   'are less than a pixel: they look normalised; multiply xmin and xmax by the width of the image, '
                   'ymin and ymax by its height.'),
    'exchanged': ('have a negative width or height: their corners look exchanged; a bbox is x and y of the upper left '
                  'corner, width and height.',
                  'have an xmax below xmin or a ymax below ymin: their corners look exchanged, or xmax and ymax hold a '
                  'width and a height.'),
    'corners': ('look like two corners: read as x, y, width, height they leave their images, as x1, y1, x2, y2 none '
                'does. Write width = x2 - x1 and height = y2 - y1.', ''),
    'outside': (_OUTSIDE, _OUTSIDE),
    'small': (_SMALL, _SMALL)}


def likely_cause(values, sizes, *, corners: bool) -> tuple[str, bool]:
    """What seems to be wrong with the boxes of a file, in a sentence ('' if nothing is
    seen), and whether that holds for all of them, so that those which happen to lie
    within their images are wrong, too.

    Args:
        values: (N, 4) as they stand in the file: x, y, width, height, or both corners.
        sizes: (N, 2) height and width of the image of each, in pixels.
        corners: whether the file should hold corners: xmin, ymin, xmax, ymax.
    """
    values = np.asarray(values, np.float64).reshape(-1, 4)
    if not len(values):
        return '', False
    height, width = np.asarray(sizes, np.float64).reshape(-1, 2).T
    with np.errstate(invalid='ignore', over='ignore'):
        masks = _masks(values, height, width, corners)
    for kind, mask in masks.items():
        if mask.mean() >= _MOST:
            number = int((mask & masks['small'] if kind == 'normalised' else mask).sum())
            certain = kind in ('normalised', 'corners') and mask.mean() >= _ALL
            return f'{number} of {len(values)} boxes {_WORDS[kind][corners]}', bool(certain)
    return '', False


def _masks(values: np.ndarray, height: np.ndarray, width: np.ndarray, corners: bool) -> dict[str, Any]:
    """Mistake -> (N,) whether a box shows it; the first that fits says most."""
    x, y, third, fourth = values.T
    right, bottom = (third, fourth) if corners else (x + third, y + fourth)
    small = (right - x < 1) | (bottom - y < 1)
    twice = (third >= x) & (fourth >= y) & (third <= width + 1) & (fourth <= height + 1)
    beyond = (right > width + 2) | (bottom > height + 2)
    if corners or len(values) < 4 or beyond.mean() < 0.5 or twice.mean() < _ALL:
        twice = np.zeros(len(values), bool)
    return {'not finite': ~np.isfinite(values).all(axis=1),
            'normalised': ((values >= -0.05) & (values <= 1.05)).all(axis=1) & values.any(axis=1),
            'exchanged': (right < x) | (bottom < y),
            'corners': twice,
            'outside': ~small & ((np.minimum(right, width) <= np.maximum(x, 0)) |
                                 (np.minimum(bottom, height) <= np.maximum(y, 0))),
            'small': small}


def no_boxes_text(images: int, dropped: Counter, cause: str = '', *, training: bool) -> str:
    """Text of the error for a set of so many images without a box that could be
    used; ``dropped``: boxes that are there and cannot be used, by reason;
    ``cause``: from :func:`likely_cause`.
    """
    number = sum(dropped.values())
    reasons = ', '.join(f'{count} {reason}' for reason, count in dropped.most_common())
    why = f'none of its {number} boxes can be used ({reasons}).' if number else 'the annotations hold no box.'
    return (f'{images} images without a box to {"learn from" if training else "judge by"}: {why}'
            f'{cause and " "}{cause}')
