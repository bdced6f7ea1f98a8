#!/usr/bin/env python
"""One training step beside stock: python benchmarks/train_step.py [CASE ...] [--profile] [--without-bfloat16].

A case is a stock config of MMDetection or MMPretrain, made as small as a few processor cores can train, or any config:
``mmdet::yolox/yolox_tiny_8xb8-300e_coco.py@8x416x416`` (batch, height, width). "Stock" trains it as the project's own
tools/train.py would, through the operator bridge with torchvision's kernels; "ours" as our recipes do: channels-last
memory, fused optimizer, our operators. Each has a process of its own. Both start from the same weights and
take the same images in turns, in float32. Before the timing, the losses of the first step must agree (1e-4, relative),
and its gradients (1e-3 of the norm over all weights). Prints the medians of both times and of the ratios of neighbours.
On a GPU (``--device cuda``), ours runs in bfloat16 where the GPU has it, after a comparison in float32.
"""
import argparse
import copy
import importlib
import logging
import math
import multiprocessing
import os
import re
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from unittest.mock import patch

DETECTOR, CLASSIFIER = 'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py', 'mmpretrain::resnet/resnet18_8xb32_in1k.py'
CASES = {'r18_fpn_320x240': (DETECTOR, 4, (240, 320)), 'r18_fpn_384x288': (DETECTOR, 4, (288, 384)),
         'resnet18_224': (CLASSIFIER, 32, (224, 224))}
LOSSES, GRADIENTS = 1e-4, 1e-3  # by how much the first steps may differ, relatively
STOCK = {'GOMP_SPINCOUNT': '300000'}  # torch's own, which cxrdet lowers: how long threads wait before they sleep
AVX2 = {'ATEN_CPU_CAPABILITY': 'avx2', 'ONEDNN_MAX_CPU_ISA': 'AVX2', 'MKL_ENABLE_INSTRUCTIONS': 'AVX2'}


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('cases', nargs='*', type=case_of, default=list(CASES), metavar='CASE',
                        help=f'{", ".join(CASES)} (default: all) or CONFIG@BATCHxHEIGHTxWIDTH')
    parser.add_argument('--steps', type=int, default=8, help='of each side (default: 8)')
    parser.add_argument('--device', default='cpu', help='cpu or cuda (default: cpu)')
    parser.add_argument('--profile', action='store_true', help='print where the time of a step goes, on both sides')
    parser.add_argument('--processor-time', action='store_true', help='of all threads, on a machine with other work')
    parser.add_argument('--one-core', action='store_true',
                        help='all threads on one core, where Linux puts them at times beside other work')
    parser.add_argument('--without-bfloat16', action='store_true', help='as on a processor with AVX2 only')
    args = parser.parse_args(argv)
    if args.without_bfloat16:
        os.environ.update(AVX2)  # read by each side when it loads torch
    if args.processor_time:
        os.environ['OMP_WAIT_POLICY'] = 'passive'  # threads that wait take none
    for case in args.cases:
        measure(case, args)
    return 0


def case_of(text: str) -> str:
    """``text``, if it names a case; argparse tells the user of the error."""
    if text not in CASES and not re.fullmatch(r'.+\.py@\d+x\d+x\d+', text):
        raise argparse.ArgumentTypeError(f'"{text}" is none of {", ".join(CASES)} and not CONFIG@BATCHxHEIGHTxWIDTH')
    return text


def measure(case: str, args) -> None:
    """Check and time one case, and print the result."""
    sides = {name: Process(name, case, args.device) for name in ('stock', 'ours')}
    try:
        print(sides['ours'].ask('machine'))
        sides['ours'].ask('load', sides['stock'].ask('weights'))
        compare(*sides.values())
        for side in sides.values():
            side.ask('quicken')
            if args.one_core:
                side.ask('pin')
        times = {name: [] for name in sides}
        for _ in range(args.steps + 2):
            for name, side in sides.items():
                times[name].append(side.ask('timed_step', args.processor_time))
        stock, ours = (values[2:] for values in times.values())
        batch = settings(case)[1]
        print(f'{case}, batch {batch}: stock {median(stock):.3f} s, ours {median(ours):.3f} s, ratio '
              f'{median(b / a for a, b in zip(stock, ours, strict=True)):.3f} (median of {args.steps} pairs), '
              f'{batch / median(stock):.1f} and {batch / median(ours):.1f} images/s', flush=True)
        for name, side in sides.items() if args.profile else ():
            print(name, side.ask('profile'), sep='\n')
    finally:
        for side in sides.values():
            side.close()


