"""Fixtures of the operator tests: devices, mmcv.ops as a user sees it, and a record of the operators called."""
import importlib
import sys
from types import ModuleType

import pytest
import torch


@pytest.fixture(params=['cpu', 'cuda'] if torch.cuda.is_available() else ['cpu'])
def device(request) -> str:
    return request.param


@pytest.fixture(scope='session')
def ops() -> ModuleType:
    """``mmcv.ops`` through the bridge; skips where a compiled mmcv is installed, since that always wins."""
    import cxrdet  # noqa: F401
    extension = importlib.import_module('mmcv._ext')
    if extension.__spec__.origin != 'cxrdet.ops':
        pytest.skip('a compiled mmcv is installed')
    return importlib.import_module('mmcv.ops')


@pytest.fixture
def called(ops, monkeypatch) -> set[str]:
    """Names of the bridge's operators that have been called since the test began."""
    from cxrdet.ops.extension import OPERATORS
    names: set[str] = set()

    def recorded(name, function):
        def record(*args, **kwargs):
            names.add(name)
            return function(*args, **kwargs)
        return record

    for name, operator in OPERATORS.items():
        monkeypatch.setattr(sys.modules['mmcv._ext'], name, recorded(name, operator.function))
    return names
