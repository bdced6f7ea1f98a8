"""Folds of the images that a config trains and validates on, as files that its data sets read.

The images of the training and of the validation set are one pool, which is dealt out anew: patients (groups) and equal
files stay whole, labels are spread evenly (:mod:`cxrdet.core.splits`). Each kind of data set takes its split in its own
way, a list, a column or an annotation file: a function for each reads the pool and says how to write a part of it.
"""
import copy
import json
import os
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from mmengine.config import Config

from cxrdet.core.config_tree import walk
from cxrdet.core.csv_text import csv_text, read_table
from cxrdet.core.equal_files import equal_groups
from cxrdet.core.errors import ConfigError, DataError
from cxrdet.core.files import read_text, write_atomic
from cxrdet.core.issues import DataTable
from cxrdet.core.splits import check_disjoint, grouped_folds, groups_with
from cxrdet.preflight.check import Examined, Part, examine
from cxrdet.preflight.config import drop_helpers
from cxrdet.preflight.data import contents_of

#: What a validation set may say otherwise than the training set, beside its split.
_OWN = {'pipeline', 'test_mode', 'filter_cfg', 'metainfo', 'allow_no_boxes', 'allow_no_positives', 'partial_table',
        'type', '_scope_', 'lazy_init', 'serialize_data'}


class Pool(NamedTuple):
    """The images that are dealt out, N of them.

    Attributes:
        names: (N) as the files of the folds name them.
        files: (N) absolute paths.
        labels: (N, C) of 1, 0 or NaN: what is spread evenly.
        classes: (C) names of the labels.
        groups: (N) patients, None: unknown.
        write: Called with the begin of a file name and the rows of a training and of a validation set; writes
            their files and gives the settings with which the data sets of the config read them.
    """
    names: list[str]
    files: list[str]
    labels: np.ndarray
    classes: list[str]
    groups: list[str | None]
    write: Callable[[Path, Sequence[int], Sequence[int]], tuple[dict, dict]]

    @property
    def unit(self) -> str:
        return 'image' if all(group is None for group in self.groups) else 'patient'


def pool_of(cfg: Config | Examined) -> Pool:
    """Read the training and the validation set of a config.

    Raises:
        ConfigError: They are not one set each, of one kind that takes a split in files.
        DataError: They cannot be read.
    """
    found = examine(cfg)
    parts = []
    for loader in ('train_dataloader', 'val_dataloader'):
        sets = found.data_sets(loader)
        if len(sets) != 1:
            raise ConfigError(f'{loader}: folds are made of one training and one validation set, got {len(sets)} here. '
                              'Join them in one annotation file.')
        if sets[0].cfg.get('indices') is not None:
            raise ConfigError(f'{sets[0].path}.indices: folds are made of all images; leave it out.')
        parts += sets
    readers = [next((read for name, read in _KINDS.items() if part.is_a(name)), None) for part in parts]
    for part, read in zip(parts, readers):
        if read is None or read is not readers[0]:
            raise ConfigError(f'{part.path}.type: folds can be made of COCO (.json), Pascal VOC, CSV and NIH sets, '
                              f'training and validation of one kind, not of {part.name}. "cxrdet prepare-data convert" '
                              'makes COCO sets of others.')
    return readers[0](found, parts)


# --- kinds of data sets


