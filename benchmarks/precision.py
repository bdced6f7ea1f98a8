#!/usr/bin/env python
"""What the precision of a recipe costs: python benchmarks/precision.py [CONFIG] [--without-bfloat16].

Training steps of a recipe in the precision that it chooses, in turns with the same steps in plain float32: the same
weights, images and process, each side by the optimizer wrapper that its run would have. Prints both times, of the
processor, and their ratio. ``--without-bfloat16`` takes the processor for one that lacks the instructions; torch and
oneDNN are kept from them as well, so that bfloat16 is emulated here as it is there. ``--precision`` names another
precision for the recipe.
"""
import argparse
import os
import sys
import tempfile
import time
from statistics import median

AVX2 = {'ATEN_CPU_CAPABILITY': 'avx2', 'ONEDNN_MAX_CPU_ISA': 'AVX2', 'MKL_ENABLE_INSTRUCTIONS': 'AVX2'}


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('config', nargs='?', default='configs/faster_rcnn_bifpn_cell_tiny.py',
                        help='a detector on a COCO-format set (default: the one of make demo)')
    parser.add_argument('--precision', default='auto', help='of the recipe (default: auto)')
    parser.add_argument('--steps', type=int, default=8, help='of each side (default: 8)')
    parser.add_argument('--without-bfloat16', action='store_true', help='as on a processor with AVX2 only')
    args = parser.parse_args(argv)
    if args.without_bfloat16 and any(os.environ.get(name) != value for name, value in AVX2.items()):
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | AVX2)  # read when torch is loaded
    os.environ.pop('CXRDET_PRECISION', None)
    with tempfile.TemporaryDirectory() as folder:
        measure(args, folder)
    return 0


def measure(args, folder: str) -> None:
    import torch

    from cxrdet.datasets.phantoms import write_cell_phantoms
    from cxrdet.engine import process
    write_cell_phantoms(folder, splits={'train': 8, 'val': 1})
    runners = {name: build(args.config, folder, name) for name in dict.fromkeys([args.precision, 'float32'])}
    chosen = runners[args.precision].optim_wrapper.precision
    batch = next(iter(runners[args.precision].train_dataloader))
    times = {name: [] for name in ('recipe', 'float32')}
    for _ in range(args.steps + 2):
        for side, name in (('recipe', args.precision), ('float32', 'float32')):
            runner, start = runners[name], time.process_time()
            runner.model.train_step(dict(batch), optim_wrapper=runner.optim_wrapper)
            times[side].append(time.process_time() - start)
    found = ', '.join(process.instruction_sets()) or 'none'
    print(f'{args.config}, {torch.backends.cpu.get_cpu_capability()}, {torch.get_num_threads()} threads; instruction '
          f'sets for bfloat16: {found}')
    print(f'recipe: {chosen.name}, {chosen.reason}')
    pairs = [(mine, plain) for mine, plain in zip(times['recipe'][2:], times['float32'][2:], strict=True)]
    for side, values in zip(times, zip(*pairs, strict=True), strict=True):
        print(f'{side:8s} {median(values):.3f} processor seconds a step (least {min(values):.3f})')
    print(f'ratio    {median(mine / plain for mine, plain in pairs):.3f} (median over {args.steps} pairs of steps)')


def build(config: str, folder: str, name: str):
    """A runner that is ready to train in the precision ``name``; float32 by MMEngine's plain wrapper."""
    import torch
    from mmengine.runner import Runner

    from cxrdet.apis import load_config
    from cxrdet.engine import process
    from cxrdet.preflight.data import follow_classes
    torch.set_flush_denormal(True)
    cfg = load_config(config, data_root=folder, work_dir=f'{folder}/{name}')
    cfg.train_dataloader.update(num_workers=0, persistent_workers=False)
    cfg.log_level, cfg.precision = 'WARNING', name
    process.set_training_precision(cfg)
    if name == 'float32':
        cfg.optim_wrapper.type = 'OptimWrapper'
        cfg.optim_wrapper.pop('precision')
    follow_classes(cfg)
    cfg.experiment_name = f'{name}_{time.time_ns()}'
    torch.manual_seed(0)
    runner = Runner.from_cfg(cfg)
    runner._train_loop = runner.build_train_loop(runner._train_loop)
    runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    runner.model.train()
    return runner


if __name__ == '__main__':
    sys.exit(main())
