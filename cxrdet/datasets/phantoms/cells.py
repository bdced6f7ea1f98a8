"""Made-up blood smears with exact boxes of red cells (RBC), white cells (WBC) and platelets (Platelets).

Modelled on the look of the BCCD images (https://github.com/Shenggan/BCCD_Dataset, MIT): sizes relative to the image,
counts, colours, noise. Own work, no pixel of a real image is used.

A scene is sampled first (what lies where: every mask is final), then drawn: each cell has an optical density for red,
green and blue; densities add up where cells overlap, as dyes do in transmitted light (Beer-Lambert), so that all
outlines stay visible. Focus blur, uneven light, sensor noise, dust and dirt come on top and change no label.

Label policy
    * A box is the tight extent of the cell's own mask, clipped to the image: 0 <= x1 < x2 <= W. The mask does not
      stop where another cell overlaps it.
    * No cell is hidden: a place is refused where it would leave any cell, old or new, with more than
      ``MAX_COVERED`` of its visible mask covered by others.
    * No cell is drawn without a box. A cell cut by the border keeps at least ``MIN_INSIDE`` of its mask in the image.
    * Dirt, dust and refractile rings have no box; they are much smaller than a platelet or of another colour.
"""
import dataclasses
import functools
import math

import cv2
import numpy as np

from cxrdet.datasets.phantoms.optics import blur, sensor_noise, smooth_noise, to_bytes, uneven_light
from cxrdet.datasets.phantoms.shapes import extent, tight

CELL_CLASSES = ('RBC', 'WBC', 'Platelets')
RBC, WBC, PLATELET = range(3)
MAX_COVERED = (0.45, 0.25, 0.30)  # by class: largest share of a cell's visible mask that others may cover
MIN_INSIDE = 0.2  # smallest share of a cell's mask that lies in the image
DIAMETER = (0.180, 0.335, 0.068)  # by class: mean diameter as a share of the image's side, at magnification 1
OVERLAP_DENSITY = 0.6  # of a cell's density where it lies on another: squeezed cells are thinner there
OUTLINE_STEPS = 720  # of an outline's table: half degrees, a fraction of a pixel
MIN_PIXELS = 6  # smallest visible mask in pixels


@dataclasses.dataclass(frozen=True)
class Cell:
    """One cell: its class, where its patch lies, and its shape.

    Attributes:
        label: Index into CELL_CLASSES.
        left, top: Position of the patch's first pixel in the image; the patch lies in the image.
        mask: (h, w) bool, the visible pixels of the cell.
        u, v: (h, w) float32, coordinates in the cell's own frame, in units of its mean radius.
        q: (h, w) float32, 0 in the centre and 1 on the outline, below 1 exactly where ``mask`` is set.
        radius: Mean radius in pixels.
        seed: Seed of the texture.
    """

    label: int
    left: int
    top: int
    mask: np.ndarray
    u: np.ndarray
    v: np.ndarray
    q: np.ndarray
    radius: float
    seed: int

    @property
    def window(self) -> tuple[slice, slice]:
        """Where the patch lies in the image."""
        height, width = self.mask.shape
        return slice(self.top, self.top + height), slice(self.left, self.left + width)

    @functools.cached_property
    def box(self) -> tuple[float, float, float, float]:
        """Tight xyxy extent of the visible mask in pixels."""
        x1, y1, x2, y2 = extent(self.mask)
        return self.left + x1, self.top + y1, self.left + x2, self.top + y2


@dataclasses.dataclass(frozen=True)
class CellScene:
    """What lies where in one image, before anything is drawn."""

    size: int
    cells: tuple[Cell, ...]

    def targets(self) -> tuple[np.ndarray, np.ndarray]:
        """Return boxes (N, 4) float32 xyxy and labels (N,) int64."""
        boxes = np.array([cell.box for cell in self.cells], dtype=np.float32).reshape(-1, 4)
        return boxes, np.array([cell.label for cell in self.cells], dtype=np.int64)