def _coco(found: Examined, parts: Sequence[Part]) -> Pool:
    tables = [_coco_table(found, part) for part in parts]
    contents = [next(iter(table.source.values())) for table in tables]
    ids = {category['name']: category['id'] for category in contents[0]['categories']}
    for part, table in zip(parts, tables):
        if set(table.classes) != set(ids):
            raise DataError(f'{part.path}: the annotation files of training and validation have different categories '
                            f'({", ".join(ids)}; {", ".join(table.classes)}); one file of both needs the same.')
    folders = [os.path.abspath(Path(str(part.cfg.get('data_root') or ''), (part.cfg.get('data_prefix') or {}).get(
        'img', 'images/' if part.is_a('CellDataset') else ''))) for part in parts]
    common = os.path.commonpath(folders)
    images, boxes = [], []
    for table, content, folder in zip(tables, contents, folders):
        own: dict[int, list[dict]] = {}
        for image, label, entry in zip(table.box_image.tolist(), table.box_label.tolist(), table.box_entries):
            known = {'category_id': ids[table.classes[label]]} if label >= 0 else {}
            own.setdefault(image, []).append(entry | known)
        for row, place in enumerate(table.places):
            entry = content['images'][place.number]
            name = os.path.relpath(os.path.join(folder, entry['file_name']), common)
            images.append(entry if folder == common else entry | {'file_name': name})
            boxes.append(own.get(row, []))
    if len({entry['id'] for entry in images}) < len(images):
        images = [entry | {'id': number} for number, entry in enumerate(images, 1)]
    order = [[table.classes.index(name) for name in ids] for table in tables]
    prefix = {} if len(set(folders)) == 1 else {'data_prefix': {'img': common}}
    rest = {key: value for key, value in contents[0].items() if key not in ('images', 'annotations')}

    def part_of(path: Path, rows: Sequence[int]) -> dict:
        annotations = [box | {'image_id': images[row]['id']} for row in rows for box in boxes[row]]
        keep(path, json.dumps(rest | {
            'images': [images[row] for row in rows],
            'annotations': [box | {'id': number} for number, box in enumerate(annotations, 1)]}))
        return {'ann_file': os.path.abspath(path), **prefix}
    return Pool([entry['file_name'] for entry in images], _absolute(tables),
                np.concatenate([table.image_labels()[:, columns] for table, columns in zip(tables, order)]),
                list(ids), [group or None for table in tables for group in table.groups],
                partial(_two_files, part_of, '.json'))


def _coco_table(found: Examined, part: Part) -> DataTable:
    contents = contents_of(found, part)
    table = contents.ask('read_table', None) if contents.tells else contents.coco
    if table is None:
        raise ConfigError(f'{part.path}.ann_file: expected a COCO .json file, got {part.cfg.get("ann_file")!r}.')
    table.raise_errors(on_bad=part.cfg.get('on_bad_annotation', 'error'))
    return table


def _voc(found: Examined, parts: Sequence[Part]) -> Pool:
    _check_alike(parts, 'ann_file')
    tables = [part.found.described(part.cfg).read_table() for part in parts]
    for part, table in zip(parts, tables):
        table.raise_errors(on_bad=part.cfg.get('on_bad_annotation', 'error'))
    classes = sorted({name for table in tables for name in table.classes})
    labels = np.zeros((sum(len(table.names) for table in tables), len(classes)), bool)
    start = 0
    for table in tables:
        own = table.image_labels()
        labels[start:start + len(own), [classes.index(name) for name in table.classes]] = own
        start += len(own)
    names = [name for table in tables for name in table.names]
    told = {'metainfo': {'classes': tuple(classes), **(parts[0].cfg.get('metainfo') or {})}}  # a fold may lack some
    return Pool(names, _absolute(tables), labels, classes, [None] * len(names), partial(
        _two_files, partial(_write_list, names, 'ann_file', told), '.txt'))


def _nih(found: Examined, parts: Sequence[Part]) -> Pool:
    _check_alike(parts, 'split_file')
    patients, labels, files = {}, {}, {}
    for part in parts:
        described, ask = part.found.described(part.cfg), part.found
        patients |= ask.read_groups(described)
        labels |= ask.read_labels(described)
        files |= zip(ask.read_groups(described), map(os.path.abspath, ask.image_files(described)))
    names = list(patients)
    classes = list(parts[0].found.described(parts[0].cfg).metainfo['classes'])
    return Pool(names, list(files.values()), np.array(list(labels.values())), classes,
                list(map(str, patients.values())), partial(
                    _two_files, partial(_write_list, names, 'split_file', {}), '.txt'))


