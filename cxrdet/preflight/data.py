"""The data sets of a config before a run: files, classes, patients; and what in the config follows from them.

A data set class is asked for ``read_classes(cfg)``, ``image_files(cfg)``, ``check_contents(cfg)`` (is there anything to
learn from), ``read_groups(cfg)`` (image -> patient) and ``image_keys(cfg)`` (images in records), where it offers them.
MMDetection's ``CocoDataset`` is read here; of any other only the named paths are looked for.
"""
import logging
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from mmengine.config import Config
from mmengine.logging import print_log

from cxrdet.core.annotation_checks import check_table
from cxrdet.core.annotation_quality import annotation_quality
from cxrdet.core.detection.box_layout import likely_cause, no_boxes_text
from cxrdet.core.detection.boxes import box_faults, xyxy_to_xywh
from cxrdet.core.equal_files import equal_files
from cxrdet.core.errors import CxrdetError, DataError
from cxrdet.core.issues import DataTable, raise_errors
from cxrdet.core.splits import shared_groups
from cxrdet.datasets.formats import coco
from cxrdet.datasets.formats.sets import read_set
from cxrdet.datasets.formats.tfrecord import read_record_image
from cxrdet.preflight.check import (
    Examined,
    Part,
    advice_before_training,
    config_problems,
    examine,
    file_problems,
    named_classes,
    refuse,
    set_classes,
    takes,
    unknown_arguments,
)
from cxrdet.preflight.rules import RULES

ACCEPT = 'allow_shared_images'
_NO_COCO = ('bad_category', 'bad_image', 'bad_annotation')  # of which no reader could make anything
_REMOTE = re.compile(r'^[\w+.-]+://|^(torchvision|open-mmlab|openmmlab|mmcls|local|jhu|modelcloud)://|^data:')
_TOO_GOOD = 'Its scores would be too good'
_PAIRS = (('train', 'val', 'training', _TOO_GOOD), ('train', 'test', 'training', _TOO_GOOD),
          ('val', 'test', 'validation', 'The best checkpoint and its thresholds are chosen there, so that its scores '
                                        'would be too good'))


def check_run(cfg: Config, *, mode: Literal['train', 'test']) -> Examined:
    """Check a config before a run: all of :func:`cxrdet.preflight.check.check_config`, and its files and data sets.

    Args:
        cfg: As read from the file, command line options applied.
        mode: ``train`` needs training and validation sets, ``test`` the test set.

    Returns:
        What was found and read on the way, for :func:`follow_classes` and :func:`pack_for_metrics`.

    Raises:
        ConfigError: One line for every problem, each with its place in the config.
        ValueError: For another mode.
    """
    if mode not in ('train', 'test'):
        raise ValueError(f"mode: expected 'train' or 'test', got {mode!r}")
    found = examine(cfg)
    problems = config_problems(found)
    if any(file_problems(found)):
        refuse(cfg, problems)  # such data sets cannot be asked what they hold
    if isinstance(cfg.get('model'), dict):
        for names in (rule.what for rule in RULES if rule.kind == 'all or none'):
            lacking = [name for name in names if cfg.get(name) is None]
            if lacking and (len(lacking) < len(names) or names[0] == f'{mode}_dataloader'):
                problems += [f'{name}: missing, and needed with {", ".join(set(names) - {name})}.' for name in lacking]
        problems += data_problems(found, mode)
        if mode == 'train':
            problems += group_problems(found) or copy_problems(found)
    refuse(cfg, problems)
    for line in advice_before_training(found) if mode == 'train' else ():
        print_log(line, logger='current', level=logging.WARNING)
    return found


def check_splits(cfg: Config, splits: Iterable[str]) -> Examined:
    """Check a config and the data sets of ``splits`` ('train', 'val', 'test'), to look at them.

    Raises:
        ConfigError: One line for every problem; a split without data is one.
    """
    found = examine(cfg)
    problems = config_problems(found)
    for split in splits if isinstance(cfg.get('model'), dict) and not any(file_problems(found)) else ():
        sets = found.data_sets(f'{split}_dataloader')
        problems += [] if sets else [f'{split}_dataloader: the config has no data of this split']
        problems += [line for part in sets for line in contents_of(found, part).problems]
    refuse(cfg, problems)
    return found


