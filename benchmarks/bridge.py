"""One config of each of MMDetection's families over the operator bridge: built, asked for predictions, and trained.

Run: python benchmarks/bridge.py [FAMILY ...]

A family is a folder of MMDetection's configs. Each runs in a process of its own, forked when everything is imported,
with a limit of time, so that a crash ends one row and not the table. A model is built as the config has it but with
random weights, and gets two images of 128 px with two boxes (and masks) each; forward is a prediction in evaluation
mode, backward the losses of the same images with finite gradients. What a config needs besides images (videos,
identities, proposals, labels of pixels, unlabelled views, lanes) is made up in the same way.

Results stand in benchmarks/tables/bridge.json, and docs/operators.md is made from them. The command may be stopped and
given again: families that have a row are left alone unless they are named.
"""
import argparse
import importlib
import json
import multiprocessing
import os
import platform
import re
import resource
import signal
import sys
import time
import traceback
import warnings
from pathlib import Path

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / 'benchmarks' / 'tables' / 'bridge.json'
DOCUMENT = ROOT / 'docs' / 'operators.md'
SIZE = 128
SHAPES = {'reid': (256, 128), 'clrnet': (320, 800), 'ssd': (300, 300)}  # of layers or priors that fit no other
SECONDS = 300  # of CPU time
PIECES = {'_base_', 'common'}  # folders without models of their own
CONFIGS = {  # where the rule of `config_of` would take one that is heavy, or not what the family is about
    'cascade_rpn': 'cascade-rpn_faster-rcnn_r50-caffe_fpn_1x_coco.py',
    'carafe': 'faster-rcnn_r50_fpn-carafe_1x_coco.py',
    'centernet': 'centernet_r18-dcnv2_8xb16-crop512-140e_coco.py',
    'detectors': 'detectors_cascade-rcnn_r50_1x_coco.py',
    'glip': 'glip_atss_swin-t_a_fpn_dyhead_pretrain_obj365.py',
    'fpg': 'faster-rcnn_r50_fpg-chn128_crop640-50e_coco.py',
    'guided_anchoring': 'ga-retinanet_r50_fpn_1x_coco.py',
    'hrnet': 'faster-rcnn_hrnetv2p-w18-1x_coco.py',
    'libra_rcnn': 'libra-faster-rcnn_r50_fpn_1x_coco.py',
    'mm_grounding_dino': 'grounding_dino_swin-t_pretrain_obj365.py',
    'nas_fpn': 'retinanet_r50_nasfpn_crop640-50e_coco.py',
    'pisa': 'faster-rcnn_r50_fpn_pisa_1x_coco.py',
    'pvt': 'retinanet_pvt-t_fpn_1x_coco.py',
    'qdtrack': 'qdtrack_faster-rcnn_r50_fpn_8xb2-4e_mot17halftrain_test-mot17halfval.py',
    'regnet': 'faster-rcnn_regnetx-400MF_fpn_ms-3x_coco.py',
    'res2net': 'faster-rcnn_res2net-101_fpn_2x_coco.py',
    'rtmdet': 'rtmdet_tiny_8xb32-300e_coco.py',
    'sort': 'sort_faster-rcnn_r50_fpn_8xb2-4e_mot17train_test-mot17test.py',
    'strongsort': 'strongsort_yolox_x_8xb4-80e_crowdhuman-mot20train_test-mot20test.py',
    'yolo': 'yolov3_mobilenetv2_8xb24-320-300e_coco.py',
    'yolox': 'yolox_tiny_8xb8-300e_coco.py',
}
SEMANTIC_STRIDE = {'htc': 8, 'scnet': 8}  # their labels of pixels are made smaller by the pipeline; else 1
NO_TRAINING = dict.fromkeys(('deepsort', 'ocsort', 'sort', 'strongsort'), 'its parts are trained apart')  # by design


def configs_folder() -> Path:
    return Path(importlib.import_module('mmdet').__file__).parent / '.mim' / 'configs'


def families(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_dir() and path.name not in PIECES
                  and any(path.glob('*.py')))


def config_of(folder: Path, family: str) -> str:
    """The config that stands for a family: of ResNet-50 if there is one, then the shortest name."""
    names = [path.name for path in (folder / family).glob('*.py') if not path.name.endswith(('_tta.py', '_base.py'))]
    return CONFIGS.get(family) or min(names, key=lambda name: ('r50' not in name, len(name), name))