def cell_phantom(rng: np.random.Generator, size: int = 320) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw one blood smear.

    Args:
        rng: Source of all randomness; the same state gives the same image.
        size: Side of the square image in pixels, at least 64.

    Returns: image (size, size, 3) uint8 RGB; boxes (N, 4) float32 xyxy in pixels, 0 <= x1 < x2 <= size; labels (N,)
        int64, indices into ``CELL_CLASSES``. N is 5 to 40 in practice.

    Raises: ValueError if ``size`` is below 64.
    """
    scene = sample_cells(rng, size)
    return render_cells(rng, scene), *scene.targets()


# ---------------------------------------------------------------------------------------------------- the scene

def sample_cells(rng: np.random.Generator, size: int = 320) -> CellScene:
    """Choose the cells of one image; the masks, and so the boxes and labels, are final. Raises as cell_phantom."""
    if size < 64:
        raise ValueError(f'size is expected to be at least 64 pixels, got {size}')
    magnification = rng.uniform(0.75, 1.1)
    crowd = rng.uniform(4, 17)
    counts = (round(crowd / magnification ** 2) + 2,
              int(rng.choice(4, p=(0.08, 0.74, 0.15, 0.03))), int(rng.poisson(1.6)))
    cells: list[Cell] = []
    cover = np.zeros((size, size), np.uint8)
    for label in (WBC, RBC, PLATELET):
        for _ in range(counts[label]):
            for _ in range(12):  # tries to find a place
                radius = 0.5 * DIAMETER[label] * size * magnification * _relative_size(rng, label)
                cell = _sample_cell(rng, label, radius, _sample_centre(rng, size, label, radius, cells), size)
                if cell is not None and _fits(cell, cells, cover):
                    cells.append(cell)
                    cover[cell.window] += cell.mask
                    break
    return CellScene(size, tuple(cells))


def _relative_size(rng: np.random.Generator, label: int) -> float:
    spread, low, high = ((0.09, 0.75, 1.3), (0.17, 0.62, 1.25), (0.2, 0.65, 1.6))[label]
    return float(np.clip(rng.normal(1, spread), low, high))


def _sample_centre(rng: np.random.Generator, size: int, label: int, radius: float,
                   cells: list[Cell]) -> tuple[float, float]:
    """Anywhere, also beyond the border; red cells often beside or on another one."""
    margin = 0.45 * radius
    red = [cell for cell in cells if cell.label == RBC]
    if label == RBC and red and rng.random() < 0.55:
        other = red[int(rng.integers(len(red)))]
        angle, distance = rng.uniform(0, 2 * math.pi), (radius + other.radius) * rng.uniform(0.62, 1.05)
        x1, y1, x2, y2 = other.box
        x, y = (x1 + x2) / 2 + distance * math.cos(angle), (y1 + y2) / 2 + distance * math.sin(angle)
        if -margin < min(x, y) and max(x, y) < size + margin:
            return x, y
    x, y = rng.uniform(-margin, size + margin, 2)
    return float(x), float(y)


def _sample_cell(rng: np.random.Generator, label: int, radius: float, centre: tuple[float, float],
                 size: int) -> Cell | None:
    """Choose an outline and return the cell's visible patch, or None where too little of it lies in the image."""
    squeeze, ripples = _sample_outline(rng, label)
    angle, seed = rng.uniform(0, 2 * math.pi), int(rng.integers(2 ** 31))
    reach = radius * (1 + sum(abs(amplitude) for _, amplitude, _ in ripples)) / math.sqrt(squeeze) + 1
    left, top = math.floor(centre[0] - reach), math.floor(centre[1] - reach)
    side = math.ceil(2 * reach) + 2
    x = np.arange(left, left + side, dtype=np.float32)[None, :] + np.float32(0.5 - centre[0])
    y = np.arange(top, top + side, dtype=np.float32)[:, None] + np.float32(0.5 - centre[1])
    u = (math.cos(angle) * x + math.sin(angle) * y) / np.float32(radius)
    v = (-math.sin(angle) * x + math.cos(angle) * y) / np.float32(radius)
    stretch = np.float32(math.sqrt(squeeze))
    q, direction = cv2.cartToPolar(u * stretch, v / stretch)
    turns = np.arange(OUTLINE_STEPS) * (2 * math.pi / OUTLINE_STEPS)
    outline = 1 + sum(amplitude * np.cos(order * turns + phase) for order, amplitude, phase in ripples)
    step = (direction * np.float32(OUTLINE_STEPS / (2 * math.pi))).astype(np.int32)
    q = q / outline.astype(np.float32).take(step, mode='wrap')
    mask = q < 1
    whole = int(mask.sum())
    rows, cols = slice(max(-top, 0), max(size - top, 0)), slice(max(-left, 0), max(size - left, 0))
    mask = mask[rows, cols]
    visible = int(mask.sum())
    if visible < max(MIN_INSIDE * whole, MIN_PIXELS):
        return None
    inner = tight(mask)
    u, v, q = (part[rows, cols][inner] for part in (u, v, q))
    return Cell(label, left + cols.start + inner[1].start, top + rows.start + inner[0].start,
                np.ascontiguousarray(mask[inner]), u, v, q, radius, seed)


