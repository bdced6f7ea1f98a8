"""DetectorEnsemble over detectors whose boxes are given: names of classes, missing classes, weights, sizes, errors."""
import cxrdet  # noqa: F401  # isort: skip (it serves the operators that mmdet imports)
import numpy as np
import pytest
import torch
from mmdet.models.detectors.base import BaseDetector
from mmdet.structures import DetDataSample
from mmengine.dataset import pseudo_collate
from mmengine.registry import MODELS
from mmengine.structures import InstanceData

from cxrdet.core.errors import ConfigError
from cxrdet.models.ensemble_members import class_orders

A, B = [10., 10., 30., 30.], [12., 10., 32., 30.]
CLASSES = ('cell', 'clump')


class Told(BaseDetector):
    """Finds the boxes it is told to, given in pixels of an image of 40 px, in the image that it sees.

    It adds the mean of its input to the scores, so that what preprocessing did can be seen.
    """

    def __init__(self, found, data_preprocessor=None):
        super().__init__(data_preprocessor=data_preprocessor)
        self.found = found

    def predict(self, batch_inputs, batch_data_samples):
        for image, sample in zip(batch_inputs, batch_data_samples):
            boxes, scores, labels = zip(*self.found) if self.found else ((), (), ())
            height, width = sample.img_shape
            seen = torch.tensor(boxes).reshape(-1, 4) * torch.tensor([width, height] * 2) / 40
            scale = seen.new_tensor([*sample.metainfo.get('scale_factor', (1., 1.))] * 2)
            light = image[:, :height, :width].mean()
            sample.pred_instances = InstanceData(bboxes=seen / scale, scores=torch.tensor(scores) + light,
                                                 labels=torch.tensor(labels, dtype=torch.int64))
        return batch_data_samples

    def loss(self, *args):
        raise NotImplementedError

    _forward = extract_feat = loss


def member(*found, mean=100., classes=CLASSES, **more):
    preprocessor = dict(type='mmdet.DetDataPreprocessor', mean=[mean] * 3, std=[1000.] * 3, pad_size_divisor=32)
    return dict(model=dict(type=Told, found=list(found), data_preprocessor=preprocessor), classes=classes,
                scope='mmdet', **more)


def build(*members, **more):
    return MODELS.build(dict(type='cxrdet.DetectorEnsemble', members=list(members), **more))


def batch(number=1, size=40, **meta):
    samples = [DetDataSample(metainfo=dict(img_shape=(size, size), ori_shape=(40, 40), img_id=i, **meta))
               for i in range(number)]
    return pseudo_collate([dict(inputs=torch.full((3, size, size), 100, dtype=torch.uint8), data_samples=sample)
                           for sample in samples])


def predict(ensemble, data=None):
    found = ensemble.test_step(data or batch())[0].pred_instances
    return found.bboxes.tolist(), found.scores.tolist(), found.labels.tolist()


def test_soft_voting_of_two():
    boxes, scores, labels = predict(build(member((A, 0.8, 0)), member((B, 0.4, 0), (B, 0.6, 1)), fusion='voting'))
    assert labels == [0, 1]
    assert scores == pytest.approx([0.6, 0.3])
    np.testing.assert_allclose(boxes, [[10 + 2 / 3, 10, 30 + 2 / 3, 30], B], rtol=1e-5)


def test_every_image_of_a_batch_gets_its_own():
    ensemble = build(member((A, 0.8, 0)), member())
    data = batch(3)
    results = ensemble.val_step(data)
    assert [sample.img_id for sample in results] == [0, 1, 2]
    assert all('pred_instances' not in sample for sample in data['data_samples'])  # what came in stays
    assert all(sample.pred_instances.scores.tolist() == [pytest.approx(0.4)] for sample in results)


def test_nothing_found():
    boxes, scores, labels = predict(build(member(), member()))
    assert (boxes, scores, labels) == ([], [], [])


@pytest.mark.parametrize('fusion', ['wbf', 'nmw', 'nms', 'soft_nms', 'voting'])
def test_classes_of_another_order_are_brought_in_order(fusion):
    ensemble = build(member((A, 0.8, 0)), member((A, 0.8, 1), classes=CLASSES[::-1]), fusion=fusion,
                     fusion_cfg=dict(iou_thr=0.5))
    boxes, scores, labels = predict(ensemble)
    assert boxes[0] == A
    assert labels[0] == 0
    assert set(labels) == {0}
    assert scores[0] == pytest.approx(0.8)


def test_each_member_preprocesses_for_itself():
    """The second subtracts 90 instead of 100 and divides by 1000: its scores are 0.01 higher."""
    args = member((A, 0.5, 0)), member((A, 0.5, 0), mean=90.)
    assert predict(build(*args, fusion='voting'))[1] == pytest.approx([0.505])


def test_sizes_of_their_own():
    """One member sees 80 px, the other 60 x 40 px behind padding; the batch itself was resized to half."""
    pack = dict(type='PackDetInputs', meta_keys=('ori_shape', 'img_shape', 'scale_factor'))
    large = [dict(type='Resize', scale=(80, 80), keep_ratio=True), pack]
    wide = [dict(type='Resize', scale=(60, 40), keep_ratio=False), pack]
    ensemble = build(member((A, 0.8, 0), pipeline=large), member((A, 0.8, 0), pipeline=wide), member((A, 0.8, 0)))
    for data in (batch(), batch(size=20, scale_factor=(0.5, 0.5))):
        boxes, scores, _ = predict(ensemble, data)
        np.testing.assert_allclose(boxes, [A], rtol=1e-5)
        assert scores == pytest.approx([0.8])
    padded = ensemble.forward(torch.full((1, 3, 64, 64), 100.), batch()['data_samples'], mode='predict')
    np.testing.assert_allclose(padded[0].pred_instances.bboxes, [A], rtol=1e-5)


