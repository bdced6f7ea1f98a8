"""Parameters, multiply-adds and time of the ResNet-18 variants against plain ResNet-18, without classifier, in one run.

Run: python benchmarks/attention_resnets.py

FLOPs are multiply-adds of convolutions and matrix products at 224 px, as papers count them. Time is CPU time of a
forward pass of one image in one thread: the least of several rounds that go through all networks in turn, so that what
else the machine does meets all of them alike.
"""
import argparse
import time
from functools import partial

import torch
from cost import count_multiply_adds

from cxrdet.models.backbones import (
    AttentionResNet,
    ResNet18BoT,
    ResNet18BoTLinear,
    ResNet18CA,
    ResNet18ECA,
    ResNet18Hybrid,
)

NETS = {'ResNet-18': lambda: AttentionResNet(18), 'ECA': ResNet18ECA, 'CA': ResNet18CA, 'BoT': ResNet18BoT,
        'BoTLinear': ResNet18BoTLinear, 'Hybrid': ResNet18Hybrid}
NETS |= {f'{name}, in blocks': partial(kind, position='blocks') for name, kind in NETS.items() if name != 'ResNet-18'}


def multiply_adds(net: torch.nn.Module, size: int) -> int:
    """Of one forward pass."""
    return count_multiply_adds(lambda: net(torch.zeros(1, 3, size, size)))


def times(nets: dict[str, torch.nn.Module], size: int, rounds: int) -> dict[str, float]:
    """Least CPU time in ms of a forward pass of one image."""
    x, best = torch.randn(1, 3, size, size), dict.fromkeys(nets, float('inf'))
    with torch.inference_mode():
        for _ in range(rounds + 1):  # the first warms up, and is never the least
            for name, net in nets.items():
                start = time.process_time()
                net(x)
                best[name] = min(best[name], 1e3 * (time.process_time() - start))
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--rounds', type=int, default=30)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    nets = {name: make().eval() for name, make in NETS.items()}
    count = {name: sum(p.numel() for p in net.parameters()) for name, net in nets.items()}
    flops = {name: multiply_adds(net, 224) for name, net in nets.items()}
    large, small = times(nets, 224, args.rounds), times(nets, 96, args.rounds)
    print('| network | parameters | ratio | GFLOPs at 224 px | ratio | ms at 224 px | ratio | ms at 96 px | ratio |')
    print('|---|---|---|---|---|---|---|---|---|')
    for name in nets:
        cells = [f'{count[name]:,} | {count[name] / count["ResNet-18"]:.4f}',
                 f'{flops[name] / 1e9:.4f} | {flops[name] / flops["ResNet-18"]:.4f}',
                 *(f'{ms[name]:.1f} | {ms[name] / ms["ResNet-18"]:.2f}' for ms in (large, small))]
        print(f'| {name} | {" | ".join(cells)} |')
    more = count['Hybrid'] / count['ResNet-18'] - 1
    print(f'\nThe hybrid has {100 * more:.1f} % more parameters than plain ResNet-18.')


if __name__ == '__main__':
    main()
