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


OPERATORS: dict[str, Operator] = {
    'nms': Operator(nms.nms, TORCHVISION),
    'softnms': Operator(nms.softnms, PYTORCH),
    'nms_match': Operator(nms.nms_match, PYTORCH),
    'bbox_overlaps': Operator(boxes.bbox_overlaps, PYTORCH),
    'roi_align_forward': Operator(roi.roi_align_forward, TORCHVISION),
    'roi_align_backward': Operator(roi.roi_align_backward, TORCHVISION),
    'roi_pool_forward': Operator(roi.roi_pool_forward, TORCHVISION),
    'roi_pool_backward': Operator(roi.roi_pool_backward, TORCHVISION),
    'deform_conv_forward': Operator(deform_conv.deform_conv_forward, TORCHVISION),
    'deform_conv_backward_input': Operator(deform_conv.deform_conv_backward_input, TORCHVISION),
    'deform_conv_backward_parameters': Operator(deform_conv.deform_conv_backward_parameters, TORCHVISION),
    'modulated_deform_conv_forward': Operator(deform_conv.modulated_deform_conv_forward, TORCHVISION),
    'modulated_deform_conv_backward': Operator(deform_conv.modulated_deform_conv_backward, TORCHVISION),
    'sigmoid_focal_loss_forward': Operator(focal_loss.sigmoid_focal_loss_forward, PYTORCH),
    'sigmoid_focal_loss_backward': Operator(focal_loss.sigmoid_focal_loss_backward, PYTORCH),
    'softmax_focal_loss_forward': Operator(focal_loss.softmax_focal_loss_forward, PYTORCH),
    'softmax_focal_loss_backward': Operator(focal_loss.softmax_focal_loss_backward, PYTORCH),
    'ms_deform_attn_forward': Operator(deform_attn.ms_deform_attn_forward, PYTORCH),
    'ms_deform_attn_backward': Operator(deform_attn.ms_deform_attn_backward, PYTORCH),
    'carafe_forward': Operator(carafe.carafe_forward, PYTORCH),
    'carafe_backward': Operator(carafe.carafe_backward, PYTORCH),
    'carafe_naive_forward': Operator(carafe.carafe_naive_forward, PYTORCH),
    'carafe_naive_backward': Operator(carafe.carafe_naive_backward, PYTORCH),
    'deform_roi_pool_forward': Operator(deform_roi_pool.deform_roi_pool_forward, PYTORCH),
    'deform_roi_pool_backward': Operator(deform_roi_pool.deform_roi_pool_backward, PYTORCH),
    'masked_im2col_forward': Operator(masked_conv.masked_im2col_forward, PYTORCH),
    'masked_col2im_forward': Operator(masked_conv.masked_col2im_forward, PYTORCH),
    'get_compiler_version': Operator(get_compiler_version, 'Python'),
    'get_compiling_cuda_version': Operator(get_compiling_cuda_version, 'Python'),
}


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
