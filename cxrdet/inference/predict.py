"""Run a trained model on image files and write what it finds: JSON, CSV and pictures.

``predictions.json`` holds what was decided by, and for each image its file, width, height and:

- of a detector, ``boxes`` (xyxy in pixels of the image as read), ``scores``, ``labels`` and ``classes``, best first;
  where it tells them, ``unknown_scores``: the greater, the less is a box like any class that the detector knows;
- of a classifier, ``probabilities`` and ``decisions`` (1 or 0) in the order of the classes, and ``classes``, the names
  of those decided to be present: from a threshold on, or the most probable one of a single-label model.

``predictions.csv`` has one row a box (none for an image without boxes), or one row for each class of each image: image,
class, probability, threshold, decision. ``pictures/`` shows the boxes, or sheets of Grad-CAM overlays. Each of
``formats`` has a folder with the boxes for an annotation tool (:mod:`cxrdet.inference.exports`). Images that were left
out stand in ``predictions.json`` under ``errors``, each with its file and the reason.
"""
import copy
import json
import logging
import os
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import cv2
import torch
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from mmengine.logging import print_log
from mmengine.registry import DefaultScope

from cxrdet.checkpoints.checkpoint import Checkpoint, install_safe_loader
from cxrdet.core.config_tree import innermost
from cxrdet.core.csv_text import csv_text
from cxrdet.core.detection.windows import Detected
from cxrdet.core.errors import ConfigError, DataError, check_numbers
from cxrdet.core.folders import OutputFolder, results_of
from cxrdet.datasets.formats.files import IMAGE_SUFFIXES, files_below
from cxrdet.datasets.transforms.loading import refused, unfold_loading
from cxrdet.engine.process import build_model, memory_told, pick_device
from cxrdet.inference.cam import check_installed
from cxrdet.inference.exports import check_exports, write_exports
from cxrdet.inference.tasks import Options, prompted_classes, task_of
from cxrdet.preflight.check import check_config, set_classes
from cxrdet.preflight.config import load_config

_RESULTS = ('predictions.json', 'predictions.csv', 'pictures')
_DRAWN_AS = ('.jpeg', '.jpg', '.png')  # pictures of other formats are written as PNG


@memory_told('predict')
def predict(config: Config | str | Path, checkpoint: str | Path, source: str | Path, *, out_dir: str | Path,
            device: str = 'auto', batch_size: int = 1, pictures: bool = True, trust: bool = False,
            page: int | None = None, skip_errors: bool = False, **options: Any) -> list[dict]:
    """Predict an image, or all images in and below a folder, and write the results into ``out_dir``.

    The class names are those of the checkpoint, or the phrases of the prompt. One error names all images that cannot be
    prepared, before the model is built; another those on which it fails, the others being written. Complete results
    replace those of an earlier call.

    Args:
        config, checkpoint: the config of a training, a file or what :func:`load_config` gave, and what it has written.
        source: an image file of any kind that the config's test pipeline reads, or a folder of ``IMAGE_SUFFIXES``.
        device: 'auto' (a GPU if there is one), 'cpu', 'cuda', 'cuda:1' ...
        batch_size: images a step; with several, smaller images are padded to the largest.
        pictures: draw the boxes, or what ``cam`` asks for.
        trust: read checkpoints that can only be read by executing code in them. Off: they are refused.
        page: of files with several images (pages, frames), predict this one, from 0. None: such files are refused.
        skip_errors: leave out images that cannot be read, prepared or predicted, with a warning that names them.
        **options: ``score_thr``, ``operating_point``, ``calibrate``, ``cam``, ``formats`` and ``prompt`` of
            :class:`cxrdet.inference.tasks.Options`.

    Returns: the entries of ``predictions.json``, one dict an image, ordered by file name.
    Raises:
        ConfigError: a bad config or argument, or a model whose predictions are neither boxes nor classes.
        DataError: no image at ``source``, images that cannot be predicted, or files of others are in the way.
        CheckpointError: the checkpoint is torn, of another model, names no classes, or needs ``trust``.
        MemoryShortageError: with the switches that take less.
    """
    asked = Options(**options)
    _check_options(asked, batch_size, pictures)
    cfg = copy.deepcopy(config) if isinstance(config, Config) else load_config(config)
    root, files = find_images(source, leave_out=Path(out_dir))
    if asked.formats:
        check_exports(asked.formats, [path.relative_to(root).as_posix() for path in files])
    results = OutputFolder(out_dir, 'predict', names=[*_RESULTS[:3 if pictures else 2], *asked.formats], inputs=files)
    target = pick_device(device)
    install_safe_loader(trust=trust)
    found = check_config(cfg)
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmdet')):
        load, prepare = build_pipeline(cfg, page=page)
        files, failed = _usable(load, prepare, files, skip_errors=skip_errors)
        shown_as = picture_names([path.relative_to(root).as_posix() for path in files])
        read = Checkpoint.read(checkpoint, trust=trust)
        set_classes(found, read.needed_classes)
        model, classes = build_model(cfg, read, target)
        read, points, records, task = None, read.operating_points, [], None
        classes = prompted_classes(model, asked.prompt, classes)
        asked = asked._replace(classes=classes)
        with results as folder:
            for path, sample, image, packed in _predictions(model, load, prepare, files, batch_size, failed):
                if task is None:
                    task = task_of(sample, asked, model, points, str(checkpoint))
                records.append({'file': path.relative_to(root).as_posix(), **task.record(sample)})
                picture = task.draw(image, packed, prepare.transforms, records[-1]) if pictures else None
                _write_picture(folder / 'pictures' / shown_as[records[-1]['file']], picture)
            errors = [{'file': path.relative_to(root).as_posix(), 'error': failed[path]} for path in sorted(failed)]
            facts = {'checkpoint': str(checkpoint), **task.facts(), **({'errors': errors} if errors else {})}
            odd = 'backslashreplace'  # names of files that are no UTF-8
            (folder / 'predictions.json').write_text(_json(facts, records), 'utf-8', odd)
            (folder / 'predictions.csv').write_text(_csv(task, records), 'utf-8', odd, newline='')
            if asked.formats:
                write_exports(folder, asked.formats, records, classes)
    total = len(failed) + len(records)
    if failed and not skip_errors:
        raise DataError(_told(failed, total, f'failed; the results of the others are in {out_dir}'))
    if failed:
        print_log(_told(failed, total, 'were left out'), logger='current', level=logging.WARNING)
    return records


