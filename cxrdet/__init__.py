"""cxrdet: plugins for MMDetection and MMPretrain to train, judge and ship detectors and classifiers of medical images.

Importing the package does three cheap things: it checks that the installed distributions fit together (and keeps
MMPretrain from importing what newer ones have removed), it makes torchvision's kernels available to an mmcv without
compiled operators, and it creates the registries of scope ``cxrdet``. The plugins themselves are imported when a config
first names one.
"""
import os as _os

_os.environ.setdefault('NO_ALBUMENTATIONS_UPDATE', '1')  # albumentations asks the network for updates otherwise

from cxrdet import ops as _ops
from cxrdet import registry
from cxrdet.compat import avoid_new_transformers as _avoid_new_transformers
from cxrdet.compat import check_distributions as _check_distributions
from cxrdet.version import __version__

_check_distributions()
_avoid_new_transformers()
_ops.install()

__all__ = ['__version__', 'registry']
