"""A balanced detection set: rare classes brought up to a number of boxes by augmented copies, and background images."""
import json
from collections.abc import Callable, Mapping
from pathlib import Path

import cv2
import numpy as np

from cxrdet.core.balancing import plan_repeats
from cxrdet.core.errors import ConfigError, DataError, did_you_mean
from cxrdet.core.files import write_atomic
from cxrdet.core.findings import DataTable, has_errors
from cxrdet.core.folders import OutputFolder, keep_apart
from cxrdet.core.paths import join_inside
from cxrdet.core.quality import check_table
from cxrdet.datasets.augmentation import augment, make_augmenter
from cxrdet.datasets.image_io import read_image
from cxrdet.datasets.lenient import image_paths, read_set
from cxrdet.datasets.mended import copy_names, free_name, name_key, place_images, voc_names

__all__ = ['balance_data']

_TURNS = 4


def balance_data(path: str | Path, out: str | Path, *, target: int = 1000, targets: Mapping[str, int] | None = None,
                 split: str = 'train', backgrounds: str | Path | None = None, max_backgrounds: int = 2000,
                 preset: str = 'cell', min_visibility: float = 0.3, seed: int = 0, allow_outside: bool = False,
                 progress: Callable[[int, int], None] | None = None) -> dict:
    """Write a new set of the format of ``path`` (COCO or VOC), with one balanced split; ``path`` is only read.

    Images of rare classes are repeated with augmentation (boxes follow) until each class has its target or all its
    images are repeated 20 times; images without boxes are added from ``backgrounds``, as hard negatives. The other
    splits are copied as they are. What every new image was made from stands in ``provenance.jsonl``.

    Args:
        path: Folder of a COCO or VOC set without errors (see ``tools/check_data.py``).
        out: Folder of the new set.
        target: Boxes of each class that are wanted.
        targets: Class -> its own target; 0 leaves it as it is.
        split: The split to balance.
        backgrounds: Folder of images that show none of the classes.
        max_backgrounds: Images without boxes in the split at most; those that are there count.
        preset, min_visibility: See :func:`cxrdet.datasets.augmentation.make_augmenter`.
        seed: Of all draws: the same seed gives the same set.
        allow_outside: Take images too that the annotations name outside the set, see :func:`read_set`.
        progress: Called with (done, total) for each new image.

    Returns: ``before`` and ``after`` (boxes by class), ``copies``, ``backgrounds`` (numbers) and ``short`` (class ->
        how many boxes it still lacks).

    Raises:
        DataError: The set has errors, lacks the split, or ``out`` holds files of others, or what is read.
        ConfigError: A class is unknown, or the format is neither COCO nor VOC.
    """
    table = read_set(path, allow_outside=allow_outside)
    _check(table, path, split, targets or {}, target)
    rows, counts = _count(table, split)
    wanted = np.array([(targets or {}).get(name, target) for name in table.classes], np.int64)
    spare = max(max_backgrounds - int((counts.sum(axis=1) == 0).sum()), 0)
    extra = _backgrounds(backgrounds, spare, seed)
    results = _results(out, path, backgrounds, [*table.folders, *table.files, *extra])
    names = voc_names(table, range(len(table.names))) if table.kind == 'voc' else copy_names(table)
    taken = set(map(name_key, names))
    after, used, lines = counts.sum(axis=0), np.zeros(len(rows), np.int64), []
    with results as folder:
        write_atomic(folder / 'mended.json', json.dumps({'tool': 'balance_data', 'source': str(path), 'split': split}))
        writer = _COPIERS[table.kind](table, names, folder, split)
        for turn in range(_TURNS):  # what the augmentation cuts off is made up for in the next turn
            repeats = plan_repeats(counts, wanted, have=after, used=used, seed=seed)
            new = _new_images(table, names, rows, repeats, used, preset, min_visibility, seed)
            for wish, image, boxes, labels, origin in _chain(new, extra if turn == 0 else []):
                name = free_name(wish, taken)
                taken.add(name_key(name))
                writer.add(name, image, boxes, labels)
                after = after + np.bincount(labels, minlength=len(table.classes))
                lines.append(json.dumps({'image': name, **origin, 'boxes': len(boxes)}) + '\n')
                if progress is not None:
                    progress(len(lines), int(used.sum()) + len(repeats) + len(extra))
            used += np.bincount(repeats, minlength=len(rows))
        writer.close()
        write_atomic(folder / 'provenance.jsonl', ''.join(lines))
    before, now = (dict(zip(table.classes, numbers.tolist())) for numbers in (counts.sum(axis=0), after))
    short = {name: int(goal) - now[name] for name, goal in zip(table.classes, wanted) if now[name] < goal}
    return {'before': before, 'after': now, 'copies': int(used.sum()), 'backgrounds': len(extra), 'short': short}


