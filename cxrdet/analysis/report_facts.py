"""Facts of the report: what the data and the model are, and what one needs to make the report again."""
import hashlib
import os
import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import torch

import cxrdet
from cxrdet.analysis.run_log import read_logs
from cxrdet.core.commit import commit_of
from cxrdet.core.errors import DataError
from cxrdet.core.history import read_history
from cxrdet.inference.split_predictions import Collected, LoadedModel
from cxrdet.version import __version__
from cxrdet.visualization.curves import chosen_series
from cxrdet.visualization.panels import Panel, history_panels

__all__ = ['SPLIT_NAMES', 'data_facts', 'fingerprint', 'groups_of', 'model_facts', 'reproduce_facts',
           'training_panels']

#: In words.
SPLIT_NAMES = {'val': 'validation', 'test': 'test'}
_PACKAGES = ('torch', 'torchvision', 'onedl-mmengine', 'onedl-mmcv', 'onedl-mmdetection', 'onedl-mmpretrain', 'numpy')


def groups_of(judged: Collected) -> tuple[np.ndarray | None, str]:
    """Patient (or group) of each image, None where none is known; and what is resampled, in words."""
    groups = judged.groups()
    return groups, 'image' if groups is None else 'patient'


def data_facts(loaded: LoadedModel, judged: Collected, train: Collected | None) -> list[tuple[str, str]]:
    """Name and value of what the data is."""
    source = loaded.cfg.get(f'{judged.split}_dataloader', {}).get('dataset', {})
    groups, unit = groups_of(judged)
    number = len(judged.records)
    judged_text = f'{number} {SPLIT_NAMES[judged.split]} images' + (
        f', {len(np.unique(groups))} patients' if unit == 'patient' else '') + (
        f' (a sample of {judged.total})' if number < judged.total else '')
    facts = [('Data set', str(source.get('type', 'unknown')).rpartition('.')[2]), ('Judged', judged_text)]
    if train is not None:
        facts.append(('Training', f'{train.total} images, of which {len(train.records)} were looked at'))
    if loaded.task == 'detection':
        boxes = [int((~record['gt_ignore']).sum()) for record in judged.records]
        facts.append(('Boxes', f'{sum(boxes)} judged; {np.median(boxes):g} an image (median), {max(boxes, default=0)} '
                      f'at most; {boxes.count(0)} images without any') if boxes else ('Boxes', '0'))
    else:
        truth = judged.matrix('truth')
        facts.append(('Labels', f'{int((truth == 1).sum())} present, {int((truth == 0).sum())} absent, '
                      f'{int(np.isnan(truth).sum())} unknown'))
    facts.append(('Image sizes', _sizes(judged.records)))
    for key, name in (('view', 'Views'), ('sex', 'Sex')):
        counts = Counter(record['facts'][key] for record in judged.records if record['facts'].get(key))
        if counts:
            facts.append((name, ', '.join(f'{value} {count}' for value, count in counts.most_common())))
    return facts


def model_facts(loaded: LoadedModel, seen: Sequence[tuple[int, ...]] = ()) -> list[tuple[str, str]]:
    """Name and value of what the model is.

    Args:
        loaded: the model.
        seen: shapes of the batches that went into its backbone.
    """
    cfg, model = loaded.cfg, loaded.model
    count = sum(weight.numel() for weight in model.parameters())
    parts = [(name, type(part).__name__) for name, part in model.named_children() if name != 'data_preprocessor']
    sizes = Counter(f'{shape[-1]} × {shape[-2]}' for shape in seen)
    shown = ', '.join(size for size, _ in sizes.most_common(3)) + (' …' if len(sizes) > 3 else '')
    meta = loaded.meta
    trained = ', '.join(f'{meta[key]} {text}' for key, text in (('epoch', 'epochs'), ('iter', 'iterations'))
                        if meta.get(key))
    facts = [('Config', os.path.basename(str(cfg.filename or 'none'))), ('Model', type(model).__name__),
             ('Parts', '; '.join(f'{name}: {kind}' for name, kind in parts)),
             ('Parameters', f'{count:,}'.replace(',', ' ')),
             ('Input (width × height)', shown or 'unknown'), ('Task', loaded.task),
             ('Classes', f'{len(loaded.classes)}: {", ".join(loaded.classes)}'),
             ('Checkpoint', Path(loaded.checkpoint).name)]
    return facts + ([('Trained for', trained)] if trained else [])


