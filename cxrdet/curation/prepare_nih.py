"""Splits of NIH ChestX-ray14 by patient, written so that others can use them as they are."""
import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cxrdet.core.errors import ConfigError, DataError, did_you_mean
from cxrdet.core.files import write_atomic, write_json
from cxrdet.core.folders import prepared_folder
from cxrdet.core.splits import check_disjoint, grouped_folds, grouped_split
from cxrdet.curation.set_writers import place_file
from cxrdet.datasets.formats.nih import NIH_CLASSES, TABLES, NihTable, find_images, read_table
from cxrdet.datasets.formats.voc import read_list
from cxrdet.version import __version__

STRATA = {'view': 'views', 'sex': 'sexes'}


def prepare_nih(table: str | Path, images: str | Path | None, out_dir: str | Path, *,
                official: Sequence[str | Path] | None = None, val_share: float | None = None, test_share: float = 0.0,
                folds: int = 0, seed: int = 0, stratify: Sequence[str] = (),
                force: bool = False) -> dict[str, dict[str, int]]:
    """Split NIH ChestX-ray14 by patient, with labels spread evenly, into a folder that serves as ``data_root``.

    ``out_dir`` gets a copy of the table, a symbolic link ``images`` to the films, lists
    of image names, one a line, and ``splits.json`` (what they were made from, and what
    is in each list). The lists are ``train_list.txt``, ``val_list.txt`` and
    ``test_list.txt``, or ``folds/fold<k>_train_list.txt`` and
    ``folds/fold<k>_val_list.txt`` for the first two.

    Args:
        table: ``Data_Entry_2017.csv`` or ``Data_Entry_2017_v2020.csv``, plain or gzipped.
        images: Folder of the films (or of ``images_001`` …); rows without image are dropped and counted. None: all rows
            of the table are used, and nothing is linked.
        out_dir: New or empty folder, or one that an earlier run has made from the same.
        official: The published ``train_val_list.txt`` and ``test_list.txt``: the test
            list is taken as it is, and ``val_share`` or ``folds`` split the other.
        val_share: Share of the films for validation, 0.2 by default: of all, or of the official train_val list.
        test_share: Share of all films for a test list, without ``official``; 0 for none.
        folds: Number of folds, 0 for a single split.
        stratify: What to spread evenly besides the labels: 'view', 'sex'.
        force: Replace another prepared set in ``out_dir``.

    Returns: Films, patients, views and positive labels by list, and dropped rows by reason.
    Raises: DataError for files that are missing or do not fit each other; ConfigError for an argument.
    """
    val_share = _check_options(val_share, test_share, folds, official, stratify)
    films, dropped = read_table(table), Counter()
    lists = _official(films, official) if official else None
    if images is not None:
        films = _with_image(films, images, official, lists, dropped)
    parts = _split(films, lists, val_share, test_share, folds, seed, stratify, dropped)
    content = Path(table).read_bytes()
    sums = [hashlib.sha256(Path(path).read_bytes()).hexdigest() for path in official or ()]
    made_from = {'table': hashlib.sha256(content).hexdigest(), 'official': sums or False,
                 'val_share': val_share, 'test_share': test_share, 'folds': folds, 'seed': seed,
                 'stratify': list(stratify)}
    report = {part: _count(films.take(rows)) for part, rows in parts.items()}
    splits = {'tool': f'cxrdet {__version__}: prepare-data nih'} | made_from | {
        'dropped': dict(dropped), 'lists': report}
    source, name = None if images is None else str(Path(images).resolve()), Path(table).name
    if name not in TABLES:
        name = TABLES[1] if content.startswith(b'\x1f\x8b') else TABLES[0]
    inputs = [table, *(official or ()), *([] if images is None else [images])]
    with prepared_folder(out_dir, {'kind': 'nih', 'images': source} | made_from, force=force, inputs=inputs) as new:
        write_atomic(new / name, content)
        if source:
            place_file(source, new / 'images', link=True)
        for part, rows in parts.items():
            write_atomic(new / f'{part}_list.txt', ''.join(f'{film}\n' for film in films.names[rows]))
        write_json(new / 'splits.json', splits, indent=1)
    return report | ({'dropped rows': dict(dropped)} if dropped else {})


