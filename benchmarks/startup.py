#!/usr/bin/env python
"""From the start of a training to the end of its first iteration, beside MMDetection: python benchmarks/startup.py

Ours is ``tools/train.py`` with ``configs/faster_rcnn_bifpn_cell_tiny.py``; stock is MMDetection's own
``tools/train.py`` over the operator bridge, with an equal config of stock parts (an FPN in place of the BiFPN). Both
get one hook more, which notes the time and the memory after the first iteration and ends the process. They run by
turns: once without a clock, to fill the caches of files, then ``--rounds`` times; each figure is the least, with the
median behind it. ``OMP_NUM_THREADS=1`` keeps threads that wait for busy cores out of the processor time.

- ``--set tiny``: 32 made-up images of cells and 8 for validation;
- ``--set large``: a COCO file of 100,000 images and 1,000,000 boxes (``--images``, ``--boxes``), all links of one
  file of 64 px, and the same 8 for validation;
- ``--profile FILE``: the profile of one run of ours instead, for ``python -m pstats FILE``;
- ``--before COMMIT``: another state of this repository in place of stock.

Wall time and processor time are those of the main process and its workers; the peak is that of the main process
(VmHWM), and PSS is the memory of all of them, shared pages once, after the first iteration.
"""
import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path
from statistics import median

from linked_set import coco_content, link_images
from trees import ROOT, tree_of

CONFIG = ROOT / 'configs' / 'faster_rcnn_bifpn_cell_tiny.py'

