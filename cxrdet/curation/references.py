"""Reference images, cut out of a set with boxes: some of each class, for models that compare."""
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from cxrdet.core.csv_text import csv_text
from cxrdet.core.detection.boxes import box_faults, clip_boxes
from cxrdet.core.errors import ConfigError, DataError, check_numbers, did_you_mean
from cxrdet.core.files import write_atomic, write_json
from cxrdet.core.folders import keep_apart, prepared_folder
from cxrdet.core.issues import DataTable, counts
from cxrdet.datasets.cell import match_classes
from cxrdet.datasets.formats.files import tell_missing
from cxrdet.datasets.formats.images import image_bytes, read_image, read_image_size
from cxrdet.datasets.formats.sets import read_set

_UNASKED = ('to be ignored', 'too small')
"""Why a box is not taken that has no fault."""


def cut_references(source: str | Path, out_dir: str | Path, *, per_class: int = 3, split: str | None = None,
                   limit: int | None = None, margin: float = 0.1, min_size: float = 8, seed: int = 0,
                   classes: Sequence[str] | None = None, **options) -> dict[str, int | dict[str, int]]:
    """Cut boxes of each class out of a set, as ``CLASS/NAME.png``, with ``metadata.csv`` and ``label2id.json``.

    Boxes are drawn at random, of as many images as there are; the boxes that cannot be used, regions to ignore and
    those that are too small are left out. Around a box stays some of its surroundings, where the image does not end.
    The CSV (:class:`cxrdet.CSVImageDataset`) also tells the image and the window in it that each was cut from.

    Args:
        source: The set, of any format with boxes that :func:`read_set` reads.
        out_dir: New folder; another set in it is replaced with ``force=True`` only.
        per_class: Images of each class, 1 or more.
        split: Cut from this split only; None: from ``train`` where the set has splits, else from all images.
        limit: Cut from the first ``limit`` images of these only, in the set's order, which ``--train-limit`` goes by.
        margin: Width of the surroundings on each side, as a share of the box's longer side, 0 to 4.
        min_size: Shortest side of a box that is used, in pixels.
        seed: Of the draw.
        classes: Names; None: all that the set has.
        **options: ``kind`` and ``images``: of :func:`read_set`; ``force``, see above.

    Returns: number of images of each class; then boxes with a fault, by reason, if there are any.

    Raises:
        DataError: The set cannot be read, an image of it neither, it lacks a split or a class, or a class has too few
            boxes.
        ConfigError: An argument has an impossible value, or the set has no boxes.
    """
    check_numbers('references', per_class=(per_class, '[1, inf)'), margin=(margin, '[0, 4]'),
                  min_size=(min_size, '[0, inf)'))
    force, kind = options.pop('force', False), options.pop('kind', 'auto')
    table = read_set(source, kind, **options)
    if table.labels is not None or table.kind in ('folder', 'tfrecord'):
        raise ConfigError(f'{source}: from a set of the format "{table.kind}" no references can be cut: this is for '
                          'image files with boxes.')
    keep_apart(out_dir, str(source), *table.folders)
    rows = _rows(table, source, split)[:limit]
    tell_missing(table, rows)
    bad = table.raise_errors(on_bad='drop')
    classes = match_classes(classes, table.classes, str(source))
    faults = {name: _faults(table, name, rows, bad, min_size) for name in classes}
    chosen = {name: _draw(table, [box for box, fault in faults[name].items() if not fault], per_class,
                          np.random.default_rng([seed, table.classes.index(name)])) for name in classes}
    unfit = Counter(fault for own in faults.values() for fault in own.values() if fault)
    short = [f'{name} ({len(boxes)})' for name, boxes in chosen.items() if len(boxes) < per_class]
    if short:
        raise DataError(f'{source}: {per_class} boxes of each class are needed, in {len(rows)} images there are too '
                        f'few to be used of {", ".join(short)}{f"; left out: {counts(unfit)}" if unfit else ""}. Take '
                        'fewer (--per-class), smaller ones (--min-size) or more images.')
    manifest = {'kind': 'references', 'source': str(Path(source).resolve()), 'per_class': per_class, 'split': split,
                'limit': limit, 'margin': margin, 'min_size': min_size, 'seed': seed, 'classes': list(classes)}
    with prepared_folder(out_dir, manifest, force=force, inputs=[table.files[row] for row in rows]) as new:
        _write(table, chosen, new, margin)
    wrong = {fault: number for fault, number in unfit.items() if fault not in _UNASKED}
    return {name: len(boxes) for name, boxes in chosen.items()} | ({'boxes left out': wrong} if wrong else {})


