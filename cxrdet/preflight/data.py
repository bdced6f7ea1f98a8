"""Files that a config names and that are not there, and classes that do not fit an annotation file.

A data set class that offers ``read_classes(cfg)`` and ``image_files(cfg)`` (those of cxrdet do) is asked, and, where it
offers ``check_contents(cfg)``, whether there is anything in it to learn from; MMDetection's ``CocoDataset`` is read
here; of any other only the named paths are looked for.
"""
import json
import os
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from mmengine.config import Config

from cxrdet.core.detection.box_layout import likely_cause, no_boxes_text
from cxrdet.core.detection.boxes import box_fault
from cxrdet.core.errors import CxrdetError
from cxrdet.preflight.arguments import takes, unknown_arguments
from cxrdet.preflight.types import Part

LOADERS = {'train': ('train', 'val'), 'test': ('test',), 'predict': ()}
_REMOTE = re.compile(r'^[\w+.-]+://|^(torchvision|open-mmlab|openmmlab|mmcls|local|jhu|modelcloud)://|^data:')


def data_problems(found: list[Part], cfg: Config, mode: str) -> list[str]:
    """One line for everything that is wrong with the data sets and checkpoints which ``mode`` needs.

    The validation set is held to the classes of the training set, as in the run itself.
    """
    problems, seen, classes = [], [], None
    loaders = [f'{name}_dataloader' for name in LOADERS[mode] if name != 'val' or cfg.get('val_cfg') is not None]
    for part in (part for loader in loaders for part in leaves(found, [loader])):
        held_to = classes if part.path.startswith('val_') else None
        key = {name: value for name, value in part.cfg.items() if name != 'pipeline'}
        if (key, held_to) not in seen:
            seen.append((key, held_to))
            wrong, read = dataset_problems(part, held_to)
            problems += wrong
            classes = classes or read
    return problems + (_checkpoint_problems(found, cfg) if mode == 'train' else [])


def leaves(found: list[Part], loaders: Iterable[str]) -> list[Part]:
    """The data sets of ``loaders`` that no wrapper (``RepeatDataset`` …) stands around."""
    return [part for part in found if part.path.split('.')[0] in loaders and part.key in ('dataset', 'datasets')
            and 'dataset' not in part.cfg and 'datasets' not in part.cfg]


def dataset_problems(part: Part, classes: tuple[str, ...] | None = None) -> tuple[list[str], tuple[str, ...] | None]:
    """What is wrong with the files of one data set, and its class names where it tells them.

    Args:
        part: The data set's config.
        classes: Names that its annotations are held to; by default those that the config names, if any.
    """
    if part.found is None or unknown_arguments(part):
        return [], None  # told elsewhere
    missing = _missing_paths(part)
    if missing:
        return missing, None
    try:
        if hasattr(part.found, 'read_classes'):
            cfg = dict(part.cfg)
            if classes:
                cfg['metainfo'] = dict(part.cfg.get('metainfo') or {}) | {'classes': classes}
            names = tuple(part.found.read_classes(cfg))
            problems = image_problems(part.path, part.found.image_files(cfg))
            if hasattr(part.found, 'check_contents') and not problems:
                part.found.check_contents(cfg)
            return problems, names
        if any(base.__name__ == 'CocoDataset' for base in getattr(part.found, '__mro__', ())):
            return _coco_problems(part), None
    except CxrdetError as error:
        return [f'{part.path}: {error}'], None
    return [], None


def image_problems(path: str, files: Iterable[str | Path]) -> list[str]:
    """Which of ``files`` are missing or have no content: their number and the first five."""
    files = sorted({str(file) for file in files})
    missing, empty = [], []
    for file in files:
        try:
            if os.stat(file).st_size == 0:
                empty.append(file)
        except OSError:
            missing.append(file)
    return [f'{path}: {len(group)} of {len(files)} image files {what}: {", ".join(group[:5])}'
            f'{", …" if len(group) > 5 else ""}'
            for group, what in ((missing, 'are not there'), (empty, 'are empty (0 bytes)')) if group]


def _missing_paths(part: Part) -> list[str]:
    """``data_root``, ``ann_file`` and ``data_prefix`` that do not exist, joined as MMEngine joins them."""
    cfg, root = part.cfg, str(part.cfg.get('data_root') or '')
    backend = cfg.get('backend_args') or {}
    if backend.get('backend', 'local') not in ('local', 'disk') or _REMOTE.match(root) or _downloads(part):
        return []
    if root and not os.path.isdir(root):
        return [f'{part.path}.data_root: no such folder: {root}. Give one with --data-root or in the config.']
    prefix = cfg.get('data_prefix') or {}
    named = [('ann_file', cfg.get('ann_file'))]
    named += [('data_prefix', prefix)] if isinstance(prefix, str) else [(f'data_prefix.{k}', v)
                                                                        for k, v in prefix.items()]
    problems = []
    for name, value in named:
        if isinstance(value, str) and value and not _REMOTE.match(value):
            file = os.path.join(root, os.path.expanduser(value))
            if not os.path.exists(file):
                what = 'file' if name == 'ann_file' else 'folder'
                problems.append(f'{part.path}.{name}: no such {what}: {file}')
    return problems


