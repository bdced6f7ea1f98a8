"""What the tests of the benchmarks share."""
import importlib.util
from pathlib import Path

import pytest


@pytest.fixture(scope='session')
def benchmark():
    """Load ``benchmarks/<name>.py`` as a module of its own."""
    def load(name: str):
        path = Path(__file__).parents[2] / 'benchmarks' / f'{name}.py'
        spec = importlib.util.spec_from_file_location(f'benchmarks_{name}', path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module
    return load
