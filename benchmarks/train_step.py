#!/usr/bin/env python
"""One training step beside stock: python benchmarks/train_step.py [CASE ...] [--profile] [--without-bfloat16].

A case is a stock config of MMDetection or MMPretrain, made as small as a few processor cores can train. "Stock" trains
it as the project's own tools/train.py would, through the operator bridge with torchvision's kernels; "ours" as our
recipes do: channels-last memory, fused optimizer, our operators. Both start from the same weights and take the same
images in turns, in float32. Before the timing, the losses of the first step must agree (1e-4, relative), and its
gradients (1e-3 of the norm over all weights). Prints the medians of both times and of the ratios of neighbours. On a GPU
(``--device cuda``), ours runs in bfloat16 where the GPU has it, after a comparison in float32.
"""
import argparse
import copy
import importlib
import logging
import math
import os
import sys
import time
from contextlib import contextmanager, nullcontext
from pathlib import Path
from statistics import median

DETECTOR, CLASSIFIER = 'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py', 'mmpretrain::resnet/resnet18_8xb32_in1k.py'
CASES = {'r18_fpn_320x240': (DETECTOR, 4, (240, 320)), 'r18_fpn_384x288': (DETECTOR, 4, (288, 384)),
         'resnet18_224': (CLASSIFIER, 32, (224, 224))}
LOSSES, GRADIENTS = 1e-4, 1e-3  # by how much the first steps may differ, relatively
AVX2 = {'ATEN_CPU_CAPABILITY': 'avx2', 'ONEDNN_MAX_CPU_ISA': 'AVX2', 'MKL_ENABLE_INSTRUCTIONS': 'AVX2'}


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('cases', nargs='*', help=f'of {", ".join(CASES)} (default: all)')
    parser.add_argument('--steps', type=int, default=8, help='of each side (default: 8)')
    parser.add_argument('--batch', type=int, help='images a step (default: of the case)')
    parser.add_argument('--device', default='cpu', help='cpu or cuda (default: cpu)')
    parser.add_argument('--profile', action='store_true', help='print where the time of a step goes, on both sides')
    parser.add_argument('--without-bfloat16', action='store_true', help='as on a processor with AVX2 only')
    args = parser.parse_args(argv)
    if args.without_bfloat16 and any(os.environ.get(name) != value for name, value in AVX2.items()):
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | AVX2)  # read when torch is loaded
    import torch

    from cxrdet.ops import install
    install()
    print(f'torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}, {torch.get_num_threads()} threads'
          + (f', {torch.cuda.get_device_name()}' if args.device == 'cuda' else ''))
    for case in args.cases or CASES:
        if case not in CASES:
            parser.error(f'no case "{case}": {", ".join(CASES)}')
        measure(case, args)
    return 0


def measure(case: str, args) -> None:
    """Check and time one case, and print the result."""
    config, batch, size = CASES[case]
    batch = args.batch or batch
    sides = {name: Side(name, config, args.device) for name in ('stock', 'ours')}
    sides['ours'].model.load_state_dict(sides['stock'].model.state_dict())
    data = images_of(config, batch, size)
    compare(sides, data)
    times = {name: [] for name in sides}
    for _ in range(args.steps + 2):
        for name, side in sides.items():
            times[name].append(side.timed_step(data))
    stock, ours = (values[2:] for values in times.values())
    print(f'{case}, batch {batch}: stock {median(stock):.3f} s, ours {median(ours):.3f} s, ratio '
          f'{median(b / a for a, b in zip(stock, ours, strict=True)):.3f} (median of {args.steps} pairs), '
          f'{batch / median(ours):.1f} images/s')
    if args.profile:
        for name, side in sides.items():
            print(name, side.profile(data), sep='\n')


class Side:
    """A model with its optimizer, and the operators that its steps run with."""

    def __init__(self, name: str, config: str, device: str) -> None:
        import torch
        from mmengine.optim import build_optim_wrapper
        torch.manual_seed(0)
        self.ours, self.device = name == 'ours', device
        self.model = build_model(config).to(device).train()
        if self.ours:
            self.model.to(memory_format=torch.channels_last)
        amp = self.ours and device == 'cuda' and torch.cuda.is_bf16_supported()
        self.optim = build_optim_wrapper(self.model, dict(
            type='AmpOptimWrapper' if amp else 'OptimWrapper', **(dict(dtype='bfloat16') if amp else {}),
            optimizer=dict(type='AdamW', lr=1e-4, weight_decay=0.05, **(dict(fused=True) if self.ours else {}))))

    def losses(self, data: dict) -> dict:
        """Losses of a step, whose gradients are left in the model."""
        import torch
        torch.manual_seed(1)  # of the samplers
        with nullcontext() if self.ours else stock_operators():
            losses = self.model(**self.model.data_preprocessor(copy.deepcopy(data), True), mode='loss')
            total, found = self.model.parse_losses(losses)
            self.model.zero_grad()
            total.backward()
        return found

    def timed_step(self, data: dict) -> float:
        import torch
        data = copy.deepcopy(data)
        torch.manual_seed(1)
        if self.device == 'cuda':
            torch.cuda.synchronize()
        start = time.perf_counter()
        with nullcontext() if self.ours else stock_operators():
            self.model.train_step(data, optim_wrapper=self.optim)
        if self.device == 'cuda':
            torch.cuda.synchronize()
        return time.perf_counter() - start

    def profile(self, data: dict) -> str:
        from torch.profiler import profile
        with profile() as found:
            self.timed_step(data)
        return found.key_averages().table(sort_by='self_cpu_time_total', row_limit=15)


