"""Free-response ROC: lesions found against false alarms an image, with intervals over images or patients.

Sources: P. C. Bunch et al., "A free response approach to the measurement and
characterization of radiographic observer performance", Proc. SPIE 127, 1977; B. van
Ginneken et al., "Comparing and combining algorithms for computer-aided detection of
pulmonary nodules … the ANODE09 study", Medical Image Analysis 14, 2010 (sensitivity at
1/8 … 8 false positives a scan, and their mean); B. Efron, R. Tibshirani, "An
Introduction to the Bootstrap", 1993.
"""
from typing import NamedTuple

import numpy as np

from cxrdet.core.bootstrap import draws_of_groups, percentile_interval
from cxrdet.core.classification.roc import auroc, last_of_ties
from cxrdet.core.detection.average_precision import score_columns

#: False positives an image at which the sensitivity is told.
RATES = (1 / 8, 1 / 4, 1 / 2, 1., 2., 4., 8.)


class Froc(NamedTuple):
    """A FROC curve and what is read from it."""

    rates: np.ndarray  # (R,) false positives an image asked for
    sensitivity: np.ndarray  # (R,) in [0, 1], share of lesions found with at most that many
    mean: float  # of these: the score of ANODE09 and LUNA16 (which read it from lines)
    curve_rates: np.ndarray  # (K,) false positives an image of every threshold, rising from 0: nothing is reported
    curve_sensitivity: np.ndarray  # (K,)
    thresholds: np.ndarray  # (K,) lowest score that counts there, falling from infinity


class FrocInterval(NamedTuple):
    """Lower and upper ends: of each sensitivity, (R,), of their mean, and of the curve at ``grid`` (G,) rates."""

    low: np.ndarray
    high: np.ndarray
    mean_low: float
    mean_high: float
    grid: np.ndarray
    grid_low: np.ndarray
    grid_high: np.ndarray


def froc(scores, is_hit, n_images: int, n_lesions: int, *, rates=RATES) -> Froc:
    """FROC curve of all detections of a set, and its sensitivity at given numbers of false positives an image.

    A threshold takes all detections of its score together, so ties do not depend on
    their order. The sensitivity at a rate is that of the best threshold that exists
    with at most so many false positives. (LUNA16, CAMELYON16 and MONAI draw lines
    between thresholds, which gives slightly more.)

    Args:
        scores: (N,) finite, of any range; one entry a detection over the whole set, without those on ignored regions.
        is_hit: (N,) bool, True for a detection matched one to one with a lesion.
        n_images: images of the set, those without detections or lesions included; at least 1.
        n_lesions: lesions of the set, found or not. Without any the sensitivity is NaN.
        rates: (R,) false positives an image.

    Raises: ValueError for differing lengths, a score that is not finite, no image, or more hits than lesions.
    """
    scores, hit = _checked(scores, is_hit)
    if n_images < 1 or hit.sum() > n_lesions:
        raise ValueError(f'expected at least one image and one lesion for each hit, got {n_images} images, {n_lesions} '
                         f'lesions and {hit.sum()} hits')
    order = np.argsort(-scores, kind='stable')
    last = last_of_ties(scores[order])
    found, false = np.cumsum(hit[order])[last], np.cumsum(~hit[order])[last]
    curve_rates = np.append(0, false) / n_images
    curve = np.append(0, found) / n_lesions if n_lesions else np.full(len(last) + 1, np.nan)
    rates = np.asarray(rates, np.float64)
    sensitivity = curve[np.searchsorted(curve_rates, rates, side='right') - 1]
    return Froc(rates, sensitivity, float(sensitivity.mean()), curve_rates, curve,
                np.append(np.inf, scores[order][last]))


