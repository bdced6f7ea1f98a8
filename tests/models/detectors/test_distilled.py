"""DistilledDetector: its losses against sums made apart from it, what is in its state, and what it refuses."""
import copy

import cxrdet  # noqa: F401  # isort: skip (it serves the operators that mmdet imports)
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.config import Config, ConfigDict
from mmengine.registry import MODELS, DefaultScope
from mmengine.structures import InstanceData
from torch.nn import functional

from cxrdet.checkpoints.checkpoint import Checkpoint
from cxrdet.core.errors import CheckpointError, ConfigError
from cxrdet.core.recipes import find_config

pytestmark = pytest.mark.long

CLASSES = ('RBC', 'WBC', 'Platelets')
SMALL = {
    'backbone.base_channels': 16, 'backbone.stem_channels': 16, 'backbone.init_cfg': None,
    'neck.in_channels': [16, 32, 64, 128], 'neck.out_channels': 16}
TWO = SMALL | {
    'rpn_head.in_channels': 16, 'rpn_head.feat_channels': 16, 'roi_head.bbox_roi_extractor.out_channels': 16,
    'roi_head.bbox_head.in_channels': 16, 'roi_head.bbox_head.fc_out_channels': 32,
    'roi_head.bbox_head.num_classes': 3, 'train_cfg.rcnn.sampler.num': 32}
ONE = SMALL | {
    'backbone.depth': 18, 'backbone.frozen_stages': -1, 'backbone.norm_eval': False, 'bbox_head.in_channels': 16,
    'bbox_head.feat_channels': 16, 'bbox_head.stacked_convs': 1, 'bbox_head.num_classes': 3}


@pytest.fixture(autouse=True)
def scope():
    with DefaultScope.overwrite_default_scope('mmdet'):
        yield


def student(stages=2, **changes):
    name = 'faster_rcnn_r18_fpn' if stages == 2 else 'retinanet_r50_fpn'
    cfg = Config.fromfile(find_config(f'_base_/models/{name}'))
    cfg.merge_from_dict({f'model.{key}': value for key, value in ((TWO if stages == 2 else ONE) | changes).items()})
    return cfg.model


@pytest.fixture(scope='module')
def teachers(tmp_path_factory):
    """A teacher of each kind: config of its model, and a checkpoint of weights that say something."""
    found = {}
    with DefaultScope.overwrite_default_scope('mmdet'):
        for stages in (2, 1):
            torch.manual_seed(stages)
            model = MODELS.build(student(stages))
            model.init_weights()
            for name, value in model.state_dict().items():
                if 'running_mean' in name or 'fc_cls.weight' in name or 'retina_cls.weight' in name:
                    value.normal_(0, 0.3)
            path = tmp_path_factory.mktemp('teacher') / f'{stages}.pth'
            torch.save(dict(meta=dict(dataset_meta=dict(classes=CLASSES)), state_dict=model.state_dict()), path)
            found[stages] = dict(model=student(stages), checkpoint=str(path), scope='mmdet')
    return found


def build(teacher, stages=2, changes=None, **more):
    torch.manual_seed(0)
    model = MODELS.build(ConfigDict(
        type='cxrdet.DistilledDetector', student=student(stages, **(changes or {})), teacher=teacher,
        **dict(dict(classes=CLASSES), **more)))
    model.init_weights()
    return model.train()


def plain(stages=2):
    torch.manual_seed(0)
    model = MODELS.build(student(stages))
    model.init_weights()
    return model.train()


def batch():
    """Two images of 64 x 96 with boxes, as a data loader gives them."""
    generator, samples = torch.Generator().manual_seed(5), []
    for labels in ([0, 1], [2]):
        boxes = torch.tensor([[10., 12., 40., 44.], [50., 20., 80., 50.]])[:len(labels)]
        sample = DetDataSample(metainfo=dict(img_shape=(64, 96), ori_shape=(64, 96), pad_shape=(64, 96),
                                             batch_input_shape=(64, 96), scale_factor=(1., 1.)))
        sample.gt_instances = InstanceData(bboxes=boxes, labels=torch.tensor(labels))
        samples.append(sample)
    images = [torch.randint(0, 256, (3, 64, 96), generator=generator, dtype=torch.uint8) for _ in samples]
    return dict(inputs=images, data_samples=samples)


