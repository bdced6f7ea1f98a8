"""On a GPU: the numbers of the CPU, training in float16, and runs that move between GPU and CPU."""
import json
import os
import subprocess
import sys
from pathlib import Path

import mmengine.device.utils
import numpy as np
import pytest
import torch
from mmengine.registry import init_default_scope

from cxrdet.preflight.config import load_config

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason='no CUDA GPU')
REPOSITORY = Path(__file__).parents[1]
DETECTORS = ['faster_rcnn_bifpn_cell', 'faster_rcnn_bifpn_swin_t_cell', 'retinanet_bifpn_cell',
             'faster_rcnn_fpn_cell+lookahead', 'faster_rcnn_fpn_cell+lamb', 'faster_rcnn_fpn_cell+ohem',
             'faster_rcnn_bifpn_focal_giou_cell', 'faster_rcnn_bifpn_bccd']
CLASSIFIERS = ['resnet18_hybrid_csv', 'resnet18_bot_csv', 'resnet18_ca_csv', 'densenet121_nih', 'vit_b16_nih']
TINY = 'configs/faster_rcnn_bifpn_cell_tiny.py'


@pytest.fixture
def exact(monkeypatch):
    """float32 all through: no TF32 in convolutions."""
    monkeypatch.setattr(torch.backends.cudnn, 'allow_tf32', False)


def config(name):
    cfg = load_config(name)
    from cxrdet.apis.train import drop_pretrained
    drop_pretrained(cfg)
    init_default_scope(cfg.default_scope)
    return cfg


def noise(height, width):
    return torch.from_numpy(np.random.default_rng(0).integers(0, 255, (3, height, width), dtype=np.uint8))


@pytest.mark.parametrize('name', DETECTORS)
def test_detector_finds_what_it_finds_on_the_cpu(name, exact):
    """Feature maps to 1e-3 of their range; the scores of all boxes to 1e-3."""
    from mmdet.registry import MODELS
    from mmdet.structures import DetDataSample
    torch.manual_seed(0)
    model = MODELS.build(config(name).model).eval()
    meta = dict(img_shape=(128, 160), ori_shape=(128, 160), scale_factor=(1.0, 1.0))
    data = dict(inputs=[noise(128, 160)], data_samples=[DetDataSample(metainfo=meta)])
    found = []
    for device in ('cpu', 'cuda'):
        model = model.to(device)
        with torch.no_grad():
            batch = model.data_preprocessor(data, False)
            maps = [level.cpu() for level in model.extract_feat(batch['inputs'])]
            result, = model.test_step(data)
        assert result.pred_instances.bboxes.device.type == device
        found.append((maps, result.pred_instances.scores.cpu().sort(descending=True).values[:20]))
    for cpu, gpu in zip(*(maps for maps, _ in found)):
        assert (cpu - gpu).abs().max() <= 1e-3 * cpu.abs().max()
    torch.testing.assert_close(found[1][1], found[0][1], atol=1e-3, rtol=0)


@pytest.mark.parametrize('name', CLASSIFIERS)
def test_classifier_gives_the_probabilities_of_the_cpu(name, exact):
    from mmpretrain.registry import MODELS
    from mmpretrain.structures import DataSample
    torch.manual_seed(0)
    cfg = config(name)
    model = MODELS.build(cfg.model | dict(data_preprocessor=cfg.data_preprocessor))
    model.eval()
    scores = []
    for device in ('cpu', 'cuda'):
        with torch.no_grad():
            result, = model.to(device).test_step(dict(inputs=[noise(224, 224)], data_samples=[DataSample()]))
        scores.append(result.pred_score.cpu())
    torch.testing.assert_close(scores[1], scores[0], atol=1e-4, rtol=0)


