"""cxrdet: plugins for MMDetection and MMPretrain to train, judge and ship detectors and classifiers of medical images.

Importing the package imports no framework. It checks that the installed distributions fit together (and keeps
MMPretrain from importing what newer ones have removed), makes torchvision's kernels available to an mmcv without
compiled operators, and sees to it that the registries of scope ``cxrdet`` stand beside MMEngine's: now, where MMEngine
is imported already (``custom_imports`` of a config), else as soon as it is. The plugins themselves are imported when a
config first names one.
"""
import os as _os

_os.environ.setdefault('NO_ALBUMENTATIONS_UPDATE', '1')  # albumentations asks the network for updates otherwise
if 'OMP_WAIT_POLICY' not in _os.environ:  # threads that wait for each other keep a core from whoever has work for it
    _os.environ.setdefault('GOMP_SPINCOUNT', '10000')

from cxrdet import ops as _ops
from cxrdet.compat import avoid_new_transformers as _avoid_new_transformers
from cxrdet.compat import check_distributions as _check_distributions
from cxrdet.compat import register_with_mmengine as _register_with_mmengine
from cxrdet.version import __version__

_check_distributions()
_avoid_new_transformers()
_ops.install()
_register_with_mmengine()

__all__ = ['__version__', 'registry']


def __getattr__(name: str):
    if name != 'registry':
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    from importlib import import_module
    return import_module('cxrdet.registry')