def build(path: Path):
    """The model of a config with random weights, and its config."""
    from mmdet.registry import MODELS
    from mmengine.config import Config
    from mmengine.model import revert_sync_batchnorm
    from mmengine.registry import init_default_scope

    from cxrdet.apis.train import drop_pretrained
    from cxrdet.core.config_tree import walk
    cfg = Config.fromfile(path)
    init_default_scope(cfg.get('default_scope') or 'mmdet')
    drop_pretrained(cfg)
    for node in walk(cfg.model):
        if 'teacher_config' in node:  # a path in MMDetection's repository
            node['teacher_config'] = str(path.parents[2] / node['teacher_config'])
        if node.get('type') == 'MMSyncBN':  # several processes would have to be there when it is built
            node['type'] = 'BN'
        for key in ('teacher_ckpt', 'init_cfg', 'checkpoint'):
            if isinstance(node.get(key), str) or (isinstance(node.get(key), dict) and 'checkpoint' in node[key]):
                node[key] = None
    if cfg.model.get('num_queries', 0) > 100:
        cfg.model.num_queries = 100  # images of 128 px have no more places to choose queries from
    if 'data_preprocessor' in cfg:
        cfg.model.setdefault('data_preprocessor', cfg.data_preprocessor)  # as the Runner does
    model = MODELS.build(cfg.model)
    model.init_weights()
    return revert_sync_batchnorm(model), cfg.model


