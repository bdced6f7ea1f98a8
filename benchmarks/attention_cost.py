"""BoT attention against linear BoT attention: time and memory over the number of positions, in one run.

Run: python benchmarks/attention_cost.py --out docs/images/attention_cost.png

A forward pass of one map of 512 channels, 4 heads, as behind stage 4 of ResNet-18, without gradients, in one thread.
Each case runs in a process of its own. Time is CPU time, the least of several passes, so that other work of the machine
counts little. Memory is the peak of the resident set during the first pass less the resident set before it: the working
memory of the attention itself. The exponent is the slope of a straight line through the logarithms, fitted from 28x28
positions up, where the fixed cost of a call no longer counts; the smaller sizes are shown all the same. BoT comes near
its exponent of 2 slowly, since its convolutions grow linearly. The largest case needs about 6 GB (Linux).
"""
import argparse
import multiprocessing
import time
from pathlib import Path

import numpy as np
import torch

from cxrdet.models.layers import BoTAttention, LinearBoTAttention

SIDES = (7, 14, 28, 56, 112)
FIT_FROM = 28
CHANNELS, HEADS = 512, 4
LAYERS = {'BoT': BoTAttention, 'BoTLinear': LinearBoTAttention}
LOOKS = {'BoT': ('#D55E00', 's', '-'), 'BoTLinear': ('#0072B2', 'o', '--')}  # Okabe and Ito: safe for colour-blind eyes


def status(key: str) -> int:
    """VmRSS or VmHWM of this process in bytes (Linux)."""
    line = next(line for line in Path('/proc/self/status').read_text().splitlines() if line.startswith(key))
    return 1024 * int(line.split()[1])


def measure(name: str, side: int, seconds: float, queue) -> None:
    """Put (least CPU seconds, peak bytes) into ``queue``; runs in a process of its own."""
    torch.set_num_threads(1)
    layer, x = LAYERS[name](CHANNELS, HEADS).eval(), torch.randn(1, CHANNELS, side, side)
    layer.scale.data.fill_(1.)
    with torch.inference_mode():
        layer(x[..., :3, :3])  # what the first call of all loads is not the attention's
        Path('/proc/self/clear_refs').write_text('5')  # the peak starts from here
        before = status('VmRSS')
        layer(x)
        peak = status('VmHWM') - before
        passes = []
        while len(passes) < 2 or (sum(passes) < seconds and len(passes) < 2000):
            start = time.process_time()
            layer(x)
            passes.append(time.process_time() - start)
    queue.put((min(passes), peak))


def run(seconds: float) -> dict[str, np.ndarray]:
    """For each layer an array (sides, 2) of CPU seconds and bytes."""
    context, found = multiprocessing.get_context('fork'), {name: [] for name in LAYERS}
    for side in SIDES:
        for name in LAYERS:
            queue = context.SimpleQueue()
            process = context.Process(target=measure, args=(name, side, seconds, queue))
            process.start()
            process.join()
            if process.exitcode:
                raise SystemExit(f'{name} at {side}x{side} ended with code {process.exitcode}: too little memory?')
            found[name].append(queue.get())
    return {name: np.array(values) for name, values in found.items()}


def exponents(values: np.ndarray) -> np.ndarray:
    """Slopes of log(values) over log(positions) from ``FIT_FROM`` up, one a column."""
    sides = np.array(SIDES)
    keep = sides >= FIT_FROM
    return np.polyfit(np.log(sides[keep] ** 2), np.log(values[keep]), 1)[0]


def plot(found: dict[str, np.ndarray], path: Path) -> None:
    import matplotlib
    matplotlib.use('Agg')
    from matplotlib import pyplot
    tokens = np.array(SIDES) ** 2
    figure, axes = pyplot.subplots(1, 2, figsize=(10, 4.4), layout='constrained')
    for i, (axis, factor, title) in enumerate(zip(axes, (1e3, 1e-6), ('CPU time, ms', 'working memory, MB'))):
        for name, values in found.items():
            colour, marker, line = LOOKS[name]
            axis.loglog(tokens, factor * values[:, i], line, color=colour, marker=marker, linewidth=2, markersize=7,
                        label=f'{name}: exponent {exponents(values)[i]:.2f}')
        axis.axvspan(FIT_FROM ** 2 / 1.2, tokens[-1] * 1.2, color='0.93', zorder=0, label='range of the fit')
        axis.set_xticks(tokens, [f'{side}x{side}\n{side * side:,}' for side in SIDES])
        axis.minorticks_off()
        axis.set_xlabel('positions')
        axis.set_title(title)
        axis.grid(color='0.8', linewidth=0.6)
        axis.legend(loc='upper left')
    figure.suptitle(f'Self-attention over positions: {CHANNELS} channels, {HEADS} heads, forward pass, one thread')
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--out', type=Path, help='write the picture here')
    parser.add_argument('--seconds', type=float, default=2., help='CPU time for each case, at least two passes')
    args = parser.parse_args()
    found = run(args.seconds)
    bot, linear = found['BoT'], found['BoTLinear']
    print('| positions | BoT ms | BoTLinear ms | ratio | BoT MB | BoTLinear MB | ratio |')
    print('|---|---|---|---|---|---|---|')
    for side, a, b in zip(SIDES, bot, linear):
        print(f'| {side}x{side} = {side * side:,} | {1e3 * a[0]:.3f} | {1e3 * b[0]:.3f} | {a[0] / b[0]:.2f} '
              f'| {a[1] / 1e6:.2f} | {b[1] / 1e6:.2f} | {a[1] / max(b[1], 1):.2f} |')
    for name, values in found.items():
        slope = exponents(values)
        print(f'{name}: time grows with N^{slope[0]:.2f}, memory with N^{slope[1]:.2f} '
              f'({FIT_FROM}x{FIT_FROM} to {SIDES[-1]}x{SIDES[-1]})')
    if args.out:
        plot(found, args.out)


if __name__ == '__main__':
    main()
