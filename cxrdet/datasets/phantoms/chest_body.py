"""The made-up body behind a chest film: a patient's build, and the outlines it gives on one film."""
import dataclasses
import math

import numpy as np

from cxrdet.datasets.phantoms.shapes import curve

RIGHT, LEFT = -1, 1  # the patient's right lung is on the left of the image


@dataclasses.dataclass(frozen=True)
class Patient:
    """What stays the same from film to film. Lengths are shares of the film's side.

    Attributes:
        sex: 'M' or 'F'.
        age: Years at the first film.
        half_width: Half of the inner width of the chest.
        top, bottom: Heights of the lungs' apex and of the costophrenic angles.
        cardiothoracic: Width of the heart over the inner width of the chest; healthy: below 0.5 (PA).
        fat: Thickness of the chest wall beside the ribs.
        breast: Size of the breast shadows, 0 for none.
        seed: Seed of ribs and vessels.
    """

    sex: str
    age: int
    half_width: float
    top: float
    bottom: float
    cardiothoracic: float
    fat: float
    breast: float
    seed: int


def sample_patient(rng: np.random.Generator) -> Patient:
    """Choose a build."""
    sex = 'M' if rng.random() < 0.56 else 'F'
    age = int(np.clip(rng.normal(47, 17), 5, 92))
    breast = rng.uniform(0.5, 1.0) if sex == 'F' and age > 15 and rng.random() < 0.85 else 0.0
    width = rng.uniform(0.315, 0.375) - (0.012 if sex == 'F' else 0.0)
    return Patient(sex, age, width, rng.uniform(0.09, 0.15), rng.uniform(0.74, 0.84), rng.uniform(0.38, 0.455),
                   rng.uniform(0.035, 0.095), breast, int(rng.integers(2 ** 31)))


@dataclasses.dataclass(frozen=True)
class Outlines:
    """Outlines of one film in body coordinates, each (N, 2) float64.

    ``lungs`` and ``domes`` are by side: RIGHT, LEFT. ``bottom`` and ``top`` as in Patient, after breathing.
    """

    body: np.ndarray
    arms: tuple[np.ndarray, ...]
    lungs: dict[int, np.ndarray]
    heart: np.ndarray
    half_width: float
    top: float
    bottom: float

    def hilum(self, side: int) -> np.ndarray:
        """Where the vessels enter the lung."""
        return np.array((side * 0.24 * self.half_width, self.top + 0.46 * (self.bottom - self.top)))


def outline_film(rng: np.random.Generator, patient: Patient, *, portable: bool, cardiothoracic: float,
                 raised: dict[int, float]) -> Outlines:
    """Return the outlines of one film.

    Args:
        rng: Source of the film's own variation.
        patient: The build.
        portable: Whether the film is AP: shallower breath.
        cardiothoracic: Width of the heart over that of the chest on this film.
        raised: How far each side's diaphragm is raised by disease.
    """
    breath = rng.uniform(-0.015, 0.02) - (rng.uniform(0.02, 0.06) if portable else 0.0)
    width = patient.half_width * (1 + rng.normal(0, 0.012))
    top, bottom = patient.top + rng.normal(0, 0.006), patient.bottom + breath
    lungs = {side: _lung(rng, side, width, top, bottom, raised.get(side, 0.0)) for side in (RIGHT, LEFT)}
    heart = _heart(rng, width, bottom, cardiothoracic)
    body, arms = _body(rng, patient, width, bottom)
    return Outlines(body, arms, lungs, heart, width, top, bottom)


def _lung(rng: np.random.Generator, side: int, width: float, top: float, bottom: float, raised: float) -> np.ndarray:
    height = bottom - top
    base = bottom - raised + (0.0 if side == LEFT else -0.012)
    dome = rng.uniform(0.05, 0.085)
    wall = [(0.16, 0.10), (0.24, 0.025), (0.42, 0.0), (0.62, 0.035), (0.78, 0.13), (0.90, 0.30), (0.975, 0.52),
            (1.0, 0.75)]
    points = [(x * width, top + y * height) for x, y in wall]
    points += [(1.0 * width, base + 0.005), (0.965 * width, base + 0.012), (0.86 * width, base - 0.55 * dome),
               (0.66 * width, base - dome), (0.44 * width, base - 1.05 * dome), (0.24 * width, base - 0.75 * dome),
               (0.15 * width, base - 0.55 * dome)]
    points += [(0.13 * width, top + y * height) for y in (0.72, 0.5, 0.3)]
    outline = curve(points, closed=True)
    return outline * (side, 1)


