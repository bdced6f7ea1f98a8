"""What a script calls: load a config, train, test, predict, compare."""
from .compare import compare
from .config import load_config
from .predict import predict
from .test import test
from .train import train

__all__ = ['compare', 'load_config', 'predict', 'test', 'train']
