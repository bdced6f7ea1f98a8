"""What a process computes on: its device, its threads, its number format, and what takes less when memory is short.

A config asks by ``precision = 'auto' | 'float32' | 'bfloat16' | 'float16'`` (also ``--cfg-options precision=…``), the
environment by ``CXRDET_PRECISION``, which goes before the config. 'auto' is mixed precision where the hardware computes
it itself: bfloat16 on processors with AVX512_BF16 or AMX and on GPUs from compute capability 8.0 on, float16 with a
gradient scaler on older GPUs, else float32. A processor that lacks the instructions emulates bfloat16, which takes
about eight times as long as float32. A named format is obeyed, with a warning where it is emulated.

Training is in mixed precision where a recipe (``cxrdet.MixedPrecisionOptimWrapper``) or ``--amp`` asks for it.
Validation, test and prediction stay in float32, unless a format is named or MMEngine's ``fp16=True`` is set in
``val_cfg`` or ``test_cfg``.
"""
import functools
import logging
import os
import platform
import re
import sys
import types
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, NamedTuple

import cv2
import mmengine.device.utils
import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper, revert_sync_batchnorm
from mmengine.registry import MODELS
from mmengine.runner import IterBasedTrainLoop
from torch import nn

from cxrdet.checkpoints.checkpoint import Checkpoint
from cxrdet.core.errors import ConfigError, MemoryShortageError, check_choice
from cxrdet.core.machine import cpu_share

PRECISIONS = ('auto', 'float32', 'bfloat16', 'float16')
VARIABLE = 'CXRDET_PRECISION'
OURS = 'cxrdet.MixedPrecisionOptimWrapper'
_SETS = {'AVX512_BF16': 'avx512_bf16', 'AMX': 'amx_bf16'}  # name -> flag of the kernel
_HOST = re.compile(r'DefaultCPUAllocator|Unable to allocate|Cannot allocate memory')
_GPU = re.compile(r'CUDA out of memory|CUDA error: out of memory|CU(?:DNN|BLAS)_STATUS_ALLOC_FAILED')
_LESS_PRECISION = {'train': '--amp, where the GPU computes it: maps in half the bytes',
              'test': 'CXRDET_PRECISION=auto: maps in half the bytes'}


def pick_device(device: str, *, option: str = '--device ') -> torch.device:
    """Return the device that ``device`` names; raises ConfigError if there is none of that name here."""
    if device == 'auto':
        return torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    try:
        target = torch.device(device)
        torch.zeros(1, device=target)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(f'{option}{device}: {str(error).splitlines()[0]}. Use "auto", "cpu" or a GPU that is there: '
                          f'{torch.cuda.device_count()} are') from error
    return target


def set_device(cfg: Config) -> None:
    """Let MMEngine's runner compute on ``cfg.device``: 'auto', 'cpu', 'cuda' or 'cuda:1'; where it is absent or None,
    MMEngine chooses, a GPU if there is one.

    Raises:
        ConfigError: If there is no such device, or several processes are to share one.
    """
    device = cfg.get('device')
    if device is None:
        return
    target = pick_device(str(device), option='device=')
    if cfg.get('launcher', 'none') != 'none' and target != pick_device('auto'):
        raise ConfigError(f'device={device}: of several processes each takes the GPU of its number. Leave the device '
                          'out; to compute on the CPU, set CUDA_VISIBLE_DEVICES=-1.')
    mmengine.device.utils.DEVICE = target.type
    if target.index is not None and target.type == 'cuda':
        torch.cuda.set_device(target)


