"""Predictions of a trained model beside the ground truth, image by image, for whatever judges or draws them.

The images of every split go through the test pipeline, so that training images are seen as they are, without
augmentation, and in the batches of the test set, so that the numbers are those of ``cxrdet test``.
"""
import copy
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS, DefaultScope
from torch.utils.data import DataLoader, Dataset

from cxrdet.checkpoints.checkpoint import Checkpoint, install_safe_loader
from cxrdet.core.errors import ConfigError, DataError, check_choice, check_numbers, error_text
from cxrdet.core.predictions import Collected, boxes_of_truth
from cxrdet.datasets.label_matrix import label_row
from cxrdet.datasets.transforms.loading import image_reader
from cxrdet.engine.loaders import fit_loaders
from cxrdet.engine.process import build_model, memory_told, pick_device
from cxrdet.preflight.check import examine, set_classes
from cxrdet.preflight.config import load_config
from cxrdet.preflight.data import check_splits

SPLITS = ('train', 'val', 'test')
_FACTS = ('img_id', 'patient_id', 'view', 'sex', 'age', 'group')


class LoadedModel(NamedTuple):
    """A model with its weights, and what belongs to it.

    Attributes:
        cfg: its config, with the classes of the checkpoint in every data set.
        model: ready to predict.
        classes: C names.
        task: 'detection', 'multi-label' or 'single-label'.
        meta: what the checkpoint says beside the weights.
        checkpoint: its path.
    """

    cfg: Config
    model: torch.nn.Module
    classes: tuple[str, ...]
    task: str
    meta: dict[str, Any]
    checkpoint: str


def judge(config: Config | str | Path, checkpoint: str | Path, *, split: str = 'val', train_images: int = 200,
          score_thr: float | None = None, seed: int = 0, device: str = 'auto', workers: int = 2, trust: bool = False,
          progress: Callable[[str, int, int], None] | None = None) -> 'tuple[LoadedModel, Collected, Collected | None]':
    """The model, what it predicts of the images to judge it by, and of training images to compare them with.

    Args:
        config: a file, or what :func:`cxrdet.apis.load_config` gave.
        checkpoint, device, trust: as for :func:`load_model`.
        split: ``val`` or ``test``.
        train_images: training images that are predicted, drawn with ``seed``; 0: none.
        score_thr: detectors: lowest score of a detection that is shown, in [0, 1], or None.
        workers: as for :func:`collect`.
        progress: called with (split, done, total) after each batch.

    Raises: ConfigError, DataError, CheckpointError with what was found wrong.
    """
    check_choice('split', split, SPLITS[1:])
    check_numbers('judge', train_images=(train_images, '[0, inf)'), score_thr=(score_thr or 0, '[0, 1]'))
    cfg = config if isinstance(config, Config) else load_config(config)
    splits = {split: None, 'train': train_images} if train_images else {split: None}
    loaded = load_model(cfg, checkpoint, splits=tuple(splits), device=device, trust=trust)
    if score_thr is not None and loaded.task != 'detection':
        raise ConfigError('score_thr is for detectors; a classifier is judged at its operating point, or by its most '
                          'probable class')
    judged, train = [collect(loaded, name, images=images, seed=seed, workers=workers,
                             progress=progress and partial(progress, name)) for name, images in splits.items()] + [
                                 None] * (2 - len(splits))
    return loaded, judged, train


def load_model(cfg: Config, checkpoint: str | Path, *, splits: tuple[str, ...] = ('val',), device: str = 'auto',
               trust: bool = False) -> LoadedModel:
    """Check a config and the data of some splits, and load a model with its weights.

    Args:
        cfg: from :func:`cxrdet.apis.load_config`; it is not changed.
        checkpoint: a file written by training, or the ``ensemble.pth`` of a bundle.
        splits: whose files are looked at before anything else is done.
        device: 'auto' (a GPU if there is one), 'cpu', 'cuda' ...
        trust: read checkpoints that can only be read by executing code in them. Off: they are refused.

    Raises: ConfigError, DataError, CheckpointError with what was found wrong.
    """
    for split in splits:
        check_choice('split', split, SPLITS)
    target = pick_device(device)
    install_safe_loader(trust=trust)
    cfg = copy.deepcopy(cfg)
    found = check_splits(cfg, splits)
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmdet')):
        loaded = Checkpoint.read(checkpoint, trust=trust)
        set_classes(found, loaded.needed_classes)
        model, classes = build_model(cfg, loaded, target)
        task = _task(model)
    return LoadedModel(cfg, model, classes, task, loaded.meta, loaded.source)


