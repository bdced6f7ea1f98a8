"""Findings that can be seen on a made-up chest film, each with the mask of what was drawn.

A finding changes the film in up to three ways, all of them (size, size) float32: ``opacity`` (share of the lung's
transparency that is lost), ``clearing`` (gain of transparency), ``lines`` (bright lines); ``bare`` marks lung without
vessels. The shapes follow textbook descriptions: a meniscus for an effusion, a lung edge with bare lung beyond it for a
pneumothorax, plate-like bands below a raised diaphragm for an atelectasis, a lobe with one sharp border and air
bronchograms for a consolidation, patchy ill-defined haze for an infiltration.
"""
import dataclasses
import math
from collections.abc import Callable, Sequence

import cv2
import numpy as np

from cxrdet.datasets.phantoms.chest_body import LEFT, RIGHT, Outlines
from cxrdet.datasets.phantoms.optics import smooth_noise
from cxrdet.datasets.phantoms.shapes import Frame, curve, soft

CHEST_FINDINGS = ('Atelectasis', 'Cardiomegaly', 'Consolidation', 'Effusion', 'Infiltration', 'Mass', 'Nodule',
                  'Pneumothorax')
# Each on its own, so that about a third of the films has none.
PREVALENCE = {'Atelectasis': 0.16, 'Cardiomegaly': 0.15, 'Consolidation': 0.13, 'Effusion': 0.17, 'Infiltration': 0.16,
              'Mass': 0.13, 'Nodule': 0.15, 'Pneumothorax': 0.13}


@dataclasses.dataclass
class Canvas:
    """One film while findings are added to it.

    Attributes:
        frame: Body coordinates to pixels.
        outlines: The film's anatomy.
        x, y: (size, size) float32, body coordinates of each pixel.
        lungs: By side, (size, size) bool.
        heart: (size, size) bool.
        opacity, clearing, lines, bare: See the module's text.
        planned: Names of all findings of the film.
        marks: (finding, mask (size, size) bool) of everything drawn.
    """

    frame: Frame
    outlines: Outlines
    x: np.ndarray
    y: np.ndarray
    lungs: dict[int, np.ndarray]
    heart: np.ndarray
    opacity: np.ndarray
    clearing: np.ndarray
    lines: np.ndarray
    bare: np.ndarray
    planned: frozenset[str] = frozenset()
    marks: list[tuple[str, np.ndarray]] = dataclasses.field(default_factory=list)

    @classmethod
    def empty(cls, frame: Frame, outlines: Outlines) -> 'Canvas':
        """A healthy film."""
        x, y = frame.grid()
        lungs = {side: frame.fill(outline) > 127 for side, outline in outlines.lungs.items()}
        zeros = [np.zeros((frame.size, frame.size), np.float32) for _ in range(4)]
        return cls(frame, outlines, x, y, lungs, frame.fill(outlines.heart) > 127, *zeros)

    def half(self, side: int) -> np.ndarray:
        """That side of the body; (size, size) bool. An opacity acts on lung only, so that it needs no sharper limit."""
        return self.x * side > 0

    def free_lung(self, side: int) -> np.ndarray:
        """The lung that no heart hides."""
        return self.lungs[side] & ~self.heart

    def darken(self, opacity: np.ndarray) -> None:
        """Add an opacity; two of them leave (1 - a) (1 - b) of the transparency."""
        self.opacity = 1 - (1 - self.opacity) * (1 - np.clip(opacity, 0, 1))

    def mark(self, name: str, mask: np.ndarray) -> None:
        """Record what was drawn; an empty mask (moved off the film) is not recorded."""
        if mask.any():
            self.marks.append((name, mask))


def sample_findings(rng: np.random.Generator, *, portable: bool) -> tuple[str, ...]:
    """Choose findings independently of each other; fluid and opacities are more frequent on portable films."""
    chosen = []
    for name in CHEST_FINDINGS:
        sicker = 1.25 if portable and name in ('Atelectasis', 'Consolidation', 'Effusion', 'Infiltration') else 1.0
        if rng.random() < PREVALENCE[name] * sicker:
            chosen.append(name)
    return tuple(chosen)


def add_findings(rng: np.random.Generator, canvas: Canvas, names: Sequence[str], side: int) -> None:
    """Draw findings, large ones first, so that small ones find a place that is still clear.

    Effusion and pneumothorax lie on ``side``, atelectasis and consolidation on the other: they hide each other least.
    """
    canvas.planned = frozenset(names)
    for name, draw in _DRAW.items():
        if name in canvas.planned:
            if name in ('Effusion', 'Pneumothorax'):
                place = side
            elif name in ('Atelectasis', 'Consolidation'):
                place = -side
            else:
                place = int(rng.choice((RIGHT, LEFT)))
            draw(rng, canvas, place)