def _heart(rng: np.random.Generator, width: float, bottom: float, ratio: float) -> np.ndarray:
    across = ratio * 2 * width
    right = across * rng.uniform(0.29, 0.35)
    left = across - right
    up = across * rng.uniform(0.62, 0.74)
    low = bottom - 0.015
    points = [(-0.075, low - 1.45 * up), (-0.6 * right, low - up), (-0.97 * right, low - 0.62 * up),
              (-0.95 * right, low - 0.25 * up), (-0.6 * right, low), (0.3 * left, low + 0.02),
              (0.82 * left, low - 0.01), (0.995 * left, low - 0.17 * up), (0.93 * left, low - 0.42 * up),
              (0.66 * left, low - 0.78 * up), (0.42 * left, low - 1.08 * up), (0.33 * left, low - 1.45 * up)]
    return curve(points, closed=True)


def _body(rng: np.random.Generator, patient: Patient, width: float,
          bottom: float) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    side = width + patient.fat + 0.02
    neck, shoulder = rng.uniform(0.085, 0.12), rng.uniform(0.03, 0.10)
    waist = side * rng.uniform(0.93, 1.04)
    half = [(neck, -0.1), (neck, -0.02), (neck * 1.35, shoulder * 0.45), (0.30, shoulder), (0.45, shoulder + 0.05),
            (0.56, shoulder + 0.18), (side + 0.09, 0.32), (side + 0.015, 0.42), (side, 0.55), (side * 0.99, bottom),
            (waist, 0.95), (waist, 1.15)]
    line = curve(half)
    body = np.concatenate([line, (line * (-1, 1))[::-1]])
    arms = []
    for sign in (-1, 1):
        away = rng.uniform(0.03, 0.16)
        centre = curve([(sign * 0.47, shoulder + 0.12), (sign * (0.49 + away * 0.5), 0.4), (sign * (0.51 + away), 0.75),
                        (sign * (0.52 + away), 1.1)])
        arms.append(centre)
    return body, tuple(arms)


def ribs(rng: np.random.Generator, outlines: Outlines) -> tuple[np.ndarray, np.ndarray]:
    """Return the centre lines of the posterior (N, 12, 2) and of the anterior ribs (M, 10, 2), both sides."""
    posterior, anterior = [], []
    height = outlines.bottom - outlines.top
    count = int(rng.integers(9, 11))
    slope, sag = rng.uniform(0.13, 0.2), rng.uniform(0.025, 0.045)
    for side in (RIGHT, LEFT):
        for k in range(count + 1):
            start = outlines.top - 0.02 + height * (k + 0.35) / count
            reach = outlines.half_width * 1.03 * min(1.0, 0.60 + 0.16 * k if k < 3 else 1.0)
            t = np.linspace(0, 1, 12)
            x = 0.045 + (reach - 0.045) * np.sin(t * math.pi / 2) ** 0.9
            y = start - sag * np.sin(t * math.pi * 0.8) + (slope + 0.008 * k) * t ** 2.4
            posterior.append(np.column_stack([side * x, y]))
            if k < 7:
                end = (x[-1], y[-1])
                t = np.linspace(0, 1, 10)
                x = end[0] - (end[0] - (0.11 + 0.015 * k)) * t ** 1.15
                y = end[1] + (0.10 + 0.006 * k) * np.sin(t * math.pi / 2)
                anterior.append(np.column_stack([side * x, y]))
    return np.stack(posterior), np.stack(anterior)


def vessels(rng: np.random.Generator, outlines: Outlines, levels: int = 3) -> list[np.ndarray]:
    """Return the branching vessels of both lungs: per level (thick to thin) the centre lines, (N, 6, 2) float64."""
    start = np.concatenate([np.repeat(outlines.hilum(side)[None], 11, axis=0) for side in (RIGHT, LEFT)])
    start = start + rng.normal(0, 0.014, start.shape)
    side = np.repeat((RIGHT, LEFT), 11)
    angle = rng.normal(0.5, 0.9, len(start))  # 0 is outwards, most run down and outwards
    length = rng.uniform(0.45, 0.8, len(start)) * outlines.half_width
    found = []
    for _ in range(levels):
        turns = angle[:, None] + np.cumsum(rng.normal(0, 0.14, (len(start), 5)), axis=1)
        moves = np.stack([side[:, None] * np.cos(turns), np.sin(turns)], axis=2) * (length / 5)[:, None, None]
        lines = np.concatenate([start[:, None], start[:, None] + np.cumsum(moves, axis=1)], axis=1)
        found.append(lines)
        start = np.concatenate([lines[:, 2], lines[:, 4]])
        bend = rng.choice((-1, 1), len(start)) * rng.uniform(0.3, 0.8, len(start))
        angle = np.concatenate([turns[:, 1], turns[:, 3]]) + bend
        side, length = np.tile(side, 2), np.tile(length, 2) * rng.uniform(0.4, 0.65, len(start))
    return found
