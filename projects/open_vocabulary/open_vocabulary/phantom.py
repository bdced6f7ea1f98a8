"""Made-up images of coloured shapes and sentences about them; some pairs of colour and kind stay out of training."""
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from cxrdet.core.errors import ConfigError, check_numbers
from cxrdet.core.files import write_atomic, write_json
from cxrdet.core.folders import prepared_folder
from cxrdet.datasets.formats.images import image_bytes
from cxrdet.datasets.phantoms.optics import one_thread

VERSION = 1  # raise it whenever the same seed gives other images or sentences
COLOURS = {'red': (215, 60, 55), 'green': (70, 170, 75), 'blue': (60, 95, 215), 'yellow': (225, 205, 70),
           'purple': (160, 70, 190), 'white': (235, 235, 235)}
KINDS = ('disc', 'square', 'triangle', 'ring', 'cross')
UNSEEN = (('red', 'square'), ('green', 'ring'), ('blue', 'disc'), ('yellow', 'cross'), ('purple', 'triangle'),
          ('white', 'square'))
SIZES = {'small': (13, 17), 'large': (24, 30)}  # sides of boxes in pixels
PLACES = ('left', 'right', 'top', 'bottom')
SPLITS = {'train': 0, 'val': 1, 'test': 2}
_SIDE, _OUTER = 96, 36  # px: side of an image, and how near to an edge "on the left" is


class Shape(NamedTuple):
    """A shape: its colour, kind and size by name; its box, xyxy in pixels."""

    colour: str
    kind: str
    size: str
    box: tuple[int, int, int, int]

    @property
    def pair(self) -> tuple[str, str]:
        return self.colour, self.kind

    def is_at(self, place: str) -> bool:
        """Whether its centre lies within the outer 36 px at this side of the image."""
        x, y = (self.box[0] + self.box[2]) / 2, (self.box[1] + self.box[3]) / 2
        return {'left': x, 'right': _SIDE - x, 'top': y, 'bottom': _SIDE - y}[place] < _OUTER


class Scene(NamedTuple):
    """What an image shows and says.

    Attributes:
        shapes: those in it.
        phrases: text, and the numbers of the shapes that it names, at least one.
        negatives: phrases that name nothing in it.
    """

    shapes: tuple[Shape, ...]
    phrases: tuple[tuple[str, tuple[int, ...]], ...]
    negatives: tuple[str, ...]


def sample_scene(rng: np.random.Generator, *, unseen: bool) -> Scene:
    """Three to six shapes, and a phrase or two for each pair of colour and kind.

    A shape shares its colour or its kind with another one more often than by chance, so that one word alone does not
    find it.

    Args:
        rng: draws everything.
        unseen: whether pairs of ``UNSEEN`` occur, a third of the shapes at least; else none does.
    """
    shapes: list[Shape] = []
    for number in range(int(rng.integers(3, 7))):
        wanted = True if unseen and number == 0 else False if number == 1 or not unseen else rng.random() < 0.3
        shape = _placed(rng, _pair(rng, shapes, wanted), shapes)
        if shape is not None:
            shapes.append(shape)
    shapes = [shapes[number] for number in rng.permutation(len(shapes))]
    pairs = dict.fromkeys(shape.pair for shape in shapes)
    phrases = [phrase for pair in pairs for phrase in _phrases(rng, shapes, pair)]
    phrases = [phrases[number] for number in rng.permutation(len(phrases))]
    return Scene(tuple(shapes), tuple(phrases), _negatives(rng, shapes))


def _pair(rng: np.random.Generator, shapes: list[Shape], unseen: bool) -> tuple[str, str]:
    """Of an unseen or a seen pair; one that shares a word with a shape that is there, or even both, where it may."""
    pairs = [(colour, kind) for colour in COLOURS for kind in KINDS if ((colour, kind) in UNSEEN) == unseen]
    draw = rng.random()
    if shapes and draw < 0.65:
        model = shapes[rng.integers(len(shapes))]
        shared = 2 if draw < 0.2 else 1
        near = [pair for pair in pairs if (pair[0] == model.colour) + (pair[1] == model.kind) == shared]
        pairs = near or pairs
    return pairs[rng.integers(len(pairs))]