def raw_predictions(config: Config | str | Path, checkpoint: str | Path, files: Sequence[str | Path], *,
                    device: str = 'auto', batch_size: int = 1, trust: bool = False,
                    progress: Callable[[int, int], None] | None = None) -> tuple[tuple[str, ...], Iterator[tuple]]:
    """The class names of a trained model, and for each image file the sample with its predictions.

    Args:
        config, checkpoint, device, batch_size, trust: as for :func:`predict`.
        files: image files that the test pipeline reads; they are predicted as the iterator is used.
        progress: called with (done, total) after each image.

    Returns: classes, and an iterator over (file as a Path, data sample of MMDetection or MMPretrain).
    Raises: as :func:`predict` does; DataError for the first image that cannot be used.
    """
    cfg = copy.deepcopy(config) if isinstance(config, Config) else load_config(config)
    target = pick_device(device)
    install_safe_loader(trust=trust)
    found = check_config(cfg)
    scope = cfg.get('default_scope', 'mmdet')
    with DefaultScope.overwrite_default_scope(scope):
        load, prepare = build_pipeline(cfg)
        read = Checkpoint.read(checkpoint, trust=trust)
        set_classes(found, read.needed_classes)
        model, classes = build_model(cfg, read, target)
    files = list(map(Path, files))

    def predicted() -> Iterator[tuple]:
        with DefaultScope.overwrite_default_scope(scope):
            _usable(load, prepare, files, skip_errors=False)
            failed: dict[Path, str] = {}
            samples = _predictions(model, load, prepare, files, batch_size, failed)
            for done, (path, sample, *_) in enumerate(samples, 1):
                if progress is not None:
                    progress(done, len(files))
                yield path, sample
            if failed:
                raise DataError(_told(failed, len(files), 'failed'))
    return classes, predicted()


def detector(config: Config | str | Path, checkpoint: str | Path, *, device: str = 'auto', trust: bool = False,
             progress: Callable[[int, int], None] | None = None) -> Callable[[Sequence[str]], Iterator[Detected]]:
    """A function from image files to what the model finds in each; the model is built at its first image.

    Args:
        config, checkpoint: The detector.
        device, trust, progress: See :func:`raw_predictions`.

    Raises: ConfigError, when it looks at the first image, if the model predicts no boxes.
    """
    return partial(_detected, config, checkpoint, device=device, trust=trust, progress=progress)


