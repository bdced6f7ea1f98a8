#!/usr/bin/env python
"""Parameters, memory and speed of the detector beside a plain form of it, by turns in one run.

The plain form has the same backbone, words and losses, but ``nn.MultiheadAttention`` with its weights returned, three
layers of fusion and of the decoder, and 100 queries. Each form has a process of its own; both take the same made-up
images and phrases, step by step in turns, so that other work on the machine meets both. Medians, and the ratio of the
medians. Peak memory is that of the GPU's allocator, or on a CPU what the process has grown by beyond its start.
"""
import argparse
import copy
import json
import multiprocessing
import os
import resource
import sys
import time
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT)]
CONFIGS = {'swin_t': 'model.py', 'lite0': 'model_lite0.py', 'resnet18': 'model_tiny.py'}
MODES = ('eager', 'channels_last', 'half', 'compiled')
FORMS = ('plain', 'ours')
OLD = 'The old project on its GPU: about 28 M parameters, 3 GB, 100+ samples/s in training, 60+ frames/s'


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--backbone', choices=CONFIGS, default='swin_t', help='(default: %(default)s)')
    parser.add_argument('--size', type=int, default=224, metavar='PX', help='side of the images (default: %(default)s)')
    parser.add_argument('--batch', type=int, default=32, metavar='N', help='in training (default: %(default)s)')
    parser.add_argument('--frames', type=int, default=1, metavar='N',
                        help='a batch of inference (default: %(default)s)')
    parser.add_argument('--phrases', type=int, default=5, metavar='N', help='an image (default: %(default)s)')
    parser.add_argument('--steps', type=int, default=8, metavar='N', help='timed of each kind (default: %(default)s)')
    parser.add_argument('--modes', nargs='+', choices=MODES, default=list(MODES[:3]), metavar='MODE',
                        help=f'of inference: {", ".join(MODES)} (default: all but compiled, which takes minutes)')
    parser.add_argument('--device', default='auto', help='auto, cpu or cuda (default: %(default)s)')
    parser.add_argument('--precision', choices=['float32', 'half'], default='half',
                        help='of training: half is float16 on a GPU, bfloat16 on a CPU that has it (default: half)')
    parser.add_argument('--out', metavar='FILE', help='also write the figures as JSON')
    args = parser.parse_args(argv)
    found = measure(args)
    print(told(found, args))
    if args.out:
        Path(args.out).write_text(json.dumps({'options': vars(args), **found}, indent=1) + '\n', encoding='utf-8')
    return 0


def measure(args) -> dict:
    """Figures of both forms: parameters by part, peak memory in MiB, seconds of each timed step."""
    context = multiprocessing.get_context('spawn')
    sides = {}
    try:
        for form in FORMS:
            here, there = context.Pipe()
            process = context.Process(target=serve, args=(there, form, vars(args)), daemon=True)
            process.start()
            there.close()
            sides[form] = process, here
        ask = {form: lambda *words, pipe=pipe: _ask(pipe, *words) for form, (_, pipe) in sides.items()}
        found = {form: {'parameters': ask[form]('parameters'), 'device': ask[form]('device')} for form in FORMS}
        for kind in ('train', *args.modes):
            for form in FORMS:
                ask[form]('prepare', kind)
            times = {form: [] for form in FORMS}
            for _ in range(args.steps + 2):
                for form in FORMS:
                    times[form].append(ask[form]('step', kind))
            for form in FORMS:
                found[form][kind] = times[form][2:]
            if kind == 'train':
                for form in FORMS:
                    found[form]['memory'] = ask[form]('memory')
        return found
    finally:
        for process, pipe in sides.values():
            pipe.close()
            process.join(5)
            process.terminate()


def _ask(pipe, *words):
    pipe.send(words)
    answer = pipe.recv()
    if isinstance(answer, Exception):
        raise answer
    return answer