def losses_of(model):
    torch.manual_seed(7)  # regions are drawn at random
    return model(**model.data_preprocessor(batch(), True), mode='loss')


def total(value):
    return value if isinstance(value, torch.Tensor) else sum(value)


def kept_logits(model, monkeypatch):
    """What the box head of ``model`` gives in the loss, with its gradient, and the regions."""
    seen, inner = {}, model.roi_head._bbox_forward

    def watched(features, rois):
        result = inner(features, rois)
        if result['cls_score'].requires_grad:
            result['cls_score'].retain_grad()
        seen.update(rois=rois, logits=result['cls_score'])
        return result
    monkeypatch.setattr(model.roi_head, '_bbox_forward', watched)
    return seen


def loaded(teacher):
    model = MODELS.build(teacher['model']).eval()
    Checkpoint.read(teacher['checkpoint']).load_into(model)
    return model


@pytest.mark.parametrize('alpha', [0.7, 0.2])
def test_losses_of_two_stages(teachers, monkeypatch, alpha):
    """Labels: the plain student's part, to the bit, times 1 - alpha. Teacher: torch's kl_div and the closed form."""
    model, alone = build(teachers[2], alpha=alpha), plain()
    seen, seen_alone = kept_logits(model, monkeypatch), kept_logits(alone, monkeypatch)
    losses, expected = losses_of(model), losses_of(alone)
    assert set(losses) == {*expected, 'loss_distill_cls'}
    for name in set(expected) - {'loss_cls'}:
        assert total(losses[name]).item() == total(expected[name]).item()
    assert torch.equal(losses['loss_cls'], expected['loss_cls'] * (1 - alpha))

    images = model.data_preprocessor(batch(), False)['inputs']
    assert len(seen['rois']) > 32
    with torch.no_grad():
        teacher = loaded(teachers[2])
        target = teacher.roi_head._bbox_forward(teacher.extract_feat(images), seen['rois'])['cls_score']
    divergence = functional.kl_div((seen['logits'] / 3).log_softmax(1), (target / 3).softmax(1), reduction='batchmean')
    assert divergence.item() > 1e-3
    torch.testing.assert_close(losses['loss_distill_cls'], alpha * 9 * divergence)

    (losses['loss_cls'] + losses['loss_distill_cls']).backward()
    expected['loss_cls'].backward()
    closed = 3 * ((seen['logits'] / 3).softmax(1) - (target / 3).softmax(1)) / len(target)
    torch.testing.assert_close(seen['logits'].grad, (1 - alpha) * seen_alone['logits'].grad + alpha * closed.detach(),
                               rtol=1e-4, atol=1e-7)


def test_regions_chosen_as_hard_ones(teachers, monkeypatch):
    """OHEM runs the head over all proposals first; the teacher judges those that are left."""
    ohem = {'train_cfg.rcnn.sampler.type': 'OHEMSampler', 'train_cfg.rcnn.sampler.num': 8}
    model = build(teachers[2], changes=ohem)
    seen = kept_logits(model, monkeypatch)
    losses = losses_of(model)
    assert len(seen['rois']) == 16  # eight an image
    with torch.no_grad():
        teacher = loaded(teachers[2])
        pyramid = teacher.extract_feat(model.data_preprocessor(batch(), False)['inputs'])
        target = teacher.roi_head._bbox_forward(pyramid, seen['rois'])['cls_score']
    divergence = functional.kl_div((seen['logits'] / 3).log_softmax(1), (target / 3).softmax(1), reduction='batchmean')
    torch.testing.assert_close(losses['loss_distill_cls'], 0.7 * 9 * divergence)


