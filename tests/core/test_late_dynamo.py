"""Optimizers without torch's compiler, and the compiler after them, in a process of its own."""
import subprocess
import sys

SCRIPT = '''
import inspect, sys
from cxrdet.core import late_dynamo
late_dynamo.install()
late_dynamo.install()
import torch

def trained(steps, compiled=False):
    torch.manual_seed(0)
    model = torch.nn.Linear(4, 4)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.ones(2, 4)).square().sum().backward()
        (torch.compile(optimizer.step, backend='eager') if compiled else optimizer.step)()
    return model.weight.detach()

before = trained(3)
inspect.getmodule(before)  # asks every module for its file
assert not {'sympy', 'triton', 'torch._dynamo.utils'} & sys.modules.keys(), 'the compiler was imported'
import torch._dynamo.utils as part
assert part is sys.modules['torch._dynamo.utils'] is torch._dynamo.utils and part.__spec__.name == part.__name__
assert sys.modules['torch._dynamo'] is torch._dynamo and torch._dynamo.__file__
assert torch.equal(trained(3), before)
torch.testing.assert_close(trained(3, compiled=True), before)
assert torch.equal(torch.compile(lambda x: x.sin() + 1, backend='eager')(torch.zeros(3)), torch.ones(3))
'''


def test_the_compiler_comes_when_something_is_compiled():
    subprocess.run([sys.executable, '-W', 'ignore', '-c', SCRIPT], check=True, timeout=120)