# --- what the files hold


class Contents:
    """What a data set of a config holds; each fact is read once, when it is first asked for.

    Args:
        part: The data set's config.
        held_to: Class names that its annotations are held to; by default those that the config names.
    """

    def __init__(self, part: Part, held_to: tuple[str, ...] | None = None) -> None:
        self.part, self.held_to = part, held_to
        self.cfg = dict(part.cfg)
        if held_to:
            self.cfg['metainfo'] = dict(part.cfg.get('metainfo') or {}) | {'classes': held_to}
        self.tells = hasattr(part.found, 'read_classes')
        self.root = Path(str(self.cfg.get('data_root') or ''))

    def is_of(self, part: Part) -> bool:
        """Whether ``part`` describes the same set."""
        return part.found is self.part.found and part.cfg.keys() == self.part.cfg.keys() and all(
            part.cfg[key] == value for key, value in self.part.cfg.items() if key != 'pipeline')

    def ask(self, method: str, default: object) -> Any:
        """What the class answers of the config, or of the set described by it, which reads its files once."""
        ask = getattr(self.part.found, method, None)
        return ask(self.described) if ask else default

    @cached_property
    def described(self) -> object:
        """The set, as its class describes it; the config where the class does not."""
        describe = getattr(self.part.found, 'described', None)
        unknown = unknown_arguments(self.part)  # which are told of the part
        known = {key: value for key, value in self.cfg.items() if key not in unknown}
        return describe(known) if describe else known

    @cached_property
    def classes(self) -> tuple[str, ...] | None:
        """Class names, where the class tells them."""
        return tuple(self.ask('read_classes', ())) or None

    @cached_property
    def images(self) -> list[str]:
        """Paths of the images; none where they are not known."""
        return list(map(str, self.ask('image_files', self.coco.files if self.coco else ())))

    @cached_property
    def groups(self) -> dict:
        """Image -> patient (``None``: unknown); empty where the class does not tell."""
        return self.ask('read_groups', {})

    @cached_property
    def keys(self) -> dict[str, str]:
        """Key -> path of images that lie in TFRecord files."""
        return self.ask('image_keys', {})

    @cached_property
    def coco(self) -> DataTable | None:
        """The COCO file of a reader of MMDetection's; it may have defects in single boxes."""
        file, found = self.root / str(self.cfg.get('ann_file') or ''), self.part
        if self.tells or not found.is_a('CocoDataset') or file.suffix != '.json' or not file.is_file():
            return None
        table = coco.read(file, self.root / (self.cfg.get('data_prefix') or {}).get('img', ''))
        raise_errors(finding for finding in table.findings if finding.code in _NO_COCO)
        return table

    @cached_property
    def problems(self) -> list[str]:
        """One line for everything that is wrong with the files."""
        if self.part.found is None or unknown_arguments(self.part):
            return []  # told elsewhere
        if missing := _missing_paths(self.part):
            return missing
        try:
            if not self.tells:
                return self._coco_problems(self.coco) if self.coco else []
            problems = image_problems(self.part.path, self.images) if self.classes else []
            if not problems:
                self.ask('check_contents', None)
            return problems
        except CxrdetError as error:
            return [f'{self.part.path}{"" if self.tells else ".ann_file"}: {error}']

    def _coco_problems(self, table: DataTable) -> list[str]:
        """MMDetection's reader drops classes it does not know and numbers the rest in the file's order, silently."""
        (file, content), = table.source.items()
        place, own = f'{self.part.path}.metainfo.classes', self.part.found.__name__ == 'CocoDataset'
        there = [category['name'] for category in content['categories']]
        wanted = named_classes(self.part) or list(getattr(self.part.found, 'METAINFO', {}).get('classes', ()))
        lost = [name for name in wanted if name not in there]
        order = [name for name in there if name in wanted]
        problems = [f'{place}: {file} has no class {", ".join(map(repr, lost))}; it has '
                    f'{", ".join(map(repr, there))}'] if lost else []
        if not lost and order != wanted and own:
            problems.append(f'{place}: CocoDataset numbers classes in the order of the annotation file, {order}, not '
                            f'of the config, {wanted}: labels would be exchanged')
        problems += image_problems(self.part.path, self.images)
        text = self._no_box(table, wanted) if own and not problems else ''
        return [*problems, f'{self.part.path}: {file}: {text} cxrdet.CellDataset with allow_no_boxes=True takes images '
                           'without objects.'] if text else problems

    def _no_box(self, table: DataTable, wanted: Sequence[str]) -> str:
        """Why MMDetection's reader would take no box, by its rules: a pixel or more, in the image, no crowd."""
        sizes = np.nan_to_num(table.sizes, nan=np.inf)[table.box_image]
        codes = {finding.box: finding.code for finding in table.findings}
        names = np.array([*table.classes, ''])[table.box_label]  # -1, an unknown class: the last
        reasons = [codes.get(row) or ('' if name in wanted else 'unknown_class') for row, name in enumerate(names)]
        known = np.array([not reason for reason in reasons], bool)
        for row, fault in enumerate(box_faults(table.boxes, sizes)):
            ignored = table.crowd[row] or table.box_entries[row].get('ignore')
            reasons[row] = reasons[row] or fault or ('iscrowd or ignore' if ignored else '')
        useful = {image for image, reason in zip(table.box_image.tolist(), reasons) if not reason}
        cause, wrong = likely_cause(xyxy_to_xywh(table.boxes[known]), sizes[known], corners=False)
        if not useful or wrong:
            dropped = Counter(reason or 'wrong in the same way' for reason in reasons)
            return no_boxes_text(len(table.names), dropped, cause, training=not self.cfg.get('test_mode'))
        limit, left_out = self.cfg.get('indices'), (self.cfg.get('filter_cfg') or {}).get('filter_empty_gt')
        total = len(table.names)
        if not isinstance(limit, int) or left_out or useful & set(range(total)[:limit]):
            return ''
        return f'none of the first {limit} of {total} images has a box, {len(useful)} of the others have some.'


