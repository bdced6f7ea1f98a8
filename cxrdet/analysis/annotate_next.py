from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config

from cxrdet.core.annotation_order import (
    Priorities,
    class_weakness,
    detection_priorities,
    multi_label_priorities,
    ranking,
    single_label_priorities,
)
from cxrdet.core.csv_text import csv_text
from cxrdet.core.errors import ConfigError
from cxrdet.core.files import write_atomic
from cxrdet.inference.predict import find_images, raw_predictions

_LOWEST = 0.05  # score of a detection that is looked at
_HEADER = ('rank', 'image', 'priority', 'uncertainty', 'class', 'weakness')


def annotate_next(config: Config | str | Path, checkpoint: str | Path, images: str | Path,
                  diagnosis: Mapping[str, Any], *, out: str | Path | None = None, measure: str = 'entropy',
                  device: str = 'auto', trust: bool = False,
                  progress: Callable[[int, int], None] | None = None) -> list[dict[str, Any]]:
    """Sort unlabelled images by what annotating them promises; see :mod:`cxrdet.core.annotation_order`.

    Args:
        config, checkpoint: The model that was diagnosed.
        images: An image file, or a folder of them.
        diagnosis: Of :func:`cxrdet.analysis.diagnose.diagnose`, whose scores of the
            classes are AP at IoU 0.5, accuracy, or AUROC (whose 0.5 is taken as 0).
        out: Write the list to this CSV file.
        measure: ``entropy`` or ``margin``.
        device, trust, progress: See :func:`cxrdet.inference.predict.raw_predictions`.

    Returns: The rows of the CSV file, the image to annotate first in front:
        ``rank`` from 1, ``image`` (relative to ``images``), ``priority``,
        ``uncertainty``, ``class`` (the name of the one that adds most, empty where
        nothing is found) and its ``weakness`` in 0..1.

    Raises: ConfigError, DataError, CheckpointError with what was found wrong; ConfigError if the classes of the
        model are not those of the diagnosis.
    """
    root, files = find_images(images)
    task, names = diagnosis['task'], list(diagnosis['classes'])
    classes, samples = raw_predictions(config, checkpoint, files, device=device, trust=trust, progress=progress)
    if list(classes) != names:
        raise ConfigError(f'{checkpoint} has the classes {", ".join(classes)}, the diagnosis is of {", ".join(names)}.')
    scores = {row['class']: row['score'] for row in diagnosis['per_class']}
    weakness = class_weakness([scores[name] for name in names], chance=0.5 if task == 'multi-label' else 0.)
    found = _priorities(task, [_answer(task, sample) for _, sample in samples], weakness, measure)
    rows = []
    for rank, number in enumerate(ranking(found.priority).tolist(), 1):
        label = int(found.label[number])
        rows.append({'rank': rank, 'image': files[number].relative_to(root).as_posix(),
                     'priority': round(float(found.priority[number]), 6),
                     'uncertainty': round(float(found.uncertainty[number]), 6),
                     'class': names[label] if label >= 0 else '',
                     'weakness': round(float(weakness[label]), 6) if label >= 0 else ''})
    if out is not None:
        write_atomic(out, csv_text([list(_HEADER), *(list(row.values()) for row in rows)]))
    return rows


def _answer(task: str, sample) -> tuple[np.ndarray, ...]:
    if task == 'detection':
        part = sample.pred_instances.cpu()
        part = part[part.scores >= _LOWEST]
        return part.scores.double().numpy(), part.labels.numpy()
    return (sample.pred_score.detach().cpu().double().numpy(),)


def _priorities(task: str, answers: list[tuple[np.ndarray, ...]], weakness: np.ndarray, measure: str) -> Priorities:
    if task == 'detection':
        return detection_priorities([scores for scores, _ in answers], [labels for _, labels in answers], weakness,
                                    measure=measure)
    rank = multi_label_priorities if task == 'multi-label' else single_label_priorities
    return rank(np.array([prob for prob, in answers]).reshape(-1, len(weakness)), weakness, measure=measure)