def collect(loaded: LoadedModel, split: str, *, images: int | None = None, seed: int | None = 0, workers: int = 0,
            progress: Callable[[int, int], None] | None = None) -> Collected:
    """Predict a split.

    Args:
        loaded: from :func:`load_model`.
        split: ``train``, ``val`` or ``test``.
        images: how many at most; None: all.
        seed: by which they are drawn; None: evenly spaced over the split.
        workers: processes that read images.
        progress: called with (done, total) after each batch.

    Raises: ConfigError if the config has no such data; DataError if an image or annotation cannot be read.
    """
    cfg, classes = loaded.cfg, loaded.classes
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmdet')), torch.inference_mode():
        loading = dict(dataset=_dataset_configs(cfg, split), num_workers=workers)
        fit_loaders({'--workers': loading})
        dataset = _Joined([DATASETS.build(part) for part in loading['dataset']])
        infos = [dataset.info(index) for index in range(len(dataset))]
        labels = [_labels(info, loaded.task, len(classes)) for info in infos]
        result = Collected(loaded.task, classes, split, np.array(labels, np.float64).reshape(-1, len(classes)),
                           [_facts(info) for info in infos], read=dataset.read)
        chosen = np.arange(len(dataset))
        if images is not None and images < len(dataset):
            chosen = np.linspace(0, len(dataset) - 1, images).astype(int) if seed is None else np.sort(
                np.random.default_rng(seed).choice(len(dataset), images, replace=False))
        dataset.chosen = chosen.tolist()
        tested = cfg.get('test_dataloader') or cfg.get('val_dataloader') or {}
        loader = DataLoader(dataset, batch_size=int(tested.get('batch_size', 1)), num_workers=loading['num_workers'],
                            collate_fn=pseudo_collate)
        read = _detection_record if loaded.task == 'detection' else partial(_class_record, number=len(classes))
        entry = getattr(loaded.model, 'backbone', loaded.model).register_forward_pre_hook(
            lambda _, inputs: result.inputs.update(tuple(part.shape) for part in inputs[:1] if hasattr(part, 'shape')))
        try:
            for sample in _predicted(loaded.model, loader, progress):
                info = dataset.info(len(result.records))
                result.records.append(read(sample, info))
        finally:
            entry.remove()
    return result


class _Joined(Dataset):
    """Several data sets one after the other, of which some samples are taken."""

    def __init__(self, sets: list) -> None:
        self.read = image_reader(sets[0])
        self.places = [(part, row) for part in sets for row in range(len(part))]
        self.chosen = list(range(len(self.places)))

    def __len__(self) -> int:
        return len(self.chosen)

    def __getitem__(self, index: int):
        part, row = self.places[self.chosen[index]]
        return part[row]

    def info(self, index: int) -> dict:
        """The annotation of a sample."""
        part, row = self.places[self.chosen[index]]
        return part.get_data_info(row)


def _dataset_configs(cfg: Config, split: str) -> list[dict]:
    """The data sets of a split without the wrappers around them, in test mode and with the test pipeline."""
    found = examine(cfg)
    own = found.data_sets(f'{split}_dataloader')
    test = found.data_sets('test_dataloader') or found.data_sets('val_dataloader')
    if not own or not test or not test[0].cfg.get('pipeline'):
        raise ConfigError(f'{cfg.filename or "config"}: expected a {split}_dataloader and a test pipeline '
                          '(test_dataloader.dataset.pipeline)')
    pipeline = test[0].cfg['pipeline']
    return [dict(copy.deepcopy(dict(part.cfg)), pipeline=copy.deepcopy(pipeline), test_mode=True) for part in own]


def _task(model: torch.nn.Module) -> str:
    if DefaultScope.get_current_instance().scope_name == 'mmdet':
        return 'detection'
    from mmpretrain.models.heads import ClsHead, MultiLabelClsHead  # only now: detectors do without MMPretrain
    head, multi_label = getattr(model, 'head', None), getattr(model, 'multi_label', None)
    if isinstance(head, MultiLabelClsHead) or multi_label is True:
        return 'multi-label'
    if isinstance(head, ClsHead) or multi_label is False:
        return 'single-label'
    raise ConfigError(f'{type(model).__name__} predicts neither boxes nor classes: only detectors and classifiers can '
                      'be used here')


def _labels(info: dict, task: str, number: int) -> np.ndarray:
    """(C,) boxes of each class in an image, or its labels."""
    if task != 'detection':
        return label_row(info, number, str(info.get('img_path')))
    labels = [box['bbox_label'] for box in info['instances'] if not box.get('ignore_flag')]
    return np.bincount(np.array(labels, np.int64), minlength=number)


def _facts(info: dict) -> dict:
    return {key: info[key] for key in _FACTS if key in info}


def _predicted(model: torch.nn.Module, loader: DataLoader, progress: Callable | None) -> Iterator[Any]:
    done, total = 0, len(loader.dataset)
    batches = iter(loader)
    while done < total:
        try:
            batch = next(batches)
        except (DataError, OSError) as error:
            raise DataError(error_text(error)) from error
        with memory_told('test'):
            samples = model.test_step(batch)
        done += len(samples)
        if progress is not None:
            progress(done, total)
        yield from samples


def _base_record(sample, info: dict) -> dict:
    height, width = sample.ori_shape[:2]
    return {'image': str(info['img_path']), 'width': int(width), 'height': int(height),
            'facts': _facts(info)}


def _detection_record(sample, info: dict) -> dict:
    found = sample.pred_instances
    scores = found.scores.detach().cpu().double().numpy()
    order = np.argsort(-scores, kind='stable')
    return _base_record(sample, info) | {
        'boxes': found.bboxes.detach().cpu().double().numpy().reshape(-1, 4)[order], 'scores': scores[order],
        'labels': found.labels.detach().cpu().numpy().astype(np.int64)[order],
        **{f'gt_{name}': values for name, values in boxes_of_truth(info['instances']).items()}}


def _class_record(sample, info: dict, number: int) -> dict:
    return _base_record(sample, info) | {'probabilities': sample.pred_score.detach().cpu().double().numpy(),
                                         'truth': _labels(info, '', number)}