def contents_of(found: Examined, part: Part, held_to: tuple[str, ...] | None = None) -> Contents:
    """What a data set holds; of a set that has been asked before, the answers that are known."""
    for known in found.contents:
        if known.is_of(part) and held_to in (None, known.held_to):
            return known
    found.contents.append(Contents(part, held_to))
    return found.contents[-1]


def data_problems(found: Examined, mode: str) -> list[str]:
    """One line for everything that is wrong with the data sets and checkpoints which a run of ``mode`` needs.

    The validation set is held to the classes of the training set, as in the run itself.
    """
    problems, classes = [], None
    loaders = ('test', ) if mode == 'test' else ('train', 'val')[:1 + (found.cfg.get('val_cfg') is not None)]
    for part in (part for loader in loaders for part in found.data_sets(f'{loader}_dataloader')):
        asked = len(found.contents)
        contents = contents_of(found, part, classes if part.top == 'val_dataloader' else None)
        if len(found.contents) > asked:
            problems += contents.problems
            classes = classes or (None if contents.problems else contents.classes)
    if mode == 'train':
        named = [('load_from', found.cfg.get('load_from'))]
        named += [(f'{part.path}.checkpoint', part.cfg.get('checkpoint')) for part in found.parts
                  if part.key == 'init_cfg']
        problems += [f'{path}: no such checkpoint: {value}' for path, value in named
                     if isinstance(value, str) and not _REMOTE.match(value) and not os.path.isfile(value)]
    return problems


def image_problems(path: str, files: Iterable[str | Path]) -> list[str]:
    """Which of ``files`` are missing or have no content: their number and the first five."""
    files = sorted({str(file) for file in files})
    missing, empty = [], []
    for file in files:
        try:
            if os.stat(file).st_size == 0:
                empty.append(file)
            elif os.path.isdir(file):
                missing.append(f'{file} (a folder)')
        except OSError:
            missing.append(file)
    return [f'{path}: {len(group)} of {len(files)} image files {what}: {_few(group)}'
            for group, what in ((missing, 'are not there'), (empty, 'are empty (0 bytes)')) if group]


def _few(names: Sequence) -> str:
    return ', '.join(map(str, names[:5])) + (', …' if len(names) > 5 else '')


