"""A trained detector as a function of image files."""
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from mmengine.config import Config

from cxrdet.core.detection.windows import Detected
from cxrdet.core.errors import ConfigError
from cxrdet.inference.predict import raw_predictions


def detector(config: Config | str | Path, checkpoint: str | Path, *, device: str = 'auto', trust: bool = False,
             progress: Callable[[int, int], None] | None = None) -> Callable[[Sequence[str]], Iterator[Detected]]:
    """A function from image files to what the model finds in each; the model is built at its first image.

    Args:
        config, checkpoint: The detector.
        device, trust, progress: See :func:`cxrdet.inference.predict.raw_predictions`.

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
