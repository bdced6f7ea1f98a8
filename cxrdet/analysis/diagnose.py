import json
from pathlib import Path
from typing import Any

from mmengine.config import Config

from cxrdet.core.errors import check_numbers
from cxrdet.core.files import write_atomic
from cxrdet.core.model_diagnosis import diagnosis_of
from cxrdet.inference.split_predictions import judge
from cxrdet.preflight.data import training_quality


def diagnose(config: Config | str | Path, checkpoint: str | Path, *, out: str | Path | None = None, worst: int = 10,
             score_thr: float | None = None, seed: int = 0, **judging: Any) -> dict[str, Any]:
    """Why is a trained model no better? Gives the diagnosis of :func:`cxrdet.core.model_diagnosis.diagnosis_of`.

    Args:
        config, checkpoint, seed: as for :func:`cxrdet.inference.split_predictions.judge`.
        out: write the result to this JSON file.
        worst: how many of the worst images are named, at least 10.
        score_thr: detectors: lowest score of a detection that is shown. None: the one of the best F1 on the split.
        **judging: ``split``, ``train_images``, ``device``, ``workers``, ``trust`` and ``progress`` of ``judge``. With
            ``train_images=0`` over- and underfitting are not judged; class numbers are those of the whole training set
            all the same.

    Raises: ConfigError, DataError, CheckpointError with what was found wrong.
    """
    check_numbers('diagnose', worst=(worst, '[0, inf)'))
    loaded, judged, train = judge(config, checkpoint, score_thr=score_thr, seed=seed, **judging)
    report = {'config': str(loaded.cfg.filename or ''), 'checkpoint': loaded.checkpoint, 'seed': seed} | diagnosis_of(
        judged, train, points=loaded.meta.get('operating_points'), source=loaded.checkpoint, score_thr=score_thr,
        worst=max(worst, 10), quality=training_quality(loaded.cfg))
    if out is not None:
        write_atomic(out, json.dumps(report, indent=1, allow_nan=False) + '\n')
    return report