def test_member_with_views():
    pack = dict(type='PackDetInputs', meta_keys=('ori_shape', 'img_shape'))
    symmetric = [10., 10., 30., 30.]
    ensemble = build(member((symmetric, 0.8, 0), (A[:2] + [20., 20.], 0.5, 1), pipeline=[pack]), tta=dict(
        flips=['horizontal'], scales=[], model=dict(type='cxrdet.WBFTTAModel', fusion='voting')))
    boxes, scores, labels = predict(ensemble)
    assert labels == [0, 1, 1]
    assert scores == pytest.approx([0.8, 0.25, 0.25])
    assert sorted(boxes[1:]) == [[10, 10, 20, 20], [20, 10, 30, 20]]


def test_missing_classes_are_fused_by_those_who_know_them():
    first, second = member((A, 0.8, 0), (B, 0.6, 1)), member((A, 0.4, 0), (B, 0.9, 1), classes=('cell', 'debris'))
    with pytest.raises(ConfigError, match='members.1: .*lacks clump and has debris'):
        build(first, second)
    boxes, scores, labels = predict(build(first, second, fusion='voting', allow_missing=True))
    assert labels == [0, 1]
    assert scores == pytest.approx([0.6, 0.6])
    with pytest.raises(ConfigError, match='no member knows gland'):
        build(first, second, allow_missing=True, classes=('cell', 'gland'))


def test_weights_and_limit():
    args = member((A, 0.8, 0), (B, 0.7, 1)), member((A, 0.2, 0))
    assert predict(build(*args, fusion='voting', weights=[1, 0]))[1] == pytest.approx([0.8, 0.7])
    assert predict(build(*args, fusion='voting', weights=[3, 1], max_per_img=1))[1] == pytest.approx([0.65])
    assert predict(build(*args, fusion='nms'))[1] == pytest.approx([0.8, 0.7])  # equal: scores stay


def test_weights_of_all_members_are_in_its_state():
    class Small(Told):
        def __init__(self, **kwargs):
            super().__init__([], **kwargs)
            self.layer = torch.nn.Linear(1, 1)
    spec = member(pipeline=[dict(type='PackDetInputs')])
    spec['model'] = dict(type=Small)
    assert set(build(spec, spec, tta=True).state_dict()) == {
        f'members.{i}.model.layer.{kind}' for i in (0, 1) for kind in ('weight', 'bias')}


@pytest.mark.parametrize(('members', 'more', 'message'), [
    ([], {}, 'An ensemble needs members'),
    ([dict(checkpoint='a.pth')], {}, 'members.0: give either a config .* got checkpoint'),
    ([dict(member(), config='a.py')], {}, 'members.0: give either a config'),
    ([dict(config='none.py', classes=CLASSES)], {}, 'members.0: none.py: no such config file'),
    ([dict(model=dict(type=Told, found=[]))], {}, 'members.0: its classes are not known'),
    ([member(classes=('a', 'a'))], {}, 'members.0: a class is named twice'),
    ([member()], dict(weights=[1, 2]), 'expected 1 weights >= 0, one per member'),
    ([member()], dict(weights=[0]), 'not all 0'),
    ([member()], dict(fusion='wfb'), 'DetectorEnsemble: fusion must be one of.*Did you mean "wbf"'),
    ([member()], dict(fusion='nms', fusion_cfg=dict(iou=0.5)), 'option of fusion "nms" .* got "iou"'),
    ([member()], dict(fusion_cfg=dict(conf_type='maxx')), 'DetectorEnsemble: conf_type must be .* Did you mean "max"'),
    ([member()], dict(fusion='nms', fusion_cfg=dict(iou_thr=1.5)), r'iou_thr must lie in \[0, 1\], got 1.5'),
    ([member()], dict(tta=True), 'A member without a pipeline cannot have test-time augmentation'),
])
def test_what_is_refused(members, more, message):
    with pytest.raises(ConfigError, match=message):
        build(*members, **more)


def test_boxes_that_cannot_be_fused_are_left_out(monkeypatch):
    told = []
    monkeypatch.setattr('cxrdet.models.fusable_boxes.print_log', lambda text, logger, level: told.append(text))
    wrong = ([30., 10., 10., 30.], 0.9, 0), ([10., 10., float('nan'), 30.], 0.9, 1)
    ensemble = build(member((A, 0.8, 0), *wrong), member((A, 0.4, 0)), fusion='voting')
    for _ in range(2):
        boxes, scores, labels = predict(ensemble)
        assert (boxes, labels) == ([A], [0]) and scores == pytest.approx([0.6])
    assert told == ['DetectorEnsemble: 2 of the 3 boxes of members.0 in an image are inverted or not finite and are '
                    'left out, like all further ones']


def test_it_is_not_trained():
    with pytest.raises(ConfigError, match='An ensemble is not trained'):
        build(member()).forward(torch.zeros(1, 3, 40, 40), batch()['data_samples'], mode='loss')


def test_orders():
    assert class_orders(['a', 'b', 'c'], [['c', 'a', 'b'], ['a', 'b', 'c']]) == [[2, 0, 1], [0, 1, 2]]
    assert class_orders(['a', 'b'], [['b', 'x']], allow_missing=True) == [[1, -1]]
    with pytest.raises(ConfigError, match='it lacks Cell and has cell beside. Did you mean "cell"'):
        class_orders(['Cell'], [['cell']])
    with pytest.raises(ConfigError, match='none of its classes'):
        class_orders(['a'], [['b']], allow_missing=True)
