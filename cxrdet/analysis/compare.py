from pathlib import Path

import cv2
import numpy as np
from mmengine.config import Config

from cxrdet.core.detection.diagnosis import worst_images
from cxrdet.core.detection.error_types import error_table
from cxrdet.core.errors import ConfigError
from cxrdet.core.files import write_atomic
from cxrdet.inference.split_predictions import collect, load_model
from cxrdet.visualization.boxes import LEGEND, draw_legend, grid, side_by_side


def compare(cfg: Config, checkpoint: str | Path, *, out: str | Path, images: int = 8, columns: int = 1,
            score_thr: float = 0.5, worst: bool = False, device: str = 'auto', trust: bool = False) -> np.ndarray:
    """Draw a contact sheet, (H, W, 3) uint8, BGR: ground truth at the left, predictions
    with hits, false alarms and misses.

    Args:
        cfg: From :func:`cxrdet.apis.load_config`; the images come from its test set.
        out: The picture, ``.png`` or ``.jpg``.
        images: How many, evenly spaced over the set.
        columns: Pairs of pictures in a row.
        score_thr: Lowest score of a prediction that is shown, in [0, 1].
        worst: Take the images with the most errors instead, the worst first, and write above each what is wrong.
        device, trust: See :func:`cxrdet.inference.split_predictions.load_model`.

    Raises: ConfigError for an argument, a model that is no detector, or ``worst`` where no image has an error;
        DataError, CheckpointError with what was found wrong.
    """
    if Path(out).suffix.lower() not in ('.png', '.jpg', '.jpeg') or images < 1:
        raise ConfigError(f'expected a .png or .jpg file and at least one image, got {out} and {images}')
    loaded = load_model(cfg, checkpoint, splits=('test',), device=device, trust=trust)
    if loaded.task != 'detection':
        raise ConfigError('pictures beside the ground truth are of detectors; cxrdet report shows the worst images '
                          'of a classifier')
    judged = collect(loaded, 'test', images=None if worst else images, seed=None)
    paths, titles, shown = [record['image'] for record in judged.records], None, range(len(judged.records))
    if worst:
        rows = worst_images(error_table(judged.pairing).from_score(score_thr), judged.classes, paths, most=images)
        if not rows:
            raise ConfigError(f'No image has an error at scores from {score_thr:g}: there is nothing to show.')
        titles, shown = zip(*((f'{Path(row["image"]).name}: {row["why"]}', row['index']) for row in rows))
    pairs = [side_by_side(judged.read(paths[i]), judged.pairing, i, classes=judged.classes, score_thr=score_thr)
             for i in shown]
    sheet = draw_legend(grid(pairs, columns, titles=titles), LEGEND)
    write_atomic(out, cv2.imencode(Path(out).suffix, sheet)[1].tobytes())
    return sheet