def _placed(rng: np.random.Generator, pair: tuple[str, str], shapes: list[Shape]) -> Shape | None:
    size = ('small', 'large')[rng.integers(2)]
    for _ in range(30):
        side = int(rng.integers(*SIZES[size], endpoint=True))
        x, y = (int(value) for value in rng.integers(2, _SIDE - side - 2, size=2))
        if all(x + side + 2 < b[0] or b[2] + 2 < x or y + side + 2 < b[1] or b[3] + 2 < y for b in
               (shape.box for shape in shapes)):
            return Shape(*pair, size, (x, y, x + side, y + side))
    return None


def _phrases(rng: np.random.Generator, shapes: list[Shape], pair: tuple[str, str]) -> list[tuple[str, tuple[int, ...]]]:
    own = tuple(number for number, shape in enumerate(shapes) if shape.pair == pair)
    name = ' '.join(pair)
    if len(own) == 1:
        shape = shapes[own[0]]
        places = [place for place in PLACES if shape.is_at(place)]
        draw = rng.random()
        if draw < 0.25:
            return [(f'the {shape.size} {name}', own)]
        if draw < 0.45 and places:
            return [(f'the {name} {_at(places[rng.integers(len(places))])}', own)]
        return [(f'the {name}', own)]
    told = [(f'every {name}', own)] if rng.random() < 0.5 else []
    for number in own:
        alike = [shapes[other] for other in own if other != number]
        ways = [f'the {shapes[number].size} {name}'] * all(shapes[number].size != shape.size for shape in alike)
        ways += [f'the {name} {_at(place)}' for place in PLACES
                 if shapes[number].is_at(place) and not any(shape.is_at(place) for shape in alike)]
        if ways:
            told.append((ways[rng.integers(len(ways))], (number,)))
    return told or [(f'every {name}', own)]


def _at(place: str) -> str:
    return f'on the {place}' if place in ('left', 'right') else f'at the {place}'


def _negatives(rng: np.random.Generator, shapes: list[Shape]) -> tuple[str, ...]:
    """Up to three seen pairs that are not there, each of which shares a word with one that is."""
    there = {shape.pair for shape in shapes}
    near = [f'the {colour} {kind}' for colour in COLOURS for kind in KINDS
            if (colour, kind) not in there and (colour, kind) not in UNSEEN
            and any(colour == shape.colour or kind == shape.kind for shape in shapes)]
    return tuple(near[number] for number in rng.permutation(len(near))[:3])


def render_scene(rng: np.random.Generator, scene: Scene) -> np.ndarray:
    """The image, (96, 96, 3) uint8, RGB: shapes of uneven colour on a dark, uneven ground, with noise."""
    ground = rng.integers(25, 70, size=3)
    image = np.full((_SIDE, _SIDE, 3), ground, np.float32)
    ramp = np.linspace(-1, 1, _SIDE, dtype=np.float32)
    image += (rng.normal(0, 8) * ramp[:, None] + rng.normal(0, 8) * ramp)[..., None]
    for shape in scene.shapes:
        colour = np.array(COLOURS[shape.colour]) * rng.uniform(0.8, 1.1) + rng.normal(0, 8, size=3)
        share = _mask(shape)[..., None]
        image = image * (1 - share) + colour.astype(np.float32) * share
    image += rng.normal(0, 6, size=image.shape)
    return image.clip(0, 255).astype(np.uint8)