def reproduce_facts(loaded: LoadedModel, judged: Collected, *, seed: int, samples: int) -> list[tuple[str, str]]:
    """Name and value of what one needs to make the same report."""
    versions = [f'cxrdet {__version__}', f'Python {platform.python_version()}']
    for package in _PACKAGES:
        try:
            versions.append(f'{package} {version(package)}')
        except PackageNotFoundError:
            continue
    device = next((weight.device for weight in loaded.model.parameters()), torch.device('cpu'))
    name = torch.cuda.get_device_name(device) if device.type == 'cuda' else f'CPU, {platform.machine()}'
    commit, changed = commit_of(Path(cxrdet.__file__).parent) or ('unknown: no repository tracks the package', False)
    return [('Commit of cxrdet', commit + (' with changes' if changed else '')), ('Versions', ', '.join(versions)),
            ('Checkpoint, SHA-256', _digest_of_file(loaded.checkpoint)),
            ('Data, SHA-256', f'{fingerprint(judged.records)} of the names and sizes of the judged files and their '
                              'ground truth'),
            ('Seed of the training', str(loaded.meta.get('seed', 'unknown'))),
            ('Seed of this report', f'{seed}; {samples} bootstrap draws'), ('Device', name),
            ('Made', datetime.now(UTC).strftime('%Y-%m-%d %H:%M UTC'))]


def fingerprint(records: Sequence[Mapping]) -> str:
    """SHA-256 over names and sizes in bytes of the image files and their ground truth, whatever the folder.

    Two sets with the same fingerprint have the same files by name and size, and the same boxes or labels.
    """
    lines = []
    for record in records:
        path = Path(record['image'])
        size = path.stat().st_size if path.is_file() else -1
        truth = [np.asarray(record[key], np.float64).round(3).tolist() for key in
                 ('gt_boxes', 'gt_labels', 'gt_ignore', 'truth') if key in record]
        lines.append(f'{path.name} {size} {truth}')
    return hashlib.sha256('\n'.join(sorted(lines)).encode()).hexdigest()


def training_panels(loaded: LoadedModel, history: str | os.PathLike | None) -> tuple[list[Panel], str]:
    """Curves of training, and where they are from or why there are none.

    Args:
        loaded: the model, beside whose checkpoint (or in whose work folder) the history is looked for.
        history: work folder or ``history.json``; it must be there.

    Raises: DataError if ``history`` is given and cannot be read.
    """
    records, note = _records(loaded, history)
    if not records:
        return [], note
    checkpoint = loaded.cfg.get('default_hooks', {}).get('checkpoint') or {}
    main = checkpoint.get('save_best')
    panels = history_panels(records, chosen_series(records, main if isinstance(main, str) else None))
    last = records[-1]
    done = f'{last["epoch"]} epochs' if 'epoch' in last else f'{last["iter"]} iterations'
    seconds = sum(sum(record.get('time', {}).values()) for record in records)
    return panels, f'{done}{f", {seconds / 60:.0f} minutes with validation" if seconds else ""}.{note}'


def _records(loaded: LoadedModel, history: str | os.PathLike | None) -> tuple[list[dict], str]:
    if history is not None:
        return read_history(history), ''
    folders = [Path(loaded.checkpoint).parent, Path(loaded.cfg.get('work_dir') or '.')]
    for folder in folders:
        if (folder / 'history.json').is_file():
            return read_history(folder), ''
    for folder in folders:
        logs = sorted(folder.glob('*/vis_data/scalars.json'))
        with suppress(DataError):  # a log of tests only
            if logs:
                return read_logs(logs), (' From the log of MMEngine, whose losses are smoothed: the run had no '
                                         'cxrdet.HistoryHook.')
    return [], ('No history.json was found beside the checkpoint or in the work folder: --history names one, and '
                'cxrdet.HistoryHook writes it.')


def _sizes(records: Sequence[Mapping]) -> str:
    counts = Counter((record['width'], record['height']) for record in records)
    (width, height), number = counts.most_common(1)[0] if counts else ((0, 0), 0)
    if len(counts) <= 1:
        return f'{width} × {height} pixels'
    widths, heights = zip(*counts)
    return (f'{min(widths)} to {max(widths)} × {min(heights)} to {max(heights)} pixels; most often {width} × {height} '
            f'({number} images)')


def _digest_of_file(path: str) -> str:
    if not Path(path).is_file():
        return 'no file'
    digest = hashlib.sha256()
    with open(path, 'rb') as stream:
        while block := stream.read(2 ** 20):
            digest.update(block)
    return digest.hexdigest()
