"""Run a trained model on image files and write what it finds: JSON, CSV and pictures.

``predictions.json`` holds what was decided by, and for each image its file, width, height and:

- of a detector, ``boxes`` (xyxy in pixels of the image as read), ``scores``, ``labels`` and ``classes``, best first;
- of a classifier, ``probabilities`` and ``decisions`` (1 or 0) in the order of the classes, and ``classes``, the names
  of those decided to be present: from a threshold on, or the most probable one of a single-label model.

``predictions.csv`` has one row a box (none for an image without boxes), or one row for each class of each image: image,
class, probability, threshold, decision. ``pictures/`` shows the boxes, or sheets of Grad-CAM overlays.
"""
import copy
import csv
import io
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import cv2
import torch
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from mmengine.logging import print_log
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import MODELS, DefaultScope

from cxrdet.apis.cam import CamChoice, check_installed
from cxrdet.apis.check import check_config
from cxrdet.apis.classes import follow_classes
from cxrdet.apis.config import load_config
from cxrdet.apis.device import pick_device
from cxrdet.apis.predict_tasks import Options, Task, detection_record, summary, task_of
from cxrdet.core.errors import CheckpointError, ConfigError, DataError
from cxrdet.core.folders import OutputFolder
from cxrdet.datasets.transforms.loading import unfold_loading
from cxrdet.engine.checkpoint import install_safe_loader, load_model_weights, read_checkpoint

__all__ = ['CamChoice', 'build_model', 'detection_record', 'pick_device', 'predict', 'summary']

SUFFIXES = ('.bmp', '.jpeg', '.jpg', '.png', '.tif', '.tiff', '.webp')
_RESULTS = ('predictions.json', 'predictions.csv', 'pictures')
_DRAWN_AS = ('.jpeg', '.jpg', '.png')  # pictures of other formats are written as PNG


def predict(config: Config | str | Path, checkpoint: str | Path, source: str | Path, *, out_dir: str | Path,
            score_thr: float | None = None, operating_point: str | None = None, calibrate: bool = False,
            cam: CamChoice | None = None, device: str = 'auto', batch_size: int = 1, pictures: bool = True,
            trust: bool = False) -> list[dict]:
    """Predict an image, or all images in and below a folder, and write the results into ``out_dir``.

    The class names are those of the checkpoint. Every image is read once before the model is built: where some cannot
    be read, all of them are named in one error. The results are written to a hidden folder and moved into place when
    they are complete, so that there are never half of them. Those of an earlier call are replaced; other files stay,
    and where they bear the name of a result, it is an error (:class:`cxrdet.core.folders.OutputFolder`).

    Args:
        config: the config that the checkpoint was trained with: a file, or what :func:`load_config` gave.
        checkpoint: a file written by training.
        source: an image file of any kind that the config's test pipeline reads, or a folder of ``SUFFIXES``.
        score_thr: lowest score, in [0, 1], of a box that is kept (None: 0.3), or of a positive decision for any class.
        operating_point: multi-label: the stored thresholds to decide by. None: the first that was chosen on validation;
            0.5 where the checkpoint stores none.
        calibrate: multi-label: divide logits by the stored temperature; stored thresholds follow.
        cam: classifiers: draw Grad-CAM for these classes, from this layer.
        device: 'auto' (a GPU if there is one), 'cpu', 'cuda', 'cuda:1' ...
        batch_size: images a step; with several, smaller images are padded to the largest.
        pictures: draw the boxes, too.
        trust: read checkpoints that can only be read by executing code in them. Off: they are refused.

    Returns: the entries of ``predictions.json``, one dict an image, ordered by file name.
    Raises:
        ConfigError: a bad config or argument, or a model whose predictions are neither boxes nor classes.
        DataError: no image at ``source``, or unreadable ones; or files of others are in the way in ``out_dir``.
        CheckpointError: the checkpoint is torn, of another model, names no classes, or needs ``trust``.
    """
    _check_options(score_thr, operating_point, batch_size, cam, pictures)
    out_dir = Path(out_dir)
    if out_dir.exists() and not out_dir.is_dir():
        raise ConfigError(f'{out_dir}: the results go into a folder, but this is a file')
    cfg = copy.deepcopy(config) if isinstance(config, Config) else load_config(config)
    root, files = find_images(source, leave_out=out_dir)
    results = OutputFolder(out_dir, 'predict', names=_RESULTS if pictures else _RESULTS[:2], inputs=files)
    target = pick_device(device)
    install_safe_loader(trust=trust)
    check_config(cfg, mode='predict')
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmdet')):
        load, prepare = build_pipeline(cfg)
        check_readable(load, files)
        model, classes = build_model(cfg, checkpoint, target, trust=trust)
        meta = read_checkpoint(checkpoint, trust=trust)['meta']
        options = Options(classes, score_thr, operating_point, calibrate, cam)
        with results as folder:
            records, task, settings = [], None, None
            for path, sample, image, packed in _predictions(model, load, prepare, files, batch_size):
                if task is None:
                    task = task_of(sample)
                    settings = task.prepare(options, model, meta, str(checkpoint))
                records.append({'file': path.relative_to(root).as_posix(), **task.record(sample, settings)})
                picture = task.draw(image, packed, prepare.transforms, records[-1], settings) if pictures else None
                _write_picture(folder / 'pictures', records[-1]['file'], picture)
            facts = {'checkpoint': str(checkpoint), **task.facts(settings)}
            (folder / 'predictions.json').write_text(_json(facts, records), encoding='utf-8')
            (folder / 'predictions.csv').write_text(_csv(task, settings, records), encoding='utf-8', newline='')
    return records