def _rows(table: DataTable, source: str | Path, split: str | None) -> list[int]:
    known = sorted(set(table.splits) - {''})
    split = 'train' if split is None and 'train' in known else split
    if split is not None and split not in known:
        raise DataError(f'{source}: no split "{split}".{did_you_mean(split, known)} There are '
                        f'{", ".join(known) or "none"}.')
    return [row for row in range(len(table.names)) if split is None or table.splits[row] == split]


def _faults(table: DataTable, name: str, rows: Sequence[int], bad: Mapping[int, str],
            min_size: float) -> dict[int, str]:
    """The boxes of a class in the images ``rows``: row -> why it is no use, ``''`` if it is."""
    mine = np.flatnonzero((table.box_label == table.classes.index(name)) & np.isin(table.box_image, rows))
    for row in set(table.box_image[mine].tolist()):
        if np.isnan(table.sizes[row]).any():
            table.sizes[row] = read_image_size(table.files[row])
    faults = box_faults(table.boxes[mine], table.sizes[table.box_image[mine]])
    sides = (table.boxes[mine, 2:] - table.boxes[mine, :2]).min(axis=1, initial=np.inf)
    crowd, small = _UNASKED
    return {box: bad.get(box) or fault or (crowd if table.crowd[box] else small if side < min_size else '')
            for box, fault, side in zip(mine.tolist(), faults, sides)}


def _draw(table: DataTable, usable: Sequence[int], number: int, rng: np.random.Generator) -> list[int]:
    """Some of the boxes, those of different images first; fewer than ``number`` where there are not so many."""
    seen: dict[int, int] = {}
    ranked = []
    for box in rng.permutation(usable).tolist():
        row = int(table.box_image[box])
        ranked.append((seen.setdefault(row, 0), box))
        seen[row] += 1
    return [box for _, box in sorted(ranked, key=lambda pair: pair[0])][:number]


def _write(table: DataTable, chosen: dict[str, list[int]], new: Path, margin: float) -> None:
    lines: list[list] = [['path', 'label', 'image', 'x1', 'y1', 'x2', 'y2']]
    for folder, (name, boxes) in zip(_folders(list(chosen)), chosen.items()):
        for index, box in enumerate(boxes):
            row = int(table.box_image[box])
            file, image = table.files[row], read_image(table.files[row])
            x1, y1, x2, y2 = _window(table.boxes[box], margin, image.shape[:2])
            path = new / folder / f'{index:03d}.png'
            path.parent.mkdir(exist_ok=True)
            write_atomic(path, image_bytes(image[y1:y2, x1:x2], file), durable=False)
            lines.append([f'{folder}/{path.name}', name, table.names[row], x1, y1, x2, y2])
    write_atomic(new / 'metadata.csv', csv_text(lines))
    write_json(new / 'label2id.json', {name: label for label, name in enumerate(chosen)}, indent=1)


def _folders(classes: Sequence[str]) -> list[str]:
    """A folder for each class: called as it is where that is a plain name, unlike all others in any case, for some file
    systems know no case."""
    often, found = Counter(name.casefold() for name in classes), []
    for number, name in enumerate(classes):
        if not name.replace('_', '').replace('-', '').replace(' ', '').isalnum() or often[name.casefold()] > 1:
            name = f'class_{number}'
            while name in often:
                name += '_'
        found.append(name)
    return found


def _window(box: np.ndarray, margin: float, size: tuple[int, int]) -> list[int]:
    """Whole pixels x1, y1, x2, y2 of a box with its surroundings, within the image."""
    rim = margin * (box[2:] - box[:2]).max()
    wide = clip_boxes(np.concatenate([box[:2] - rim, box[2:] + rim])[None], *size)[0]
    return [*np.floor(wide[:2]).astype(int).tolist(), *np.ceil(wide[2:]).astype(int).tolist()]
