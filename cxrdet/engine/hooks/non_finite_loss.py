"""A loss that is no number any more stops the run."""
import math
from collections.abc import Sequence

import torch
from mmengine.dist import all_gather_object, all_reduce
from mmengine.hooks import Hook

from cxrdet.checkpoints.checkpoint import find_resumable
from cxrdet.core.errors import CheckpointError, TrainingError
from cxrdet.registry import HOOKS


@HOOKS.register_module()
class NonFiniteLossHook(Hook):
    """Stop when the loss of an iteration is NaN or infinite, before anything of it can get into a checkpoint.

    The error names the iteration, the parts of the loss, the images of the batch (of every process that has such a
    loss) and the last checkpoint with finite weights, from which the run can go on. A gradient that overflows while a
    loss scaler looks for its scale is normal and is not looked at.

    Raises: TrainingError, in all processes.
    """
    priority = 'VERY_HIGH'  # before what keeps or averages weights

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs: dict | None = None) -> None:
        total = (outputs or {}).get('loss')
        bad = total is not None and not math.isfinite(_number(total))
        if runner.world_size > 1:
            stops = torch.tensor(float(bad))
            all_reduce(stops)
            if not stops:
                return
        elif not bad:
            return
        found = (runner.rank, _parts(outputs), image_names(data_batch)) if bad else None
        message = _message(runner, [entry for entry in all_gather_object(found) if entry is not None])
        raise TrainingError(message)


def image_names(data_batch) -> list[str]:
    """Paths (or ids) of the images of a batch, as far as their samples tell them."""
    samples = data_batch.get('data_samples') if isinstance(data_batch, dict) else None
    names = []
    for sample in samples if isinstance(samples, Sequence) and not isinstance(samples, str) else ():
        found = (getattr(sample, name, None) for name in ('img_path', 'img_id', 'sample_idx'))
        names.append(str(next((name for name in found if name is not None), '(an image without path)')))
    return names


def _number(value) -> float:
    """A loss, which may still carry its gradient, as a float."""
    return value.item() if isinstance(value, torch.Tensor) else float(value)


def _parts(outputs: dict) -> str:
    values = {name: _number(value) for name, value in outputs.items() if 'loss' in name}
    parts = {name: value for name, value in values.items() if name != 'loss' and not math.isfinite(value)}
    return ', '.join(f'{name} = {value}' for name, value in (parts or {'loss': values['loss']}).items())


def _message(runner, found: list[tuple[int, str, list[str]]]) -> str:
    lines = [f'The loss is not finite at iteration {runner.iter + 1} (epoch {runner.epoch + 1}).']
    for rank, parts, names in found:
        where = f'process {rank}: ' if runner.world_size > 1 else ''
        lines.append(f'  {where}{parts}; the {len(names)} images of the batch:' if names else
                     f'  {where}{parts}; the samples of the batch name no images.')
        lines += [f'    {name}' for name in names]
    try:
        good = find_resumable(runner.work_dir, finite=True)
    except CheckpointError as error:
        lines.append(f'  {error}')
    else:
        lines.append(f'  There is no checkpoint with finite weights in {runner.work_dir}.' if good is None else
                     f'  The last good checkpoint is {good.source}: go on from it with '
                     f'--resume {good.source}')
    lines.append('  What helps: a lower learning rate, a longer warm-up, clip_grad; a look at these images and labels.')
    return '\n'.join(lines)