def serve(pipe, form: str, options: dict) -> None:
    """Answer until the other end is closed."""
    side = None
    while True:
        try:
            name, *words = pipe.recv()
        except EOFError:
            return
        try:
            side = side or Side(form, **options)
            pipe.send(getattr(side, name)(*words))
        except Exception as error:  # told where it was asked
            pipe.send(RuntimeError(f'{form}: {type(error).__name__}: {error}'))


class Side:
    """One form of the model, in a process of its own."""

    def __init__(self, form: str, *, backbone: str, size: int, batch: int, frames: int, phrases: int, device: str,
                 precision: str, **_) -> None:
        import torch

        from cxrdet.engine.process import choose_precision, pick_device
        self.torch, self.place = torch, pick_device(device)
        half = torch.float16 if self.place.type == 'cuda' else torch.bfloat16
        if self.place.type == 'cpu' and choose_precision(device='cpu').name != 'bfloat16':
            half = torch.float32  # emulated, and slower by times
        self.half, self.train_in = half, half if precision == 'half' else torch.float32
        torch.manual_seed(0)
        self.model = build(form, backbone).to(self.place)
        self.images = {'train': torch.randn(batch, 3, size, size, device=self.place),
                       'predict': torch.randn(frames, 3, size, size, device=self.place)}
        self.samples = {name: [made_up_sample(size, phrases, self.place) for _ in images]
                        for name, images in self.images.items()}
        self.optimizer = torch.optim.AdamW(self.model.parameters(), 1e-4, fused=True)
        self.scaler = torch.amp.GradScaler(self.place.type, enabled=self.train_in == torch.float16)
        self.find = self.model.predict
        self.start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    def device(self) -> str:
        if self.place.type == 'cuda':
            return self.torch.cuda.get_device_name()
        return f'CPU, {self.torch.get_num_threads()} threads, training in {self.train_in}'

    def parameters(self) -> dict[str, int]:
        """Numbers of parameters by part; of those that learn and those that do not."""
        return {name: sum(p.numel() for p in part.parameters()) for name, part in self.model.named_children()
                if any(True for _ in part.parameters())}

    def memory(self) -> float:
        if self.place.type == 'cuda':
            return self.torch.cuda.max_memory_allocated() / 2 ** 20
        return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - self.start) / 1024

    def prepare(self, kind: str) -> None:
        self.model.train(kind == 'train')
        if kind == 'channels_last':
            self.model.to(memory_format=self.torch.channels_last)
            self.images['predict'] = self.images['predict'].to(memory_format=self.torch.channels_last)
        if kind == 'compiled':
            self.model.extract_feat = self.torch.compile(self.model.extract_feat)

    def step(self, kind: str) -> float:
        """Seconds of a step."""
        self._wait()
        start = time.perf_counter()
        self._train() if kind == 'train' else self._predict(kind)
        self._wait()
        return time.perf_counter() - start

    def _train(self) -> None:
        with self.torch.autocast(self.place.type, self.train_in, enabled=self.train_in != self.torch.float32):
            loss, _ = self.model.parse_losses(self.model.loss(self.images['train'], self.samples['train']))
        self.optimizer.zero_grad()
        self.scaler.scale(loss).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()

    def _predict(self, kind: str) -> None:
        half = kind in ('half', 'compiled') and self.half != self.torch.float32
        with self.torch.inference_mode(), self.torch.autocast(self.place.type, self.half, enabled=half):
            self.model.predict(self.images['predict'], self.samples['predict'])

    def _wait(self) -> None:
        if self.place.type == 'cuda':
            self.torch.cuda.synchronize()


def build(form: str, backbone: str):
    """The detector from random weights, or its plain form."""
    from mmengine.config import Config
    from mmengine.registry import DefaultScope

    import projects.open_vocabulary.open_vocabulary  # noqa: F401
    from cxrdet.registry import MODELS
    cfg = copy.deepcopy(Config.fromfile(Path(__file__).parent / 'configs' / '_base_' / CONFIGS[backbone]).model)
    cfg.backbone.init_cfg = None
    if form == 'plain':
        cfg.decoder.update(num_queries=100, num_layers=3)
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = MODELS.build(cfg)
        if form == 'plain':
            model.fusion = in_a_row([model.fusion, *(MODELS.build(cfg.fusion) for _ in range(2))])
    if form == 'plain':
        use_plain_attention(model)
    model.text_encoder.add_words([f'thing {number}' for number in range(50)])
    return model