def _csv(found: Examined, parts: Sequence[Part]) -> Pool:
    _check_alike(parts, 'split', 'ann_file')
    groups, labels = {}, {}
    for part in parts:
        described = part.found.described(part.cfg)
        groups |= part.found.read_groups(described)
        labels |= part.found.read_labels(described)
    files = list(groups)
    folder = os.path.abspath(described.img_prefix)
    names = [os.path.relpath(path, folder) for path in files]
    known = any(group is not None for group in groups.values())

    def write(stem: Path, train: Sequence[int], val: Sequence[int]) -> tuple[dict, dict]:
        rows = [[names[row], labels[files[row]], split, *([groups[files[row]]] if known else [])]
                for split, part in (('train', train), ('val', val)) for row in part]
        path = stem.with_name(f'{stem.name}.csv')
        keep(path, csv_text([['path', 'label', 'split', *(['group'] if known else [])], *rows]))
        shared = {'ann_file': os.path.abspath(path), 'columns': {}, 'split_names': ('train', 'val')}
        return shared | {'split': 'train'}, shared | {'split': 'val'}
    classes = sorted(set(labels.values()))
    return Pool(names, files, np.array([[labels[path] == name for name in classes] for path in files]), classes,
                list(groups.values()), write)


_KINDS = {'NIHChestXray14': _nih, 'CSVImageDataset': _csv, 'CellVOCDataset': _voc, 'CocoDataset': _coco}


def _check_alike(parts: Sequence[Part], *own: str) -> None:
    """Raise ConfigError where training and validation set differ in more than their split."""
    one, other = ({key: value for key, value in part.cfg.items() if key not in {*_OWN, *own}} for part in parts)
    for key in sorted({*one, *other}):
        if one.get(key) != other.get(key):
            raise ConfigError(f'{parts[1].path}.{key}: for folds it must be as in {parts[0].path}, '
                              f'{one.get(key)!r:.80}, got {other.get(key)!r:.80}.')


def _absolute(tables: Iterable[DataTable]) -> list[str]:
    return [os.path.abspath(path) for table in tables for path in table.files]


def _two_files(part_of: Callable[[Path, Sequence[int]], dict], suffix: str, stem: Path, train: Sequence[int],
               val: Sequence[int]) -> tuple[dict, dict]:
    one, other = (part_of(stem.with_name(f'{stem.name}_{side}{suffix}'), rows)
                  for side, rows in (('train', train), ('val', val)))
    return one, other


def _write_list(names: Sequence[str], key: str, settings: dict, path: Path, rows: Sequence[int]) -> dict:
    keep(path, ''.join(f'{names[row]}\n' for row in rows))
    return {key: os.path.abspath(path), **settings}


# --- folds


def deal_out(pool: Pool, folds: int, *, seed: int = 0, copies_apart: bool = False) -> np.ndarray:
    """(N,) int64: the fold that validates each image; groups and files of equal content stay whole.

    Args:
        pool: From :func:`pool_of`.
        folds: K, 2 or more.
        seed: Of the draw.
        copies_apart: Files of equal content may go to different folds.

    Raises: DataError if there are fewer groups than folds.
    """
    groups = whole_groups(pool, copies_apart=copies_apart)
    if (count := len(set(groups))) < folds:
        raise DataError(f'{folds} folds: the training and validation set have {count} {pool.unit}s to deal out (those '
                        f'that share a file count as one); ask for {count} folds or fewer.')
    return grouped_folds(pool.labels, groups, folds, seed=seed)


def whole_groups(pool: Pool, *, copies_apart: bool = False) -> list[str]:
    """(N) what must stay together: the first image of each patient, with those of its patients that share a file."""
    first: dict[Hashable, int] = {}
    root = [first.setdefault(('image', row) if group is None else group, row) for row, group in enumerate(pool.groups)]

    def find(row: int) -> int:
        while root[row] != row:
            row = root[row]
        return row
    rows = {path: row for row, path in enumerate(pool.files)}
    for same in [] if copies_apart else equal_groups(pool.files):
        one, *others = sorted(find(rows[path]) for path in same)
        for other in others:
            root[find(other)] = find(one)
    return [pool.names[find(row)] for row in range(len(root))]


def rare_classes(pool: Pool, folds: int) -> dict[str, int]:
    """Classes that fewer patients (or images, where those are unknown) have than there are folds: how many."""
    counts = groups_with(pool.labels, whole_groups(pool, copies_apart=True))
    return {name: int(count) for name, count in zip(pool.classes, counts) if count < folds}


def fold_table(pool: Pool, fold: np.ndarray) -> str:
    """The folds as text: image, group and fold of each image."""
    return csv_text([('image', 'group', 'fold'), *zip(pool.names, pool.groups, fold.tolist())])