def froc_interval(scores, is_hit, image, lesions, *, groups=None, rates=RATES, level: float = 0.95,
                  samples: int = 1000, seed: int = 0) -> FrocInterval:
    """Percentile intervals of :func:`froc` over resampled images, or groups of images (patients).

    Args:
        scores, is_hit: (N,) as for :func:`froc`.
        image: (N,) int, number of the image of each detection, 0 to I - 1.
        lesions: (I,) int, lesions of each image, found or not.
        groups: (I,) group of each image, for example patient ids. None: each image for itself.
        level: share of intervals that should hold the truth, in (0, 1).
        samples: number of draws; those without any lesion are left out.

    Raises: ValueError as :func:`froc`, for an image number out of range, or groups that do not fit.
    """
    scores, hit = _checked(scores, is_hit)
    image, lesions = np.asarray(image, np.int64).reshape(-1), np.asarray(lesions, np.int64).reshape(-1)
    if len(image) != len(scores) or (len(image) and not 0 <= image.min() <= image.max() < len(lesions)):
        raise ValueError(f'expected one image number a detection, in 0..{len(lesions) - 1}, got {len(image)} for '
                         f'{len(scores)} detections')
    order = np.argsort(-scores, kind='stable')
    last, image, hit = last_of_ties(scores[order]), image[order], hit[order]
    asked = np.concatenate([np.asarray(rates, np.float64), np.geomspace(1 / 64, 16, 81)])
    drawn = []
    for draws in draws_of_groups(len(lesions), groups=groups, samples=samples, seed=seed):
        weights = draws.T
        counts = weights[:, image]
        totals = (weights @ lesions).astype(np.float64)
        found = np.cumsum(counts * hit, axis=1)[:, last]
        false = np.cumsum(counts * ~hit, axis=1)[:, last] / weights.sum(axis=1, keepdims=True)
        found = np.pad(found, ((0, 0), (1, 0))) / np.where(totals > 0, totals, np.nan)[:, None]
        drawn.append([row[np.searchsorted(rate, asked, side='right')] for row, rate in zip(found, false)])
    values = np.concatenate([np.zeros((0, len(asked))), *drawn])
    n = len(asked) - 81
    low, high = percentile_interval(values, level=level)
    mean_low, mean_high = percentile_interval(values[:, :n].mean(axis=1), level=level)
    return FrocInterval(low[:n], high[:n], float(mean_low), float(mean_high), asked[n:], low[n:], high[n:])


def lesion_auroc(scores, is_hit, n_lesions: int) -> float:
    """Probability that a lesion scores above a false alarm, ties counted half; NaN without lesions or false alarms.

    The score of a lesion is that of the detection that found it; a missed lesion
    lies below every false alarm, so that 1 needs all lesions found. Arguments
    and errors as for :func:`froc`.
    """
    scores, hit = _checked(scores, is_hit)
    missed = int(n_lesions) - int(hit.sum())
    if missed < 0:
        raise ValueError(f'expected one lesion for each hit, got {n_lesions} lesions and {hit.sum()} hits')
    lowest = np.full(missed, scores.min(initial=0.) - 1)
    return float(auroc(np.concatenate([hit, np.ones(missed)]), np.concatenate([scores, lowest]))[0])


def image_auroc(scores, image, lesions) -> float:
    """Area under the ROC curve of images by their best score: with lesions against without; NaN if all are of one kind.

    An image without any detection lies below all others. The arguments are those of :func:`froc_interval`.
    """
    scores, image = np.asarray(scores, np.float64).reshape(-1), np.asarray(image, np.int64).reshape(-1)
    lesions = np.asarray(lesions).reshape(-1)
    best = np.full(len(lesions), scores.min(initial=0.) - 1)
    np.maximum.at(best, image, scores)
    return float(auroc((lesions > 0).astype(np.float64), best)[0])


def _checked(scores, is_hit) -> tuple[np.ndarray, np.ndarray]:
    scores, hit = score_columns(scores, is_hit)
    if not np.isfinite(scores).all():
        raise ValueError(f'scores must be finite, got {scores[~np.isfinite(scores)][0]}')
    return scores, hit
