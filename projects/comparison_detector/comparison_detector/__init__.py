"""Detection by comparison with reference images; importing this registers the project's parts."""
from .detector import ComparisonDetector
from .head import ComparisonBBoxHead
from .hook import PrototypeHook

__all__ = ['ComparisonBBoxHead', 'ComparisonDetector', 'PrototypeHook']