def _missing_paths(part: Part) -> list[str]:
    """``data_root``, ``ann_file`` and ``data_prefix`` that do not exist, joined as MMEngine joins them."""
    cfg, root = part.cfg, str(part.cfg.get('data_root') or '')
    downloads = callable(part.found) and 'download' in takes(part.found).defaults and cfg.get('download', True)
    if (cfg.get('backend_args') or {}).get('backend', 'local') not in ('local', 'disk') or _REMOTE.match(
            root) or downloads:  # CIFAR, MNIST fetch themselves
        return []
    if root and not os.path.isdir(root):
        return [f'{part.path}.data_root: no such folder: {root}. Give one with --data-root or in the config.']
    prefix = cfg.get('data_prefix') or {}
    named = {'ann_file': cfg.get('ann_file')} | ({'data_prefix': prefix} if isinstance(prefix, str) else {
        f'data_prefix.{key}': value for key, value in prefix.items()})
    files = {name: os.path.join(root, os.path.expanduser(value)) for name, value in named.items()
             if isinstance(value, str) and value and not _REMOTE.match(value)}
    return [f'{part.path}.{name}: no such {"file" if name == "ann_file" else "folder"}: {file}'
            for name, file in files.items() if not os.path.exists(file)]


# --- what may not stand on both sides of a split


def _read(found: Examined, side: str, fact: str) -> list[tuple[Part, object]]:
    """A fact of each data set of a loader; what cannot be read is told where the run needs it."""
    answers = []
    for part in found.data_sets(f'{side}_dataloader'):
        try:
            answers += [] if unknown_arguments(part) else [(part, getattr(contents_of(found, part), fact))]
        except CxrdetError:
            continue
    return answers


def group_problems(found: Examined) -> list[str]:
    """One line for each two of training, validation and test that share patients (or other groups), or images.

    Validation and test may be the very same images: the config has no other set for the test. Any data
    set class with ``read_groups(cfg)``, which returns image -> patient for the set that its config describes
    (``None`` for an unknown patient: such an image is looked for itself), is asked; it may say
    in ``SPLIT_HINT`` how its sets are kept apart; sets of different classes have nothing to do with each other.
    """
    sides: dict[str, dict[type, set]] = {'train': {}, 'val': {}, 'test': {}}
    for name, groups_of in sides.items():
        for part, groups in _read(found, name, 'groups'):
            groups_of.setdefault(part.found, set()).update(groups.items())
    problems = []
    for one, other, known_as, why in _PAIRS:
        for kind, images in sides[other].items():
            known = sides[one].get(kind, set())
            shared, text = ([], '') if one == 'val' and images == known else _shared(one, known, other, images)
            if shared:
                hint = getattr(kind, 'SPLIT_HINT', '')
                problems.append(f'{other}_dataloader: {len(shared)} of its {text} are in the {known_as} set as well: '
                                f'{_few(shared)}. {why}: give it images of other patients.{hint and " "}{hint}')
    return problems


def _shared(one: str, known: set, other: str, images: set) -> tuple[list, str]:
    """Patients on both sides and what they are among, or, if there are none, images of unknown patients."""
    patients = {group for _, group in images if group is not None}
    shared = shared_groups({one: {group for _, group in known if group is not None}, other: patients})
    if shared.get((one, other)):
        return shared[one, other], f'{len(patients)} patients (groups)'
    unknown = {image for image, group in known | images if group is None}
    sides = {one: {image for image, _ in known} & unknown, other: {image for image, _ in images} & unknown}
    return shared_groups(sides).get((one, other), []), f'{len(images)} images'


