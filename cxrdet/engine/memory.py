"""Out of memory, on the GPU or in the machine: one error that says what takes less."""
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Literal

import torch

from cxrdet.core.errors import MemoryShortageError

__all__ = ['memory_told']

_HOST = re.compile(r'DefaultCPUAllocator|Unable to allocate|Cannot allocate memory')
_GPU = re.compile(r'CUDA out of memory|CUDA error: out of memory|CU(?:DNN|BLAS)_STATUS_ALLOC_FAILED')
_PRECISION = {'train': '--amp, where the GPU computes it: maps in half the bytes',
              'test': 'CXRDET_PRECISION=auto: maps in half the bytes'}


@contextmanager
def memory_told(mode: Literal['train', 'test', 'predict'], cfg: Mapping | None = None) -> Iterator[None]:
    """Turn what torch and NumPy raise for want of memory into an error that names the switches.

    Args:
        mode: what the run does.
        cfg: its config, of which the message takes the present values.

    Raises:
        MemoryShortageError: in place of ``torch.OutOfMemoryError``, of a RuntimeError of torch's allocator for the
            CPU, and of MemoryError. Any other error passes.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        where = _where(error)
        if where is None:
            raise
        raise MemoryShortageError(_message(error, where, mode, cfg or {})) from error


def _where(error: Exception) -> str | None:
    """'GPU', 'machine', or None for an error that has another reason."""
    if isinstance(error, torch.cuda.OutOfMemoryError) or _GPU.search(str(error)):
        return 'GPU'
    return 'machine' if isinstance(error, MemoryError) or _HOST.search(str(error)) else None


def _message(error: Exception, where: str, mode: str, cfg: Mapping) -> str:
    loader = 'train_dataloader' if mode == 'train' else 'test_dataloader'
    option = '--batch-size N' if mode == 'predict' else f'--cfg-options {loader}.batch_size=N'
    size = (cfg.get(loader) or {}).get('batch_size') if mode != 'predict' else None
    backbone = ((cfg.get('model') or {}).get('backbone') or {}).get('type')
    switches = {
        'batch': option + (f' (now {size})' if size else '') + (
            '; optim_wrapper.accumulative_counts=M makes steps of M batches' if mode == 'train' else ''),
        'size': f'smaller images, by the scale of Resize in {loader}.dataset.pipeline; half the side takes a quarter',
        'backbone': f'a smaller one of configs/_base_/backbones{f" (now {backbone})" if backbone else ""}; '
                    'docs/backbones.md compares them',
        'precision': _PRECISION.get(mode, _PRECISION['test'])}
    if where == 'machine':
        switches['workers'] = f'--cfg-options {loader}.num_workers=0, and no cache=True in LoadImage'
    lines = [f'The {where} has too little memory for this: {_reason(error)}', '  What takes less:']
    lines += [f'    {name}: {text}' for name, text in switches.items()]
    return '\n'.join([*lines, '  docs/troubleshooting.md says how much each of them brings.'])


def _reason(error: Exception) -> str:
    """What the error says of the sizes, in one line."""
    text = ' '.join(str(error).split())
    if found := re.search(r'you tried to allocate (\d+) bytes', text):
        return f'{int(found[1]) / 2**20:,.0f} MiB were asked for.'
    found = re.search(r'Tried to allocate .+?(?=\. Process|\. Including|\. Of the allocated|\.? ?$)', text)
    return f'{found[0] if found else text[:200] or type(error).__name__}.'