def sample(cfg: dict, family: str, frame: int):
    """Image (3, height, width) uint8 and its DetDataSample."""
    import numpy as np
    import torch
    from mmdet.structures import DetDataSample
    from mmdet.structures.mask import BitmapMasks
    from mmengine.structures import InstanceData, PixelData
    rng, shape = np.random.default_rng(frame), SHAPES.get(family, (SIZE, SIZE))
    boxes = np.array([[10, 12, 60, 58], [40, 50, 120, 110]], np.float32) + frame
    masks = np.zeros((2, *shape), np.uint8)
    for mask, (x1, y1, x2, y2) in zip(masks, boxes.astype(int)):
        mask[y1:y2, x1:x2] = 1
    truth = InstanceData(bboxes=torch.from_numpy(boxes), labels=torch.zeros(2, dtype=torch.long),
                         instances_ids=torch.arange(2))
    if 'pad_mask' in str(cfg['data_preprocessor']) or 'mask_head' in str(cfg):
        truth.masks = BitmapMasks(masks, *shape)
    found = DetDataSample(metainfo=dict(
        img_id=frame, frame_id=frame, img_path='made up', img_shape=shape, ori_shape=shape,
        batch_input_shape=shape, scale_factor=(1., 1.), flip=False, flip_direction=None, border=[0, 0, 0, 0],
        homography_matrix=np.eye(3, dtype=np.float32), text='cell.', custom_entities=True,
        tokens_positive={0: [[0, 4]]}, ori_video_length=2, org_height=shape[0], org_width=shape[1]))
    found.gt_instances, found.ignored_instances = truth, InstanceData(bboxes=torch.zeros(0, 4))
    stride = SEMANTIC_STRIDE.get(family, 1)
    found.gt_sem_seg = PixelData(sem_seg=torch.zeros(1, shape[0] // stride, shape[1] // stride, dtype=torch.long))
    if cfg['type'] == 'FastRCNN':
        found.proposals = InstanceData(bboxes=torch.from_numpy(np.concatenate([boxes - 3, boxes + 5])),
                                       scores=torch.ones(4))
    found.lines_array = np.zeros((1, 78), np.float32)  # no, yes; start y, x; angle; length; x of 72 rows
    found.lines_array[0] = [0, 1, 0, 0.5, 0.5, 71, *[shape[1] / 2] * 72]
    return torch.from_numpy(rng.integers(0, 256, (3, *shape), dtype=np.uint8)), found


def batch(cfg: dict, family: str, training: bool) -> dict:
    """What a data loader of the family gives: two images (one to predict), a video of two frames, or what it takes."""
    import torch
    from mmdet.structures import ReIDDataSample, TrackDataSample
    kind = cfg['data_preprocessor']['type']
    images, samples = zip(*(sample(cfg, family, frame) for frame in range(2)))
    if 'Track' in kind:
        video = TrackDataSample(metainfo=dict(key_frames_inds=[0], ref_frames_inds=[1], ori_video_length=2))
        video.video_data_samples = list(samples)
        return dict(inputs=[torch.stack(images)], data_samples=[video])
    if 'ReID' in kind:  # two images each of two identities
        identities = ReIDDataSample().set_gt_label([0, 0, 1, 1])
        return dict(inputs=[torch.stack(images + images)] if training else list(images), data_samples=[identities])
    if 'MultiBranch' in kind and training:
        branches = ('sup', 'unsup_teacher', 'unsup_student')
        return dict(inputs={branch: list(images) for branch in branches},
                    data_samples={branch: [s.clone() for s in samples] for branch in branches})
    count = 2 if training else 1  # as the configs validate; guided anchoring takes no more
    return dict(inputs=list(images[:count]), data_samples=list(samples[:count]))


def predict(model, cfg: dict, family: str) -> None:
    import torch
    model.eval()
    with torch.no_grad():
        data = model.data_preprocessor(batch(cfg, family, False), False)
        model(**data, mode='tensor' if family == 'reid' else 'predict')


def train(model, cfg: dict, family: str) -> None:
    """Losses and their gradients; raises FloatingPointError if they are not finite."""
    model.train()
    data = model.data_preprocessor(batch(cfg, family, True), True)
    loss, _ = model.parse_losses(model(**data, mode='loss'))
    loss.backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    if not gradients or not loss.isfinite() or not all(gradient.isfinite().all() for gradient in gradients):
        raise FloatingPointError(f'loss {loss.item():.3g} with {len(gradients)} gradients: not finite, or none')


def record_operators() -> set[str]:
    """Names of the bridge's operators that are called from here on."""
    from cxrdet.ops.extension import OPERATORS
    extension, names = sys.modules['mmcv._ext'], set()

    def recorded(name, function):
        def record(*args, **kwargs):
            names.add(name)
            return function(*args, **kwargs)
        return record

    for name, operator in OPERATORS.items():
        setattr(extension, name, recorded(name, operator.function))
    return names


def first_line(error: BaseException) -> str:
    text = ' '.join(str(error).split('\n')[0].split())
    return f'{type(error).__name__}: {text}'[:160]


def measure(folder: Path, family: str, queue) -> None:
    """Put the row of a family into ``queue``; runs in a process of its own."""
    import torch
    from mmengine.logging import MessageHub, MMLogger
    warnings.simplefilter('ignore')
    MMLogger.get_instance('bridge', log_level='ERROR')
    torch.manual_seed(0)
    config = config_of(folder, family)
    row = dict(config=config, forward='no', backward='no', operators=[], reason='')
    used, reasons = record_operators(), []
    resource.setrlimit(resource.RLIMIT_CPU, (int(time.process_time()) + SECONDS, resource.RLIM_INFINITY))
    for key in ('iter', 'epoch'):
        MessageHub.get_current_instance().update_info(key, 0)  # the Runner's, which some losses ask for
    start = time.process_time()

    def attempt(step, function, *arguments):
        try:
            result = function(*arguments)
            row[step] = 'yes'
            return result
        except Exception as error:
            reasons.append(f'{step}: {first_line(error)}')
            if os.environ.get('BRIDGE_DEBUG'):
                traceback.print_exc()

    built = attempt('build', build, folder / family / config)
    if built is not None:
        attempt('forward', predict, *built, family)
        if family in NO_TRAINING:
            row['backward'] = '-'
            reasons.append(NO_TRAINING[family])
        else:
            attempt('backward', train, *built, family)
    row.pop('build', None)
    row.update(operators=sorted(used), reason='; '.join(reasons), seconds=round(time.process_time() - start, 1))
    queue.put(row)


def run(folder: Path, family: str) -> dict:
    context = multiprocessing.get_context('fork')
    queue = context.Queue()
    process = context.Process(target=measure, args=(folder, family, queue))
    process.start()
    lost = dict(config=config_of(folder, family), forward='no', backward='no', operators=[], seconds=0.)
    while process.is_alive() and queue.empty():
        time.sleep(0.1)
    if not queue.empty():
        row = queue.get()
    elif process.exitcode == -signal.SIGXCPU:
        row = lost | dict(reason=f'took longer than {SECONDS} s')
    else:
        row = lost | dict(reason=f'the process ended with code {process.exitcode}')
    process.kill()
    process.join()
    return row


def machine() -> str:
    text = Path('/proc/cpuinfo').read_text() if Path('/proc/cpuinfo').exists() else ''
    name = re.search(r'model name\s*: (.*)', text)
    versions = ', '.join(f'{name} {importlib.import_module(name).__version__}'
                         for name in ('torch', 'torchvision', 'mmdet', 'mmcv'))
    return f'one core of {name.group(1) if name else platform.machine()}, {versions}'


INTRODUCTION = """# Operators of mmcv without a compiler

mmcv calls its compiled operators through the module `mmcv._ext`. Where pip has installed an mmcv without them, cxrdet
computes {served} of them with torchvision's kernels and PyTorch; `python -m cxrdet.ops` lists these and the missing
ones. If mmcv has compiled operators, they are used. Each operator is tested against a loop written from its paper, and
its gradients against finite differences.

| computed by | operators |
|---|---|
{operators}

Where mmcv's results differ from what one would expect:

- **Deformable convolution v2 with offsets of a finer map** (DyHead): mmcv reads the offsets' memory as if it had the
  size of the output, without a check. The published weights were trained so, and the bridge reads the same values.
- **Deformable RoI pooling**: results and gradients equal mmcv's, except the gradient of offsets whose samples lie
  beyond the centres of the outermost pixels: there mmcv's gradient does not match its own forward pass.
- **RoIAlign with `pool_mode='max'`** and the **NMS of lanes** (CLRNet on a GPU; not needed on a CPU) are not available.

## MMDetection's families

One config of each family, with random weights, on images of {size} px, on the CPU: forward is a prediction, backward
the training losses with finite gradients. On a CPU, models with deformable attention or focal loss use the Python of
MMDetection and mmcv instead of the operator, which is why it is not in their row. Made by `python benchmarks/bridge.py`
on {machine}; seconds are of the CPU.

**{forward} of {count} predict and {backward} of {trained} train.** No failure is due to a missing operator: packages
are missing (lap, fairscale, transformers, Detectron2), or the error is MMDetection's own (SSD; QueryInst on a CPU,
where the boxes of its random weights lie beside the image).

| family | config | forward | backward | operators used | CPU s | where it ends, and why |
|---|---|---|---|---|---|---|
"""
ENDINGS = re.compile('_(forward|backward|backward_input|backward_parameters)$')


def document(results: dict) -> str:
    """The page docs/operators.md."""
    from cxrdet.ops.extension import OPERATORS
    sources: dict[str, dict[str, None]] = {}
    for name, operator in OPERATORS.items():
        sources.setdefault(operator.source, {})[ENDINGS.sub('', name)] = None
    rows = results['rows'].values()
    text = INTRODUCTION.format(
        served=len(OPERATORS), size=SIZE, machine=results['machine'], count=len(rows),
        operators='\n'.join(f'| {source} | {", ".join(names)} |' for source, names in sources.items()),
        forward=sum(row['forward'] == 'yes' for row in rows), backward=sum(row['backward'] == 'yes' for row in rows),
        trained=sum(row['backward'] != '-' for row in rows))
    for family, row in results['rows'].items():
        used = ', '.join(dict.fromkeys(ENDINGS.sub('', name) for name in row['operators']))
        seconds = '' if row['seconds'] is None else f'{row["seconds"]:.0f}'
        text += (f'| {family} | {row["config"]} | {row["forward"]} | {row["backward"]} | {used} | {seconds} '
                 f'| {row["reason"].replace("|", "/")} |\n')
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('families', nargs='*', help='run these again (default: all that have no row)')
    args = parser.parse_args()
    warnings.simplefilter('ignore')
    for name in ('cxrdet', 'mmdet.apis', 'mmdet.datasets', 'mmpretrain.models'):  # once, before the forks
        importlib.import_module(name)
    import torch
    torch.set_num_threads(1)
    folder = configs_folder()
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else dict(rows={})
    for family in args.families or [name for name in families(folder) if name not in results['rows']]:
        row = run(folder, family)
        print(f'{family:22} {row["forward"]:4} {row["backward"]:4} {row["seconds"]:6.1f} s  {row["reason"]}',
              flush=True)
        results['machine'] = machine()
        results['rows'] = dict(sorted((results['rows'] | {family: row}).items()))
        RESULTS.write_text(json.dumps(results, indent=1) + '\n')
    DOCUMENT.write_text(document(results))

if __name__ == '__main__':
    main()
