from .amp import BFloat16OptimWrapper
from .lookahead import Lookahead

__all__ = ['BFloat16OptimWrapper', 'Lookahead']
