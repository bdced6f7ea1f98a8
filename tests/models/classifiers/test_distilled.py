"""DistilledClassifier: its loss and gradient against torch's, single-label and multi-label, and what it refuses."""
import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.registry import MODELS, DefaultScope
from torch.nn import functional

import cxrdet  # noqa: F401
from cxrdet.core.errors import ConfigError

CLASSES = ('lsil', 'hsil', 'scc')
MEAN = dict(mean=[120.0, 110.0, 100.0], std=[55.0, 45.0, 40.0], to_rgb=True)


@pytest.fixture(autouse=True)
def scope():
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        yield


def classifier(depth=18, multi=False, classes=3):
    head = dict(type='cxrdet.MultiLabelHead', in_channels=512, num_classes=classes) if multi else dict(
        type='LinearClsHead', in_channels=512, num_classes=classes, loss=dict(type='CrossEntropyLoss'))
    return ConfigDict(type='ImageClassifier', backbone=dict(type='ResNet', depth=depth),
                      neck=dict(type='GlobalAveragePooling'), head=head)


@pytest.fixture(scope='module')
def teachers(tmp_path_factory):
    found = {}
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        for multi in (False, True):
            torch.manual_seed(1)
            model = MODELS.build(classifier(multi=multi))
            torch.nn.init.normal_(model.head.fc.weight, 0, 0.3)
            path = tmp_path_factory.mktemp('teacher') / 'teacher.pth'
            torch.save(dict(meta=dict(dataset_meta=dict(classes=CLASSES)), state_dict=model.state_dict()), path)
            found[multi] = dict(model=classifier(multi=multi) | dict(data_preprocessor=MEAN), checkpoint=str(path),
                                scope='mmpretrain'), model.eval()
    return found


def build(teacher, multi=False, **more):
    torch.manual_seed(0)
    model = MODELS.build(ConfigDict(type='cxrdet.DistilledClassifier', student=classifier(multi=multi),
                                    teacher=teacher, **dict(dict(classes=CLASSES, data_preprocessor=MEAN), **more)))
    model.init_weights()
    return model.train()


def batch(multi=False):
    from mmpretrain.structures import DataSample
    images = torch.randint(0, 256, (4, 3, 32, 32), generator=torch.Generator().manual_seed(2), dtype=torch.uint8)
    samples = [DataSample().set_gt_label(i % 3) for i in range(4)]
    if multi:
        for i, sample in enumerate(samples):
            sample.set_gt_score(torch.tensor([1.0, 0.0, float('nan') if i else 1.0]))
    return dict(inputs=list(images), data_samples=samples)


def losses_and_logits(model, data, monkeypatch):
    kept, inner = [], model.head.forward

    def watched(features):
        kept.append(inner(features))
        return kept[0]
    monkeypatch.setattr(model.head, 'forward', watched)
    return model(**data, mode='loss'), kept[0]


@pytest.mark.parametrize('multi', [False, True])
def test_loss_and_gradient(teachers, multi, monkeypatch):
    spec, teacher = teachers[multi]
    model = build(spec, multi, alpha=0.7)
    data = model.data_preprocessor(batch(multi), True)
    losses, logits = losses_and_logits(model, data, monkeypatch)
    with torch.no_grad():
        target = teacher(data['inputs'], mode='tensor') / 3
    if multi:  # the mean over images and classes; labels that are not known are left to the teacher
        cross, own = (functional.binary_cross_entropy_with_logits(values, target.sigmoid())
                      for values in (logits / 3, target))
        divergence = cross - own
        labels = torch.stack([sample.gt_score for sample in batch(True)['data_samples']])
        known = ~labels.isnan()
        hard = functional.binary_cross_entropy_with_logits(logits[known], labels[known])
        closed = 3 * ((logits / 3).sigmoid() - target.sigmoid()) / 12
    else:
        divergence = functional.kl_div((logits / 3).log_softmax(1), target.softmax(1), reduction='batchmean')
        hard = functional.cross_entropy(logits, torch.tensor([0, 1, 2, 0]))
        closed = 3 * ((logits / 3).softmax(1) - target.softmax(1)) / 4
    assert set(losses) == {'loss', 'loss_distill', *(['accuracy'] if multi else [])}  # as the student's head has it
    torch.testing.assert_close(losses['loss'], 0.3 * hard)
    torch.testing.assert_close(losses['loss_distill'], 0.7 * 9 * divergence, rtol=1e-4, atol=1e-6)
    assert divergence.item() > 1e-3
    expected = 0.3 * torch.autograd.grad(hard, logits, retain_graph=True)[0] + 0.7 * closed
    found, = torch.autograd.grad(sum(losses.values()), logits)
    torch.testing.assert_close(found, expected.detach(), rtol=1e-4, atol=1e-7)