class Process:
    """A :class:`Side` in a process of its own, which answers while the other one waits."""

    def __init__(self, name: str, case: str, device: str) -> None:
        context = multiprocessing.get_context('spawn')
        self.pipe, end = context.Pipe()
        self.process = context.Process(target=serve, args=(end, name, case, device), daemon=True)
        with patch.dict(os.environ, STOCK if name == 'stock' else {}):
            self.process.start()
        end.close()

    def ask(self, method: str, *args):
        self.pipe.send((method, args))
        return self.pipe.recv()

    def close(self) -> None:
        self.pipe.close()
        self.process.join()


def serve(pipe, name: str, case: str, device: str) -> None:
    """Answer what the parent asks of a side, until it closes the pipe."""
    from cxrdet.ops import install  # before torch, which reads the environment once
    install()
    import torch
    torch.multiprocessing.set_sharing_strategy('file_system')
    side = Side(name, case, device)
    while True:
        try:
            method, args = pipe.recv()
        except EOFError:
            return
        pipe.send(getattr(side, method)(*args))


class Side:
    """A model with its optimizer, a batch, and the operators that its steps run with."""

    def __init__(self, name: str, case: str, device: str) -> None:
        import torch
        self.ours, self.device = name == 'ours', device
        config, batch, size = settings(case)
        torch.manual_seed(0)
        self.model = build_model(config, small=case in CASES).to(device).train()
        self.data = images_of(self.model, batch, size)
        self.quicken(first=True)
        if not self.ours:
            take_stock_operators()

    def quicken(self, *, first: bool = False) -> None:
        """Set up the optimizer; and, after the comparison, mixed precision on a GPU that has bfloat16."""
        import torch
        from mmengine.optim import build_optim_wrapper
        if self.ours:
            torch.set_flush_denormal(True)
            self.model.to(memory_format=torch.channels_last)
        amp = self.ours and not first and self.device == 'cuda' and torch.cuda.is_bf16_supported()
        self.optim = build_optim_wrapper(self.model, dict(
            type='AmpOptimWrapper' if amp else 'OptimWrapper', **(dict(dtype='bfloat16') if amp else {}),
            optimizer=dict(type='AdamW', lr=1e-4, weight_decay=0.05, **(dict(fused=True) if self.ours else {}))))

    def pin(self) -> None:
        for thread in os.listdir('/proc/self/task'):
            os.sched_setaffinity(int(thread), {0})

    def machine(self) -> str:
        import torch
        place = torch.cuda.get_device_name() if self.device == 'cuda' else torch.backends.cpu.get_cpu_capability()
        return f'torch {torch.__version__}, {place}, {torch.get_num_threads()} threads'

    def weights(self) -> dict:
        return {key: value.cpu().numpy() for key, value in self.model.state_dict().items()}

    def load(self, weights: dict) -> None:
        import torch
        self.model.load_state_dict({key: torch.as_tensor(value) for key, value in weights.items()})

    def first_step(self, proposals: list) -> tuple[dict, list, list]:
        """Losses by name, gradients by weight as arrays, and the proposals that were taken."""
        import torch
        torch.manual_seed(1)  # of the samplers
        with same_proposals(self.model, proposals):
            losses = self.model(**self.model.data_preprocessor(copy.deepcopy(self.data), True), mode='loss')
        total, found = self.model.parse_losses(losses)
        self.model.zero_grad()
        total.backward()
        gradients = [weight.grad.cpu().contiguous().numpy() for weight in self.model.parameters()
                     if weight.grad is not None]
        return {key: value.item() for key, value in found.items()}, gradients, proposals

    def timed_step(self, processor_time: bool = False) -> float:
        import torch
        data, clock = copy.deepcopy(self.data), time.process_time if processor_time else time.perf_counter
        torch.manual_seed(1)
        if self.device == 'cuda':
            torch.cuda.synchronize()
        start = clock()
        self.model.train_step(data, optim_wrapper=self.optim)
        if self.device == 'cuda':
            torch.cuda.synchronize()
        return clock() - start

    def profile(self) -> str:
        from torch.profiler import profile
        with profile() as found:
            self.timed_step()
        by = 'self_cuda_time_total' if self.device == 'cuda' else 'self_cpu_time_total'
        return found.key_averages().table(sort_by=by, row_limit=15, max_name_column_width=50)


def settings(case: str) -> tuple[str, int, tuple[int, int]]:
    """Config, batch and (height, width) of a case."""
    if case in CASES:
        return CASES[case]
    config, _, shape = case.rpartition('@')
    batch, height, width = (int(value) for value in shape.split('x'))
    return config, batch, (height, width)