HOOK = '''
"""Notes what the first iteration has cost, and ends the process."""
import json, os, time
from pathlib import Path
from mmengine.hooks import Hook
from mmengine.registry import HOOKS


def value(text, name):
    return int(text.partition(f'{name}:')[2].split()[0]) * 1024


@HOOKS.register_module()
class FirstIteration(Hook):
    priority = 'LOWEST'

    def __init__(self, out):
        self.out = out

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        now, own, processes = time.time(), os.getsid(0), []
        for folder in Path('/proc').iterdir():
            if folder.name.isdigit():
                try:
                    fields = (folder / 'stat').read_text().rpartition(')')[2].split()
                    if int(fields[3]) == own:
                        processes.append((sum(map(int, fields[11:13])) / os.sysconf('SC_CLK_TCK'),
                                          value((folder / 'smaps_rollup').read_text(), 'Pss')))
                except (OSError, ValueError):
                    continue
        cpu, pss = map(sum, zip(*processes))
        peak = value(Path('/proc/self/status').read_text(), 'VmHWM')
        Path(self.out).write_text(json.dumps(dict(time=now, cpu=cpu, pss=pss, peak=peak)))
        os._exit(0)
'''
STOCK = '''
_base_ = 'mmdet::_base_/models/faster-rcnn_r50_fpn.py'
default_scope = 'mmdet'
model = dict(
    backbone=dict(depth=18, base_channels=32, frozen_stages=-1, norm_eval=False, zero_init_residual=False,
                  init_cfg=None),
    neck=dict(in_channels=[32, 64, 128, 256], out_channels=64, norm_cfg=dict(type='BN')),
    rpn_head=dict(in_channels=64, feat_channels=64, anchor_generator=dict(scales=[4])),
    roi_head=dict(bbox_roi_extractor=dict(out_channels=64, roi_layer=dict(sampling_ratio=2)),
                  bbox_head=dict(in_channels=64, fc_out_channels=256, num_classes={num_classes})),
    train_cfg=dict(rpn_proposal=dict(nms_pre=300, max_per_img=150), rcnn=dict(sampler=dict(num=64))),
    test_cfg=dict(rpn=dict(nms_pre=500, max_per_img=300),
                  rcnn=dict(score_thr=0.001, nms=dict(type='soft_nms', iou_threshold=0.5, min_score=0.001),
                            max_per_img=300)))
metainfo = dict(classes={classes})
load = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True),
        dict(type='Resize', scale=(256, 256), keep_ratio=True)]
flip = dict(type='RandomFlip', prob=[0.25, 0.25, 0.25], direction=['horizontal', 'vertical', 'diagonal'])
train_dataloader = dict(
    batch_size=2, num_workers=1, persistent_workers=True, sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(type='CocoDataset', data_root={root!r}, ann_file='annotations/train.json', metainfo=metainfo,
                 data_prefix=dict(img='images/'), pipeline=[*load, flip, dict(type='PackDetInputs')]))
val_dataloader = dict(
    batch_size=4, num_workers=1, persistent_workers=True, sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='CocoDataset', data_root={root!r}, ann_file='annotations/val.json', metainfo=metainfo,
                 data_prefix=dict(img='images/'), test_mode=True, pipeline=[*load, dict(
                     type='PackDetInputs',
                     meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'))]))
val_evaluator = dict(type='CocoMetric', ann_file={root!r} + 'annotations/val.json', metric='bbox')
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=8, val_interval=4)
val_cfg = dict(type='ValLoop')
optim_wrapper = dict(
    type='OptimWrapper', optimizer=dict(type='AdamW', lr=3e-3, weight_decay=0.05, fused=True),
    paramwise_cfg=dict(norm_decay_mult=0., bias_decay_mult=0.), clip_grad=dict(max_norm=10, norm_type=2))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=50),
    dict(type='CosineAnnealingLR', eta_min=1e-6, by_epoch=True, begin=0, end=8, convert_to_iter_based=True)]
default_hooks = dict(
    timer=dict(type='IterTimerHook'), logger=dict(type='LoggerHook', interval=10),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(type='CheckpointHook', interval=1, max_keep_ckpts=2, save_best='coco/bbox_mAP', rule='greater'),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    early_stopping=dict(type='EarlyStoppingHook', monitor='coco/bbox_mAP', patience=15),
    visualization=dict(type='DetVisualizationHook'),
    ema=dict(type='EMAHook', ema_type='ExpMomentumEMA', momentum=0.01, gamma=100, update_buffers=True))
visualizer = dict(type='DetLocalVisualizer', vis_backends=[dict(type='LocalVisBackend')], name='visualizer')
env_cfg = dict(cudnn_benchmark=False, mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
               dist_cfg=dict(backend='nccl'))
randomness = dict(seed=0)
log_processor = dict(type='LogProcessor', window_size=50, by_epoch=True)
log_level = 'INFO'
custom_imports = dict(imports=['first_iteration'])
custom_hooks = [dict(type='FirstIteration', out={out!r})]
'''
OURS = '''
_base_ = {config!r}
custom_imports = dict(imports=['cxrdet', 'first_iteration'], allow_failed_imports=False)
custom_hooks = [dict(type='FirstIteration', out={out!r})]
'''
BRIDGED = 'import runpy, sys, cxrdet; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name="__main__")'


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--set', choices=('tiny', 'large'), default='tiny')
    parser.add_argument('--images', type=int, default=100_000, help='of the large set')
    parser.add_argument('--boxes', type=int, default=1_000_000, help='of the large set')
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--profile', metavar='FILE', help='write a profile of ours')
    parser.add_argument('--before', metavar='COMMIT', help='compare with this state instead of stock')
    parser.add_argument('--folder', type=Path, help='keep the sets here')
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        data = (args.folder or folder) / args.set
        if not data.is_dir():
            make_set(data, *((args.images, args.boxes) if args.set == 'large' else ()))
        (folder / 'first_iteration.py').write_text(HOOK)
        with tree_of(args.before, folder / 'before') if args.before else nullcontext() as before:
            commands = dict(prepare(folder, data, before))
            if args.profile:
                return profile(folder, commands['ours'], args.profile)
            compare(commands, folder, args.rounds)
    return 0


def make_set(folder: Path, images: int = 0, boxes: int = 0) -> None:
    """A set of 32 and 8 images; with ``images``, so many are in the training set instead."""
    tool = ROOT / 'tools' / 'prepare_data.py'
    subprocess.run([sys.executable, tool, 'cell-phantom', folder, '--train', '32', '--val', '8', '--size', '128'],
                   check=True, capture_output=True, env=environment(ROOT))
    if images:
        write_links(folder, images, boxes)


