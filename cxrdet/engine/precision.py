"""The number format that a run computes in; whoever wants to know asks here.

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
import sys
import types
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.logging import print_log
from torch import nn

from cxrdet.core.errors import ConfigError, did_you_mean

__all__ = ['PRECISIONS', 'VARIABLE', 'Precision', 'asked_for', 'choose', 'evaluate_in', 'of_evaluation', 'of_training',
           'set_training']

PRECISIONS = ('auto', 'float32', 'bfloat16', 'float16')
VARIABLE = 'CXRDET_PRECISION'
OURS = 'cxrdet.MixedPrecisionOptimWrapper'
_SETS = {'AVX512_BF16': ('_is_avx512_bf16_supported', 'avx512_bf16'),  # name -> question to torch, flag of the kernel
         'AMX': ('_is_amx_tile_supported', 'amx_bf16')}


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
        if self.emulated:
            print_log(f'Precision: {self.name}, {self.reason}. It is emulated there, several times slower than '
                      'float32; precision=auto would not take it', logger='current', level=logging.WARNING)
        else:
            print_log(f'Precision: {self.name}, {self.reason}', logger='current')


def asked_for(cfg: Mapping | None = None) -> str | None:
    """The precision that the environment or else ``cfg.precision`` names; None if neither does.

    Where they differ, a warning tells which one is taken.

    Raises: ConfigError for an unknown one.
    """
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
    if value not in PRECISIONS:
        raise ConfigError(f'{place}={value}: expected one of {", ".join(PRECISIONS)}.{did_you_mean(value, PRECISIONS)}')
    return value


def choose(asked: str = 'auto', device: str | None = None) -> Precision:
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
    return [name for name, (question, flag) in _SETS.items() if _has(question, flag)]


def _has(question: str, flag: str) -> bool:
    ask = getattr(torch.cpu, question, None)  # not public: may be gone in another version
    return bool(ask()) if ask is not None else flag in _kernel_flags()


@functools.cache
def _kernel_flags() -> frozenset[str]:
    try:
        lines = Path('/proc/cpuinfo').read_text(encoding='utf-8', errors='replace').splitlines()
    except OSError:
        return frozenset()
    return frozenset(next((line.split(':', 1)[1].split() for line in lines if line.startswith('flags')), ()))


def _onednn_takes_bfloat16() -> bool:
    """False where torch was built without oneDNN, or ONEDNN_MAX_CPU_ISA keeps it from the instructions.

    True alone would not do: there are processors whose forward pass runs and whose backward pass raises.
    """
    ask = getattr(torch.ops.mkldnn, '_is_mkldnn_bf16_supported', None)
    return torch.backends.mkldnn.is_available() and (ask is None or bool(ask()))


def set_training(cfg: Config, *, amp: bool = False) -> None:
    """Let the optimizer wrapper of ``cfg`` train in the precision that is asked for.

    What the config, the environment or ``amp`` (``--amp``: 'auto') names goes to
    :class:`cxrdet.MixedPrecisionOptimWrapper`, which stands in for MMEngine's plain and float16 wrappers. Without a
    word from them the config's wrapper stays, but for MMEngine's float16 wrapper where there is no GPU: it would not
    start.

    Raises: ConfigError if a precision is named and the config has a wrapper of another kind.
    """
    wrapper, asked = cfg.get('optim_wrapper'), asked_for(cfg)
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


def of_training(optim_wrapper) -> str:
    """Name of the format that an optimizer wrapper trains in; of several that differ, all of them."""
    if hasattr(optim_wrapper, 'optim_wrappers'):  # MMEngine's OptimWrapperDict
        return ', '.join(sorted({of_training(part) for part in optim_wrapper.optim_wrappers.values()}))
    if isinstance(precision := getattr(optim_wrapper, 'precision', None), Precision):
        return precision.name
    if not hasattr(optim_wrapper, 'cast_dtype'):  # only MMEngine's wrappers for autocast have it
        return 'float32'
    return str(optim_wrapper.cast_dtype or torch.float16).removeprefix('torch.')


def of_evaluation(cfg: Mapping | None = None, *, fp16: bool = False, device: str | None = None) -> Precision:
    """What to validate, test and predict in: a named format, or 'auto' if ``fp16`` asks for it, or else float32."""
    asked = asked_for(cfg)
    if asked in (None, 'auto'):
        asked = 'auto' if fp16 else 'float32'
    return choose(asked, device)


def evaluate_in(model: nn.Module, precision: Precision) -> None:
    """Let ``model.val_step`` and ``model.test_step`` run in ``precision``, whatever stands around their calls."""
    for name in ('val_step', 'test_step'):
        step = getattr(type(model), name, None)
        if step is not None:  # bound anew, so that a copy of the model calls its own
            setattr(model, name, types.MethodType(_Within(step, precision), model))


class _Within:
    """A method that runs in a precision."""

    def __init__(self, method, precision: Precision) -> None:
        self.method, self.precision = method, precision

    def __call__(self, model: nn.Module, *args, **kwargs):
        with self.precision.autocast():
            return self.method(model, *args, **kwargs)
