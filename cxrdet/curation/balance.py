"""A balanced detection set: rare classes brought up to a number of boxes, frequent ones held below a bound.

A copy (:class:`cxrdet.curation.copies.Copier`) is made for one object of a class that lacks boxes. Copies come
(:func:`cxrdet.curation.balance_plan.best_copy`) until each class has its target or each of its objects is in 20 copies.
With a bound, images of frequent classes are left out; their rare objects come back in copies.

What every new image was made from stands in ``provenance.jsonl``, and in
``balance.json``: ``before``, ``after``, ``targets`` (boxes by class), ``ratio_before``,
``ratio_after`` (largest over smallest class of those that occur), ``reached`` (whether
no target and no bound was missed), ``short``, ``above`` (class -> boxes it lacks, or
has over the bound), the numbers of ``copies``, ``pasted`` objects, boxes ``cut`` by
windows and places ``painted_over``, ``left_out`` (names), the numbers of
``backgrounds`` and ``hard_negatives``, ``backgrounds_refused`` (file -> why) and
``backgrounds_unchecked`` (how many nobody looked at), ``alarms_looked_for`` (whether a detector was given).
"""
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cxrdet.core.annotation_checks import check_table
from cxrdet.core.classification.labels import imbalance
from cxrdet.core.errors import ConfigError, DataError, did_you_mean
from cxrdet.core.files import write_atomic, write_json
from cxrdet.core.folders import OutputFolder, keep_apart
from cxrdet.core.issues import DataTable, has_errors
from cxrdet.core.terminal import visible
from cxrdet.curation.augmentation import make_augmenter
from cxrdet.curation.backgrounds import Backgrounds, find_backgrounds
from cxrdet.curation.balance_plan import best_copy, image_to_leave_out
from cxrdet.curation.copies import Copier, CopyOptions
from cxrdet.curation.set_writers import FOLDERS, add_image, copy_names, free_name, name_key, voc_names, write_set
from cxrdet.datasets.formats.sets import read_set


def balance_data(path: str | Path, out: str | Path, *, target: int = 1000, targets: Mapping[str, int] | None = None,
                 most: int | None = None, split: str = 'train', backgrounds: Backgrounds | str | Path | None = None,
                 seed: int = 0, allow_outside: bool = False, progress: Callable[[int, int], None] | None = None,
                 **copying: Any) -> dict:
    """Write a new set of the format of ``path`` (COCO or VOC), with one balanced split;
    return what stands in ``balance.json``.

    The other splits are copied as they are; ``path`` is only read.

    Args:
        path: Folder of a COCO or VOC set without errors (see ``cxrdet check-data``).
        out: Folder of the new set.
        target: Boxes of each class that are wanted.
        targets: Class -> its own target; 0 leaves it as it is, whatever ``most`` says.
        most: Boxes of a class at most; None: no image is left out.
        split: The split to balance.
        backgrounds: Where images without boxes come from; a folder stands for ``Backgrounds(folder)``.
        seed: Of all draws: the same seed gives the same set.
        allow_outside: Take images too that the annotations name outside the set, see :func:`read_set`.
        progress: Called with (done, total) for each new image.
        **copying: ``preset``, ``min_visibility`` and ``paste`` of :class:`cxrdet.curation.copies.CopyOptions`.

    Raises:
        DataError: The set has errors, lacks the split, or ``out`` holds files of others, or what is read.
        ConfigError: A class is unknown, a number out of range, or the format is neither COCO nor VOC.
    """
    options = CopyOptions(**copying)
    given = backgrounds if isinstance(backgrounds, Backgrounds) else Backgrounds(backgrounds)
    table = read_set(path, allow_outside=allow_outside)
    goals = _goals(table, path, split, target, targets or {}, most)
    _check_arguments(options, given.folder)
    keep_apart(out, path, given.folder)
    rows = [row for row, name in enumerate(table.splits) if name == split]
    read = [path, *table.folders, *table.files]
    OutputFolder(out, 'balance_data', inputs=read)  # raises before the long part
    extra = find_backgrounds(given, table, rows, seed=seed)
    results = OutputFolder(out, 'balance_data', inputs=[*read, *extra.files])
    names = voc_names(table) if table.kind == 'voc' else copy_names(table)
    state = _State(_counts(table)[rows], goals, seed)
    copier = Copier(table, names, rows, state.lacking > 0, options, seed=seed)
    with results as folder:
        write_json(folder / 'mended.json', {'tool': 'balance_data', 'source': str(path), 'split': split})
        added = _Added(folder / FOLDERS[table.kind], names)
        while (choice := state.choose(copier)) is not None:
            copy = copier.make(choice, state.lacking)
            state.note(copy.labels[~copy.crowd])
            added.add(*copy)
            if progress is not None:
                progress(len(added.lines), len(added.lines) + state.missing + len(extra) + 1)
        for wish, image, origin in extra.images(options.preset):
            added.add(wish, image, np.zeros((0, 4)), np.zeros(0, np.int64), np.zeros(0, bool), origin)
        write_set(table, names, folder, split, added.images, [rows[row] for row in state.gone])
        report = _report(table, goals, state) | copier.numbers() | extra.numbers() | {
            'left_out': [table.names[rows[row]] for row in sorted(state.gone)]}
        write_atomic(folder / 'provenance.jsonl', ''.join(added.lines))
        write_json(folder / 'balance.json', report, indent=1)
    if progress is not None and added.lines:
        progress(len(added.lines), len(added.lines))
    return report