def _mask(shape: Shape) -> np.ndarray:
    """(96, 96) float32, how much of each pixel the shape covers: drawn eight times as large and averaged."""
    times = 8
    left, top, right, bottom = (value * times for value in shape.box)
    mask = np.zeros((_SIDE * times, _SIDE * times), np.uint8)
    middle, half = ((left + right) // 2, (top + bottom) // 2), (right - left) // 2
    if shape.kind in ('disc', 'ring'):
        cv2.circle(mask, middle, half, 255, -1)
        if shape.kind == 'ring':
            cv2.circle(mask, middle, half * 11 // 20, 0, -1)
    elif shape.kind == 'square':
        cv2.rectangle(mask, (left, top), (right - 1, bottom - 1), 255, -1)
    elif shape.kind == 'triangle':
        cv2.fillConvexPoly(mask, np.array([(left, bottom - 1), (right - 1, bottom - 1), (middle[0], top)]), 255)
    else:
        arm = (right - left) // 6
        cv2.rectangle(mask, (left, middle[1] - arm), (right - 1, middle[1] + arm), 255, -1)
        cv2.rectangle(mask, (middle[0] - arm, top), (middle[0] + arm, bottom - 1), 255, -1)
    return cv2.resize(mask, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).astype(np.float32) / 255


@one_thread()
def write_phantoms(out_dir: str | Path, *, splits: dict[str, int] | None = None, seed: int = 0, force: bool = False,
                   progress: Callable[[str, int, int], None] | None = None) -> Path:
    """Write a set of these images as :class:`GroundingDataset` reads it: ``annotations/<split>.json``, ``images/``.

    Image k of a split depends on (seed, split, k) only. No image and no sentence of ``train`` holds a pair of
    ``UNSEEN``; each of ``val`` and ``test`` does. Phrases say whether their pair is "seen" or "unseen".

    Args:
        out_dir: folder of the set; made if it is not there.
        splits: number of images by split, among train, val, test. Default: train 4000, val 200, test 1000.
        seed: 0 or more.
        force: replace another set in ``out_dir``.
        progress: called with (split, done, total) after each image.

    Returns: ``out_dir``.
    Raises: ConfigError for an unknown split or a number out of range; DataError if the folder holds something else.
    """
    out_dir = Path(out_dir)
    splits = {'train': 4000, 'val': 200, 'test': 1000} if splits is None else dict(splits)
    if unknown := splits.keys() - SPLITS.keys():
        raise ConfigError(f'unknown split "{min(unknown)}". Expected: {", ".join(SPLITS)}.')
    check_numbers('shape phantoms', **{name: (number, '[0, inf)') for name, number in {'seed': seed, **splits}.items()})
    manifest = {'kind': 'grounding-phantom', 'version': VERSION, 'seed': seed, 'splits': splits}
    with prepared_folder(out_dir, manifest, force=force) as new:
        for split, count in splits.items():
            _write_split(new, split, count, seed, progress)
    return out_dir


def _write_split(out_dir: Path, split: str, count: int, seed: int, progress: Callable | None) -> None:
    images, annotations = [], []
    for index in range(count):
        rng = np.random.default_rng((seed, SPLITS[split], index))
        scene = sample_scene(rng, unseen=split != 'train')
        path = out_dir / 'images' / f'{split}_{index:05d}.png'
        if not path.exists():
            write_atomic(path, image_bytes(cv2.cvtColor(render_scene(rng, scene), cv2.COLOR_RGB2BGR), path),
                         durable=False)
        caption, phrases = 'There is', []
        for number, (text, shapes) in enumerate(scene.phrases):
            caption += ' ' if number == 0 else ' and ' if number == len(scene.phrases) - 1 else ', '
            group = 'unseen' if scene.shapes[shapes[0]].pair in UNSEEN else 'seen'
            phrases.append({'span': [len(caption), len(caption) + len(text)], 'group': group})
            caption += text
            for shape in shapes:
                left, top, right, bottom = scene.shapes[shape].box
                annotations.append({'id': len(annotations) + 1, 'image_id': index + 1, 'phrase': number,
                                    'bbox': [left, top, right - left, bottom - top]})
        images.append({'id': index + 1, 'file_name': path.name, 'width': _SIDE, 'height': _SIDE,
                       'caption': f'{caption}.', 'phrases': phrases, 'negatives': list(scene.negatives)})
        if progress is not None:
            progress(split, index + 1, count)
    write_json(out_dir / 'annotations' / f'{split}.json', {
        'info': {'description': f'shapes and sentences, {split}', 'version': str(VERSION), 'seed': seed},
        'images': images, 'annotations': annotations})
