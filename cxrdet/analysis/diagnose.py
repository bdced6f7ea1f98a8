import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mmengine.config import Config

from cxrdet.core.errors import check_numbers
from cxrdet.core.files import write_atomic
from cxrdet.core.model_diagnosis import diagnosis_of
from cxrdet.inference.split_predictions import judge
from cxrdet.preflight.data import training_quality


def diagnose(config: Config | str | Path, checkpoint: str | Path, *, split: str = 'val', train_images: int = 200,
             score_thr: float | None = None, out: str | Path | None = None, seed: int = 0, device: str = 'auto',
             workers: int = 2, worst: int = 10, trust: bool = False,
             progress: Callable[[str, int, int], None] | None = None) -> dict[str, Any]:
    """Why is a trained model no better? Gives the diagnosis of :func:`cxrdet.core.model_diagnosis.diagnosis_of`.

    Args:
        config, checkpoint, device, workers, trust, progress: as for :func:`cxrdet.inference.split_predictions.judge`.
        split: ``val`` or ``test``: which images its scores are of.
        train_images: training images it is compared on, drawn with ``seed``; 0: none,
            then over- and underfitting are not judged. Class numbers are those of the
            whole training set all the same.
        score_thr: detectors: lowest score of a detection that is shown. None: the one of the best F1 on the split.
        out: write the result to this JSON file.
        worst: how many of the worst images are named, at least 10.

    Raises: ConfigError, DataError, CheckpointError with what was found wrong.
    """
    check_numbers('diagnose', worst=(worst, '[0, inf)'))
    loaded, judged, train = judge(config, checkpoint, split=split, train_images=train_images, score_thr=score_thr,
                                  seed=seed, device=device, workers=workers, trust=trust, progress=progress)
    report = {'config': str(loaded.cfg.filename or ''), 'checkpoint': loaded.checkpoint, 'seed': seed} | diagnosis_of(
        judged, train, points=loaded.meta.get('operating_points'), source=loaded.checkpoint, score_thr=score_thr,
        worst=max(worst, 10), quality=training_quality(loaded.cfg))
    if out is not None:
        write_atomic(out, json.dumps(report, indent=1, allow_nan=False) + '\n')
    return report
