"""What the transforms share."""
import inspect

from mmcv.transforms import BaseTransform


class Transform(BaseTransform):
    """A transform that keeps the arguments of its constructor as attributes, and shows them."""

    def __repr__(self) -> str:
        names = [name for name in inspect.signature(type(self)).parameters if hasattr(self, name)]
        return f'{type(self).__name__}({", ".join(f"{name}={getattr(self, name)!r}" for name in names)})'
