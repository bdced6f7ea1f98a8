"""WBFTTAModel with a detector that is exact: its boxes come out the same through every flip and scale."""
import cxrdet  # noqa: F401  # isort: skip (it serves the operators that mmdet imports)
import numpy as np
import pytest
import torch
from mmdet.models.detectors.base import BaseDetector
from mmdet.structures import DetDataSample
from mmengine.dataset import Compose, pseudo_collate
from mmengine.registry import MODELS, DefaultScope
from mmengine.structures import InstanceData

from cxrdet.core.detection.fusion import FUSIONS
from cxrdet.core.errors import ConfigError
from cxrdet.engine.tta import tta_pipeline
from cxrdet.models.tta import WBFTTAModel

TRUTH = {(75, 133): [[3., 5., 20.5, 31.25], [90.125, 40., 133., 75.]],
         (64, 50): [[0., 0., 50., 64.], [7., 9., 11., 30.]]}
PACK = dict(type='PackDetInputs', meta_keys=('img_id', 'ori_shape', 'img_shape', 'scale_factor'))
PIPELINES = {
    'resize': [dict(type='Resize', scale=(160, 100), keep_ratio=True), PACK],
    'squeeze': [dict(type='Resize', scale=(101, 77), keep_ratio=False), PACK],
    'resize, pad': [dict(type='Resize', scale=(160, 100), keep_ratio=True), dict(type='Pad', size_divisor=32), PACK],
    'fixed pad': [dict(type='Resize', scale=(160, 100), keep_ratio=True), dict(type='Pad', size=(160, 100)), PACK],
    'pad': [dict(type='Pad', size_divisor=32), PACK],
    'pack': [PACK],
}  # yapf: disable


class Ruler(BaseDetector):
    """Finds the boxes of ``TRUTH`` in images whose pixels hold their own place: x in channel 0, y in channel 1."""

    def predict(self, batch_inputs, batch_data_samples):
        for image, sample in zip(batch_inputs, batch_data_samples):
            where = [self._where(image[0, 3]), self._where(image[1, :, 3])]
            boxes = torch.tensor(TRUTH[sample.ori_shape], dtype=torch.float64)
            seen = torch.stack([slope * boxes[:, i::2] + start for i, (slope, start) in enumerate(where)], -1)
            seen = torch.cat([seen.min(1).values, seen.max(1).values], -1)  # a flip exchanges the corners
            size = seen.new_tensor([*sample.img_shape[::-1]] * 2)
            assert (seen >= -1e-3).all() and (seen <= size + 1e-3).all()
            sample.pred_instances = InstanceData(bboxes=(seen / seen.new_tensor([*sample.scale_factor] * 2)).float(),
                                                 scores=torch.tensor([0.75, 0.5]), labels=torch.tensor([1, 0]))
        return batch_data_samples

    @staticmethod
    def _where(line):
        """The place in this image = slope * place in the original + start, read off two pixels near the left."""
        near, far = line[4].double(), line[12].double()
        slope = 8 / (far - near)
        return slope, 4.5 - slope * (near + 0.5)

    def loss(self, *args):
        raise NotImplementedError

    _forward = extract_feat = loss


def views(shape, steps):
    """Run an image of this shape through a pipeline whose loading is done."""
    height, width = shape
    image = np.stack([*np.meshgrid(np.arange(width), np.arange(height)), np.zeros(shape)], -1).astype(np.float32)
    with DefaultScope.overwrite_default_scope('mmdet'):
        return Compose(steps)(dict(img=image, img_id=0, img_shape=shape, ori_shape=shape, scale_factor=(1.0, 1.0)))


def model_of(**more):
    ruler = Ruler(data_preprocessor=dict(type='mmdet.DetDataPreprocessor', pad_size_divisor=32))
    return MODELS.build(dict(type='cxrdet.WBFTTAModel', module=ruler, **more))


@pytest.mark.parametrize('name', PIPELINES)
def test_every_view_gives_the_same_boxes(name):
    """Flips and scales one by one, before they are merged."""
    steps = tta_pipeline(PIPELINES[name], flips=('horizontal', 'vertical', 'diagonal'), scales=(0.9, 1.0, 1.1, 1.37),
                         combine=True)
    model = model_of()
    seen = []
    model.merge_preds = lambda samples: seen.extend(samples)
    model.test_step(pseudo_collate([views(shape, steps) for shape in TRUTH]))
    assert [len(samples) for samples in seen] == [16, 16]
    flips, sizes = set(), set()
    for samples in seen:
        for sample in samples:
            merged = WBFTTAModel._merge_single_sample(model, [sample])
            np.testing.assert_allclose(merged.pred_instances.bboxes, TRUTH[sample.ori_shape], atol=1e-3)
            flips.add(sample.metainfo.get('flip_direction'))
            sizes.add((sample.ori_shape, sample.scale_factor))
    assert flips == {None, 'horizontal', 'vertical', 'diagonal'}
    assert len(sizes) == 8  # four scales of two images


