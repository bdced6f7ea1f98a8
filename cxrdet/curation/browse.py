"""Look at what a network will be trained on: the samples of a config, as its pipeline gives them."""
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmengine.config import Config
from mmengine.registry import DATASETS, init_default_scope

from cxrdet.core.errors import ConfigError
from cxrdet.core.files import write_atomic
from cxrdet.core.folders import OutputFolder
from cxrdet.datasets.formats.images import image_bytes
from cxrdet.engine.seeding import seed_dataset, seed_generators
from cxrdet.preflight.check import check_config
from cxrdet.preflight.data import follow_classes
from cxrdet.visualization.boxes import Look, class_look, draw_boxes, draw_legend, grid, input_picture

SPLITS = ('train', 'val', 'test')
_IGNORED = Look((90, 90, 90), 'dotted')
_SMALLEST = 240  # pixels of the shorter side of a picture


def browse(cfg: Config, out_dir: str | Path, *, split: str = 'train', number: int = 16, columns: int = 4,
           seed: int = 0, progress: Callable[[int, int], None] | None = None) -> list[Path]:
    """Draw samples of a data set behind its whole pipeline, mixing of images included,
    on sheets of 16; return the files.

    What a model's ``data_preprocessor`` does to whole batches afterwards (padding, mixup, CutMix) is not in them.

    Args:
        cfg: From :func:`cxrdet.apis.load_config`.
        out_dir: Folder for ``<split>_00.png``, ``<split>_01.png`` …; the sheets of an earlier look at the split go.
        split: ``train``, ``val`` or ``test``: whose dataloader's data set is looked at.
        number: Of samples, drawn at random; if there are fewer images, they come again, with other random numbers.
        columns: Pictures side by side.
        seed: Of the choice and of the augmentation: the same seed gives the same sheets.
        progress: Called with (done, number) after each sample.

    Raises:
        ConfigError: The config is faulty or has no such data set, its pipeline packs nothing, or a number is below 1.
        DataError: The data set cannot be read, or files of others bear the names of the sheets.
    """
    if split not in SPLITS or not cfg.get(f'{split}_dataloader'):
        raise ConfigError(f'the split must be one of {", ".join(SPLITS)} and have a dataloader in the config, got '
                          f'"{split}".')
    if number < 1 or columns < 1:
        raise ConfigError(f'expected at least one sample and one column, got {number} and {columns}.')
    names = [f'{split}_{sheet:02d}.png' for sheet in range(-(-number // 16))]
    sheets = OutputFolder(out_dir, f'browse_data.{split}', names=names)
    follow_classes(check_config(cfg))
    init_default_scope(cfg.get('default_scope') or 'mmengine')
    dataset = DATASETS.build(cfg[f'{split}_dataloader'].dataset)
    seed_generators(seed)
    seed_dataset(dataset, seed)
    classes = dataset.metainfo.get('classes')
    drawn = []
    for index in _choice(len(dataset), number, seed):
        drawn.append(draw_sample(dataset[index], classes))
        if progress is not None:
            progress(len(drawn), number)
    with sheets as folder:
        for k, name in enumerate(names):
            _write_sheet(folder / name, drawn[16 * k:16 * k + 16], columns, classes)
    return [Path(out_dir) / name for name in names]


def _choice(size: int, number: int, seed: int) -> list[int]:
    if not size:
        raise ConfigError('the data set is empty: there is nothing to look at.')
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.permutation(size) for _ in range(-(-number // size))])[:number].tolist()


def draw_sample(sample: dict, classes: Sequence[str] | None = None) -> tuple[np.ndarray, str, set[int]]:
    """Picture (H, W, 3) uint8, BGR, title and labels of a sample, as PackDetInputs and PackInputs leave it.

    Of boxes, the ignored ones are dotted and grey. Floating point images are stretched
    to 0..255. The title of a classifier holds the labels, unknown ones with a question
    mark; those that are returned have boxes that are drawn.

    Args:
        sample: ``inputs`` (C, H, W) of 1 or 3 channels and ``data_samples``.
        classes: Name of each label.

    Raises: ConfigError if there is nothing packed in it.
    """
    if not isinstance(sample, dict) or 'inputs' not in sample or 'data_samples' not in sample:
        raise ConfigError('the pipeline must end with PackDetInputs or PackInputs; its samples have no "inputs" and '
                          '"data_samples".')
    image, data = input_picture(sample['inputs'].numpy()), sample['data_samples']
    factor = max(1.0, _SMALLEST / min(image.shape[:2]))
    if factor > 1:
        size = [round(side * factor) for side in image.shape[1::-1]]
        image = cv2.resize(image, size, interpolation=cv2.INTER_CUBIC)
    title = Path(str(data.get('img_path') or '')).name
    if 'gt_instances' not in data:
        return draw_boxes(image, [], []), f'{title}: {_label_text(data, classes)}', set()
    labels = data.gt_instances.labels.tolist()
    ignored = data.get('ignored_instances')
    if ignored is not None and len(ignored):
        image = draw_boxes(image, factor * _corners(ignored), [0] * len(ignored), looks=[_IGNORED] * len(ignored),
                           names=False)
    picture = draw_boxes(image, factor * _corners(data.gt_instances), labels, classes=classes, names=classes is None)
    return picture, title, set(labels)


def _corners(instances: Any) -> np.ndarray:
    boxes = instances.bboxes
    return np.asarray(getattr(boxes, 'tensor', boxes), np.float64).reshape(-1, 4)


def _label_text(data: Any, classes: Sequence[str] | None) -> str:
    def name(label: int) -> str:
        return str(label) if classes is None else classes[label]
    if 'gt_score' not in data:
        return ', '.join(name(label) for label in data.gt_label.tolist()) or 'no label'
    scores = data.gt_score.tolist()
    found = [name(i) for i, score in enumerate(scores) if score > 0] + [
        f'{name(i)}?' for i, score in enumerate(scores) if score != score]
    return ', '.join(found) or 'no label'


def _write_sheet(path: Path, drawn: list, columns: int, classes: Sequence[str] | None) -> None:
    pictures, titles, labels = zip(*drawn)
    sheet = grid(pictures, columns, titles=titles)
    shown = sorted(set().union(*labels))
    if shown and classes is not None:
        sheet = draw_legend(sheet, {classes[label]: class_look(label) for label in shown})
    write_atomic(path, image_bytes(sheet, path))