def read_folds(path: Path, pool: Pool) -> np.ndarray:
    """(N,) int64 fold of each image, from a table as :func:`fold_table` gives it.

    Raises: DataError for a file that is no such table, does not name each image once, or tears a group apart.
    """
    table = read_table(path, ('image', 'fold'), what='table of folds')
    lacking = {'image', 'fold'} - set(table.header)
    if lacking:
        raise DataError(f'{path}: expected the columns image and fold, got {", ".join(table.header)}.')
    image, fold = (table.header.index(name) for name in ('image', 'fold'))
    given = {cells[image]: cells[fold] for _, cells in table.rows}
    for line, cells in table.rows:
        if not cells[fold].isdigit():
            raise DataError(f'{path}, line {line}: expected the number of a fold, from 0 on, got {cells[fold]!r}.')
    wrong = sorted(set(given) ^ set(pool.names))
    if wrong or len(table.rows) != len(pool.names):
        raise DataError(f'{path}: expected each of the {len(pool.names)} images of the training and validation set '
                        f'once, got {len(table.rows)} rows; the first difference is '
                        f'{", ".join(wrong[:1]) or "one that is there twice"}.')
    found = np.array([int(given[name]) for name in pool.names], np.int64)
    folds = int(found.max()) + 1
    if folds < 2 or len(np.unique(found)) < folds:
        raise DataError(f'{path}: expected the folds 0 to K - 1, at least two and each with images, got '
                        f'{", ".join(map(str, np.unique(found)))}.')
    groups = whole_groups(pool, copies_apart=True)
    check_disjoint({f'fold {k}': [groups[row] for row in np.flatnonzero(found == k)] for k in range(folds)})
    return found


def write_folds(cfg: Config, pool: Pool, fold: np.ndarray, folder: Path) -> list[Config]:
    """Write the files of all folds into ``folder`` and return a config for each, whose validation and test set is the
    fold and whose training set is the rest."""
    configs = []
    for k in range(int(fold.max()) + 1):
        sides = pool.write(folder / f'fold_{k}', np.flatnonzero(fold != k).tolist(), np.flatnonzero(fold == k).tolist())
        configs.append(with_sets(cfg, *sides))
    return configs


def with_sets(cfg: Config, train: Mapping, val: Mapping) -> Config:
    """A copy of a config with other settings of its training set and its validation set, which is its test set, too."""
    cfg = copy.deepcopy(cfg)
    if not cfg.get('test_dataloader'):
        cfg.test_dataloader = copy.deepcopy(cfg.val_dataloader)
        cfg.test_evaluator, cfg.test_cfg = copy.deepcopy(cfg.val_evaluator), cfg.get('test_cfg') or {}
    found = examine(cfg)
    judged = found.data_sets('val_dataloader')[0].cfg
    _set(found.data_sets('train_dataloader')[0].cfg, train)
    _set(judged, val)
    for part in found.data_sets('test_dataloader'):
        pipeline = part.cfg.get('pipeline', judged.get('pipeline'))
        part.cfg.clear()
        _set(part.cfg, judged | {'pipeline': pipeline})
    for node in walk([cfg.val_evaluator, cfg.test_evaluator]):
        if 'ann_file' in node:
            node['ann_file'] = val['ann_file']
    drop_helpers(cfg)
    return cfg


def _set(node: dict, values: Mapping) -> None:
    for key, value in values.items():  # update() of a ConfigDict merges dicts
        node[key] = copy.deepcopy(value)


def keep(path: Path, text: str) -> None:
    """Write a file, unless it is there; ConfigError if it is there with other content."""
    if not path.exists():
        write_atomic(path, text)
    elif read_text(path) != text:
        raise ConfigError(f'{path}: it is of another cross-validation: config, options, folds, seed or data have '
                          'changed since. Choose another --work-dir, or remove this one.')


def shares_images(cfg: Config, pool: Pool) -> bool:
    """Whether the test set of a config has images of the pool."""
    found = examine(cfg)
    tested = {os.path.abspath(path) for part in found.data_sets('test_dataloader')
              for path in contents_of(found, part).images}
    return bool(tested & set(pool.files))

