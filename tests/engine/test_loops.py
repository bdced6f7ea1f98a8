"""ValLossLoop on a tiny Faster R-CNN, a classifier, and two processes with unequal numbers of batches."""
import json
import multiprocessing
import random
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import ConfigDict

import cxrdet  # noqa: F401 - gives MMDetection its operators

CLASSES = ('RBC', 'WBC')
PIPELINE = [dict(type='LoadImageFromFile'), dict(type='mmdet.LoadAnnotations', with_bbox=True),
            dict(type='mmdet.Resize', scale=(64, 64), keep_ratio=False),
            dict(type='mmdet.PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor',
                                                        'instances'))]


def faster_rcnn() -> ConfigDict:
    """ResNet-18, FPN with 16 channels: as small as a two-stage detector gets."""
    coder = dict(type='DeltaXYWHBBoxCoder', target_means=[0.] * 4, target_stds=[.1, .1, .2, .2])
    assigner = dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.3, min_pos_iou=0.3)
    sampler = dict(type='RandomSampler', num=16, pos_fraction=0.5, add_gt_as_proposals=False)
    return ConfigDict(
        type='mmdet.FasterRCNN', _scope_='mmdet',
        data_preprocessor=dict(type='DetDataPreprocessor', mean=[120.] * 3, std=[60.] * 3, pad_size_divisor=32),
        backbone=dict(type='ResNet', depth=18, out_indices=(2, 3)),
        neck=dict(type='FPN', in_channels=[256, 512], out_channels=16, num_outs=2),
        rpn_head=dict(type='RPNHead', in_channels=16, feat_channels=16, bbox_coder=coder,
                      anchor_generator=dict(type='AnchorGenerator', scales=[2], ratios=[1.0], strides=[16, 32]),
                      loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=True), loss_bbox=dict(type='L1Loss')),
        roi_head=dict(
            type='StandardRoIHead',
            bbox_roi_extractor=dict(type='SingleRoIExtractor', out_channels=16, featmap_strides=[16, 32],
                                    roi_layer=dict(type='RoIAlign', output_size=3, sampling_ratio=2)),
            bbox_head=dict(type='Shared2FCBBoxHead', in_channels=16, fc_out_channels=16, roi_feat_size=3, num_classes=2,
                           bbox_coder=coder, loss_cls=dict(type='CrossEntropyLoss'), loss_bbox=dict(type='L1Loss'))),
        train_cfg=dict(rpn=dict(assigner=assigner, sampler=sampler, allowed_border=-1, pos_weight=-1),
                       rpn_proposal=dict(nms_pre=50, max_per_img=20, nms=dict(type='nms', iou_threshold=0.7)),
                       rcnn=dict(assigner=assigner, sampler=dict(sampler, add_gt_as_proposals=True), pos_weight=-1)),
        test_cfg=dict(rpn=dict(nms_pre=50, max_per_img=20, nms=dict(type='nms', iou_threshold=0.7)),
                      rcnn=dict(score_thr=0.05, nms=dict(type='nms', iou_threshold=0.5), max_per_img=20)))


@pytest.fixture(scope='module')
def coco_set(tmp_path_factory):
    """Three images of 96x80 px with squares of two kinds, one image without any."""
    root, rng = tmp_path_factory.mktemp('set'), np.random.default_rng(0)
    content = {'images': [], 'annotations': [], 'categories': [{'id': i, 'name': n} for i, n in enumerate(CLASSES)]}
    for i in range(3):
        picture = rng.integers(0, 60, (80, 96, 3), dtype=np.uint8)
        for j in range(2 * (i < 2)):
            x, y, side = (int(v) for v in (8 + 40 * j, 10 + 12 * i, 30))
            picture[y:y + side, x:x + side] += np.uint8(120)
            content['annotations'].append({'id': len(content['annotations']) + 1, 'image_id': i, 'category_id': j,
                                           'bbox': [x, y, side, side], 'area': side * side, 'iscrowd': 0})
        cv2.imwrite(str(root / f'{i}.png'), picture)
        content['images'].append({'id': i, 'file_name': f'{i}.png', 'width': 96, 'height': 80})
    (root / 'val.json').write_text(json.dumps(content))
    return root


def make_runner(coco_set, work_dir, loop='cxrdet.ValLossLoop', pipeline=PIPELINE, **loop_options):
    from mmdet.utils import register_all_modules
    from mmengine.runner import Runner
    register_all_modules(init_default_scope=True)
    dataset = dict(type='mmdet.CocoDataset', data_root=str(coco_set), ann_file='val.json', data_prefix=dict(img=''),
                   test_mode=True, metainfo=dict(classes=CLASSES), pipeline=pipeline)
    return Runner(
        model=faster_rcnn(), work_dir=str(work_dir), default_scope='mmdet', experiment_name=f'{work_dir.name}_{loop}',
        val_dataloader=dict(batch_size=2, num_workers=0, dataset=dataset,
                            sampler=dict(type='DefaultSampler', shuffle=False)),
        val_evaluator=dict(type='cxrdet.DetectionMetric'), val_cfg=dict(type=loop, **loop_options),
        log_level='WARNING')