def _check_arguments(options: CopyOptions, backgrounds: str | Path | None) -> None:
    make_augmenter(options.preset)  # raises for an unknown one
    if options.paste < 0 or not 0 <= options.min_visibility <= 1:
        raise ConfigError('expected paste of 0 or more and min_visibility within 0 .. 1, got '
                          f'{options.paste} and {options.min_visibility}.')
    if backgrounds is not None and not Path(backgrounds).is_dir():
        raise DataError(f'{backgrounds}: no such folder of backgrounds.')


class _Added:
    """The images that were added, each under a name of its own, and a line of ``provenance.jsonl`` for each."""

    def __init__(self, folder: Path, names: list[str]) -> None:
        self.folder, self.images, self.lines = folder, [], []
        self._taken = set(map(name_key, names))

    def add(self, wish: str, image: np.ndarray, boxes, labels, crowd, origin: dict) -> None:
        name = free_name(wish, self._taken)
        self._taken.add(name_key(name))
        self.images.append(add_image(image, self.folder, name, boxes, labels, crowd))
        self.lines.append(json.dumps({'image': name, **origin, 'boxes': len(boxes)}) + '\n')


def balance_text(report: Mapping) -> str:
    """What :func:`balance_data` did, for the terminal: counts before and after, and what was missed."""
    width = max(5, *map(len, report['before']))
    lines = [f'{"class":<{width}} {"before":>8} {"after":>8} {"target":>8}']
    for name, before in report['before'].items():
        goal = report['targets'][name] or 'as it is'
        lines.append(f'{name:<{width}} {before:>8} {report["after"][name]:>8} {goal:>8}')
    ratios = [f'{report[key]:.1f} : 1' if report[key] else 'unknown' for key in ('ratio_before', 'ratio_after')]
    lines += [f'largest to smallest class: {ratios[0]} before, {ratios[1]} after',
              f'{report["copies"]} augmented copies with {report["pasted"]} pasted objects; {report["cut"]} boxes are '
              f'cut by their windows, {report["painted_over"]} remains of others painted over',
              f'{len(report["left_out"])} images left out, {report["hard_negatives"]} hard negatives, '
              f'{report["backgrounds"]} background images']
    if report['hard_negatives']:
        lines.append('look at hard_negative_*.png before training: a false alarm may be an object without annotation')
    elif report['alarms_looked_for']:
        lines.append('no hard negative: where nothing is annotated the detector finds nothing from that score on '
                     '(--alarm-score), or there is no room (--max-backgrounds)')
    if report['backgrounds_unchecked']:
        lines.append(f'the {report["backgrounds_unchecked"]} background images were not looked at: that they show no '
                     'object is taken on trust (--hard-negatives CONFIG CHECKPOINT looks)')
    lines += [f'not taken as background: {file}: {why}' for file, why in report['backgrounds_refused'].items()]
    lines += [f'TARGET MISSED: "{name}" still lacks {number} boxes: its objects were repeated as often as is allowed'
              for name, number in report['short'].items()]
    lines += [f'BOUND MISSED: "{name}" has {number} boxes too many' for name, number in report['above'].items()]
    if (report['ratio_after'] or 1) > 2 and not report['left_out']:
        lines.append('to bring the classes nearer, --most N leaves out images of the frequent ones')
    return '\n'.join(visible(line, one_line=True) for line in lines)


