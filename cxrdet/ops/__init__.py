"""The operator bridge: mmcv's compiled operators, served by torchvision's kernels and by PyTorch.

mmcv calls its C++/CUDA operators through the extension module ``mmcv._ext``, which pip cannot build without a compiler.
:func:`install` makes that module available when, and only when, the installed mmcv has none. Nothing heavy is imported
before ``mmcv._ext`` itself is. ``python -m cxrdet.ops`` prints which operator comes from where.
"""
from cxrdet.ops.finder import install

__all__ = ['install']