@pytest.fixture(scope='module')
def runner(coco_set, tmp_path_factory):
    made = make_runner(coco_set, tmp_path_factory.mktemp('run'))
    torch.manual_seed(1)
    made.model.init_weights()
    made.load_or_resume()
    return made


def test_loss_equals_sum_by_hand(runner):
    metrics = runner.val()
    assert not runner.model.training
    losses, images = [], []
    with torch.no_grad():
        for i, batch in enumerate(runner.val_dataloader):
            torch.manual_seed(i)  # the seed of the loop is 0
            data = runner.model.data_preprocessor(batch, True)
            raw = runner.model.loss(data['inputs'], data['data_samples'])
            losses.append({name: sum(v.mean() for v in value).item() if isinstance(value, list) else value.mean().item()
                           for name, value in raw.items()})
            images.append(len(batch['inputs']))
    assert images == [2, 1]
    for name in ('loss_rpn_cls', 'loss_rpn_bbox', 'loss_cls', 'loss_bbox', 'acc'):
        expected = (2 * losses[0][name] + losses[1][name]) / 3
        assert metrics[f'val/{name}'] == pytest.approx(expected, rel=1e-5)
    total = sum(2 * losses[0][name] + losses[1][name] for name in losses[0] if 'loss' in name) / 3
    assert metrics['val/loss'] == pytest.approx(total, rel=1e-5) and total > 0.1
    assert losses[0]['loss_rpn_bbox'] > 0 and losses[0]['loss_bbox'] > 0


def test_nothing_else_changes(runner, coco_set, tmp_path):
    """Metrics, weights and statistics of the model, and all generators are as after MMEngine's own loop."""
    plain = make_runner(coco_set, tmp_path, loop='mmengine.ValLoop')
    plain.model.load_state_dict(runner.model.state_dict())
    before = {name: value.clone() for name, value in runner.model.state_dict().items()}
    found = []
    for made in (plain, runner):
        torch.manual_seed(5)
        np.random.seed(5)
        random.seed(5)
        metrics = made.val()
        found.append((torch.rand(1).item(), np.random.rand(), random.random(),
                      {name: value for name, value in metrics.items() if name.startswith('coco/')}))
    assert found[0][:3] == found[1][:3]
    np.testing.assert_equal(found[0][3], found[1][3])
    assert all(torch.equal(before[name], value) for name, value in runner.model.state_dict().items())


def test_a_second_run_gives_the_same_loss_and_logs_it(runner):
    """MMEngine logs the mean of the last ten values of all that is called loss; here it must be the last one."""
    first = runner.val()
    bias = runner.model.roi_head.bbox_head.fc_cls.bias
    bias.data[-1] -= 3
    changed = runner.val()
    bias.data[-1] += 3
    assert runner.val()['val/loss'] == first['val/loss'] < changed['val/loss'] - 0.1
    tag, _ = runner.log_processor.get_log_after_epoch(runner, 2, 'val')
    assert tag['val/loss'] == first['val/loss'] and tag['val/loss_cls'] == first['val/loss_cls']


def test_the_score_of_a_class_named_after_a_loss_is_not_averaged(runner, monkeypatch):
    found = iter((0.25, 0.75))
    monkeypatch.setattr(runner.val_loop.evaluator, 'evaluate', lambda size: {'coco/AP_bone loss': next(found)})
    for expected in (0.25, 0.75):
        runner.val()
        tag, _ = runner.log_processor.get_log_after_epoch(runner, 2, 'val')
        assert tag['coco/AP_bone loss'] == expected


def test_mixed_precision(runner, coco_set, tmp_path, monkeypatch):
    monkeypatch.setenv('CXRDET_PRECISION', 'bfloat16')
    half = make_runner(coco_set, tmp_path, fp16=True)
    half.model.load_state_dict(runner.model.state_dict())
    full, mixed = runner.val()['val/loss'], half.val()['val/loss']
    assert mixed == pytest.approx(full, rel=0.05) and mixed != full


def test_annotations_loaded_after_resizing(coco_set, tmp_path):
    order = [PIPELINE[0], PIPELINE[2], PIPELINE[1], PIPELINE[3]]
    with pytest.raises(ValueError, match='LoadImageFromFile -> Resize -> LoadAnnotations'):
        make_runner(coco_set, tmp_path, pipeline=order).val()


