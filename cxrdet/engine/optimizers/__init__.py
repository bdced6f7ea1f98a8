from .lookahead import Lookahead
from .mixed_precision import MixedPrecisionOptimWrapper

__all__ = ['Lookahead', 'MixedPrecisionOptimWrapper']
