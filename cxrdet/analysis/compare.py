"""Pictures of predictions beside the ground truth."""
from pathlib import Path

import cv2
import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS, DefaultScope

from cxrdet.checkpoints.files import install_safe_loader
from cxrdet.core.detection.diagnosis import worst_images
from cxrdet.core.detection.error_types import error_table
from cxrdet.core.detection.matching import pair_boxes
from cxrdet.core.errors import ConfigError
from cxrdet.core.files import write_atomic
from cxrdet.datasets.transforms.loading import image_reader
from cxrdet.inference.predict import build_model, detection_record, pick_device
from cxrdet.inference.split_predictions import collect, load_model
from cxrdet.preflight.data import check_run
from cxrdet.visualization.boxes import LEGEND, draw_legend, grid, side_by_side


def compare(cfg: Config, checkpoint: str | Path, *, out: str | Path, images: int = 8, columns: int = 1,
            score_thr: float = 0.5, worst: bool = False, device: str = 'auto', trust: bool = False) -> np.ndarray:
    """Draw a contact sheet: ground truth at the left, predictions with hits, false alarms and misses at the right.

    Args:
        cfg: From :func:`cxrdet.apis.load_config`; the images come from its test set.
        checkpoint: A file written by training.
        out: The picture, ``.png`` or ``.jpg``.
        images: How many, evenly spaced over the set.
        columns: Pairs of pictures in a row.
        score_thr: Lowest score of a prediction that is shown, in [0, 1].
        worst: Take the images with the most errors instead, the worst first, and write above each what is wrong.
        device: 'auto', 'cpu', 'cuda' ...
        trust: Read checkpoints that can only be read by executing code in them. Off: they are refused.

    Returns:
        The sheet, (H, W, 3) uint8, BGR.

    Raises:
        ConfigError, DataError, CheckpointError: With what was found wrong.
    """
    if Path(out).suffix.lower() not in ('.png', '.jpg', '.jpeg') or images < 1:
        raise ConfigError(f'expected a .png or .jpg file and at least one image, got {out} and {images}')
    if worst:
        return _write(out, *_worst_pairs(cfg, checkpoint, images, score_thr, device, trust), columns)
    target = pick_device(device)
    install_safe_loader(trust=trust)
    check_run(cfg, mode='test')
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmdet')), torch.no_grad():
        model, classes = build_model(cfg, checkpoint, target, trust=trust)
        dataset = DATASETS.build(cfg.test_dataloader.dataset)
        pairs, read = [], image_reader(dataset)
        for index in np.unique(np.linspace(0, len(dataset) - 1, min(images, len(dataset))).astype(int)):
            sample, = model.test_step(pseudo_collate([dataset[int(index)]]))
            info = dataset.get_data_info(int(index))
            truth = dict(boxes=[entry['bbox'] for entry in info['instances']],
                         labels=[entry['bbox_label'] for entry in info['instances']],
                         ignore=[bool(entry.get('ignore_flag')) for entry in info['instances']])
            pairing = pair_boxes([detection_record(sample, classes, 0.0)], [truth], len(classes))
            pairs.append(side_by_side(read(info['img_path']), pairing, classes=classes, score_thr=score_thr))
    return _write(out, pairs, None, columns)


def _worst_pairs(cfg: Config, checkpoint: str | Path, images: int, score_thr: float, device: str,
                 trust: bool) -> tuple[list[np.ndarray], list[str]]:
    loaded = load_model(cfg, checkpoint, splits=('test',), device=device, trust=trust)
    if loaded.task != 'detection':
        raise ConfigError('pictures beside the ground truth are of detectors; tools/report.py shows the worst images '
                          'of a classifier')
    judged = collect(loaded, 'test')
    rows = worst_images(error_table(judged.pairing).from_score(score_thr), judged.classes,
                        [record['image'] for record in judged.records], most=images)
    if not rows:
        raise ConfigError(f'No image has an error at scores from {score_thr:g}: there is nothing to show.')
    pairs = [side_by_side(judged.read(row['image']), judged.pairing, row['index'], classes=judged.classes,
                          score_thr=score_thr) for row in rows]
    return pairs, [f'{Path(row["image"]).name}: {row["why"]}' for row in rows]


def _write(out: str | Path, pairs: list[np.ndarray], titles: list[str] | None, columns: int) -> np.ndarray:
    sheet = draw_legend(grid(pairs, columns, titles=titles), LEGEND)
    write_atomic(out, cv2.imencode(Path(out).suffix, sheet)[1].tobytes())
    return sheet