def set_threads(launcher: str = 'none') -> None:
    """Let torch and OpenCV compute in as many threads as this process has cores, or its share of them.

    torch does not see a container's quota. ``OMP_NUM_THREADS`` and ``MKL_NUM_THREADS`` are obeyed.
    """
    share = cpu_share(launcher)
    if cv2.getNumThreads() > share:
        cv2.setNumThreads(share)
    if launcher != 'none':
        threads = int(os.environ.get('OMP_NUM_THREADS') or share)
        for name in ('OMP_NUM_THREADS', 'MKL_NUM_THREADS'):  # MMEngine sets those that are missing to 1
            os.environ.setdefault(name, str(threads))
        torch.set_num_threads(threads)
    elif torch.get_num_threads() > share and not {'OMP_NUM_THREADS', 'MKL_NUM_THREADS'} & set(os.environ):
        print_log(f'torch computes with {share} instead of {torch.get_num_threads()} threads: as many processor cores '
                  'may be used (the limit of a container). OMP_NUM_THREADS overrides this.', logger='current')
        torch.set_num_threads(share)


def unwrap(model: nn.Module) -> nn.Module:
    """The model inside MMEngine's wrappers for distributed runs; ``model`` itself where there is none."""
    return model.module if is_model_wrapper(model) else model


def by_iteration(runner) -> bool:
    """Whether a training goes by iterations, not by epochs."""
    return isinstance(runner._train_loop, IterBasedTrainLoop)


def position(runner) -> int:
    """Epochs, or iterations, that are behind a run: the step of its validation's metrics."""
    return runner.iter if by_iteration(runner) else runner.epoch


def param_groups(optim_wrapper) -> list[dict]:
    """The parameter groups of an optimizer wrapper, or of all those in a dict of them."""
    groups = optim_wrapper.param_groups
    return [group for inner in groups.values() for group in inner] if isinstance(groups, dict) else list(groups)


class Precision(NamedTuple):
    """A format and why it was chosen.

    Attributes:
        name: 'float32', 'bfloat16' or 'float16'; the latter two are mixed precision, with float32 weights.
        device: type of the device, e.g. 'cpu' or 'cuda'.
        reason: for the log.
        emulated: the device does not compute in this format itself.
    """
    name: str
    device: str
    reason: str
    emulated: bool = False

    def autocast(self) -> torch.autocast:
        """The context to run a model in; for float32 it turns off one that stands around it."""
        mixed = self.name != 'float32'
        return torch.autocast(self.device, dtype=getattr(torch, self.name) if mixed else None, enabled=mixed)

    def log(self) -> None:
        """Say which format it is and why; a warning if it is emulated."""
        hint = '. It is emulated there, several times slower than float32; precision=auto would not take it'
        print_log(f'Precision: {self.name}, {self.reason}{hint * self.emulated}', logger='current',
                  level=logging.WARNING if self.emulated else logging.INFO)


def asked_precision(cfg: Mapping | None = None) -> str | None:
    """The precision that the environment or else ``cfg.precision`` names, with a warning where they differ; None if
    neither does. Raises ConfigError for an unknown one."""
    places = {VARIABLE: os.environ.get(VARIABLE), 'precision': (cfg or {}).get('precision')}
    found = {place: _checked(str(value), place) for place, value in places.items() if value}
    if len(set(found.values())) > 1:
        _tell_difference(*found.values())
    return next(iter(found.values()), None)


@functools.cache
def _tell_difference(environment: str, config: str) -> None:
    """Once a process, however often it is asked."""
    print_log(f'The environment says {VARIABLE}={environment}, which goes before precision={config} of the config',
              logger='current', level=logging.WARNING)


def _checked(value: str, place: str) -> str:
    check_choice(place, value, PRECISIONS)
    return value


def choose_precision(asked: str = 'auto', device: str | None = None) -> Precision:
    """What to compute in.

    Args:
        asked: 'auto', 'float32', 'bfloat16' or 'float16'.
        device: type of the device; None: the one that MMEngine's runner takes.

    Raises: ConfigError for an unknown ``asked``.
    """
    device = device or get_device()
    _checked(asked, 'precision')
    if asked == 'float32':
        return Precision(asked, device, 'as asked for')
    native, why = _native(device)
    if asked != 'auto':
        return Precision(asked, device, f'as asked for, on {why}', emulated=asked not in native)
    best = next((name for name in ('bfloat16', 'float16') if name in native), 'float32')
    if device == 'cpu' and best == 'float16':
        best = 'float32'  # its narrow range would need a scaler, and few operators have it there
    return Precision(best, device, f'chosen for {why}')