def test_sigmoid_scores_of_two_stages(teachers, monkeypatch, tmp_path):
    """With RoIFocalLoss there are as many scores as classes, each a yes or no."""
    focal = {'roi_head.bbox_head.loss_cls': dict(_delete_=True, type='cxrdet.RoIFocalLoss')}
    with pytest.raises(ConfigError, match='scores classes by softmax and the other by sigmoid'):
        build(teachers[2], changes=focal)
    torch.manual_seed(3)
    teacher = MODELS.build(student(**focal))
    torch.nn.init.normal_(teacher.roi_head.bbox_head.fc_cls.weight, 0, 0.3)
    torch.save(teacher.state_dict(), tmp_path / 'focal.pth')
    model = build(dict(model=student(**focal), checkpoint=str(tmp_path / 'focal.pth'), classes=CLASSES), changes=focal)
    seen = kept_logits(model, monkeypatch)
    losses = losses_of(model)
    with torch.no_grad():
        pyramid = teacher.eval().extract_feat(model.data_preprocessor(batch(), False)['inputs'])
        target = teacher.roi_head._bbox_forward(pyramid, seen['rois'])['cls_score'] / 3
    assert target.shape == (len(seen['rois']), 3)
    cross, own = (functional.binary_cross_entropy_with_logits(logits, target.sigmoid(), reduction='sum')
                  for logits in (seen['logits'] / 3, target))
    torch.testing.assert_close(losses['loss_distill_cls'], 0.7 * 9 * (cross - own) / len(target), rtol=1e-4, atol=1e-6)


def test_losses_of_one_stage(teachers):
    model, alone = build(teachers[1], 1), plain(1)
    losses, expected = losses_of(model), losses_of(alone)
    assert set(losses) == {'loss_cls', 'loss_bbox', 'loss_distill_cls'}
    assert total(losses['loss_bbox']).item() == total(expected['loss_bbox']).item()
    assert total(losses['loss_cls']).item() == pytest.approx(0.3 * total(expected['loss_cls']).item(), rel=1e-5)
    images = model.data_preprocessor(batch(), False)['inputs']
    rows = []
    with torch.no_grad():
        for network in (model, loaded(teachers[1])):
            maps = network.bbox_head(network.extract_feat(images))[0]  # 9 anchors of 3 classes a place
            rows.append(torch.cat([level.reshape(2, 9, 3, -1).transpose(2, 3).reshape(-1, 3) for level in maps]))
    ours, theirs = (value.double() for value in rows)
    p, q, rich = (theirs / 3).sigmoid(), (ours / 3).sigmoid(), theirs.sigmoid().amax(1)
    divergence = (p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()).sum(1)
    assert rich.std() > 1e-3
    assert losses['loss_distill_cls'].item() == pytest.approx(
        0.7 * 9 * ((divergence * rich).sum() / rich.sum()).item(), rel=1e-4)


def test_classes_go_by_name(teachers, tmp_path):
    """A teacher whose classes stand in another order says the same."""
    content = torch.load(teachers[2]['checkpoint'])
    order = [2, 0, 1]
    content['meta']['dataset_meta']['classes'] = tuple(CLASSES[i] for i in order)
    for key in ('weight', 'bias'):
        value = content['state_dict'][f'roi_head.bbox_head.fc_cls.{key}']
        content['state_dict'][f'roi_head.bbox_head.fc_cls.{key}'] = value[[*order, 3]]
    torch.save(content, tmp_path / 'turned.pth')
    turned = dict(teachers[2], checkpoint=str(tmp_path / 'turned.pth'))
    found, expected = losses_of(build(turned)), losses_of(build(teachers[2]))
    torch.testing.assert_close(found['loss_distill_cls'], expected['loss_distill_cls'])


