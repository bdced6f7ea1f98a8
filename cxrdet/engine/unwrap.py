"""The model itself, whatever distributes it."""
from mmengine.model import is_model_wrapper
from torch import nn


def unwrap(model: nn.Module) -> nn.Module:
    """The model inside MMEngine's wrappers for distributed runs; ``model`` itself where there is none."""
    return model.module if is_model_wrapper(model) else model