def _native(device: str) -> tuple[set[str], str]:
    """The half formats that a device computes itself, forward and backward, and how it is called."""
    if device == 'cuda':
        name, (major, minor) = torch.cuda.get_device_name(), torch.cuda.get_device_capability()
        found = {'float16'} | ({'bfloat16'} if major >= 8 or torch.version.hip else set())
        return found, f'{name} of compute capability {major}.{minor}'
    if device != 'cpu':
        return set(), f'the device "{device}", of which nothing is known'
    sets = instruction_sets()
    if sets and _onednn_takes_bfloat16():
        return {'bfloat16'}, f'a processor with {" and ".join(sets)}'
    if sets:
        return set(), f'a processor with {" and ".join(sets)}, which oneDNN may not use here'
    kind = platform.machine() or 'unknown'
    return set(), f'a processor ({kind}) that computes no bfloat16 itself, lacking AVX512_BF16 and AMX'


def instruction_sets() -> list[str]:
    """Which of AVX512_BF16 and AMX the processor has. Known on Linux with x86-64; empty elsewhere."""
    if sys.platform != 'linux' or platform.machine() not in ('x86_64', 'AMD64'):
        return []
    return [name for name, flag in _SETS.items() if flag in _kernel_flags()]


@functools.cache
def _kernel_flags() -> frozenset[str]:
    try:
        lines = Path('/proc/cpuinfo').read_text(encoding='utf-8', errors='replace').splitlines()
    except OSError:
        return frozenset()
    return frozenset(next((line.split(':', 1)[1].split() for line in lines if line.startswith('flags')), ()))


def _onednn_takes_bfloat16() -> bool:
    """False where torch lacks oneDNN, or ONEDNN_MAX_CPU_ISA keeps it from the instructions. True alone would not do:
    there are processors whose forward pass runs and whose backward pass raises."""
    ask = getattr(torch.ops.mkldnn, '_is_mkldnn_bf16_supported', None)
    return torch.backends.mkldnn.is_available() and (ask is None or bool(ask()))


def set_training_precision(cfg: Config, *, amp: bool = False) -> None:
    """Let the optimizer wrapper of ``cfg`` train in the precision that is asked for.

    What the config, the environment or ``amp`` (``--amp``: 'auto') names goes to
    :class:`cxrdet.MixedPrecisionOptimWrapper` in place of MMEngine's plain and float16 wrappers; the latter gives way
    also without a GPU, where it would not start.

    Raises: ConfigError if a precision is named and the config has a wrapper of another kind.
    """
    wrapper, asked = cfg.get('optim_wrapper'), asked_precision(cfg)
    if not isinstance(wrapper, dict):
        return  # which the check of the config tells
    kind = str(wrapper.get('type', 'OptimWrapper'))
    if kind == OURS:
        wrapper.precision = asked or wrapper.get('precision', 'auto')
    elif kind == 'AmpOptimWrapper' and (asked or get_device() == 'cpu'):
        wrapper.pop('dtype', None), wrapper.pop('use_fsdp', None)
        wrapper.update(type=OURS, precision=asked or 'auto')
    elif kind == 'OptimWrapper' and (asked or amp):
        wrapper.update(type=OURS, precision=asked or 'auto')
    elif asked and kind != 'AmpOptimWrapper':
        raise ConfigError(f'precision={asked}: optim_wrapper.type is {kind}, which decides on its own. Leave the '
                          f'precision out ({VARIABLE}, too), or take "OptimWrapper".')


def training_precision(optim_wrapper) -> str:
    """Name of the format that an optimizer wrapper trains in; of several that differ, all of them."""
    if hasattr(optim_wrapper, 'optim_wrappers'):  # MMEngine's OptimWrapperDict
        return ', '.join(sorted({training_precision(part) for part in optim_wrapper.optim_wrappers.values()}))
    if isinstance(precision := getattr(optim_wrapper, 'precision', None), Precision):
        return precision.name
    if not hasattr(optim_wrapper, 'cast_dtype'):  # only MMEngine's wrappers for autocast have it
        return 'float32'
    return str(optim_wrapper.cast_dtype or torch.float16).removeprefix('torch.')