def build_model(config: str):
    """The stock model of ``config`` with random weights: ResNet-18, 128 channels and 3 classes for the detector."""
    from mmengine.config import Config
    from mmengine.registry import init_default_scope
    scope, _, name = config.partition('::')
    cfg = Config.fromfile(Path(importlib.import_module(scope).__file__).parent / '.mim' / 'configs' / name)
    init_default_scope(scope)
    registry = importlib.import_module(f'{scope}.registry').MODELS
    cfg.model.setdefault('data_preprocessor', cfg.get('data_preprocessor'))
    if scope == 'mmdet':
        cfg.model.backbone.update(depth=18, frozen_stages=-1, norm_eval=False, init_cfg=None)
        cfg.model.neck.update(in_channels=[64, 128, 256, 512], out_channels=128)
        cfg.model.rpn_head.update(in_channels=128, feat_channels=128)
        cfg.model.roi_head.bbox_roi_extractor.out_channels = 128
        cfg.model.roi_head.bbox_head.update(in_channels=128, num_classes=3)
    else:
        cfg.model.data_preprocessor = dict(cfg.data_preprocessor, type='ClsDataPreprocessor')
    logging.disable(logging.INFO)  # a page of how each weight was drawn
    model = registry.build(cfg.model)
    model.init_weights()
    return model


def images_of(config: str, batch: int, size: tuple[int, int]) -> dict:
    """A made-up batch as the data loader of the config gives it: uint8 images, twelve boxes or one label each."""
    import numpy as np
    import torch
    rng, (height, width) = np.random.default_rng(0), size
    images = [torch.from_numpy(rng.integers(0, 256, (3, height, width), dtype=np.uint8)) for _ in range(batch)]
    if config.startswith('mmpretrain'):
        from mmpretrain.structures import DataSample
        return dict(inputs=images, data_samples=[DataSample().set_gt_label(int(rng.integers(1000))) for _ in images])
    from mmdet.structures import DetDataSample
    from mmengine.structures import InstanceData
    samples = []
    for _ in images:
        corner, side = rng.uniform(0, [width - 60, height - 60], (12, 2)), rng.uniform(15, 60, (12, 2))
        sample = DetDataSample(metainfo=dict(img_shape=size, ori_shape=size, scale_factor=(1., 1.), pad_shape=size,
                                             batch_input_shape=size))
        sample.gt_instances = InstanceData(
            bboxes=torch.from_numpy(np.concatenate([corner, corner + side], 1).astype(np.float32)),
            labels=torch.from_numpy(rng.integers(0, 3, 12)))
        sample.ignored_instances = InstanceData(bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.long))
        samples.append(sample)
    return dict(inputs=images, data_samples=samples)


def compare(sides: dict, data: dict) -> None:
    """Compare losses and gradients of the first step on both sides.

    Both take the proposals of stock: those of random weights have nearly equal scores, whose order is one of rounding.

    Raises: SystemExit if they differ.
    """
    losses, proposals = {}, []
    for name, side in sides.items():
        with same_proposals(side.model, proposals):
            losses[name] = {key: value.item() for key, value in side.losses(data).items()}
    far = {key: (value, losses['ours'][key]) for key, value in losses['stock'].items()
           if abs(value - losses['ours'][key]) > LOSSES * max(abs(value), 1e-6)}
    if far:
        raise SystemExit(f'losses of stock and ours differ: {far}')
    gradients = [(stock.grad, ours.grad) for stock, ours in zip(
        sides['stock'].model.parameters(), sides['ours'].model.parameters(), strict=True)]
    parts = [(float((ours - stock).norm()), float(stock.norm())) for stock, ours in gradients]
    off = math.hypot(*(far for far, _ in parts)) / math.hypot(*(norm for _, norm in parts))
    worst = max(far / max(norm, 1e-9) for far, norm in parts)
    if off > GRADIENTS:
        raise SystemExit(f'gradients of stock and ours differ by {off:.1e} of their norm')
    print(f'first step: losses agree within {LOSSES:g}, the gradient within {off:.1e} of its norm ({worst:.1e} in the '
          'weight that differs most)')


@contextmanager
def same_proposals(model, proposals: list):
    """Give the second model of a pair the proposals of the first, which are kept in ``proposals``."""
    head = getattr(model, 'rpn_head', None)
    if head is None:
        yield
        return
    original = head.loss_and_predict

    def loss_and_predict(*args, **kwargs):
        losses, found = original(*args, **kwargs)
        proposals.extend(copy.deepcopy(found) if not proposals else [])
        return losses, copy.deepcopy(proposals)
    head.loss_and_predict = loss_and_predict
    try:
        yield
    finally:
        del head.loss_and_predict


@contextmanager
def stock_operators():
    """The operators of the bridge as torchvision has them."""
    from cxrdet.ops import roi
    from cxrdet.ops.kernels import torchvision_ops

    class Torchvision:
        @staticmethod
        def roi_align_forward(input, rois, size, scale, ratio, aligned):
            return torchvision_ops().roi_align(input.contiguous(), rois, scale, *size, ratio, aligned)

        @staticmethod
        def roi_align_backward(gradient, rois, shape, scale, ratio, aligned):
            return torchvision_ops()._roi_align_backward(
                gradient.contiguous(), rois, scale, *gradient.shape[2:], *shape, ratio, aligned)
    ours, roi.roi_align = roi.roi_align, Torchvision
    try:
        yield
    finally:
        roi.roi_align = ours


if __name__ == '__main__':
    sys.exit(main())