def _results(out, path, backgrounds, read: list[str]) -> OutputFolder:
    keep_apart(out, path, backgrounds)
    return OutputFolder(out, 'balance_data', inputs=[path, *read])


def _count(table: DataTable, split: str) -> tuple[list[int], np.ndarray]:
    """Rows of the images of a split, and how many boxes of each class each has; regions to ignore are none."""
    rows = [row for row, name in enumerate(table.splits) if name == split]
    counts = np.zeros((len(table.names), len(table.classes)), np.int64)
    np.add.at(counts, (table.box_image[~table.crowd], table.box_label[~table.crowd]), 1)
    return rows, counts[rows]


def _check(table: DataTable, path, split: str, targets: Mapping[str, int], target: int) -> None:
    if table.kind not in _COPIERS:
        raise ConfigError(f'{path}: a set of the format "{table.kind}" cannot be balanced by copies; expected COCO or '
                          'VOC. For labels of whole images use the sampler cxrdet.ClassBalancedSampler.')
    if split not in table.splits:
        raise DataError(f'{path}: no split "{split}".{did_you_mean(split, table.splits)} There are: '
                        f'{", ".join(sorted(set(table.splits)))}.')
    for name, number in targets.items():
        if name not in table.classes:
            raise ConfigError(f'no class "{name}".{did_you_mean(name, table.classes)} There are: '
                              f'{", ".join(table.classes)}.')
        if number < 0:
            raise ConfigError(f'the target of "{name}" must be 0 or more, got {number}.')
    if target < 0:
        raise ConfigError(f'the target must be 0 or more, got {target}.')
    findings = [finding for finding in check_table(table) if finding.level == 'error']
    if has_errors(findings):
        raise DataError(f'{path}: {len(findings)} errors in the annotations, the first: {findings[0].text}. Mend them '
                        f'with tools/check_data.py {path} --fix OUT first.')


def _new_images(table: DataTable, names: list[str], rows: list[int], repeats: np.ndarray, used: np.ndarray, preset: str,
                min_visibility: float, seed: int):
    """Wish for a name, image, boxes, labels and origin of every augmented copy; it depends on image, number, seed."""
    boxes_of: dict[int, list[int]] = {}
    for box in np.flatnonzero(~table.crowd).tolist():
        boxes_of.setdefault(int(table.box_image[box]), []).append(box)
    number = used.copy()
    for choice in repeats.tolist():
        row = rows[choice]
        number[choice] += 1
        own_seed = int(np.random.SeedSequence((seed, choice, int(number[choice]))).generate_state(1)[0])
        augmenter = make_augmenter(preset, min_visibility=min_visibility, seed=own_seed)
        boxes = boxes_of.get(row, [])
        image, moved, kept = augment(augmenter, read_image(table.files[row]), table.boxes[boxes])
        stem = Path(names[row]).with_suffix('').as_posix()
        origin = {'source': table.names[row], 'augmentation': preset, 'seed': own_seed}
        labels = table.box_label[np.array(boxes, np.int64)[kept]]
        yield f'{stem}_copy{number[choice]}.png', image, moved, labels, origin


def _backgrounds(folder, most: int, seed: int) -> list[str]:
    if folder is None:
        return []
    files = list(image_paths(folder))
    if not files:
        raise DataError(f'{folder}: there is no image in this folder of backgrounds.')
    order = np.random.default_rng(seed).permutation(len(files))
    return [files[k] for k in sorted(order[:most].tolist())]


def _chain(new, backgrounds: list[str]):
    yield from new
    for number, file in enumerate(backgrounds):
        yield (f'background_{number:05d}.png', read_image(file), np.zeros((0, 4)), np.zeros(0, np.int64),
               {'source': file, 'augmentation': 'background', 'seed': None})