@pytest.mark.parametrize('adapter', [None, (16, 16)])
def test_imitation_of_the_pyramid(teachers, adapter):
    model = build(teachers[2], imitation=dict(weight=0.5, levels=[0, 2], adapter=adapter))
    assert len(model.adapters) == (2 if adapter else 0)
    assert {name for name, _ in model.named_parameters()} - {name for name, _ in plain().named_parameters()} == (
        {f'adapters.{i}.{kind}' for i in (0, 1) for kind in ('weight', 'bias')} if adapter else set())
    if adapter:
        for layer in model.adapters:  # the identity: as if there were none
            layer.weight.data.copy_(torch.eye(16)[..., None, None])
            layer.bias.data.zero_()
    losses = losses_of(model)
    data = model.data_preprocessor(batch(), False)
    with torch.no_grad():
        ours, theirs = model.extract_feat(data['inputs']), loaded(teachers[2]).extract_feat(data['inputs'])
    distances = [1 - torch.corrcoef(torch.stack([a[:, c].flatten(), b[:, c].flatten()]))[0, 1]
                 for a, b in ((ours[i], theirs[i]) for i in (0, 2)) for c in range(16)]
    assert losses['loss_distill_feat'].item() == pytest.approx(0.5 * torch.stack(distances).mean().item(), rel=1e-3)
    total(losses['loss_distill_feat']).backward()
    assert model.backbone.conv1.weight.grad.abs().sum() > 0


def test_state_is_that_of_a_plain_student(teachers):
    model = build(teachers[2], imitation=dict(adapter=(16, 16)))
    alone = plain()
    ours, theirs = model.state_dict(), alone.state_dict()
    assert list(ours) == list(theirs)
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)  # the same seed draws the same student
    assert alone.load_state_dict(ours).missing_keys == []
    found = model.load_state_dict(theirs)
    assert (found.missing_keys, found.unexpected_keys) == ([], [])
    held = {id(value) for value in model.teacher.parameters()}
    assert not held & {id(value) for value in model.parameters()}
    assert isinstance(model, type(alone))  # what asks for a FasterRCNN finds one


def test_teacher_stays_as_it_is(teachers):
    """In training mode, over steps of the student, and while the student moves."""
    model = build(teachers[2])
    before = {key: value.clone() for key, value in model.teacher.state_dict().items()}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(2):
        model.train()
        assert not any(module.training for module in model.teacher.modules())
        sum(total(value) for name, value in losses_of(model).items() if 'loss' in name).backward()
        optimizer.step()
    assert all(torch.equal(before[key], value) for key, value in model.teacher.state_dict().items())
    assert all(value.grad is None and not value.requires_grad for value in model.teacher.parameters())
    assert any(not torch.equal(value, plain().state_dict()[key]) for key, value in model.state_dict().items())
    model.double()
    assert model.teacher.backbone.conv1.weight.dtype == torch.float64


def test_averaged_and_wrapped(teachers, tmp_path):
    """Under EMA and distributed wrappers the same entries, and one teacher."""
    from mmengine.model import MMDistributedDataParallel
    model = build(teachers[2], imitation=dict(adapter=(16, 16)))
    keys = list(plain().state_dict())
    twin = copy.deepcopy(model)
    assert twin.teacher is model.teacher
    assert twin.adapters[0].weight.data_ptr() == model.adapters[0].weight.data_ptr()
    assert twin.backbone.conv1.weight.data_ptr() != model.backbone.conv1.weight.data_ptr()
    for buffers in (False, True):
        averaged = MODELS.build(dict(type='ExpMomentumEMA', model=model, update_buffers=buffers))
        averaged.update_parameters(model)
        assert [key for key in averaged.state_dict() if key != 'steps'] == [f'module.{key}' for key in keys]
        averaged.load_state_dict(averaged.state_dict())
        assert model.adapters[0].weight.requires_grad
    torch.distributed.init_process_group('gloo', store=torch.distributed.FileStore(str(tmp_path / 'store'), 1), rank=0,
                                         world_size=1)
    try:
        wrapped = MMDistributedDataParallel(model)
        assert list(wrapped.state_dict()) == [f'module.{key}' for key in keys]
        losses = wrapped(**wrapped.module.data_preprocessor(batch(), True), mode='loss')
        total(losses['loss_distill_cls']).backward()
        assert wrapped.module.roi_head.bbox_head.fc_cls.weight.grad.abs().sum() > 0
    finally:
        torch.distributed.destroy_process_group()


