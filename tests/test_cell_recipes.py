"""The plan's recipes in phases and the flagship against the numbers that were asked for."""
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DATASETS, TRANSFORMS, DefaultScope, init_default_scope

from cxrdet.core.recipes import find_config
from cxrdet.engine.seeding import seed_dataset, seed_generators
from cxrdet.inference.tta import enable_tta
from cxrdet.preflight.config import load_config
from cxrdet.registry import MODELS

CELL = [f'faster_rcnn_cell_phase{phase}' for phase in range(4)]
BCCD = [f'faster_rcnn_bccd_phase{phase}' for phase in range(4)]
#        optimizer, rate, decay, batch, epochs
TRAINING = [('Adam', 1e-3, None, 2, 20), *[('AdamW', 1e-3, 1e-4, 8, 100)] * 3]
#     backbone, neck, box head, class loss, the images: augmented, of six sizes, preprocessed
PARTS = [('ResNet', 'FPN', 'Shared2FCBBoxHead', 'CrossEntropyLoss', (False, False, False)),
         ('ResNet', 'FPN', 'Shared2FCBBoxHead', 'cxrdet.RoIFocalLoss', (True, False, False)),
         ('mmdet.EfficientNet', 'cxrdet.BiFPN', 'cxrdet.RegularizedBBoxHead', 'cxrdet.RoIFocalLoss',
          (True, True, False)),
         ('mmdet.EfficientNet', 'cxrdet.BiFPN', 'cxrdet.RegularizedBBoxHead', 'cxrdet.OHEMLoss', (True, True, True))]


def steps(pipeline):
    return [step.type.rpartition('.')[2] for step in pipeline]


@pytest.mark.parametrize(('name', 'parts'), [*zip(CELL, PARTS), *zip(BCCD, PARTS)])
def test_parts_come_in_phase_by_phase(name, parts):
    cfg = Config.fromfile(find_config(name))
    head, pipeline = cfg.model.roi_head.bbox_head, cfg.train_dataloader.dataset.pipeline
    cleaned = [step.type for step in pipeline[0].get('transforms', ())]
    images = ('Albu' in steps(pipeline), 'RandomChoiceResize' in steps(pipeline), bool(cleaned))
    assert (cfg.model.backbone.type, cfg.model.neck.type, head.type, head.loss_cls.type, images) == parts
    if parts is not PARTS[0]:
        focal = head.loss_cls.get('loss', head.loss_cls)
        assert (focal.type, focal.alpha, focal.gamma) == ('cxrdet.RoIFocalLoss', 0.25, 2)
        assert (head.loss_bbox.type, head.loss_bbox.loss_weight, head.reg_decoded_bbox) == ('GIoULoss', 1.5, True)
        assert cfg.model.rpn_head.loss_cls.loss_weight == 0.5
    if head.type == 'cxrdet.RegularizedBBoxHead':
        assert (head.dropout, head.get('norm', True), head.l2) == (0.3, True, 1e-4)
    if parts is PARTS[3]:
        assert head.loss_cls.keep == 0.7
        for loader in (cfg.val_dataloader, cfg.test_dataloader):
            assert [step.type for step in loader.dataset.pipeline[0].transforms] == cleaned
            assert steps(loader.dataset.pipeline)[-2:] == ['ZScore', 'PackDetInputs']


@pytest.mark.parametrize(('name', 'training'), [*zip(CELL, TRAINING)])
def test_training_settings(name, training):
    cfg = load_config(f'configs/{name}.py')
    optimizer, hooks = cfg.optim_wrapper.optimizer, cfg.default_hooks
    assert (optimizer.type, optimizer.lr, optimizer.get('weight_decay'), cfg.train_dataloader.batch_size,
            cfg.train_cfg.max_epochs) == training
    assert (hooks.early_stopping.patience, hooks.checkpoint.save_best) == (15, 'coco/bbox_mAP')
    assert cfg.param_scheduler[0].type == ('ConstantLR' if training == TRAINING[0] else 'LinearLR')