def _check_options(val_share: float | None, test_share: float, folds: int, official, stratify) -> float | None:
    """Return the share of validation, None where there are folds."""
    if folds and val_share is not None:
        raise ConfigError('val_share and folds exclude each other: with folds, each fold is the validation set once.')
    if folds < 0 or folds == 1:
        raise ConfigError(f'folds: expected 0 (a single split) or at least 2, got {folds}.')
    if official and test_share:
        raise ConfigError('test_share and the official lists exclude each other: the test list is one of them.')
    for name in stratify:
        if name not in STRATA:
            raise ConfigError(f'stratify: expected {" or ".join(STRATA)}, got "{name}".{did_you_mean(name, STRATA)}')
    share = None if folds else 0.2 if val_share is None else val_share
    if not 0 <= test_share < 1 or (share is not None and not 0 < share < 1 - test_share):
        raise ConfigError('shares: expected val_share above 0, test_share of at least 0, and something left for '
                          f'training, got {share} and {test_share}.')
    return share


def _official(films: NihTable, official: Sequence[str | Path]) -> tuple[set[str], set[str]]:
    patients = dict(zip(films.names.tolist(), films.patients.tolist()))
    train_val, test = lists = [read_list(path) for path in official]
    for path, names in zip(official, lists):
        strange = [name for name in names if name not in patients]
        if strange:
            raise DataError(f'{path}: {len(strange)} of {len(names)} names are not in {films.path}: '
                            f'{", ".join(strange[:5])}{", …" if len(strange) > 5 else ""}.')
    check_disjoint({str(path): [patients[name] for name in names] for path, names in zip(official, lists)})
    return set(train_val), set(test)


def _with_image(films: NihTable, images: str | Path, official, lists, dropped: Counter) -> NihTable:
    there = find_images(images)
    kept = np.fromiter((name in there for name in films.names.tolist()), bool, len(films))
    if not kept.any():
        raise DataError(f'{images}: none of the films of {films.path} is there ({len(there)} other images are).')
    if not kept.all():
        dropped['no_image'] = int((~kept).sum())
    films = films.take(kept)
    for path, names in zip(official or (), lists or ()):
        if not names.intersection(films.names.tolist()):
            raise DataError(f'{images}: none of the {len(names)} films of {path} is there, which would leave its list '
                            'empty. Bring some of them, or leave the official lists out.')
    return films


def _split(films: NihTable, lists, val_share: float | None, test_share: float, folds: int, seed: int,
           stratify: Sequence[str], dropped: Counter) -> dict[str, np.ndarray]:
    """Name of each list -> numbers of its rows, in the order of the table; no patient is on two sides."""
    names, parts, rest = films.names.tolist(), {}, np.arange(len(films))
    if lists is not None:
        in_rest, in_test = (np.fromiter((name in chosen for name in names), bool, len(names)) for chosen in lists)
        parts['test'], rest = np.flatnonzero(in_test), np.flatnonzero(in_rest)
        if not (in_rest | in_test).all():
            dropped['in_no_official_list'] = int((~(in_rest | in_test)).sum())

    def split(method, rows: np.ndarray, shares) -> list[np.ndarray]:
        strata = [getattr(films, STRATA[name])[rows] for name in stratify]
        part = method(films.labels[rows], films.patients[rows], shares, seed=seed, strata=strata)
        return [rows[part == number] for number in range(part.max() + 1)]

    if folds:
        if test_share:
            rest, parts['test'] = split(grouped_split, rest, (1 - test_share, test_share))
        for number, rows in enumerate(split(grouped_folds, rest, folds)):
            parts[f'folds/fold{number}_train'] = np.setdiff1d(rest, rows)
            parts[f'folds/fold{number}_val'] = rows
    else:
        shares = (1 - val_share - test_share, val_share, *([test_share] if test_share else ()))
        parts = dict(zip(('train', 'val', 'test'), split(grouped_split, rest, shares))) | parts
    for one in parts:
        for other in parts:
            if (one.endswith('train') and other in ('test', one.replace('train', 'val'))) or (
                    one.endswith('val') and other == 'test'):
                check_disjoint({one: films.patients[parts[one]].tolist(), other: films.patients[parts[other]].tolist()})
    return parts


def _count(films: NihTable) -> dict[str, int]:
    views = Counter(view or 'view unknown' for view in films.views.tolist())
    labels = dict(zip(NIH_CLASSES, films.labels.sum(axis=0).tolist()))
    return {'films': len(films), 'patients': len(np.unique(films.patients)), **dict(sorted(views.items())), **labels}
