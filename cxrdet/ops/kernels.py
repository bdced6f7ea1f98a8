"""Access to torchvision's compiled kernels, and the precision in which an operator computes."""
import functools
import importlib
import importlib.util
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor


@functools.cache
def torchvision_ops():
    """``torch.ops.torchvision`` with its kernels loaded.

    The kernels are in one shared library that needs none of torchvision's Python code. It is loaded directly, since
    ``import torchvision`` takes longer than ``import torch`` does; the package is imported only where the library is
    not found in its usual place.

    Raises: ImportError if torchvision is missing or does not fit torch.
    """
    if 'torchvision' not in sys.modules:
        spec = importlib.util.find_spec('torchvision')
        if spec is None or spec.origin is None:
            raise ImportError('torchvision is not installed; the operators of mmcv need it: pip install torchvision')
        libraries = sorted(p for p in Path(spec.origin).parent.glob('_C*') if p.suffix in ('.so', '.pyd', '.dylib'))
        if len(libraries) == 1:
            try:
                torch.ops.load_library(str(libraries[0]))
            except OSError as error:
                raise ImportError(f'{libraries[0]} cannot be loaded with torch {torch.__version__}: {error}\n'
                                  'Install the torchvision that belongs to this torch (torch 2.N goes with torchvision '
                                  '0.(N+15)).') from error
        else:
            importlib.import_module('torchvision')
    if not hasattr(torch.ops.torchvision, 'roi_align'):
        raise ImportError(f'torchvision has no compiled operators for torch {torch.__version__}: install the '
                          'torchvision that belongs to this torch (torch 2.N goes with torchvision 0.(N+15)).')
    return torch.ops.torchvision


def working_dtype(tensor: Tensor) -> torch.dtype:
    """The precision to compute in: float64 stays, float16 stays on CUDA (the kernels have it), all else is float32."""
    if tensor.dtype == torch.float64 or (tensor.dtype == torch.float16 and tensor.is_cuda):
        return tensor.dtype
    return torch.float32


def exact_dtype(tensor: Tensor) -> torch.dtype:
    """Like :func:`working_dtype` for operators that compare or index: float16 is widened on every device."""
    return torch.float64 if tensor.dtype == torch.float64 else torch.float32


def put_gradients(targets: Sequence[Tensor], function: Callable[..., Tensor], inputs: Sequence[Tensor],
                  grad_output: Tensor) -> None:
    """The gradients of ``function(*inputs)``, from autograd in the precision of :func:`exact_dtype` -> targets."""
    dtype = exact_dtype(inputs[0])
    inputs = [tensor.detach().to(dtype).requires_grad_() for tensor in inputs]
    with torch.enable_grad(), torch.autocast(grad_output.device.type, enabled=False):
        gradients = torch.autograd.grad(function(*inputs), inputs, grad_output.to(dtype), materialize_grads=True)
    for target, gradient in zip(targets, gradients):
        target.copy_(gradient)