def _downloads(part: Part) -> bool:
    """Sets that fetch themselves (CIFAR, MNIST) need no folder beforehand."""
    return callable(part.found) and 'download' in takes(part.found).defaults and part.cfg.get('download', True)


def named_classes(part: Part) -> list[str] | None:
    """The classes that the config names for a data set (a list, or a file with one a line), or ``None``."""
    classes = (part.cfg.get('metainfo') or {}).get('classes')
    if isinstance(classes, str):
        classes = Path(classes).read_text(encoding='utf-8').split('\n') if Path(classes).is_file() else [classes]
        classes = [name.strip() for name in classes if name.strip()]
    return list(classes) if classes else None


def _coco_problems(part: Part) -> list[str]:
    """MMDetection's reader drops classes it does not know and numbers the rest in the file's order, without a word."""
    file = _coco_file(part)
    if file is None:
        return []
    try:
        content = json.loads(file.read_bytes())
        there = [category['name'] for category in content['categories']]
        images = _coco_images(part, content)
    except (ValueError, KeyError, TypeError) as error:
        return [f'{part.path}.ann_file: {file} is no COCO annotation file: {type(error).__name__}: {error}']
    wanted = named_classes(part) or list(getattr(part.found, 'METAINFO', {}).get('classes', ()))
    lost = [name for name in wanted if name not in there]
    problems = [f'{part.path}.metainfo.classes: {file} has no class {", ".join(map(repr, lost))}; it has '
                f'{", ".join(map(repr, there))}'] if lost else []
    order = [name for name in there if name in wanted]
    if not problems and order != wanted and part.found.__name__ == 'CocoDataset':
        problems.append(f'{part.path}.metainfo.classes: CocoDataset numbers classes in the order of the annotation '
                        f'file, {order}, not of the config, {wanted}: labels would be exchanged')
    problems += image_problems(part.path, images)
    if part.found.__name__ == 'CocoDataset' and not problems:
        try:
            problems += _coco_box_problems(part, file, content, set(wanted))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            problems.append(f'{part.path}.ann_file: {file} is no COCO annotation file: {type(error).__name__}: {error}')
    return problems


def coco_images(part: Part) -> list[Path]:
    """The images of a data set of MMDetection that reads a COCO file; none if it is another or the file unreadable."""
    file = _coco_file(part) if any(
        base.__name__ == 'CocoDataset' for base in getattr(part.found, '__mro__', ())) else None
    try:
        return [] if file is None else _coco_images(part, json.loads(file.read_bytes()))
    except (ValueError, KeyError, TypeError):
        return []


def _coco_file(part: Part) -> Path | None:
    file = Path(str(part.cfg.get('data_root') or ''), str(part.cfg.get('ann_file') or ''))
    return file if file.is_file() and file.suffix == '.json' else None


def _coco_images(part: Part, content: dict) -> list[Path]:
    folder = Path(str(part.cfg.get('data_root') or ''), (part.cfg.get('data_prefix') or {}).get('img', ''))
    return [folder / image['file_name'] for image in content['images']]


def _coco_box_problems(part: Part, file: Path, content: dict, wanted: set[str]) -> list[str]:
    """Whether MMDetection's reader would take any box, by its rules: at least a pixel, within the image, no crowd."""
    sizes = {image.get('id'): (image.get('height') or np.inf, image.get('width') or np.inf)
             for image in content['images']}
    names = {category.get('id'): category['name'] for category in content['categories']}
    dropped, values, places, useful = Counter(), [], [], set()
    for entry in content.get('annotations') or ():
        box, size = entry.get('bbox'), sizes.get(entry.get('image_id'))
        if size is None or names.get(entry.get('category_id')) not in wanted:
            dropped['unknown_class' if size else 'unknown_image_id'] += 1
            continue
        if not isinstance(box, list) or len(box) != 4 or not all(isinstance(value, (int, float)) for value in box):
            dropped['bad_bbox'] += 1
            continue
        values.append(box)
        places.append(size)
        x, y, width, height = box
        reason = box_fault((x, y, x + width, y + height), *size) or (
            'iscrowd or ignore' if entry.get('iscrowd') or entry.get('ignore') else '')
        dropped[reason] += 1
        useful |= set() if reason else {entry['image_id']}
    cause, wrong = likely_cause(values, places, corners=False)
    if useful and not wrong:
        limit, left_out = part.cfg.get('indices'), (part.cfg.get('filter_cfg') or {}).get('filter_empty_gt')
        if not isinstance(limit, int) or left_out or useful & set(list(sizes)[:limit]):
            return []
        text = f'none of the first {limit} of {len(sizes)} images has a box, {len(useful)} of the others have some.'
    else:
        dropped['wrong in the same way'] = dropped.pop('', 0)
        text = no_boxes_text(len(sizes), +dropped, cause, training=not part.cfg.get('test_mode'))
    return [f'{part.path}: {file}: {text} cxrdet.CellDataset with allow_no_boxes=True takes images without objects.']


def _checkpoint_problems(found: list[Part], cfg: Config) -> list[str]:
    named = [('load_from', cfg.get('load_from'))]
    named += [(f'{part.path}.checkpoint', part.cfg.get('checkpoint')) for part in found if part.key == 'init_cfg']
    return [f'{path}: no such checkpoint: {value}' for path, value in named
            if isinstance(value, str) and not _REMOTE.match(value) and not os.path.isfile(value)]