def copy_problems(found: Examined) -> list[str]:
    """One line for each two of training, validation and test that share image files, by content: patients are not known
    everywhere. Validation and test may be the very same; ``allow_shared_images = True`` in the config accepts all."""
    if found.cfg.get(ACCEPT):
        return []
    sides = {name: sorted({path for _, images in _read(found, name, 'images') for path in images})
             for name in ('train', 'val', 'test')}
    keys = {name: {key: path for _, keys in _read(found, name, 'keys') for key, path in keys.items()} for name in sides}
    if found.cfg.get('val_cfg') is None:
        sides['val'] = []
    problems = []
    for one, other, known_as, why in _PAIRS:
        if other == 'test' and sides['test'] == sides['val']:
            continue
        pairs = equal_files(sides[one], sides[other]) or [  # of images in TFRecord files: those with the same pixels
            (keys[one][key], path) for key, path in keys[other].items()
            if key in keys[one] and np.array_equal(read_record_image(keys[one][key]), read_record_image(path))]
        if pairs:
            shown = [path if known == path else f'{path} = {known}' for known, path in pairs]
            total = max(len(sides[other]), len(keys[other]))
            problems.append(f'{other}_dataloader: {len(pairs)} of its {total} images are in the {known_as} set as '
                            f'well, byte by byte: {_few(shown)}. {why}: take them out of '
                            f'one set, or, if that is meant, accept it with {ACCEPT} = True in the config '
                            f'(--cfg-options {ACCEPT}=True).')
    return problems


# --- what follows from the data


def follow_classes(cfg: Config | Examined, classes: Sequence[str] | None = None) -> tuple[str, ...] | None:
    """:func:`cxrdet.preflight.check.set_classes`, by default with the classes that the training sets name, or else
    those of their annotation files, in the files' order.

    Args:
        cfg: A checked config, which is changed.
        classes: The names that a checkpoint was trained with.

    Returns: The names, or ``None`` where no data set of the config tells its classes (``read_classes``).

    Raises:
        DataError: If an annotation file lacks a class that the config names, or training sets disagree.
        ConfigError: If a list of per-class weights cannot follow.
    """
    found = examine(cfg)
    able = [part for part in found.data_sets() if hasattr(part.found, 'read_classes')]
    if classes is None and able:
        answers: dict[tuple[str, ...], str] = {}
        for part in [part for part in able if part.top == 'train_dataloader'] or able[:1]:
            answers.setdefault(contents_of(found, part).classes, part.path)
        if len(answers) > 1:
            listed = '; '.join(f'{path}: {", ".join(names)}' for names, path in answers.items())
            raise DataError(f'The training sets have different classes ({listed}). Name the classes and their order '
                            'with metainfo=dict(classes=[...]) in each of them.')
        classes = next(iter(answers))
    return None if classes is None else set_classes(found, classes)


def pack_for_metrics(cfg: Config | Examined) -> None:
    """Add what the metrics read (``sample_keys`` of their classes, e.g. ``('instances',)``) to the ``meta_keys`` of
    validation and test pipelines; stock ones pack less. The config is changed."""
    found = examine(cfg)
    for split in ('val', 'test'):
        keys = {key: None for part in found.parts if part.top == f'{split}_evaluator'
                for key in getattr(part.found, 'sample_keys', ())}
        for part in found.parts:
            packs = part.key in ('pipeline', 'transforms') and callable(part.found) and (
                'meta_keys' in takes(part.found).defaults)
            if keys and part.top == f'{split}_dataloader' and packs:
                packed = tuple(part.cfg.get('meta_keys', takes(part.found).defaults['meta_keys']))
                part.cfg['meta_keys'] = packed + tuple(key for key in keys if key not in packed)


def training_quality(cfg: Config) -> dict[str, Any]:
    """Quality of the annotations of the first training set, whose images are not opened; of listed crops and chest
    films the whole table, whatever the split.

    Returns: as :func:`cxrdet.core.annotation_quality.annotation_quality`, or {'unknown': why}.
    """
    part = next(iter(examine(cfg).data_sets('train_dataloader')), None)
    if part is None:
        return {'unknown': 'the config has no training data'}
    contents = Contents(part)
    listed = 'csv' if part.is_a('CSVImageDataset') else 'nih' if part.is_a('NIHChestXray14') else ''
    try:
        if listed:
            table = read_set(contents.root, listed, allow_outside=True)
        else:
            table = contents.coco or contents.ask('read_table', None)
    except CxrdetError as error:
        return {'unknown': str(error)}
    if table is None:
        return {'unknown': f'the checks do not know sets of the type {part.cfg.get("type")}'}
    return annotation_quality(table, check_table(table), np.ones(len(table.names), bool))