def in_a_row(layers: list):
    """Fusion layers one after the other, as one."""
    from torch import nn

    class FusionLayers(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList(layers)

        def forward(self, image, text, **options):
            for layer in self.layers:
                image, text = layer(image, text, **options)
            return image, text
    return FusionLayers()


def use_plain_attention(model) -> None:
    """Put ``nn.MultiheadAttention``, with its weights returned, in place of every attention."""
    from torch import nn

    from projects.open_vocabulary.open_vocabulary.fusion import Attention

    class Plain(nn.Module):
        def __init__(self, other: Attention) -> None:
            super().__init__()
            self.layer = nn.MultiheadAttention(other.query.out_features, other.heads, batch_first=True)

        def forward(self, query, key, value, *, mask=None):
            out, _ = self.layer(query, key, value, key_padding_mask=None if mask is None else ~mask, need_weights=True)
            return out
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, Attention):
                setattr(module, name, Plain(child))


def made_up_sample(size: int, phrases: int, device):
    """A sample with a box a phrase."""
    import torch
    from mmdet.structures import DetDataSample
    from mmengine.structures import InstanceData
    corner = torch.rand(phrases, 2, device=device) * size * 0.6
    boxes = torch.cat((corner, corner + size * (0.1 + 0.3 * torch.rand(phrases, 2, device=device))), dim=1)
    return DetDataSample(
        metainfo=dict(img_shape=(size, size), ori_shape=(size, size), scale_factor=(1., 1.),
                      phrases=tuple(f'thing {number}' for number in range(phrases))),
        gt_instances=InstanceData(bboxes=boxes, labels=torch.arange(phrases, device=device)))


def told(found: dict, args) -> str:
    """The figures as text."""
    plain, ours = (found[form] for form in FORMS)
    lines = [f'{args.backbone}, {args.size} px, {args.phrases} phrases an image; {ours["device"]}', '',
             '| parameters (M) | plain | ours |', '| --- | --- | --- |']
    for part in ours['parameters']:
        lines.append(f'| {part} | {plain["parameters"][part] / 1e6:.2f} | {ours["parameters"][part] / 1e6:.2f} |')
    whole = [sum(side['parameters'].values()) for side in (plain, ours)]
    behind = [sum(count for part, count in side['parameters'].items() if part != 'backbone') for side in (plain, ours)]
    no_text = [total - side['parameters']['text_encoder'] for total, side in zip(whole, (plain, ours))]
    for name, (one, other) in (('all', whole), ('all but the text encoder', no_text), ('all but the backbone', behind)):
        lines.append(f'| {name} | {one / 1e6:.2f} | {other / 1e6:.2f} ({100 - 100 * other / one:.0f} % fewer) |')
    lines += ['', '| | plain | ours | ratio |', '| --- | --- | --- | --- |',
              f'| peak memory of training, batch {args.batch} (MiB) | {plain["memory"]:.0f} | {ours["memory"]:.0f} | '
              f'{ours["memory"] / max(plain["memory"], 1):.2f} |']
    rows = [('train', 'training, samples/s', args.batch),
            *((mode, f'inference, {mode}, frames/s', args.frames) for mode in args.modes)]
    for kind, name, count in rows:
        one, other = (count / median(side[kind]) for side in (plain, ours))
        lines.append(f'| {name} | {one:.1f} | {other:.1f} | {other / one:.2f} |')
    return '\n'.join([*lines, '', OLD])


if __name__ == '__main__':
    os.environ.setdefault('GOMP_SPINCOUNT', '10000')
    sys.exit(main())