def _sample_outline(rng: np.random.Generator, label: int) -> tuple[float, list[tuple[int, float, float]]]:
    if label == RBC:
        low, high = ((0.8, 1.0), (0.6, 0.8), (0.35, 0.5))[int(rng.choice(3, p=(0.8, 0.15, 0.05)))]
        squeeze = rng.uniform(low, high)
        amplitudes = {2: 0.03, 3: 0.035, 4: 0.02, 5: 0.012}
    elif label == WBC:
        squeeze = rng.uniform(0.8, 1.0)
        amplitudes = {2: 0.02, 3: 0.03, 4: 0.02, 5: 0.015, 7: 0.01}
    else:
        squeeze = rng.uniform(0.62, 1.0)
        amplitudes = {2: 0.05, 3: 0.08, 5: 0.06, 8: 0.03}
    return squeeze, [(order, rng.normal(0, scale), rng.uniform(0, 2 * math.pi)) for order, scale in amplitudes.items()]


def _fits(new: Cell, cells: list[Cell], cover: np.ndarray) -> bool:
    if (cover[new.window] > 0)[new.mask].mean() > MAX_COVERED[new.label]:
        return False
    after = cover.copy()
    after[new.window] += new.mask
    x1, y1, x2, y2 = new.box
    for cell in cells:
        a1, b1, a2, b2 = cell.box
        if a1 >= x2 or x1 >= a2 or b1 >= y2 or y1 >= b2:
            continue
        if (after[cell.window] > 1)[cell.mask].mean() > MAX_COVERED[cell.label]:
            return False
    return True


# ---------------------------------------------------------------------------------------------------- the drawing

@dataclasses.dataclass(frozen=True)
class Stain:
    """Optical densities (3,) for red, green, blue of one smear's dyes."""

    red: np.ndarray
    rim: np.ndarray
    nucleus: np.ndarray
    plasma: np.ndarray
    platelet: np.ndarray
    pallor: float


def sample_stain(rng: np.random.Generator) -> Stain:
    """Choose the dyes of one smear: strength and hue vary from smear to smear."""
    def dye(*density: float, spread: float = 0.07) -> np.ndarray:
        value = np.array(density) * rng.uniform(0.8, 1.25) * rng.normal(1, spread, 3)
        return np.clip(value, 0.0, None).astype(np.float32)

    return Stain(red=dye(0.13, 0.33, 0.33), rim=dye(0.13, 0.17, 0.06), nucleus=dye(0.50, 1.02, 0.06, spread=0.12),
                 plasma=dye(0.13, 0.24, 0.02, spread=0.2), platelet=dye(0.36, 0.40, 0.05, spread=0.12),
                 pallor=rng.uniform(0.4, 1.0))