def _smoothstep(value: np.ndarray, low: float, high: float) -> np.ndarray:
    t = np.clip((value - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def _effusion(rng: np.random.Generator, canvas: Canvas, side: int) -> None:
    both = rng.random() < 0.25 and not canvas.planned & {'Atelectasis', 'Consolidation'}
    sides = (side, -side) if both else (side,)
    for one in sides:
        lungs = canvas.outlines
        height = rng.uniform(0.12, 0.34) * (lungs.bottom - lungs.top)
        lateral = np.clip(one * canvas.x / lungs.half_width, 0, 1)
        level = lungs.bottom - height * (0.35 + 0.65 * lateral ** 2)  # the meniscus climbs along the chest wall
        depth = _smoothstep(canvas.y - level, -0.018, 0.018)
        mask = canvas.free_lung(one) & (canvas.y > level)
        canvas.darken(depth * canvas.half(one) * rng.uniform(0.8, 0.97))
        canvas.mark('Effusion', mask)


def _pneumothorax(rng: np.random.Generator, canvas: Canvas, side: int) -> None:
    hilum = canvas.outlines.hilum(side)
    outline = canvas.outlines.lungs[side] - hilum
    wide, high = rng.uniform(0.66, 0.86), rng.uniform(0.78, 0.92)
    down = np.clip(outline[:, 1] / outline[:, 1].max(), 0, 1) ** rng.uniform(1.2, 3)  # 1 at the base: lung meets wall
    narrow = np.column_stack([wide + (1 - wide) * down, np.where(outline[:, 1] < 0, high, 1.0)])
    outline = outline * narrow + hilum
    lateral = side * canvas.x > 0.30 * canvas.outlines.half_width
    gas = canvas.lungs[side] & (canvas.frame.fill(outline) < 128) & lateral
    edge = canvas.frame.stroke([np.concatenate([outline, outline[:1]])], 0.0055)
    near = cv2.dilate(gas.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    canvas.lines += soft(edge, 0.4) * (near & canvas.lungs[side]) * np.float32(rng.uniform(0.10, 0.16))
    region = soft(gas.astype(np.uint8) * 255, 0.005 * canvas.frame.scale)
    canvas.clearing += region * rng.uniform(0.16, 0.3)
    canvas.bare = np.maximum(canvas.bare, region)
    canvas.darken((canvas.half(side) & ~gas) * np.float32(rng.uniform(0.06, 0.14)))
    canvas.mark('Pneumothorax', gas)


def _atelectasis(rng: np.random.Generator, canvas: Canvas, side: int) -> None:
    """One to three plates above the diaphragm; the diaphragm itself is raised in the outlines."""
    lungs, layer = canvas.outlines, np.zeros((canvas.frame.size,) * 2, np.uint8)
    base = y = lungs.bottom - 0.15 - rng.uniform(0, 0.05)
    free, t = canvas.free_lung(side), np.linspace(-1, 1, 7)
    for _ in range(int(rng.integers(1, 4))):
        x, half, width = rng.uniform(0.45, 0.65) * lungs.half_width, rng.uniform(0.06, 0.10), rng.uniform(0.014, 0.024)
        plate = np.column_stack([side * (x + half * t), half * rng.normal(0.1, 0.2) * t + 0.012 * t ** 2])
        for _ in range(20):  # upwards until diaphragm and heart leave it free
            one = canvas.frame.stroke([plate + (0, y)], width)
            if free[one > 63].mean() > 0.75:
                break
            y -= 0.012
        layer = np.maximum(layer, one)
        y -= rng.uniform(0.045, 0.065)
    mask = (layer > 63) & free
    plates = soft(layer, 0.003 * canvas.frame.scale) * rng.uniform(0.4, 0.7)
    haze = _smoothstep(canvas.y - (base - 0.03), 0, 0.12) * rng.uniform(0.05, 0.2)
    canvas.darken(np.maximum(plates, haze) * canvas.half(side))
    canvas.mark('Atelectasis', mask)


def _consolidation(rng: np.random.Generator, canvas: Canvas, side: int) -> None:
    lungs = canvas.outlines
    height = lungs.bottom - lungs.top
    upper = 'Atelectasis' in canvas.planned or rng.random() < 0.5
    fissure = lungs.top + height * rng.uniform(0.42, 0.55)
    slanted = canvas.y - fissure - rng.uniform(-0.25, 0.25) * (side * canvas.x - 0.5 * lungs.half_width)
    away, reach = (-slanted if upper else slanted), height * rng.uniform(0.22, 0.34)
    shape = _smoothstep(away, 0, 0.012) * (1 - _smoothstep(away, 0.6 * reach, reach))  # sharp at the fissure only
    inner = rng.uniform(0.15, 0.4)
    shape *= _smoothstep(side * canvas.x / lungs.half_width, inner - 0.1, inner + 0.15)
    texture = 1 + 0.08 * smooth_noise(rng, shape.shape, 0.05 * canvas.frame.scale)
    tubes = None
    for _ in range(int(rng.integers(2, 5))):  # air bronchograms
        angle = rng.normal(-0.5 if upper else 0.4, 0.35)
        start = lungs.hilum(side) + rng.normal(0, 0.015, 2)
        way = np.array((side * math.cos(angle), math.sin(angle))) * rng.uniform(0.12, 0.22)
        middle, end = start + 0.5 * way + rng.normal(0, 0.008, 2), start + way
        tubes = canvas.frame.stroke([curve([start, middle, end])], 0.007, layer=tubes)
    shape *= canvas.half(side)
    canvas.darken(shape * texture * rng.uniform(0.6, 0.82) * (1 - 0.5 * soft(tubes, 0.003 * canvas.frame.scale)))
    canvas.mark('Consolidation', (shape > 0.4) & canvas.free_lung(side))


def _infiltration(rng: np.random.Generator, canvas: Canvas, side: int) -> None:
    for wanted in (side, -side) if rng.random() < 0.5 else (side,):
        x, y, one = _place(rng, canvas, wanted, 0.35, 0.75)
        a, b = rng.uniform(0.08, 0.13), rng.uniform(0.10, 0.17)
        ball = np.exp(-(((canvas.x - x) / a) ** 2 + ((canvas.y - y) / b) ** 2))
        unit = canvas.frame.scale
        patches = smooth_noise(rng, ball.shape, max(0.034 * unit, 2))
        patches += 0.6 * smooth_noise(rng, ball.shape, max(0.016 * unit, 1.2))
        haze = ball * np.clip(0.5 + 0.55 * patches, 0, 1.6) * canvas.half(one)
        canvas.darken(haze * rng.uniform(0.45, 0.65))
        canvas.mark('Infiltration', (haze > 0.25) & (ball > 0.3) & canvas.free_lung(one))


def _mass(rng: np.random.Generator, canvas: Canvas, side: int) -> None:
    _blob(rng, canvas, side, 'Mass', rng.uniform(0.046, 0.085), rng.uniform(0.5, 0.8))


def _nodule(rng: np.random.Generator, canvas: Canvas, side: int) -> None:
    for _ in range(1 + int(rng.random() < 0.3) + int(rng.random() < 0.15)):
        _blob(rng, canvas, side, 'Nodule', rng.uniform(0.022, 0.036), rng.uniform(0.6, 0.85))
        side = int(rng.choice((RIGHT, LEFT)))


def _blob(rng: np.random.Generator, canvas: Canvas, side: int, name: str, radius: float, density: float) -> None:
    x, y, side = _place(rng, canvas, side, 0.12, 0.8)
    dx, dy = canvas.x - np.float32(x), canvas.y - np.float32(y)
    angle = np.arctan2(dy, dx)
    outline = 1.0
    for order in (2, 3, 4):
        outline = outline + rng.normal(0, 0.12 / order) * np.cos(order * angle + rng.uniform(0, 2 * math.pi))
    q = np.hypot(dx, dy) / (radius * outline)
    edge = max(rng.uniform(0.12, 0.3), 0.8 / (radius * canvas.frame.scale))  # about a pixel
    body = (1 - _smoothstep(q, 1 - edge, 1 + edge)) * np.sqrt(np.clip(1.15 - 0.5 * q ** 2, 0.3, None))
    canvas.darken(body * density)
    canvas.mark(name, (q < 1) & canvas.free_lung(side))


def _place(rng: np.random.Generator, canvas: Canvas, side: int, low: float, high: float) -> tuple[float, float, int]:
    """Choose a point well inside clear lung between two shares of its height, on ``side`` if there is one.

    Returns:
        Body coordinates x, y, and the side.
    """
    lungs = canvas.outlines
    height = lungs.bottom - lungs.top
    band = (canvas.y > lungs.top + low * height) & (canvas.y < lungs.top + high * height)
    margin = max(1, round(0.03 * canvas.frame.scale))
    for one in (side, -side):
        clear = (canvas.free_lung(one) & band & (canvas.opacity < 0.35) & (canvas.bare < 0.3)).astype(np.uint8)
        where = np.flatnonzero(cv2.erode(clear, np.ones((2 * margin + 1,) * 2, np.uint8), borderValue=0))
        if len(where):
            at = int(where[int(rng.integers(len(where)))])
            return float(canvas.x.flat[at]), float(canvas.y.flat[at]), one
    at = int(np.argmin(canvas.opacity + ~canvas.free_lung(side)))  # no lung is clear: where it is clearest
    return float(canvas.x.flat[at]), float(canvas.y.flat[at]), side


def _cardiomegaly(rng: np.random.Generator, canvas: Canvas, side: int) -> None:
    """The heart is enlarged in the outlines; here it is marked, down to the diaphragm."""
    canvas.mark('Cardiomegaly', canvas.heart & (canvas.y < canvas.outlines.bottom - 0.02)
                & (canvas.y > canvas.outlines.bottom - 0.6 * (canvas.outlines.bottom - canvas.outlines.top)))


_DRAW: dict[str, Callable[[np.random.Generator, Canvas, int], None]] = {
    'Cardiomegaly': _cardiomegaly,
    'Effusion': _effusion,
    'Pneumothorax': _pneumothorax,
    'Consolidation': _consolidation,
    'Atelectasis': _atelectasis,
    'Infiltration': _infiltration,
    'Mass': _mass,
    'Nodule': _nodule,
}