def _detected(config, checkpoint, files: Sequence[str], **options) -> Iterator[Detected]:
    classes, samples = raw_predictions(config, checkpoint, files, **options)
    for file, (_, sample) in zip(files, samples):
        if 'pred_instances' not in sample or 'bboxes' not in sample.pred_instances:
            raise ConfigError(f'{checkpoint}: hard negatives are the false alarms of a detector; this model predicts '
                              'no boxes.')
        part = sample.pred_instances.cpu()
        yield Detected(file, sample.ori_shape[:2], part.bboxes.double().numpy().reshape(-1, 4),
                       part.scores.double().numpy(), [classes[label] for label in part.labels.tolist()])


def _check_options(asked: Options, batch_size: int, pictures: bool) -> None:
    check_numbers('predict', score_thr=(asked.score_thr or 0, '[0, 1]'), batch_size=(batch_size, '[1, inf)'))
    if asked.score_thr is not None and asked.operating_point is not None:
        raise ConfigError('--score-thr and --operating-point both name thresholds: give one of them')
    if asked.cam is not None:
        if not pictures:
            raise ConfigError('--cam asks for pictures and --no-pictures for none: give one of them')
        check_installed()


def find_images(source: str | Path, *, leave_out: Path | None = None) -> tuple[Path, list[Path]]:
    """Return the folder that file names are relative to, and the images of ``source`` in the order of their names.

    Pictures that earlier predictions have written are none of them, nor is what lies in the folder ``leave_out`` within
    ``source``.

    Raises: DataError if there is no such file or folder, or no image in it.
    """
    if not str(source):  # else all that lies in and below the current folder
        raise DataError('expected an image or a folder of images, got an empty name')
    source = Path(source)
    if source.is_file():
        return source.parent, [source]
    if not source.is_dir():
        raise DataError(f'{source}: no such image or folder')
    hidden = leave_out.resolve() if leave_out is not None and source.resolve() in leave_out.resolve().parents else None
    files = [path for path in map(Path, files_below(source)) if hidden is None or hidden not in path.resolve().parents]
    folders = {folder for place in {path.parent for path in files} for folder in (place, *place.parents)
               if folder == source or source in folder.parents}
    made = set().union(*(results_of('predict', folder) for folder in folders))
    if made:  # else no link need be resolved
        files = [path for path in files if os.path.realpath(path) not in made]
    if not files:
        raise DataError(f'{source}: no image in this folder; looked for {", ".join(sorted(IMAGE_SUFFIXES))}')
    return source, files


def build_pipeline(cfg: Config, *, page: int | None = None) -> tuple[Compose, Compose]:
    """Return the step of the test pipeline that loads the image, and the others without those for annotations.

    Args:
        cfg: the config.
        page: the image that is loaded from files with several; None: what the config says.
    """
    dataset = innermost((cfg.get('test_dataloader') or cfg.get('val_dataloader') or {}).get('dataset'))
    steps = dataset.get('pipeline') or cfg.get('test_pipeline')
    if not steps:
        raise ConfigError('The config has no test pipeline: neither test_dataloader.dataset.pipeline nor test_pipeline')
    steps = [step for step in unfold_loading(steps) if not str(step['type']).endswith('LoadAnnotations')]
    if page is not None:
        if str(steps[0]['type']).rpartition('.')[2] != 'LoadImage':
            raise ConfigError(f'--page is for configs that load images by cxrdet.LoadImage, this one does by '
                              f'{steps[0]["type"]}')
        steps[0] = {**steps[0], 'page': page}
    return Compose(steps[:1]), Compose(steps[1:])


def faulty_images(load: Callable, prepare: Callable, files: Sequence[Path]) -> dict[Path, str]:
    """Those of ``files`` that ``load`` cannot read or ``prepare`` cannot make ready for the model, and why."""
    faults = {}
    for path in files:
        results = None
        try:
            results = load({'img_path': str(path), 'img_id': 0})
            if results is None:
                raise DataError(f'{path}: cannot be read')
            size = results.get('ori_shape')
            prepare(results)
        except DataError as error:
            faults[path] = str(error)
        except Exception as error:  # the steps of the hosts raise whatever their libraries do
            faults[path] = f'{path}: cannot be read: {type(error).__name__}: {error}' if results is None \
                else str(refused(path, error, size))
    return faults


