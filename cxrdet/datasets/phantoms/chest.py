"""Made-up chest films with exact multi-labels and boxes.

Modelled on the look of frontal NIH ChestX-ray14 films (Wang et al., ChestX-Ray8, CVPR 2017): body outline, lungs, ribs,
clavicles, spine, heart, diaphragm, vessels; AP films are portable ones of patients in bed: shallower breath, larger
heart, shoulder blades over the lungs, cables, less contrast. Own work, no pixel of a real film is used.

Brightness follows what the rays lose: soft tissue is grey, bone and fluid are bright, air is dark. Anatomy comes first
(``chest_body``), then findings (``chest_findings``), then the film (exposure, blur, noise).

Label policy
    * A film's findings are exactly those drawn; each has at least one box, the tight extent of what was drawn, clipped
      to the film. A box does not stop where a rib or another finding lies over it.
    * Small findings are placed where the lung is still clear, basal and lobar ones on different sides, so that no
      finding is hidden. Cables, electrodes and markers are no findings.
    * The view is not independent of the findings (portable films have more fluid and opacities), as in real sets.
"""
import dataclasses
from collections.abc import Sequence

import cv2
import numpy as np

from cxrdet.core.errors import did_you_mean
from cxrdet.datasets.phantoms.chest_body import (
    LEFT,
    RIGHT,
    Outlines,
    Patient,
    outline_film,
    ribs,
    sample_patient,
    vessels,
)
from cxrdet.datasets.phantoms.chest_findings import CHEST_FINDINGS, Canvas, add_findings, sample_findings
from cxrdet.datasets.phantoms.optics import blur, smooth_noise, to_bytes
from cxrdet.datasets.phantoms.shapes import Frame, curve, extent, soft

VIEWS = ('PA', 'AP')


@dataclasses.dataclass(frozen=True)
class ChestFilm:
    """One film and its labels.

    Attributes:
        image: (size, size) uint8 grey; bright is dense.
        findings: Names among CHEST_FINDINGS, sorted; empty for a healthy film.
        boxes: (N, 4) float32 xyxy in pixels, 0 <= x1 < x2 <= size.
        labels: (N,) int64, indices into CHEST_FINDINGS.
        view: 'PA' or 'AP'.
        patient: The build that was drawn.
    """

    image: np.ndarray
    findings: tuple[str, ...]
    boxes: np.ndarray
    labels: np.ndarray
    view: str
    patient: Patient


@dataclasses.dataclass(frozen=True)
class ChestScene:
    """Everything about a film that its labels depend on, before it is drawn."""

    canvas: Canvas
    view: str
    patient: Patient

    def targets(self) -> tuple[tuple[str, ...], np.ndarray, np.ndarray]:
        """Return findings, boxes and labels as in :class:`ChestFilm`."""
        marks = self.canvas.marks
        boxes = np.array([extent(mask) for _, mask in marks], dtype=np.float32).reshape(-1, 4)
        labels = np.array([CHEST_FINDINGS.index(name) for name, _ in marks], dtype=np.int64)
        return tuple(sorted({name for name, _ in marks})), boxes, labels


def chest_phantom(rng: np.random.Generator, size: int = 256, *, findings: Sequence[str] | None = None,
                  view: str | None = None, patient: Patient | None = None) -> ChestFilm:
    """Draw one frontal chest film.

    Args:
        rng: Source of all randomness; the same state gives the same film.
        size: Side of the square film in pixels, at least 64.
        findings: Names among ``CHEST_FINDINGS``; by default they are chosen at random, about a third has none.
        view: 'PA' or 'AP'; by default 60 % are PA.
        patient: Build of the body; by default a new one.

    Raises: ValueError if the size is below 64, or the view or a finding is unknown.
    """
    scene = sample_chest(rng, size, findings=findings, view=view, patient=patient)
    return ChestFilm(render_chest(rng, scene), *scene.targets(), scene.view, scene.patient)