def test_sizes_and_preprocessing_of_the_last_phase(cell_phantoms):
    """Drawn from made-up cells: six sides, mean 0 and deviation 1; the filters have the strengths that were asked."""
    cfg = load_config('configs/faster_rcnn_cell_phase3.py', data_root=cell_phantoms)
    pipeline = cfg.train_dataloader.dataset.pipeline
    assert steps(pipeline) == ['LoadImage', 'LoadAnnotations', 'Resize', 'Albu', 'RandomChoiceResize', 'ZScore',
                               'PackDetInputs']
    assert pipeline[4].scales == [(side, side) for side in (480, 512, 544, 576, 608, 640)]
    with DefaultScope.overwrite_default_scope('mmdet'):
        clahe, denoise, sharpen = (TRANSFORMS.build(step) for step in pipeline[0].transforms)
        dataset = DATASETS.build(cfg.train_dataloader.dataset)
    assert (clahe.clip_limit, clahe.tile_grid_size, sharpen.amount) == (2.0, (8, 8), 1.0)
    assert (denoise.strength, denoise.colour_strength, denoise.patch_size, denoise.search_size) == (10, 10, 7, 21)
    seed_generators(0)
    seed_dataset(dataset, 0)
    sides = set()
    for k in range(6):
        image = dataset[k]['inputs']
        sides.add(max(image.shape))
        assert image.dtype == torch.float32
        assert (image.mean().item(), image.std().item()) == pytest.approx((0, 1), abs=1e-3)
    assert len(sides) > 1 and sides <= {480, 512, 544, 576, 608, 640}
    assert set(cfg.model.data_preprocessor.mean) == {0} and set(cfg.model.data_preprocessor.std) == {1}


#        transform, probability, its numbers
PRESET = [
    ('RandomResizedCrop', 0.5, dict(size=(640, 640), scale=(0.8, 1.0))),
    ('Affine', 0.5, dict(translate_percent=dict(x=(-0.1, 0.1), y=(-0.1, 0.1)), scale=(0.8, 1.2), rotate=(-15, 15))),
    ('HorizontalFlip', 0.5, {}), ('VerticalFlip', 0.3, {}),
    ('RandomBrightnessContrast', 0.5, dict(brightness_limit=0.2, contrast_limit=0.2)),
    ('HueSaturationValue', 0.3, dict(hue_shift_limit=10, sat_shift_limit=20, val_shift_limit=20)),
    ('CLAHE', 0.5, dict(clip_limit=4.0, tile_grid_size=(8, 8))),
    ('OneOf', 0.3, {}), ('OneOf', 0.2, {}),
    ('RandomGamma', 0.3, dict(gamma_limit=(80, 120))), ('Sharpen', 0.3, {}),
    ('CoarseDropout', 0.3, dict(num_holes_range=(1, 8), hole_height_range=(32, 32), hole_width_range=(32, 32), fill=0)),
]


def test_numbers_of_the_augmentation_preset():
    """In phase 1, at 640 px: each transform with its probability; noise of variance 10 to 50 is told as deviations."""
    albu = Config.fromfile(find_config('faster_rcnn_cell_phase1')).train_dataloader.dataset.pipeline[3]
    crop, inner, holes = albu.transforms
    found = [crop, *inner.transforms, holes]
    assert inner.p == 1 and [(step.type, step.p) for step in found] == [row[:2] for row in PRESET]
    for step, (_, _, numbers) in zip(found, PRESET):
        assert {key: step[key] for key in numbers} == numbers
    blurs, noises = (step.transforms for step in found if step.type == 'OneOf')
    assert [(step.type, step.blur_limit) for step in blurs] == [
        (name, (3, 3)) for name in ('GaussianBlur', 'MedianBlur', 'MotionBlur')]
    assert [step.type for step in noises] == ['GaussNoise', 'ISONoise']
    assert [(255 * share)**2 for share in noises[0].std_range] == pytest.approx([10, 50], rel=0.01)
    assert (albu.bbox_params.format, albu.bbox_params.min_visibility) == ('pascal_voc', 0.3)