def _usable(load: Callable, prepare: Callable, files: Sequence[Path], *,
            skip_errors: bool) -> tuple[list[Path], dict[Path, str]]:
    """The files that can be used, and why others cannot; raises DataError for these unless they are skipped."""
    failed = faulty_images(load, prepare, files)
    if failed and (not skip_errors or len(failed) == len(files)):
        hint = '' if skip_errors else ' (--skip-errors leaves them out)'
        raise DataError(_told(failed, len(files), f'cannot be used; nothing was predicted{hint}'))
    return [path for path in files if path not in failed], failed


def _told(faults: dict[Path, str], total: int, end: str) -> str:
    """A line with the number of the faulty images, and one for each of the first ten."""
    more = [f'... and {len(faults) - 10} more'] if len(faults) > 10 else []
    return '\n'.join([f'{len(faults)} of {total} images {end}:',
                      *(f'  {fault}' for fault in [*faults.values()][:10] + more)])


def _predictions(model: torch.nn.Module, load: Callable, prepare: Callable, files: Sequence[Path],
                 batch_size: int, failed: dict[Path, str]) -> Iterator[tuple]:
    """Yield (file, sample with its predictions, image as read, what the pipeline made of it) for each of ``files``.

    An image on which the model fails is left out and noted in ``failed``. Where it fails on all, or on the first ten,
    that is no fault of the images, and the error is raised.
    """
    step = max(len(files) // 10, 10)
    errors = 0
    for start in range(0, len(files), batch_size):
        batch = files[start:start + batch_size]
        loaded = [load({'img_path': str(path), 'img_id': start + i}) for i, path in enumerate(batch)]
        images = [results['img'].copy() for results in loaded]
        packed = [prepare(results) for results in loaded]
        samples = _tested(model, packed)
        for path, sample in zip(batch, samples):
            if isinstance(sample, Exception):
                errors += 1
                failed[path] = f'{path}: the model failed on it: {type(sample).__name__}: {sample}'
        if errors == start + len(batch) >= min(len(files), 10):
            raise samples[-1]
        yield from (found for found in zip(batch, samples, images, packed, strict=True) if found[0] not in failed)
        done = start + len(batch)
        if done // step > start // step:
            print_log(f'{done} of {len(files)} images', logger='current')


def _tested(model: torch.nn.Module, packed: Sequence[dict]) -> list:
    """The samples of a batch. Where the model fails, it gets each image alone; errors stand for those it fails on."""
    try:
        with torch.no_grad():
            return model.test_step(pseudo_collate(packed))
    except Exception as error:
        return [error] if len(packed) == 1 else [_tested(model, [one])[0] for one in packed]


def picture_names(names: Sequence[str]) -> dict[str, str]:
    """Names of the pictures of images, different from each other and from their folders on any file system.

    A picture is called as its image, and ``.png`` behind it where the format is no format for pictures. Where that name
    is another's already, whatever the case, a number comes before the suffix: ``c.tif`` beside ``c.tif.png`` is shown
    as ``c.tif_2.png``.
    """
    plain = [name if Path(name).suffix.lower() in _DRAWN_AS else f'{name}.png' for name in names]
    taken = {_folded(str(parent)) for name in names for parent in PurePosixPath(name).parents}
    found = {}
    for name, picture in sorted(zip(names, plain), key=lambda pair: pair[0] != pair[1]):  # own names first
        stem, suffix = os.path.splitext(picture)
        number = 1
        while _folded(picture) in taken:
            number += 1
            picture = f'{stem}_{number}{suffix}'
        taken.add(_folded(picture))
        found[name] = picture
    return found


def _folded(name: str) -> str:
    return unicodedata.normalize('NFC', name).casefold()


def _write_picture(path: Path, picture) -> None:
    if picture is None:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    _, data = cv2.imencode(path.suffix.lower(), picture)
    path.write_bytes(data.tobytes())  # unlike cv2.imwrite it raises where the disk is full


def _json(facts: dict, records: Sequence[dict]) -> str:
    """One line for each fact and for each image."""
    lines = ''.join(f' {json.dumps(key)}: {json.dumps(value, ensure_ascii=False)},\n' for key, value in facts.items())
    images = ',\n'.join(f'  {json.dumps(record, ensure_ascii=False)}' for record in records)
    return f'{{\n{lines} "images": [\n{images}\n ]\n}}\n'


def _csv(task, records: Sequence[dict]) -> str:
    return csv_text([['image', *task.header], *([record['file'], *row] for record in records
                                                for row in task.rows(record))])