class _Goals(NamedTuple):
    """Targets (C,) and bounds (C,), int64; a bound of the largest whole number is none."""

    targets: np.ndarray
    most: np.ndarray


_NO_BOUND = np.iinfo(np.int64).max // 4


class _State:
    """How many boxes there are, while copies come and images go."""

    def __init__(self, counts: np.ndarray, goals: _Goals, seed: int) -> None:
        self.before, self.counts, self.goals = counts.sum(axis=0), counts.copy(), goals
        self.added = np.zeros(counts.shape[1], np.int64)
        self.gone: set[int] = set()
        self.tie = np.random.default_rng(seed).random(len(counts))

    @property
    def have(self) -> np.ndarray:
        return self.counts.sum(axis=0) + self.added

    @property
    def lacking(self) -> np.ndarray:
        """(C,) boxes that each class lacks."""
        return np.maximum(self.goals.targets - self.have, 0)

    @property
    def missing(self) -> int:
        return int(self.lacking.sum())

    def choose(self, copier: Copier) -> int | None:
        """The next copy, after images have gone that bring a class above its bound; None: there is no good one."""
        while (row := image_to_leave_out(self.counts, self.have, *self.goals, tie=self.tie)) is not None:
            self.gone.add(row)
            self.counts[row] = 0
            copier.lost(row)
        return best_copy(copier.added, self.have, self.goals.targets, used=copier.used,
                         room=self.goals.most - self.added, tie=copier.tie)

    def note(self, labels: np.ndarray) -> None:
        self.added += np.bincount(labels, minlength=len(self.added))


def _counts(table: DataTable) -> np.ndarray:
    """Boxes of each class in each image, (N, C); regions to ignore are none."""
    counts = np.zeros((len(table.names), len(table.classes)), np.int64)
    np.add.at(counts, (table.box_image[~table.crowd], table.box_label[~table.crowd]), 1)
    return counts


def _goals(table: DataTable, path, split: str, target: int, targets: Mapping[str, int], most: int | None) -> _Goals:
    if table.kind not in FOLDERS:
        raise ConfigError(f'{path}: a set of the format "{table.kind}" cannot be balanced by copies; expected COCO or '
                          'VOC. For labels of whole images use the sampler cxrdet.ClassBalancedSampler.')
    if split not in table.splits:
        there = ', '.join(name or '"" (none)' for name in sorted(set(table.splits)))
        raise DataError(f'{path}: no split "{split}".{did_you_mean(split, table.splits)} There are: {there}.')
    for name, number in targets.items():
        if name not in table.classes:
            raise ConfigError(f'no class "{name}".{did_you_mean(name, table.classes)} There are: '
                              f'{", ".join(table.classes)}.')
        if number < 0:
            raise ConfigError(f'the target of "{name}" must be 0 or more, got {number}.')
    if target < 0:
        raise ConfigError(f'the target must be 0 or more, got {target}.')
    wanted = np.array([targets.get(name, target) for name in table.classes], np.int64)
    if most is not None and most < wanted.max(initial=1):
        raise ConfigError(f'the bound of boxes of a class must be at least 1 and the largest target, '
                          f'{wanted.max(initial=1)}; got {most}.')
    findings = [finding for finding in check_table(table) if finding.level == 'error']
    if has_errors(findings):
        first = findings[0].text.rstrip('.')
        raise DataError(f'{path}: {len(findings)} errors in the annotations, the first: {first}. Mend them '
                        f'with cxrdet check-data {path} --fix OUT first.')
    bound = _NO_BOUND if most is None else most
    return _Goals(wanted, np.where(wanted > 0, bound, _NO_BOUND))


def _report(table: DataTable, goals: _Goals, state: _State) -> dict:
    before, after = state.before, state.have
    ratios = [imbalance(table.classes, numbers)['ratio'] for numbers in (before, after)]
    short = {name: int(number) for name, number in zip(table.classes, state.lacking) if number}
    above = {name: int(number) for name, number in zip(table.classes, after - goals.most) if number > 0}
    return {'before': dict(zip(table.classes, before.tolist())), 'after': dict(zip(table.classes, after.tolist())),
            'targets': dict(zip(table.classes, goals.targets.tolist())), 'ratio_before': ratios[0],
            'ratio_after': ratios[1], 'reached': not short and not above, 'short': short, 'above': above}