def sample_chest(rng: np.random.Generator, size: int = 256, *, findings: Sequence[str] | None = None,
                 view: str | None = None, patient: Patient | None = None) -> ChestScene:
    """Choose anatomy and findings of one film; the labels are final. Arguments and errors as in chest_phantom."""
    if size < 64:
        raise ValueError(f'size is expected to be at least 64 pixels, got {size}')
    if view not in (None, *VIEWS):
        raise ValueError(f'view is expected to be PA or AP, got {view!r}')
    for name in findings or ():
        if name not in CHEST_FINDINGS:
            raise ValueError(f'Unknown finding {name!r}, expected: {", ".join(CHEST_FINDINGS)}.'
                             f'{did_you_mean(name, CHEST_FINDINGS)}')
    patient = sample_patient(rng) if patient is None else patient
    view = ('PA' if rng.random() < 0.6 else 'AP') if view is None else view
    portable = view == 'AP'
    planned = sample_findings(rng, portable=portable) if findings is None else tuple(findings)
    side = int(rng.choice((RIGHT, LEFT)))
    ratio = patient.cardiothoracic * (1.08 if portable else 1.0)  # nearer to the source, the heart looks larger
    if 'Cardiomegaly' in planned:
        ratio = rng.uniform(0.55, 0.64)
    raised = {-side: rng.uniform(0.05, 0.09)} if 'Atelectasis' in planned else {}
    outlines = outline_film(rng, patient, portable=portable, cardiothoracic=ratio, raised=raised)
    frame = Frame.sample(rng, size, *((4.0, 0.035, 0.08) if portable else (2.0, 0.02, 0.06)), larger=1.06)
    canvas = Canvas.empty(frame, outlines)
    add_findings(rng, canvas, planned, side)
    return ChestScene(canvas, view, patient)


# ---------------------------------------------------------------------------------------------------- the drawing

def render_chest(rng: np.random.Generator, scene: ChestScene) -> np.ndarray:
    """Draw a scene; (size, size) uint8 grey."""
    canvas, portable = scene.canvas, scene.view == 'AP'
    outlines = canvas.outlines
    body = soft(canvas.frame.fill(outlines.body), 0.004 * canvas.frame.scale)
    image = _tissue(rng, canvas, body, scene.patient)
    air = _air(rng, canvas)
    image -= (0.37 if portable else 0.45) * rng.uniform(0.85, 1.1) * air * (1 + canvas.clearing)
    image += 0.13 * _vessel_layer(scene.patient.seed, canvas) * air * (1 - canvas.bare) + canvas.lines * (air > 0.1)
    image += _bones(scene, body) * (0.45 + 0.55 * air)
    image += _shoulders(rng, canvas, portable)
    _breasts_and_bubble(rng, image, canvas, scene.patient, body)
    image = _expose(rng, image, portable)
    _attach(rng, image, canvas, portable)
    image = blur(image, canvas.frame.size / 256 * rng.uniform(0.3, 0.75 if portable else 0.55))
    grain = rng.uniform(1.2, 3.5 if portable else 2.2)
    image = 255 * image + np.float32(grain) * rng.standard_normal(image.shape, dtype=np.float32)
    return to_bytes(image)


def _tissue(rng: np.random.Generator, canvas: Canvas, body: np.ndarray, patient: Patient) -> np.ndarray:
    frame, outlines, unit = canvas.frame, canvas.outlines, canvas.frame.scale
    thick = soft(frame.fill(outlines.body), 0.06 * unit)
    image = body * (0.22 + (0.34 + 1.2 * patient.fat) * np.clip(2 * thick - 1, 0, 1))
    flesh = soft(frame.stroke(outlines.arms, 0.105 + 0.4 * patient.fat), 0.02 * unit)
    image = np.maximum(image, 0.36 * flesh) + 0.10 * soft(frame.stroke(outlines.arms, 0.034), 0.004 * unit)
    below = 1 / (1 + np.exp((outlines.bottom - 0.02 - canvas.y) * (1 / 0.04)))
    middle = np.exp(-np.square(canvas.x * (1 / 0.085)))
    image += body * (rng.uniform(0.12, 0.2) * below + 0.17 * middle)
    windpipe = frame.stroke([curve([(0.0, -0.05), (0.004, 0.12), (-0.006, outlines.top + 0.2)])], 0.036)
    return image - 0.10 * soft(windpipe, 0.008 * unit) * body


