from .amp import BFloat16OptimWrapper

__all__ = ['BFloat16OptimWrapper']