def test_it_predicts_as_the_student_and_without_a_teacher(teachers):
    torch.manual_seed(0)
    model = MODELS.build(ConfigDict(type='cxrdet.DistilledDetector', student=student(),
                                    teacher=dict(config='none.py', checkpoint=None))).eval()
    alone = MODELS.build(student()).eval()
    alone.load_state_dict(model.state_dict())
    for ours, theirs in zip(model.test_step(batch()), alone.test_step(batch())):
        assert len(ours.pred_instances) > 0
        assert torch.equal(ours.pred_instances.bboxes, theirs.pred_instances.bboxes)
        assert torch.equal(ours.pred_instances.scores, theirs.pred_instances.scores)


@pytest.mark.parametrize(('change', 'more', 'message'), [
    (dict(classes=('RBC', 'WBC', 'platelets')), {}, 'the teacher has other classes .*platelets.* by name. Did you mean '
     '"platelets"'),
    (dict(classes=('RBC', 'WBC', 'Platelets', 'Bacteria')), {}, r'the teacher has other classes \(RBC, .*Bacteria\)'),
    ({}, dict(classes=None), 'the classes of the student are not known'),
    (dict(checkpoint=None), {}, 'teacher.checkpoint: expected the file of the trained teacher, got nothing. .*FILE'),
    (dict(checkpoint='none.pth'), {}, 'none.pth: '),
    (dict(config='a.py'), {}, 'DistilledDetector: teacher: give either a config'),
    (dict(teh='x'), {}, 'teacher: a key must be one of .* got "teh"'),
    ({}, dict(alpha=1.5), r'alpha must lie in \[0, 1\], got 1.5'),
    ({}, dict(temperature=0), r'temperature must lie in \(0, inf\)'),
    ({}, dict(imitation=dict(wieght=1)), 'imitation must be one of .* got "wieght". Did you mean "weight"'),
])
def test_what_is_refused(teachers, change, more, message):
    with pytest.raises((ConfigError, CheckpointError), match=message):
        build(dict(teachers[2], **change), **more)


def test_other_preprocessing_and_other_anchors_are_refused(teachers):
    with pytest.raises(ConfigError, match=r'data_preprocessor \(mean \[123.*RGB.*\(mean \[0.0, 0.0, 0.0\]'):
        build(teachers[2], changes={'data_preprocessor.mean': [0.0, 0.0, 0.0]})
    with pytest.raises(ConfigError, match='is not the student.s .*BGR and RGB as they come'):
        build(teachers[2], changes={'data_preprocessor.bgr_to_rgb': False})
    with pytest.raises(ConfigError, match='the anchors of teacher and student differ'):
        build(teachers[1], 1, changes={'bbox_head.anchor_generator.ratios': [0.4, 1.0, 2.0]})
    with pytest.raises(ConfigError, match='one has one stage and the other has two'):
        build(teachers[1])
    model = build(teachers[2], changes={'neck.out_channels': 32, 'rpn_head.in_channels': 32,
                                        'roi_head.bbox_roi_extractor.out_channels': 32,
                                        'roi_head.bbox_head.in_channels': 32}, imitation=dict(weight=1.0))
    with pytest.raises(ConfigError, match=r'level 0 is \(2, 32, 16, 24\) in the student and \(2, 16, 16, 24\)'):
        losses_of(model)


def test_other_kinds_of_students_are_refused():
    cfg = Config.fromstring("_base_ = 'mmdet::_base_/models/cascade-rcnn_r50_fpn.py'", '.py')
    with pytest.raises(ConfigError, match='the student must be a one-stage .* single box head .*CascadeRoIHead'):
        MODELS.build(ConfigDict(type='cxrdet.DistilledDetector', student=cfg.model, teacher={}))
    with pytest.raises(ConfigError, match='student: expected the config of a model'):
        MODELS.build(dict(type='cxrdet.DistilledDetector', student=dict(), teacher={}))