def _check_options(score_thr: float | None, operating_point: str | None, batch_size: int, cam: CamChoice | None,
                   pictures: bool) -> None:
    if (score_thr is not None and not 0 <= score_thr <= 1) or batch_size < 1:
        raise ConfigError(f'expected score_thr in [0, 1] and batch_size >= 1, got {score_thr} and {batch_size}')
    if score_thr is not None and operating_point is not None:
        raise ConfigError('--score-thr and --operating-point both name thresholds: give one of them')
    if cam is not None:
        if not pictures:
            raise ConfigError('--cam asks for pictures and --no-pictures for none: give one of them')
        check_installed()


def find_images(source: str | Path, *, leave_out: Path | None = None) -> tuple[Path, list[Path]]:
    """Return the folder that file names are relative to, and the images of ``source`` in the order of their names.

    Raises: DataError if there is no such file or folder, or no image in it.
    """
    source = Path(source)
    if source.is_file():
        return source.parent, [source]
    if not source.is_dir():
        raise DataError(f'{source}: no such image or folder')
    hidden = leave_out.resolve() if leave_out is not None and leave_out.resolve() != source.resolve() else None
    files = sorted(path for path in source.rglob('*') if path.suffix.lower() in SUFFIXES and path.is_file()
                   and not any(part.startswith('.') for part in path.relative_to(source).parts)
                   and (hidden is None or hidden not in path.resolve().parents))
    if not files:
        raise DataError(f'{source}: no image in this folder; looked for {", ".join(SUFFIXES)}')
    return source, files


def build_pipeline(cfg: Config) -> tuple[Compose, Compose]:
    """Return the step of the test pipeline that loads the image, and the others without those for annotations."""
    dataset = (cfg.get('test_dataloader') or cfg.get('val_dataloader') or {}).get('dataset') or {}
    while 'dataset' in dataset or 'datasets' in dataset:
        dataset = dataset.get('dataset') or dataset['datasets'][0]
    steps = dataset.get('pipeline') or cfg.get('test_pipeline')
    if not steps:
        raise ConfigError('The config has no test pipeline: neither test_dataloader.dataset.pipeline nor test_pipeline')
    steps = [step for step in unfold_loading(steps) if not str(step['type']).endswith('LoadAnnotations')]
    return Compose(steps[:1]), Compose(steps[1:])