def _air(rng: np.random.Generator, canvas: Canvas) -> np.ndarray:
    frame, outlines, unit = canvas.frame, canvas.outlines, canvas.frame.scale
    lungs = np.maximum(frame.fill(outlines.lungs[RIGHT]), frame.fill(outlines.lungs[LEFT]))
    lungs = soft(lungs, 0.006 * unit)
    deep = soft(frame.fill(outlines.lungs[RIGHT]) | frame.fill(outlines.lungs[LEFT]), 0.035 * unit)
    height = outlines.bottom - outlines.top
    middle = np.maximum(frame.fill(outlines.heart), frame.fill(_great_vessels(rng, outlines)))
    air = lungs * (0.55 + 0.45 * deep) * (1 - 0.9 * soft(middle, 0.007 * unit))
    for side in (RIGHT, LEFT):  # the roots of the lungs
        x, y = outlines.hilum(side).tolist()
        root = np.exp(-np.square((canvas.x - x) / (0.10 * outlines.half_width))
                      - np.square((canvas.y - y) / (0.10 * height)))
        air *= 1 - 0.3 * root
    cloud = 1 + 0.035 * smooth_noise(rng, air.shape, 0.09 * unit)
    return air * cloud * (1 - canvas.opacity)


def _great_vessels(rng: np.random.Generator, outlines: Outlines) -> np.ndarray:
    knob = rng.uniform(0.055, 0.085)
    top, step = outlines.top, (outlines.bottom - outlines.top) / 10
    points = [(-0.045, top - step), (-0.05, top + step), (-0.055, top + 3 * step), (-0.065, top + 6 * step),
              (0.10, top + 6 * step), (0.075, top + 4.6 * step), (0.06, top + 3.6 * step), (knob, top + 2.7 * step),
              (knob * 0.85, top + 1.9 * step), (0.045, top + step), (0.042, top - step)]
    return curve(points, closed=True)


def _vessel_layer(seed: int, canvas: Canvas) -> np.ndarray:
    layer = None
    levels = vessels(np.random.default_rng(seed), canvas.outlines)
    for lines, width, value in reversed(list(zip(levels, (0.0075, 0.005, 0.0035), (0.5, 0.45, 0.45), strict=True))):
        layer = canvas.frame.stroke(lines, width, value, layer=layer)
    return soft(layer, 0.002 * canvas.frame.scale)


def _bones(scene: ChestScene, body: np.ndarray) -> np.ndarray:
    canvas, frame, unit, top = scene.canvas, scene.canvas.frame, scene.canvas.frame.scale, scene.canvas.outlines.top
    rng = np.random.default_rng((scene.patient.seed, 1))
    posterior, anterior = ribs(rng, canvas.outlines)
    width = rng.uniform(0.02, 0.026)
    back, back_inner = frame.stroke(posterior, width), frame.stroke(posterior, width * 0.55)
    front = frame.stroke(anterior, width * 1.1)
    tilt = rng.uniform(-0.03, 0.02)
    line = curve([(0.028, top + 0.055), (0.10, top + 0.035), (0.2, top - 0.005 + tilt), (0.31, top - 0.03 + tilt)])
    clavicles = frame.stroke([line * (side, 1) for side in (RIGHT, LEFT)], 0.027)
    spine = np.exp(-np.square(canvas.x / 0.034) ** 2) * (0.7 + 0.3 * np.cos(canvas.y * (2 * np.pi / 0.062)))
    strength = rng.uniform(0.09, 0.14)
    layer = strength * (soft(back, 0.003 * unit) - 0.45 * soft(back_inner, 0.003 * unit))
    layer += 0.5 * strength * soft(front, 0.005 * unit) + 0.15 * soft(clavicles, 0.003 * unit)
    return (layer + 0.045 * spine) * body


def _shoulders(rng: np.random.Generator, canvas: Canvas, portable: bool) -> np.ndarray:
    unit, outlines = canvas.frame.scale, canvas.outlines
    blades = joints = None
    inner = outlines.half_width * (rng.uniform(0.62, 0.8) if portable else rng.uniform(0.95, 1.1))
    for side in (RIGHT, LEFT):
        top = outlines.top + rng.uniform(-0.01, 0.02)
        line = curve([(inner + 0.01, top + 0.03), (inner, top + 0.12), (inner + 0.05, top + 0.30),
                      (inner + 0.085, top + 0.28), (0.42, top + 0.08)])
        blades = canvas.frame.stroke([line * (side, 1)], 0.014, layer=blades)
        joint = curve([(0.43, top + 0.03), (0.455, top + 0.055), (0.46, top + 0.085)])
        joints = canvas.frame.stroke([joint * (side, 1)], 0.07, layer=joints)
    return 0.06 * soft(blades, 0.005 * unit) + 0.10 * soft(joints, 0.006 * unit)