def test_classes_go_by_name(teachers, tmp_path):
    spec, _ = teachers[False]
    content = torch.load(spec['checkpoint'])
    content['meta']['dataset_meta']['classes'] = (CLASSES[2], CLASSES[0], CLASSES[1])
    for key in ('head.fc.weight', 'head.fc.bias'):
        content['state_dict'][key] = content['state_dict'][key][[2, 0, 1]]
    torch.save(content, tmp_path / 'turned.pth')
    found = []
    for given in (spec, dict(spec, checkpoint=str(tmp_path / 'turned.pth'))):
        model = build(given)
        found.append(model(**model.data_preprocessor(batch(), True), mode='loss')['loss_distill'])
    torch.testing.assert_close(*found)


def test_state_and_predictions_are_those_of_the_student(teachers):
    model = build(teachers[False][0]).eval()
    alone = MODELS.build(classifier() | dict(data_preprocessor=MEAN))
    assert list(model.state_dict()) == list(alone.state_dict())
    alone.load_state_dict(model.state_dict())
    alone.eval()
    for ours, theirs in zip(model.test_step(batch()), alone.test_step(batch())):
        assert torch.equal(ours.pred_score, theirs.pred_score)
    assert not model.train().teacher.training


def test_what_is_refused(teachers):
    spec = teachers[False][0]
    with pytest.raises(ConfigError, match='one is multi-label and the other is not'):
        build(spec, multi=True)
    with pytest.raises(ConfigError, match=r'data_preprocessor \(mean \[120.0, .*\(mean \[0.0'):
        build(spec, data_preprocessor=MEAN | dict(mean=[0.0, 0.0, 0.0]))
    with pytest.raises(ConfigError, match='DistilledClassifier: .*the teacher has other classes'):
        build(spec, classes=('lsil', 'hsil'))
    with pytest.raises(ConfigError, match='teacher.checkpoint: expected the file'):
        build(dict(spec, checkpoint=None))


@pytest.mark.parametrize(('name', 'place'), [
    ('resnet18_distilled_csv', 'model.student.head.num_classes'),
    ('faster_rcnn_r18_distilled_bccd', 'model.student.roi_head.bbox_head.num_classes'),
    ('faster_rcnn_r50_distilled_cell', 'model.student.roi_head.bbox_head.num_classes')])
def test_configs_follow_the_data_and_name_the_teacher(name, place):
    """The names of the classes reach the model, and ``teacher_checkpoint`` its place."""
    from cxrdet.core.recipes import recipes
    from cxrdet.preflight.config import load_config
    from cxrdet.preflight.data import follow_classes
    cfg = load_config(f'configs/{name}.py', cfg_options=['teacher_checkpoint=t.pth'])
    assert isinstance(cfg, Config)
    follow_classes(cfg, classes=('a', 'b', 'c', 'd'))
    assert cfg.model.classes == ('a', 'b', 'c', 'd')
    node = cfg
    for key in place.split('.'):
        node = node[key]
    assert node == 4
    assert cfg.model.teacher.checkpoint == 't.pth'
    assert cfg.model.teacher.config in recipes()