def test_numbers_of_the_distillation():
    cfg = Config.fromfile(find_config('faster_rcnn_r50_distilled_cell'))
    teacher = Config.fromfile(find_config(cfg.model.teacher.config))
    assert (cfg.model.temperature, cfg.model.alpha) == (3, 0.7)
    assert (cfg.model.student.backbone.depth, teacher.model.backbone.depth) == (50, 101)


def test_views_of_the_last_phase():
    """The image, mirrored both ways, and at 0.9 and 1.1 of its size, each after the preprocessing."""
    from cxrdet.engine.tta import tta_pipeline
    cfg = load_config('configs/faster_rcnn_cell_phase3.py')
    enable_tta(cfg)
    views = tta_pipeline(cfg.test_dataloader.dataset.pipeline)
    text = str(views)
    assert 'cxrdet.Denoise' in text and 'cxrdet.ZScore' in text
    assert '(576, 576)' in text and '(704, 704)' in text and 'vertical' in text


@pytest.mark.parametrize('name', ['faster_rcnn_bifpn_cell', 'faster_rcnn_cell_phase2', 'faster_rcnn_bccd_phase3',
                                  'faster_rcnn_bifpn_r50_bccd', 'faster_rcnn_bifpn_p3_p7_cell'])
def test_attention_on_p3_to_p5(name):
    """Of the five levels of the pyramid, those of strides 8, 16 and 32 have an attention of ratio 8 and 7x7."""
    cfg = Config.fromfile(find_config(name)).model.neck
    neck = MODELS.build(cfg)
    first = 4 * 2**cfg.get('start_level', 0)
    touched = {first * 2**level: layer for level, layer in enumerate(neck.attentions) if list(layer.parameters())}
    assert list(touched) == [8, 16, 32]
    for layer in touched.values():
        shapes = {tuple(value.shape) for value in layer.parameters() if value.ndim == 4}
        assert shapes == {(32, 256, 1, 1), (256, 32, 1, 1), (1, 2, 7, 7)}


def test_flagship_without_attention():
    plain, whole = (MODELS.build(Config.fromfile(find_config(f'faster_rcnn_bifpn{part}_cell')).model.neck)
                    for part in ('_no_cbam', ''))
    assert plain.attentions is None
    assert set(plain.state_dict()) == {key for key in whole.state_dict() if not key.startswith('attentions.')}


@pytest.mark.long
def test_last_phase_trains_a_step():
    from mmdet.structures import DetDataSample
    from mmengine.structures import InstanceData
    init_default_scope('mmdet')
    torch.manual_seed(0)
    cfg = Config.fromfile('configs/ablations/bccd/faster_rcnn_bccd_phase3.py')
    cfg.model.backbone.init_cfg = None
    cfg.model.train_cfg.rpn_proposal.update(nms_pre=50, max_per_img=50)
    model = MODELS.build(cfg.model)
    shape = dict(img_shape=(64, 64), ori_shape=(64, 64), pad_shape=(64, 64), scale_factor=(1.0, 1.0))
    truth = InstanceData(bboxes=torch.tensor([[8., 8., 40., 44.]]), labels=torch.tensor([1]))
    samples = [DetDataSample(metainfo=shape, gt_instances=truth) for _ in range(2)]
    data = model.data_preprocessor(dict(inputs=[torch.randn(3, 64, 64) for _ in samples], data_samples=samples), True)
    loss, found = model.parse_losses(model.loss(data['inputs'], data['data_samples']))
    loss.backward()
    assert {'loss_cls', 'loss_bbox', 'loss_l2', 'loss_rpn_cls', 'loss_rpn_bbox'} <= set(found)
    assert all(value.isfinite() for key, value in found.items() if key.startswith('loss'))
    assert all(value.grad.isfinite().all() for value in model.parameters() if value.grad is not None)
