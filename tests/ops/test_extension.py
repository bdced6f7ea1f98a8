"""The module that the bridge serves, and the table of where operators come from."""
import importlib
import sys

import pytest

from cxrdet.ops import __main__ as report
from cxrdet.ops.extension import OPERATORS


@pytest.fixture
def extension(ops):
    return importlib.import_module('mmcv._ext')


def test_unknown_operator_says_what_to_do(extension):
    operator = extension.psamask_forward
    assert repr(operator) == "<operator 'psamask_forward': not available without a compiled mmcv>"
    with pytest.raises(NotImplementedError, match="(?s)operator 'psamask_forward' .*pip install"):
        operator(1, size=2)


def test_an_operator_of_mmcv_ends_in_that_error(ops):
    import torch
    with pytest.raises(NotImplementedError, match="operator 'nms_rotated' of mmcv"):
        ops.nms_rotated(torch.tensor([[5., 5, 4, 4, 0]]), torch.tensor([1.0]), 0.5)


@pytest.mark.parametrize('name', ['__path__', '__wrapped__', '_private'])
def test_private_names_are_missing(extension, name):
    assert not hasattr(extension, name)
    with pytest.raises(AttributeError, match=f"module 'mmcv._ext' has no attribute '{name}'"):
        getattr(extension, name)


def test_every_operator_of_the_bridge_is_one_of_mmcv(ops):
    requested = report.requested_operators()
    assert len(requested) > 100
    assert set(OPERATORS) <= set(requested)


def test_environment_report(ops):
    assert ops.get_compiler_version() == 'none (operators served by cxrdet.ops)'
    assert ops.get_compiling_cuda_version() == 'not available'


def test_table(extension):
    lines = report.table().splitlines()
    rows = dict(line.split(maxsplit=1) for line in lines[:len(report.requested_operators())])
    assert rows['nms'] == rows['modulated_deform_conv_backward'] == 'torchvision kernel'
    assert rows['softnms'] == rows['ms_deform_attn_forward'] == 'PyTorch'
    assert rows['psamask_forward'] == 'not available'
    assert f'{len(OPERATORS)} of {len(rows)} operators available.' in lines
    assert 'pip install --no-build-isolation' in lines[-1]


def test_table_of_a_compiled_mmcv(monkeypatch):
    compiled = type(sys)('mmcv._ext')
    compiled.__spec__ = importlib.machinery.ModuleSpec('mmcv._ext', None, origin='_ext.so')
    for name in report.requested_operators():
        setattr(compiled, name, print)
    del compiled.psamask_forward
    monkeypatch.setitem(sys.modules, 'mmcv._ext', compiled)
    assert report.origins()['nms'] == 'compiled mmcv'
    assert report.origins()['psamask_forward'] == 'not available'


def test_command_line(extension, capsys):
    import runpy
    runpy.run_module('cxrdet.ops', run_name='__main__')
    assert capsys.readouterr().out == report.table() + '\n'