def write_links(folder: Path, images: int, boxes: int) -> None:
    """Put ``images`` links of one file of 64 px, with ``boxes`` boxes together, into ``annotations/train.json``."""
    file = folder / 'annotations' / 'train.json'
    categories = json.loads(file.read_text())['categories']
    names = [f'link_{i:06}.png' for i in range(images)]
    link_images(folder / 'images', names)
    file.write_text(json.dumps(coco_content(names, boxes, categories)))


def environment(tree: Path, *more: Path) -> dict[str, str]:
    """Of a run from this tree, which may keep compiled modules as usual."""
    kept = {name: value for name, value in os.environ.items() if name != 'PYTHONDONTWRITEBYTECODE'}
    return kept | {'PYTHONPATH': os.pathsep.join(map(str, (tree, *more)))}


def prepare(folder: Path, data: Path, before: Path | None):
    """Write the configs; name -> (command, environment, file that the hook writes)."""
    import mmdet
    categories = json.loads((data / 'annotations' / 'val.json').read_text())['categories']
    for name, tree in (('ours', ROOT), ('before' if before else 'stock', before or ROOT)):
        config, out = folder / f'{name}.py', folder / f'{name}.json'
        if name == 'stock':
            config.write_text(STOCK.format(root=f'{data}/', out=str(out), num_classes=len(categories), classes=[
                category['name'] for category in categories]))
            script = Path(mmdet.__file__).parent / '.mim' / 'tools' / 'train.py'
            command = [sys.executable, '-c', BRIDGED, script, config, '--work-dir', folder / 'run']
        else:
            config.write_text(OURS.format(config=str(tree / CONFIG.relative_to(ROOT)), out=str(out)))
            command = [sys.executable, tree / 'tools' / 'train.py', config, '--data-root', data, '--work-dir',
                       folder / 'run']
        yield name, (command, environment(tree, folder), out)


def compare(commands: dict, folder: Path, rounds: int) -> None:
    found = {name: [] for name in commands}
    for number in range(rounds + 1):
        for name, command in commands.items():
            figures = first_iteration(*command)
            shutil.rmtree(folder / 'run', ignore_errors=True)
            if number:
                found[name].append(figures)
                print(f'  {name}: ' + ', '.join(f'{key} {value:.1f}' for key, value in figures.items()), flush=True)
    ours, other = found.values()
    for key in ours[0]:
        text = [f'{name} {min(run[key] for run in runs):.1f} (median {median(run[key] for run in runs):.1f})'
                for name, runs in found.items()]
        ratio = min(run[key] for run in ours) / min(run[key] for run in other)
        print(f'{key}: {", ".join(text)}; ratio {ratio:.2f}', flush=True)


def first_iteration(command: list, env: dict[str, str], out: Path) -> dict[str, float]:
    """Run a training up to the end of its first iteration.

    Raises: RuntimeError, with what it has said, if it does not come so far.
    """
    out.unlink(missing_ok=True)
    start = time.time()
    process = subprocess.Popen(list(map(str, command)), env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               text=True, start_new_session=True)
    said = []
    for line in process.stdout:
        said.append(line)
        if out.exists():
            break
    process.wait()
    try:
        os.killpg(process.pid, signal.SIGKILL)  # workers that have not yet seen that it has gone
    except ProcessLookupError:
        pass
    process.stdout.close()
    if not out.exists():
        raise RuntimeError(''.join(said))
    figures = json.loads(out.read_text())
    return {'wall s': figures['time'] - start, 'processor s': figures['cpu'], 'peak MiB': figures['peak'] / 2 ** 20,
            'PSS MiB': figures['pss'] / 2 ** 20}


def profile(folder: Path, command: tuple, file: str) -> int:
    """cProfile of ours; the hook's end of the process is put off until the profile is written."""
    arguments, env, out = command
    hook = folder / 'first_iteration.py'
    hook.write_text(hook.read_text().replace('os._exit(0)', 'raise KeyboardInterrupt'))
    subprocess.run([arguments[0], '-m', 'cProfile', '-o', file, *map(str, arguments[1:])], env=env, check=False)
    return 0


if __name__ == '__main__':
    sys.exit(main())