def build_model(config: str, *, small: bool):
    """The model of ``config`` with random weights; ``small``: ResNet-18, 128 channels, 3 classes for the detector."""
    from mmengine.config import Config
    from mmengine.registry import MODELS, init_default_scope
    scope, _, name = config.rpartition('::')
    path = Path(importlib.import_module(scope).__file__).parent / '.mim' / 'configs' / name if scope else Path(config)
    cfg = Config.fromfile(path)
    init_default_scope(scope or cfg.default_scope)
    importlib.import_module(f'{scope or cfg.default_scope}.models')
    preprocessor = cfg.model.get('data_preprocessor') or cfg.get('data_preprocessor')
    if (scope or cfg.default_scope) == 'mmpretrain':
        preprocessor = dict(type='ClsDataPreprocessor') | preprocessor
    cfg.model.data_preprocessor = preprocessor
    if small and scope == 'mmdet':
        cfg.model.backbone.update(depth=18, frozen_stages=-1, norm_eval=False, init_cfg=None)
        cfg.model.neck.update(in_channels=[64, 128, 256, 512], out_channels=128)
        cfg.model.rpn_head.update(in_channels=128, feat_channels=128)
        cfg.model.roi_head.bbox_roi_extractor.out_channels = 128
        cfg.model.roi_head.bbox_head.update(in_channels=128, num_classes=3)
    if 'backbone' in cfg.model:
        cfg.model.backbone.init_cfg = None  # nothing is fetched
    logging.disable(logging.INFO)  # a page of how each weight was drawn
    model = MODELS.build(cfg.model)
    model.init_weights()
    return model


def images_of(model, batch: int, size: tuple[int, int]) -> dict:
    """A made-up batch as the data loader gives it: uint8 images, twelve boxes or one label each."""
    import numpy as np
    import torch
    from mmdet.models import BaseDetector
    rng, (height, width) = np.random.default_rng(0), size
    images = [torch.from_numpy(rng.integers(0, 256, (3, height, width), dtype=np.uint8)) for _ in range(batch)]
    if not isinstance(model, BaseDetector):
        from mmpretrain.structures import DataSample
        classes = model.head.num_classes
        return dict(inputs=images, data_samples=[DataSample().set_gt_label(int(rng.integers(classes))) for _ in images])
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


def compare(stock: Process, ours: Process) -> None:
    """Compare losses and gradients of the first step on both sides.

    Both take the proposals of stock: those of random weights have nearly equal scores, whose order is one of rounding.

    Raises: SystemExit if they differ.
    """
    import numpy as np
    losses, gradients, proposals = stock.ask('first_step', [])
    our_losses, our_gradients, _ = ours.ask('first_step', proposals)
    far = {key: (value, our_losses[key]) for key, value in losses.items()
           if abs(value - our_losses[key]) > LOSSES * max(abs(value), 1e-6)}
    if far:
        raise SystemExit(f'losses of stock and ours differ: {far}')
    parts = [(float(np.linalg.norm(b - a)), float(np.linalg.norm(a)))
             for a, b in zip(gradients, our_gradients, strict=True)]
    off = math.hypot(*(far for far, _ in parts)) / math.hypot(*(norm for _, norm in parts))
    worst = max(far / max(norm, 1e-9) for far, norm in parts)
    if off > GRADIENTS:
        raise SystemExit(f'gradients of stock and ours differ by {off:.1e} of their norm')
    print(f'first step: losses agree within {LOSSES:g}, the gradient within {off:.1e} of its norm ({worst:.1e} in the '
          'weight that differs most)')


@contextmanager
def same_proposals(model, proposals: list):
    """Let the head of a two-stage detector take ``proposals``; if there are none, they are filled with the model's."""
    head = getattr(model, 'rpn_head', None)
    if head is None:
        yield
        return
    original = head.loss_and_predict

    def loss_and_predict(*args, **kwargs):
        losses, found = original(*args, **kwargs)
        proposals.extend([] if proposals else [each.cpu() for each in copy.deepcopy(found)])
        return losses, [each.to(found[0].bboxes.device) for each in copy.deepcopy(proposals)]
    head.loss_and_predict = loss_and_predict
    try:
        yield
    finally:
        del head.loss_and_predict


def take_stock_operators() -> None:
    """Give the bridge torchvision's RoIAlign, in this process."""
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
    roi.roi_align = Torchvision


if __name__ == '__main__':
    sys.exit(main())
