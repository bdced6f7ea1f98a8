"""Loading of torchvision's library, and the precisions that operators compute in."""
import importlib.machinery
import importlib.util
import sys

import pytest
import torch

from cxrdet.ops import kernels


@pytest.fixture
def fresh(monkeypatch):
    """torchvision_ops as in a process that has not loaded torchvision."""
    monkeypatch.delitem(sys.modules, 'torchvision', raising=False)
    kernels.torchvision_ops.cache_clear()
    yield kernels.torchvision_ops
    kernels.torchvision_ops.cache_clear()


def test_the_library_is_loaded_without_the_package(fresh):
    assert hasattr(fresh(), 'roi_align')
    assert 'torchvision' not in sys.modules


def test_torchvision_missing(fresh, monkeypatch):
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
    with pytest.raises(ImportError, match='torchvision is not installed.*pip install torchvision'):
        fresh()


def test_torchvision_of_another_torch(fresh, monkeypatch, tmp_path):
    (tmp_path / '_C.so').write_bytes(b'not a library')
    spec = importlib.machinery.ModuleSpec('torchvision', None, origin=str(tmp_path / '__init__.py'))
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: spec)
    with pytest.raises(ImportError, match=r'(?s)_C\.so cannot be loaded .*torchvision'):
        fresh()


@pytest.mark.parametrize(('dtype', 'working'), [
    (torch.float64, torch.float64), (torch.float32, torch.float32), (torch.bfloat16, torch.float32),
    (torch.int64, torch.float32)])
def test_precisions(device, dtype, working):
    tensor = torch.zeros(1, dtype=dtype, device=device)
    assert kernels.working_dtype(tensor) == kernels.exact_dtype(tensor) == working


def test_half_precision(device):
    tensor = torch.zeros(1, dtype=torch.float16, device=device)
    assert kernels.working_dtype(tensor) == (torch.float16 if device == 'cuda' else torch.float32)
    assert kernels.exact_dtype(tensor) == torch.float32
