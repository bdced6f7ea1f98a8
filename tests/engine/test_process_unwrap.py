"""The model inside a wrapper, and a model without one."""
from mmengine.registry import MODEL_WRAPPERS
from torch import nn

from cxrdet.engine.process import unwrap


def test_wrapped_and_plain():
    model = nn.Linear(1, 1)

    class Wrapper(nn.Module):
        def __init__(self, module):
            super().__init__()
            self.module = module

    assert unwrap(Wrapper(model)).module is model  # no wrapper to MMEngine, so it is the model
    assert unwrap(model) is model
    MODEL_WRAPPERS.register_module(name='WrapperOfThisTest', module=Wrapper)
    try:
        assert unwrap(Wrapper(model)) is model
    finally:
        MODEL_WRAPPERS.module_dict.pop('WrapperOfThisTest')