def test_no_annotations(coco_set, tmp_path):
    with pytest.raises(ValueError, match='the samples have no boxes: put dict'):
        make_runner(coco_set, tmp_path, pipeline=[PIPELINE[0], *PIPELINE[2:]]).val()


def test_classifier(tmp_path):
    """An image classifier of MMPretrain; the loss is the cross entropy of its scores."""
    import mmpretrain.models  # noqa: F401
    from mmengine.evaluator import Evaluator
    from mmengine.registry import MODELS
    from mmengine.runner import Runner
    from mmpretrain.evaluation import Accuracy
    from mmpretrain.structures import DataSample
    torch.manual_seed(0)
    model = MODELS.build(dict(
        type='mmpretrain.ImageClassifier', _scope_='mmpretrain', backbone=dict(type='LeNet5'),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(type='LinearClsHead', num_classes=3, in_channels=120, loss=dict(type='CrossEntropyLoss')),
        data_preprocessor=dict(type='ClsDataPreprocessor', mean=[128.], std=[64.])))
    samples = [dict(inputs=torch.randint(0, 256, (1, 32, 32), dtype=torch.uint8),
                    data_samples=DataSample().set_gt_label(i % 3)) for i in range(5)]
    runner = Runner(model=model, work_dir=str(tmp_path), val_cfg=dict(type='cxrdet.ValLossLoop'),
                    val_dataloader=dict(batch_size=2, num_workers=0, dataset=samples,
                                        collate_fn=dict(type='pseudo_collate'),
                                        sampler=dict(type='mmengine.DefaultSampler', shuffle=False)),
                    val_evaluator=Evaluator(Accuracy()), experiment_name='classifier', log_level='ERROR')
    metrics = runner.val()
    with torch.no_grad():
        inputs = model.data_preprocessor(dict(inputs=torch.stack([s['inputs'] for s in samples])), False)['inputs']
        scores = model.head(model.extract_feat(inputs))
    expected = torch.nn.functional.cross_entropy(scores, torch.tensor([0, 1, 2, 0, 1])).item()
    assert metrics['val/loss'] == pytest.approx(expected, rel=1e-5)
    assert 'accuracy/top1' in metrics


def validate_in_group(rank: int, folder: Path) -> None:
    """One of two processes: five images (three batches here and two there), then one image (the other has none)."""
    import torch.distributed as dist
    from mmengine.evaluator import BaseMetric, Evaluator
    from mmengine.model import BaseModel
    from mmengine.runner import Runner
    torch.set_num_threads(1)
    dist.init_process_group('gloo', init_method=f'file://{folder}/store', rank=rank, world_size=2)

    class Toy(BaseModel):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.tensor(2.0))

        def forward(self, inputs, mode):
            value = torch.stack(inputs).float()
            if mode == 'loss':
                dist.all_reduce(torch.ones(1))  # as the heads do that average over all processes
                return dict(loss_a=(self.weight * value).mean(), loss_b=[value.mean(), value.mean()])
            return list(value)

    class Count(BaseMetric):
        default_prefix = 'x'

        def process(self, data_batch, data_samples):
            self.results.extend(data_samples)

        def compute_metrics(self, results):
            return dict(count=len(results))

    found = []
    for images in (5, 1):
        data = [dict(inputs=torch.tensor(float(i))) for i in range(images)]
        loader = dict(batch_size=1, num_workers=0, dataset=data, collate_fn=dict(type='pseudo_collate'),
                      sampler=dict(type='mmengine.DefaultSampler', shuffle=False, round_up=False))
        runner = Runner(model=Toy(), work_dir=str(folder), val_cfg=dict(type='cxrdet.ValLossLoop'), log_level='ERROR',
                        val_dataloader=loader, val_evaluator=Evaluator(Count()), experiment_name=f'group{images}')
        found.append(runner.val())
    (folder / f'{rank}.json').write_text(json.dumps(found))


def test_two_processes(tmp_path):
    """The mean over images 0, 1, 2, 3, 4 is 2: loss_a = 2 * 2, loss_b = 2 + 2."""
    started = [multiprocessing.get_context('fork').Process(target=validate_in_group, args=(rank, tmp_path))
               for rank in range(2)]
    for process in started:
        process.start()
    for process in started:
        process.join(timeout=60)
        process.kill()  # one that still waits for the other
        process.join()
    assert [process.exitcode for process in started] == [0, 0]
    for rank in range(2):
        five, one = json.loads((tmp_path / f'{rank}.json').read_text())
        assert five == pytest.approx({'val/loss': 8.0, 'val/loss_a': 4.0, 'val/loss_b': 4.0, 'x/count': 5})
        assert one == {'x/count': 1}