def render_cells(rng: np.random.Generator, scene: CellScene) -> np.ndarray:
    """Draw a scene through an imperfect microscope and camera; (size, size, 3) uint8 RGB."""
    size, unit = scene.size, scene.size / 320
    density = stain_density(scene, sample_stain(rng))
    _add_dirt(rng, density, scene)
    density = blur(density, rng.uniform(0.7, 1.8) * unit)
    light = np.array((206, 210, 207)) * rng.uniform(0.96, 1.04) * rng.normal(1, 0.008, 3)
    field = uneven_light(rng, size, 0.09)
    image = cv2.exp(-density) * cv2.merge([field * colour for colour in light.tolist()])
    sharpen = rng.uniform(0.1, 0.45)  # the camera's own sharpening gives the faint halos
    image = cv2.addWeighted(image, 1 + sharpen, blur(image, 1.8 * unit), -sharpen, 0)
    return to_bytes(image + sensor_noise(rng, size, rng.uniform(0.8, 1.9)))


def stain_density(scene: CellScene, stain: Stain) -> np.ndarray:
    """Return the optical density of all cells, (size, size, 3) float32; 0 where there is none."""
    planes = np.zeros((3, scene.size, scene.size), np.float32)
    taken = np.zeros((scene.size, scene.size), bool)
    paint = {RBC: _paint_red, WBC: _paint_white, PLATELET: _paint_platelet}
    for cell in scene.cells:
        share = np.where(taken[cell.window], np.float32(OVERLAP_DENSITY), np.float32(1)) * cell.mask
        planes[(slice(None), *cell.window)] += paint[cell.label](cell, stain) * share
        taken[cell.window] |= cell.mask
    return cv2.merge(list(planes))


def _paint_red(cell: Cell, stain: Stain) -> np.ndarray:
    rng = np.random.default_rng(cell.seed)
    pallor = stain.pallor * rng.uniform(0.4, 1.05) if rng.random() < 0.75 else rng.uniform(-0.05, 0.15)
    shift = rng.normal(0, 0.06, 2).tolist()
    width, slope = rng.uniform(0.36, 0.66), rng.uniform(12, 24)
    inner = np.hypot(cell.u - shift[0], cell.v - shift[1]) * 0.5 + cell.q * 0.5
    thickness = 1 - pallor / (1 + np.exp((inner - width) * slope)) + 0.12 * smooth_noise(rng, cell.q.shape, cell.radius)
    rim = np.exp(-((cell.q - 0.94) / 0.055) ** 2) * rng.uniform(0.6, 1.3)
    edge = np.clip((1 - cell.q) / 0.05, 0.55, 1)
    strength = rng.uniform(0.85, 1.15)
    return np.multiply.outer(stain.red, strength * thickness * edge) + np.multiply.outer(stain.rim, rim)


def _paint_white(cell: Cell, stain: Stain) -> np.ndarray:
    rng = np.random.default_rng(cell.seed)
    grains = smooth_noise(rng, cell.q.shape, max(cell.radius * 0.06, 1.1))
    plasma = stain.plasma * rng.uniform(0.8, 1.6)
    kind = rng.choice(4, p=(0.5, 0.18, 0.2, 0.12))
    if kind == 3:  # eosinophil: coarse red granules
        plasma = np.array((0.12, 0.75, 0.35), np.float32) * rng.uniform(0.6, 1.0)
    nucleus = _nucleus(rng, cell, kind)
    chromatin = 1 + 0.10 * smooth_noise(rng, cell.q.shape, max(cell.radius * 0.2, 2)) + 0.05 * grains
    rim = 1 + 0.35 * np.exp(-((cell.q - 0.96) / 0.05) ** 2)
    body = np.multiply.outer(plasma, rim * (1 + 0.18 * grains) * np.clip((1 - cell.q) / 0.06, 0.5, 1))
    dark = np.multiply.outer(stain.nucleus * rng.uniform(0.85, 1.1), nucleus * chromatin)
    return np.maximum(body, 0.02) * (1 - nucleus) + dark