class _CocoCopier:
    """Copies a COCO set and adds images to one of its files."""

    folder = 'images'

    def __init__(self, table: DataTable, names: list[str], out: Path, split: str) -> None:
        place_images(names, table.files, out / self.folder)
        self.out = out
        named = {(place.file, place.number): name for place, name in zip(table.places, names)}
        self.contents = {file: {**content, 'images': [{**entry, 'file_name': named[str(file), number]}
                                                      for number, entry in enumerate(content['images'])]}
                         for file, content in table.source.items()}
        self.file = next(file for file in self.contents if file.stem == split)
        self.content = self.contents[self.file]
        self.content['annotations'] = list(self.content['annotations'])
        self.ids = [max([entry['id'] for entry in self.content[key] if isinstance(entry['id'], int)], default=0)
                    for key in ('images', 'annotations')]
        categories = {entry['name']: entry['id'] for entry in self.content['categories']}
        self.categories = [categories.get(name) for name in table.classes]

    def add(self, name: str, image: np.ndarray, boxes: np.ndarray, labels: np.ndarray) -> None:
        _write_image(self.out / self.folder, name, image)
        self.ids[0] += 1
        self.content['images'].append({'id': self.ids[0], 'file_name': name, 'height': image.shape[0],
                                       'width': image.shape[1]})
        for (x1, y1, x2, y2), label in zip(boxes.tolist(), labels.tolist()):
            self.ids[1] += 1
            self.content['annotations'].append({
                'id': self.ids[1], 'image_id': self.ids[0], 'category_id': self.categories[label], 'iscrowd': 0,
                'bbox': [x1, y1, x2 - x1, y2 - y1], 'area': (x2 - x1) * (y2 - y1)})

    def close(self) -> None:
        for file, content in self.contents.items():
            write_atomic(self.out / 'annotations' / file.name, json.dumps(content))


class _VocCopier:
    """Copies a VOC set and adds images to one of its lists."""

    folder = 'JPEGImages'

    def __init__(self, table: DataTable, names: list[str], out: Path, split: str) -> None:
        from xml.etree.ElementTree import tostring
        place_images(names, table.files, out / self.folder)
        self.table, self.out, self.split = table, out, split
        self.lists: dict[str, list[str]] = {}
        for name, member in zip(table.names, table.splits):
            write_atomic(out / 'Annotations' / f'{name}.xml', tostring(table.source[name], encoding='unicode') + '\n')
            self.lists.setdefault(member, []).append(name)

    def add(self, name: str, image: np.ndarray, boxes: np.ndarray, labels: np.ndarray) -> None:
        from xml.etree.ElementTree import Element, SubElement, tostring
        _write_image(self.out / self.folder, name, image)
        root = Element('annotation')
        SubElement(root, 'filename').text = name
        size = SubElement(root, 'size')
        for side, value in zip(('width', 'height', 'depth'), (image.shape[1], image.shape[0], 3)):
            SubElement(size, side).text = str(value)
        for box, label in zip(boxes.tolist(), labels.tolist()):
            item = SubElement(root, 'object')
            SubElement(item, 'name').text = self.table.classes[label]
            SubElement(item, 'difficult').text = '0'
            corners = SubElement(item, 'bndbox')
            for corner, value in zip(('xmin', 'ymin', 'xmax', 'ymax'), box):
                SubElement(corners, corner).text = f'{value:.2f}'
        stem = Path(name).with_suffix('').as_posix()
        write_atomic(self.out / 'Annotations' / f'{stem}.xml', tostring(root, encoding='unicode') + '\n')
        self.lists[self.split].append(stem)

    def close(self) -> None:
        for split, names in self.lists.items():
            if split:
                write_atomic(self.out / 'ImageSets' / 'Main' / f'{split}.txt', ''.join(f'{name}\n' for name in names))


_COPIERS = {'coco': _CocoCopier, 'voc': _VocCopier}


def _write_image(folder: Path, name: str, image: np.ndarray) -> None:
    path = join_inside(folder, name)
    if path.exists():
        raise DataError(f'{path}: there is such an image already. Rename it in the source.')
    done, data = cv2.imencode('.png', image)
    if not done:
        raise DataError(f'{path}: the image cannot be written as PNG.')
    write_atomic(path, data.tobytes())