def evaluation_precision(cfg: Mapping | None = None, *, fp16: bool = False, device: str | None = None) -> Precision:
    """What to validate, test and predict in: a named format, or 'auto' if ``fp16`` asks for it, or else float32."""
    asked = asked_precision(cfg)
    if asked in (None, 'auto'):
        asked = 'auto' if fp16 else 'float32'
    return choose_precision(asked, device)


def evaluate_in(model: nn.Module, precision: Precision) -> None:
    """Let ``model.val_step`` and ``model.test_step`` run in ``precision``, whatever stands around their calls."""
    for name in ('val_step', 'test_step'):
        step = getattr(type(model), name, None)
        if step is not None:  # bound anew, so that a copy of the model calls its own
            setattr(model, name, types.MethodType(functools.partial(_run_in, precision, step), model))


def _run_in(precision: Precision, method, model: nn.Module, *args, **kwargs):
    with precision.autocast():
        return method(model, *args, **kwargs)


def build_model(cfg: Config, checkpoint: Checkpoint, device: torch.device) -> tuple[nn.Module, tuple[str, ...]]:
    """The model of ``cfg`` with the weights of ``checkpoint``, ready to predict, and its class names."""
    set_threads()
    if cfg.get('data_preprocessor') is not None:
        cfg.model.setdefault('data_preprocessor', cfg.data_preprocessor)  # where MMPretrain's configs have it
    model = revert_sync_batchnorm(MODELS.build(cfg.model))
    checkpoint.load_into(model)
    fp16 = (cfg.get('test_cfg') or {}).get('fp16', False)
    evaluate_in(model, evaluation_precision(cfg, fp16=fp16, device=device.type))
    return model.to(device).eval(), checkpoint.needed_classes


@contextmanager
def memory_told(mode: Literal['train', 'test', 'predict'], cfg: Mapping | None = None) -> Iterator[None]:
    """Turn what torch and NumPy raise for want of memory into an error that names the switches.

    Args:
        mode: what the run does.
        cfg: its config, of which the message takes the present values.

    Raises:
        MemoryShortageError: in place of errors of torch's allocators and of MemoryError; any other passes.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        where = _short_of(error)
        if where is None:
            raise
        raise MemoryShortageError(_shortage(error, where, mode, cfg or {})) from error


def _short_of(error: Exception) -> str | None:
    """'GPU', 'machine', or None for an error that has another reason."""
    if isinstance(error, torch.cuda.OutOfMemoryError) or _GPU.search(str(error)):
        return 'GPU'
    return 'machine' if isinstance(error, MemoryError) or _HOST.search(str(error)) else None


def _shortage(error: Exception, where: str, mode: str, cfg: Mapping) -> str:
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
        'precision': _LESS_PRECISION.get(mode, _LESS_PRECISION['test'])}
    if where == 'machine':
        switches['workers'] = f'--cfg-options {loader}.num_workers=0, and no cache=True in LoadImage'
    lines = [f'The {where} has too little memory for this: {_asked_memory(error)}', '  What takes less:']
    lines += [f'    {name}: {text}' for name, text in switches.items()]
    return '\n'.join([*lines, '  docs/troubleshooting.md says how much each of them brings.'])


def _asked_memory(error: Exception) -> str:
    """What the error says of the sizes, in one line."""
    text = ' '.join(str(error).split())
    if found := re.search(r'you tried to allocate (\d+) bytes', text):
        return f'{int(found[1]) / 2**20:,.0f} MiB were asked for.'
    found = re.search(r'Tried to allocate .+?(?=\. Process|\. Including|\. Of the allocated|\.? ?$)', text)
    return f'{found[0] if found else text[:200] or type(error).__name__}.'