def check_readable(load: Callable, files: Sequence[Path]) -> None:
    """Raise DataError that names the first ten of the files which ``load`` cannot read, and their number."""
    faults = []
    for path in files:
        try:
            if load({'img_path': str(path), 'img_id': 0}) is None:
                raise DataError(f'{path}: cannot be read')
        except Exception as error:  # the loaders of the hosts raise whatever their libraries do
            faults.append(str(error) if isinstance(error, DataError)
                          else f'{path}: cannot be read: {type(error).__name__}: {error}')
    if faults:
        more = [f'... and {len(faults) - 10} more'] if len(faults) > 10 else []
        raise DataError('\n'.join([f'{len(faults)} of {len(files)} images cannot be read; nothing was predicted:',
                                   *(f'  {fault}' for fault in faults[:10] + more)]))


def build_model(cfg: Config, checkpoint: str | Path, device: torch.device, *,
                trust: bool = False) -> tuple[torch.nn.Module, tuple[str, ...]]:
    """Return the model of ``cfg`` with the weights of ``checkpoint``, ready to predict, and its class names."""
    meta = read_checkpoint(checkpoint, trust=trust).get('meta')
    facts = (meta.get('dataset_meta') if isinstance(meta, dict) else None) or {}
    named = {str(key).lower(): value for key, value in facts.items()}.get('classes')
    if not named:
        raise CheckpointError(f'{checkpoint}: it does not say its classes (meta.dataset_meta.classes), so that boxes '
                              'and findings cannot be named. Use a checkpoint as training writes it')
    classes = (named,) if isinstance(named, str) else tuple(named)
    follow_classes(cfg, classes=classes)
    if cfg.get('data_preprocessor') is not None:
        cfg.model.setdefault('data_preprocessor', cfg.data_preprocessor)  # where MMPretrain's configs have it
    model = revert_sync_batchnorm(MODELS.build(cfg.model))
    load_model_weights(model, checkpoint, trust=trust)
    return model.to(device).eval(), classes


def _predictions(model: torch.nn.Module, load: Callable, prepare: Callable, files: Sequence[Path],
                 batch_size: int) -> Iterator[tuple]:
    """Yield (file, sample with its predictions, image as read, what the pipeline made of it) for each of ``files``."""
    step = max(len(files) // 10, 10)
    for start in range(0, len(files), batch_size):
        batch = files[start:start + batch_size]
        loaded = [load({'img_path': str(path), 'img_id': start + i}) for i, path in enumerate(batch)]
        images = [results['img'].copy() for results in loaded]
        packed = [prepare(results) for results in loaded]
        with torch.no_grad():
            samples = model.test_step(pseudo_collate(packed))
        yield from zip(batch, samples, images, packed, strict=True)
        done = start + len(batch)
        if done // step > start // step:
            print_log(f'{done} of {len(files)} images', logger='current')


def _write_picture(folder: Path, name: str, picture) -> None:
    if picture is None:
        return
    path = folder / (name if Path(name).suffix.lower() in _DRAWN_AS else f'{name}.png')
    path.parent.mkdir(parents=True, exist_ok=True)
    _, data = cv2.imencode(path.suffix.lower(), picture)
    path.write_bytes(data.tobytes())  # unlike cv2.imwrite it raises where the disk is full


def _json(facts: dict, records: Sequence[dict]) -> str:
    """One line for each fact and for each image."""
    lines = ''.join(f' {json.dumps(key)}: {json.dumps(value, ensure_ascii=False)},\n' for key, value in facts.items())
    images = ',\n'.join(f'  {json.dumps(record, ensure_ascii=False)}' for record in records)
    return f'{{\n{lines} "images": [\n{images}\n ]\n}}\n'


def _csv(task: Task, settings, records: Sequence[dict]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator='\n')
    writer.writerow(['image', *task.header])
    for record in records:
        writer.writerows([record['file'], *row] for row in task.rows(record, settings))
    return text.getvalue()
