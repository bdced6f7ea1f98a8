"""Print versions, processor, GPU and image decoders, for bug reports.

The output holds no path, host or user name.
"""
import os
import platform
import sys
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path

from cxrdet.compat import DISTRIBUTIONS, installed_versions
from cxrdet.core.commit import commit_of
from cxrdet.core.machine import memory_limit, usable_cpus
from cxrdet.core.terminal import say
from cxrdet.version import __version__

_LIBRARIES = ('numpy', 'scipy', 'numba', 'albumentations', 'pycocotools', 'faster-coco-eval', 'matplotlib')
_DECODERS = ('opencv-python', 'opencv-python-headless', 'opencv-contrib-python', 'pillow', 'tifffile', 'imagecodecs',
             'h5py')
_FORMATS = {'jpg': 'JPEG', 'jpg_2000': 'JPEG 2000', 'zlib': 'PNG', 'libtiff': 'TIFF', 'webp': 'WebP', 'avif': 'AVIF'}
_VARIABLES = ('CXRDET_PRECISION', 'CXRDET_MAX_MEGAPIXELS', 'OMP_NUM_THREADS', 'MKL_NUM_THREADS',
              'OMP_WAIT_POLICY', 'GOMP_SPINCOUNT', 'CUDA_VISIBLE_DEVICES', 'ATEN_CPU_CAPABILITY', 'ONEDNN_MAX_CPU_ISA')


def add_arguments(parser) -> None:
    """There are none."""


def run(args) -> None:
    say(environment())


def environment() -> str:
    """Lines ``name: value``; of what cannot be found out, in a broken installation, the error."""
    facts = {'cxrdet': _own, 'Python': platform.python_version, 'system': _system,
             'packages': partial(_versions, DISTRIBUTIONS), 'libraries': partial(_versions, _LIBRARIES),
             'processor': _processor, 'GPU': _gpus, 'operators': _operators, 'decoders': partial(_versions, _DECODERS),
             'Pillow reads': _formats, 'variables': _variables}
    width = max(map(len, facts))
    return '\n'.join(f'{name:<{width}}  {_told(fact) or "none"}' for name, fact in facts.items())


def _told(fact: Callable[[], str]) -> str:
    try:
        return fact()
    except Exception as error:  # of any kind: this is what a report is about
        return f'{type(error).__name__}: {" ".join(str(error).split())}'.replace(str(Path.home()), '~')


def _system() -> str:
    return f'{platform.system()} {platform.release()} {platform.machine()}'


def _variables() -> str:
    return ', '.join(f'{name}={os.environ[name]}' for name in _VARIABLES if name in os.environ)


def _own() -> str:
    commit = commit_of(Path(sys.modules['cxrdet'].__file__).parent)
    return __version__ + (f', commit {commit[0][:12]}{", changed" if commit[1] else ""}' if commit else '')


def _versions(names: tuple[str, ...]) -> str:
    return ', '.join(f'{name} {version}' for name, version in installed_versions(names).items())


def _processor() -> str:
    import torch

    from cxrdet.engine.process import choose_precision, instruction_sets
    memory = memory_limit()
    sets = [torch.backends.cpu.get_cpu_capability(), *instruction_sets()]
    return (f'{usable_cpus()} cores, {f"{memory / 2**30:.1f} GiB, " if memory else ""}{", ".join(sets)}; '
            f'--amp takes {choose_precision("auto", "cpu").name} on it')


def _gpus() -> str:
    import torch
    if not torch.cuda.is_available():
        return ''
    found = [torch.cuda.get_device_properties(number) for number in range(torch.cuda.device_count())]
    return (', '.join(f'{gpu.name} ({gpu.total_memory / 2**30:.0f} GiB, {gpu.major}.{gpu.minor})' for gpu in found)
            + f'; CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}')


def _operators() -> str:
    from cxrdet.ops.__main__ import origins
    found = list(origins().values())
    return ', '.join(f'{found.count(origin)} {origin}' for origin in sorted(set(found)))


def _formats() -> str:
    features = import_module('PIL.features')
    return ', '.join(f'{title} {features.version(name) or ""}'.strip() for name, title in _FORMATS.items()
                     if name in (*features.codecs, *features.modules) and features.check(name))