def _breasts_and_bubble(rng: np.random.Generator, image: np.ndarray, canvas: Canvas, patient: Patient,
                        body: np.ndarray) -> None:
    outlines = canvas.outlines
    if patient.breast:
        layer = np.zeros((canvas.frame.size,) * 2, np.uint8)
        for side in (RIGHT, LEFT):
            t = np.linspace(0, 2 * np.pi, 24)
            x = 0.56 * outlines.half_width + (0.11 + 0.05 * patient.breast) * np.cos(t)
            y = outlines.bottom - 0.13 + 0.05 * patient.breast + (0.10 + 0.05 * patient.breast) * np.sin(t)
            layer |= canvas.frame.fill(np.column_stack([side * x, y]))
        fade = 1 / (1 + np.exp((outlines.bottom - 0.17 - canvas.y) * (1 / 0.04)))
        image += 0.05 * patient.breast * soft(layer, 0.006 * canvas.frame.scale) * fade * body
    if rng.random() < 0.6:
        x, y = 0.5 * outlines.half_width + rng.normal(0, 0.03), outlines.bottom + rng.uniform(0.0, 0.05)
        across, high = rng.uniform(0.05, 0.09), rng.uniform(0.02, 0.035)
        bubble = np.square((canvas.x - x) / across) + np.square((canvas.y - y) / high)
        image -= rng.uniform(0.05, 0.14) * np.clip(3 * (1 - bubble), 0, 1) * ~canvas.lungs[LEFT]


def _expose(rng: np.random.Generator, image: np.ndarray, portable: bool) -> np.ndarray:
    image = np.clip(image * rng.uniform(1.02, 1.28), 0, None)
    image = image / (1 + np.power(image * 0.98, 6)) ** (1 / 6)  # the shoulder of the film's curve
    image = np.power(image, np.float32(rng.uniform(0.75, 1.2)))
    if portable:
        haze = rng.uniform(0.0, 0.14)
        image = haze + (1 - haze) * image * (image > 0.02) + haze * (image - 1) * (image <= 0.02)
    return image * np.float32(rng.uniform(0.9, 1.0)) + np.float32(rng.uniform(0.0, 0.05))


def _attach(rng: np.random.Generator, image: np.ndarray, canvas: Canvas, portable: bool) -> None:
    size, layer = canvas.frame.size, np.zeros((canvas.frame.size,) * 2, np.uint8)
    left = bool(rng.random() < 0.7)
    at = (rng.uniform(0.86, 0.95) if left else rng.uniform(0.03, 0.08), rng.uniform(0.06, 0.22))
    _write(layer, 'L' if left else 'R', at, 0.0022 * rng.uniform(0.8, 1.3), 230)
    if portable:
        if rng.random() < 0.5:
            _write(layer, 'PORTABLE' if rng.random() < 0.5 else 'AP', (rng.uniform(0.02, 0.8), rng.uniform(0.04, 0.3)),
                   0.0011, 210)
        for _ in range(int(rng.integers(0, 4))):
            start = rng.uniform((-0.28, 0.2), (0.28, 0.75))
            end = rng.choice((-1, 1)) * rng.uniform(0.25, 0.5), rng.choice((-0.1, 1.1))
            middle = (start + end) / 2 + rng.normal(0, 0.08, 2)
            electrode = [np.array([start, start + (0.001, 0)])]
            for lines, width, value in (([curve([start, middle, end])], 0.005, 0.55), (electrode, 0.028, 0.75),
                                        (electrode, 0.012, 1.0)):
                canvas.frame.stroke(lines, width, value, layer=layer)
    cover = soft(layer, 0.4 * size / 256)
    image += cover * np.clip(0.95 - image, 0, None) * 0.8


def _write(layer: np.ndarray, text: str, at: tuple[float, float], scale: float, value: int) -> None:
    size = layer.shape[0]
    where, width = (int(at[0] * size), int(at[1] * size)), max(1, round(size / 200))
    cv2.putText(layer, text, where, cv2.FONT_HERSHEY_SIMPLEX, scale * size, value, width, cv2.LINE_AA)
