"""The contents of the module ``mmcv._ext`` that the bridge serves: a table of operators, and errors for the rest."""
from collections.abc import Callable
from importlib import metadata
from types import ModuleType
from typing import NamedTuple

from cxrdet.ops import boxes, carafe, deform_attn, deform_conv, deform_roi_pool, focal_loss, masked_conv, nms, roi

TORCHVISION = 'torchvision kernel'
PYTORCH = 'PyTorch'


class Operator(NamedTuple):
    """An operator of the bridge: the function that mmcv calls, and what computes it."""
    function: Callable
    source: str


def how_to_compile() -> str:
    """What a user does who needs an operator that the bridge does not have; names the distribution installed."""
    try:
        name = f"mmcv=={metadata.version('mmcv')}"
    except metadata.PackageNotFoundError:
        name = 'onedl-mmcv'
    return ('A compiled mmcv has every operator, and always wins over the bridge. It takes a C++ compiler (for CUDA '
            'also nvcc), torch installed first, and about 20 minutes:\n'
            "    pip install --upgrade 'setuptools>=77' wheel ninja packaging\n"
            f"    pip install --no-build-isolation --no-deps --no-cache-dir --force-reinstall --no-binary :all: {name}")


def get_compiler_version() -> str:
    """For environment reports: there was no compiler."""
    return 'none (operators served by cxrdet.ops)'


def get_compiling_cuda_version() -> str:
    """For environment reports: mmcv itself was not built for CUDA."""
    return 'not available'


_FUNCTIONS: dict[str, tuple[Callable, ...]] = {
    TORCHVISION: (
        nms.nms, roi.roi_align_forward, roi.roi_align_backward, roi.roi_pool_forward, roi.roi_pool_backward,
        deform_conv.deform_conv_forward, deform_conv.deform_conv_backward_input,
        deform_conv.deform_conv_backward_parameters, deform_conv.modulated_deform_conv_forward,
        deform_conv.modulated_deform_conv_backward),
    PYTORCH: (
        nms.softnms, nms.nms_match, boxes.bbox_overlaps, focal_loss.sigmoid_focal_loss_forward,
        focal_loss.sigmoid_focal_loss_backward, focal_loss.softmax_focal_loss_forward,
        focal_loss.softmax_focal_loss_backward, deform_attn.ms_deform_attn_forward, deform_attn.ms_deform_attn_backward,
        carafe.carafe_forward, carafe.carafe_backward, carafe.carafe_naive_forward, carafe.carafe_naive_backward,
        deform_roi_pool.deform_roi_pool_forward, deform_roi_pool.deform_roi_pool_backward,
        masked_conv.masked_im2col_forward, masked_conv.masked_col2im_forward),
    'Python': (get_compiler_version, get_compiling_cuda_version)}
OPERATORS: dict[str, Operator] = {function.__name__: Operator(function, source)
                                  for source, functions in _FUNCTIONS.items() for function in functions}


class Unavailable:
    """Stands for an operator that the bridge does not have; says so when it is called.

    mmcv looks every name up at import (with ``hasattr``), so a missing operator may fail only when it is used.
    """

    def __init__(self, name: str) -> None:
        self.__name__ = name

    def __call__(self, *args, **kwargs):
        raise NotImplementedError(f"the operator '{self.__name__}' of mmcv is not among those that cxrdet serves from "
                                  f'torchvision and PyTorch. {how_to_compile()}')

    def __repr__(self) -> str:
        return f"<operator '{self.__name__}': not available without a compiled mmcv>"


def fill(module: ModuleType) -> None:
    """Turn ``module`` into the extension: operators of the bridge by name, every other public name Unavailable."""
    for name, operator in OPERATORS.items():
        setattr(module, name, operator.function)

    def __getattr__(name: str) -> Unavailable:
        if name.startswith('_'):
            raise AttributeError(f"module '{module.__name__}' has no attribute '{name}'")
        return Unavailable(name)

    module.__getattr__ = __getattr__