@pytest.mark.parametrize('method', ['wbf', 'nmw', 'nms', 'soft_nms', 'voting'])
def test_fusion_of_boxes_on_the_gpu(method):
    """The fused boxes stay there, and are those of the CPU."""
    from cxrdet.core.detection.fusion import fuse
    generator = torch.Generator().manual_seed(0)
    boxes, scores, labels = [], [], []
    for _ in range(3):
        corner = torch.rand(200, 2, generator=generator) * 80
        boxes.append(torch.cat([corner, corner + 5 + 20 * torch.rand(200, 2, generator=generator)], 1))
        scores.append(torch.rand(200, generator=generator))
        labels.append(torch.randint(0, 4, (200,), generator=generator))
    cpu = fuse(boxes, scores, labels, fusion=method)
    gpu = fuse(*([part.cuda() for part in parts] for parts in (boxes, scores, labels)), fusion=method)
    assert all(part.is_cuda for part in gpu)
    for one, other in zip(cpu, gpu):
        torch.testing.assert_close(other.cpu(), one, atol=1e-5, rtol=1e-5)


def train(tool, name, data, work_dir, *options, epochs=1, settings=()):
    short = ['train_dataloader.num_workers=0', 'train_dataloader.persistent_workers=False',
             'val_dataloader.num_workers=0', 'val_dataloader.persistent_workers=False',
             f'train_cfg.max_epochs={epochs}', 'train_cfg.val_interval=1', 'default_hooks.logger.interval=1']
    return tool('train').main([name, '--data-root', str(data), '--work-dir', str(work_dir), '--from-scratch',
                               *options, '--cfg-options', *short, *settings])


def losses(work_dir):
    lines = [json.loads(line) for file in sorted(work_dir.glob('*/vis_data/scalars.json'))
             for line in file.read_text().splitlines()]
    return [line['loss'] for line in lines if 'loss_cls' in line]


@pytest.mark.parametrize('name', [name for name in DETECTORS if name.endswith('cell')])
def test_training_in_float16(name, tool, cell_phantoms, tmp_path):
    """Every step has a finite loss, and the weights that are saved are finite."""
    from cxrdet.checkpoints.checkpoint import Checkpoint
    assert train(tool, name, cell_phantoms, tmp_path, '--amp',
                 settings=['train_dataloader.batch_size=2', 'precision=float16']) == 0
    assert 'MixedPrecisionOptimWrapper' in (tmp_path / f'{name}.py').read_text()
    steps = losses(tmp_path)
    assert len(steps) == 4
    assert np.isfinite(steps).all()
    weights = Checkpoint.read(tmp_path / 'epoch_1.pth').content['state_dict']
    assert all(torch.isfinite(value).all() for value in weights.values() if value.is_floating_point())


@pytest.mark.parametrize('devices', [('cuda', 'cpu'), ('cpu', 'cuda')])
def test_run_moves_between_gpu_and_cpu(devices, tool, cell_phantoms, tmp_path, monkeypatch):
    monkeypatch.setattr(mmengine.device.utils, 'DEVICE', 'cuda')  # which the runs set
    for epochs, device in enumerate(devices, 1):
        assert train(tool, TINY, cell_phantoms, tmp_path, '--resume', epochs=epochs,
                     settings=[f'device={device}', 'optim_wrapper.type=OptimWrapper']) == 0
    assert (tmp_path / 'last_checkpoint').read_text().endswith('epoch_2.pth')
    assert np.isfinite(losses(tmp_path)).all()


def test_one_process_with_nccl(cell_phantoms, tmp_path):
    command = [REPOSITORY / 'tools' / 'dist_train.sh', TINY, '1', '--data-root', cell_phantoms, '--work-dir', tmp_path,
               '--amp', '--cfg-options', 'train_cfg.max_epochs=1', 'train_cfg.val_interval=1']
    done = subprocess.run(command, cwd=REPOSITORY, env={**os.environ, 'PYTHON': sys.executable}, timeout=300, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == 0, done.stdout[-3000:]
    assert (tmp_path / 'last_checkpoint').is_file()