def _nucleus(rng: np.random.Generator, cell: Cell, kind: int) -> np.ndarray:
    if kind == 2:  # lymphocyte or blast: one round body, nearly the whole cell
        distance = cell.q / rng.uniform(0.78, 0.95)
    elif kind == 1:  # monocyte: a bean
        turn = rng.uniform(0, 2 * math.pi)
        c, s = math.cos(turn), math.sin(turn)
        u, v = c * cell.u + s * cell.v, c * cell.v - s * cell.u
        bite = np.exp(-((u - 0.55) ** 2 + v ** 2) / 0.09)
        distance = np.hypot(u / 0.66, v / 0.72) + 0.9 * bite
    else:  # two to five lobes on an arc
        count = int(rng.integers(2, 4 if kind == 3 else 7))
        angles = rng.uniform(0, 2 * math.pi) + np.arange(count) * rng.uniform(0.8, 1.15) * (1.5 if count < 4 else 1)
        lobe = 0.38 if count < 4 else 0.29
        distance = np.full_like(cell.q, np.inf)
        for angle in angles:
            far = rng.uniform(0.32, 0.58)
            cu, cv_ = far * math.cos(angle), far * math.sin(angle)
            squeeze = rng.uniform(0.8, 1.2)
            part = np.hypot((cell.u - cu) * squeeze, (cell.v - cv_) / squeeze) / (lobe * rng.uniform(0.85, 1.15))
            distance = np.minimum(distance, part)
    distance = distance + 0.05 * smooth_noise(rng, cell.q.shape, max(cell.radius * 0.25, 2))
    distance = np.where(cell.q > 0.93, 2, distance)
    return np.clip((1.06 - distance) / 0.12, 0, 1).astype(np.float32)


def _paint_platelet(cell: Cell, stain: Stain) -> np.ndarray:
    rng = np.random.default_rng(cell.seed)
    grains = smooth_noise(rng, cell.q.shape, max(cell.radius * 0.3, 1.2))
    depth = np.clip(1.25 - 0.75 * cell.q ** 2, 0.4, 1.2) * np.clip(1 + 0.25 * grains, 0.5, 1.6)
    return np.multiply.outer(stain.platelet, depth * rng.uniform(0.75, 1.25))


def _add_dirt(rng: np.random.Generator, density: np.ndarray, scene: CellScene) -> None:
    size, unit = scene.size, scene.size / 320
    layer = np.zeros((size, size), np.float32)
    for _ in range(rng.poisson(3)):  # grains and dust, below a quarter of a platelet's diameter
        x, y = (int(16 * value) for value in rng.uniform(0, size, 2))
        radius = int(16 * rng.uniform(0.5, 1.7) * unit)
        cv2.circle(layer, (x, y), radius, float(rng.uniform(0.15, 0.6)), -1, cv2.LINE_AA, 4)
    red = [cell for cell in scene.cells if cell.label == RBC]
    if red and rng.random() < 0.45:  # refractile rings and loops on some red cells, as drying leaves them
        for index in rng.choice(len(red), min(len(red), 1 + int(rng.poisson(2))), replace=False):
            _add_ring(rng, layer, red[index])
    density += cv2.merge((layer,) * 3)


def _add_ring(rng: np.random.Generator, layer: np.ndarray, cell: Cell) -> None:
    x1, y1, x2, y2 = cell.box
    x, y = (x1 + x2) / 2 + cell.radius * rng.normal(0, 0.25), (y1 + y2) / 2 + cell.radius * rng.normal(0, 0.25)
    axes = cell.radius * rng.uniform(0.1, 0.3), cell.radius * rng.uniform(0.06, 0.22)
    turn, start, sweep = rng.uniform(0, 180), rng.uniform(0, 360), rng.uniform(150, 360)
    width = max(1, round(cell.radius * 0.07))
    for factor, value in ((1.3, 0.35), (0.85, -0.25)):
        ends = tuple(max(1, round(16 * axis * factor)) for axis in axes)
        centre = round(16 * x), round(16 * y)
        cv2.ellipse(layer, centre, ends, turn, start, start + sweep, value, width, cv2.LINE_8, 4)