@pytest.mark.parametrize('fusion', FUSIONS)
def test_merged_boxes(fusion):
    steps = tta_pipeline(PIPELINES['resize, pad'])
    first, second = model_of(fusion=fusion).test_step(pseudo_collate([views(shape, steps) for shape in TRUTH]))
    for sample in (first, second):
        found = sample.pred_instances
        order = found.scores.argsort(descending=True, stable=True)
        best = {'nms': 2, 'wbf': 2, 'nmw': 2, 'voting': 2}.get(fusion, len(order))
        assert len(order) == best
        np.testing.assert_allclose(found.bboxes[order[0]], TRUTH[sample.ori_shape][0], atol=1e-3)
        assert found.labels[order[0]] == 1
        assert found.scores[order[0]] == pytest.approx(0.75)
    assert sample.ori_shape == (64, 50)


def test_a_fifth_of_the_views_weighs_a_fifth():
    samples = [DetDataSample(metainfo=dict(ori_shape=(40, 40), **flip)) for flip in (
        {}, dict(flip=True, flip_direction='horizontal'), dict(flip=False, flip_direction=None), {}, {})]
    for sample in samples:
        sample.pred_instances = InstanceData(bboxes=torch.zeros(0, 4), scores=torch.zeros(0),
                                             labels=torch.zeros(0, dtype=torch.int64))
    model = model_of()
    empty = model.merge_preds([samples])[0].pred_instances
    assert empty.bboxes.shape == (0, 4)
    assert empty.labels.dtype == torch.int64
    samples[1].pred_instances = InstanceData(bboxes=torch.tensor([[5., 1., 15., 9.]]), scores=torch.tensor([0.5]),
                                             labels=torch.tensor([2]))
    found = model.merge_preds([samples])[0].pred_instances
    assert found.bboxes.tolist() == [[25., 1., 35., 9.]]
    assert found.scores.tolist() == [pytest.approx(0.1)]
    assert found.labels.tolist() == [2]


def test_limits_and_weights():
    steps = tta_pipeline(PIPELINES['resize'], flips=['horizontal'], scales=[])
    batch = pseudo_collate([views((64, 50), steps)])
    assert len(model_of(max_per_img=1).val_step(batch)[0].pred_instances) == 1
    with pytest.raises(ConfigError, match='3 weights for 2 views'):
        model_of(weights=[1, 1, 1]).test_step(pseudo_collate([views((64, 50), steps)]))


def test_boxes_that_cannot_be_fused_are_left_out(monkeypatch):
    told = []
    monkeypatch.setattr('cxrdet.models.fusable_boxes.print_log', lambda text, logger, level: told.append(text))
    samples = [DetDataSample(metainfo=dict(ori_shape=(40, 40), img_path='a.png', **flip)) for flip in (
        {}, dict(flip=True, flip_direction='horizontal'))]
    for sample in samples:
        sample.pred_instances = InstanceData(
            bboxes=torch.tensor([[10., 10., 30., 30.], [30., 10., 10., 30.], [0., 0., 40., float('inf')]]),
            scores=torch.tensor([0.8, 0.9, 0.7]), labels=torch.tensor([0, 0, 1]))
    found = model_of().merge_preds([samples])[0].pred_instances
    assert found.bboxes.tolist() == [[10., 10., 30., 30.]]
    assert found.scores.tolist() == [pytest.approx(0.8)]
    assert told == ['WBFTTAModel: 2 of the 3 boxes of a view of a.png are inverted or not finite and are '
                    'left out, like all further ones']


@pytest.mark.parametrize(('more', 'message'), [
    (dict(fusion='wfb'), 'WBFTTAModel: fusion must be one of wbf.*Did you mean "wbf"'),
    (dict(fusion_cfg=dict(conf_type='maxx')), 'WBFTTAModel: conf_type must be one of avg.*Did you mean "max"'),
    (dict(fusion='soft_nms', fusion_cfg=dict(sigma=0)), 'sigma > 0'),
    (dict(fusion_cfg=dict(iou_tr=0.5)), 'option .* got "iou_tr". Did you mean "iou_thr"'),
])
def test_what_is_refused(more, message):
    with pytest.raises(ConfigError, match=message):
        model_of(**more)
