"""The benchmark runs both forms, and its plain form computes the same kind of thing."""
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

FILE = Path(__file__).parents[3] / 'projects' / 'open_vocabulary' / 'benchmark.py'


@pytest.fixture(scope='module')
def benchmark():
    spec = importlib.util.spec_from_file_location('ov_benchmark', FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_plain_attention_is_ours_with_the_same_weights(benchmark):
    from projects.open_vocabulary.open_vocabulary.fusion import Attention
    ours = Attention(8, heads=2)
    holder = torch.nn.ModuleDict({'part': ours})
    benchmark.use_plain_attention(holder)
    plain = holder['part'].layer
    with torch.no_grad():
        plain.in_proj_weight.copy_(torch.cat([layer.weight for layer in (ours.query, ours.key, ours.value)]))
        plain.in_proj_bias.copy_(torch.cat([layer.bias for layer in (ours.query, ours.key, ours.value)]))
        plain.out_proj.load_state_dict(ours.out.state_dict())
    query, key = torch.randn(2, 3, 8), torch.randn(2, 4, 8)
    mask = torch.tensor([[1, 1, 0, 1], [1, 0, 0, 0]]).bool()
    torch.testing.assert_close(holder['part'](query, key, key, mask=mask), ours(query, key, key, mask=mask))


@pytest.mark.parametrize('form, queries, layers', [('plain', 100, 3), ('ours', 20, 1)])
def test_forms(benchmark, form, queries, layers):
    side = benchmark.Side(form, backbone='resnet18', size=64, batch=2, frames=1, phrases=3, device='cpu',
                          precision='float32')
    assert len(side.model.decoder.queries) == queries
    assert len(getattr(side.model.fusion, 'layers', [None])) == layers
    for kind in ('train', 'eager', 'channels_last'):
        side.prepare(kind)
        assert side.step(kind) > 0
    assert side.parameters()['fusion'] > 0


def test_figures_are_told(benchmark):
    side = {'parameters': {'backbone': 4_000_000, 'text_encoder': 500_000, 'decoder': 1_500_000}, 'device': 'CPU',
            'memory': 100., 'train': [0.5, 0.5], 'eager': [0.1]}
    half = dict(side, parameters={'backbone': 4_000_000, 'text_encoder': 500_000, 'decoder': 500_000}, memory=50.,
                train=[0.25, 9., 0.25], eager=[0.05])
    args = type('Args', (), dict(backbone='lite0', size=64, phrases=3, batch=4, frames=1, modes=['eager']))
    text = benchmark.told({'plain': side, 'ours': half}, args)
    for line in ('| all | 6.00 | 5.00 (17 % fewer) |', '| all but the backbone | 2.00 | 1.00 (50 % fewer) |',
                 '| training, samples/s | 8.0 | 16.0 | 2.00 |', '| inference, eager, frames/s | 10.0 | 20.0 | 2.00 |',
                 '(MiB) | 100 | 50 | 0.50 |'):
        assert line in text


@pytest.mark.long
def test_command(tmp_path):
    command = [sys.executable, str(FILE), '--backbone', 'resnet18', '--size', '64', '--batch', '2', '--steps', '1',
               '--modes', 'eager', '--device', 'cpu', '--out', str(tmp_path / 'figures.json')]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert 'training, samples/s' in done.stdout
    assert set(json.loads((tmp_path / 'figures.json').read_text())) == {'options', 'plain', 'ours'}
