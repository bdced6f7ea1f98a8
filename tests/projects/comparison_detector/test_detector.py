"""ComparisonDetector: both branches learn, references do not move batch norms, what is refused."""
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData

from cxrdet.core.errors import ConfigError, DataError
from projects.comparison_detector.comparison_detector.prototypes import class_prototypes, pool_levels

CLASSES = ('RBC', 'WBC', 'Platelets')


def batch(labels):
    """Two images with the same boxes of these classes; it seeds torch, by which regions are sampled."""
    torch.manual_seed(1)
    sample = DetDataSample(metainfo=dict(img_shape=(64, 64), ori_shape=(64, 64), pad_shape=(64, 64),
                                         batch_input_shape=(64, 64), scale_factor=(1., 1.)))
    boxes = torch.tensor([[4., 4, 30, 30], [32, 8, 60, 40], [10, 30, 40, 62]])[:len(labels)]
    sample.gt_instances = InstanceData(bboxes=boxes, labels=torch.tensor(labels, dtype=torch.int64))
    sample.ignored_instances = InstanceData(bboxes=torch.zeros(0, 4))
    return torch.randn(2, 3, 64, 64), [sample, sample.clone()]


def total(losses):
    return sum(sum(value) if isinstance(value, list) else value for name, value in losses.items() if 'loss' in name)


def gradient(model):
    """Of the first weight of the backbone."""
    return model.backbone.conv1.weight.grad.clone()


def test_both_branches_reach_the_backbone(build, monkeypatch):
    torch.manual_seed(0)
    model = build().train()
    model.load_references(CLASSES)
    start = {name: value.clone() for name, value in model.state_dict().items()}
    found = []
    for alone in (None, 'images', 'references'):
        model.load_state_dict(start)  # running statistics, which references are normalised by
        model.zero_grad()
        with monkeypatch.context() as patch:
            if alone == 'images':
                own = model.prototypes_of
                patch.setattr(model, 'prototypes_of', lambda *a, own=own: [value.detach() for value in own(*a)])
            if alone == 'references':
                own = model.extract_feat
                patch.setattr(model, 'extract_feat', lambda x, own=own: own(x) if len(x) == 6 else tuple(
                    level.detach() for level in own(x)))
            total(model.loss(*batch([0, 1, 2]))).backward()
            found.append(gradient(model))
    both, images, references = found
    assert images.abs().sum() > 0 and references.abs().sum() > 0
    torch.testing.assert_close(both, images + references, rtol=1e-3, atol=1e-5)
    assert model.roi_head.bbox_head.fc_cls.prototypes.abs().sum() == 0  # a step stores none


def test_prototypes_are_those_of_the_definition(build):
    """Of the frozen batch norms, in order of the classes, whatever mode the model is in."""
    model = build().eval()
    model.load_references(CLASSES)
    images, labels = model._images
    assert labels.tolist() == [0, 0, 1, 1, 2, 2]
    with torch.no_grad():
        inputs = model.data_preprocessor(dict(inputs=list(images)), False)['inputs']
        levels = model.extract_feat(inputs)[:4]
        expected = class_prototypes(pool_levels(levels, (7, 7)), labels, 3)
    model.train()
    before = {name: value.clone() for name, value in model.named_buffers()}
    model.refresh_prototypes()
    torch.testing.assert_close(model.roi_head.bbox_head.fc_cls.prototypes, expected.flatten(0, 1))
    assert all(torch.equal(before[name], value) for name, value in model.named_buffers() if 'prototypes' not in name)
    assert model.backbone.bn1.training and not expected.isnan().any()


def test_prototypes_of_other_weights_leave_the_model_alone(build):
    model, other = build(), build()
    for detector in (model, other):
        detector.load_references(CLASSES)
    own = {name: value.clone() for name, value in model.state_dict().items()}
    found = model.computed_prototypes(other.state_dict())
    other.refresh_prototypes()
    (name, value), = found.items()
    torch.testing.assert_close(value, other.state_dict()[name])
    assert all(torch.equal(own[key], value) for key, value in model.state_dict().items())


@pytest.mark.parametrize('labels', [[], [0], [1, 1]])
def test_classes_without_regions_in_a_batch(build, labels):
    model = build().train()
    model.load_references(CLASSES)
    loss = total(model.loss(*batch(labels)))
    loss.backward()
    assert torch.isfinite(loss) and torch.isfinite(gradient(model)).all()


def test_one_class(build):
    model = build(classes=1).train()
    model.load_references(['WBC'])
    total(model.loss(*batch([0, 0]))).backward()
    model.refresh_prototypes()
    inputs, samples = batch([0])
    with torch.no_grad():
        found, _ = model.eval().predict(inputs, samples)
    assert set(found.pred_instances.labels.tolist()) <= {0}


@pytest.mark.parametrize('head, asked', [
    (dict(per_image=2), dict(per_class=2)), (dict(per_image=2, merge='mean', metric='cosine'), dict(redraw=True)),
    (dict(background='free', metric='cosine'), dict(redraw=True)),
    (dict(background='stacked', reg_class_agnostic=False), dict(seed=3))])
def test_options(build, head, asked):
    model = build(head=head, references=asked).train()
    model.load_references(CLASSES)
    total(model.loss(*batch([0, 1, 2]))).backward()
    model.refresh_prototypes()
    stored = model.roi_head.bbox_head.fc_cls.prototypes
    assert len(stored) == 3 * (head.get('per_image') or 1) and stored.abs().flatten(1).sum(dim=1).all()
    assert len(model._images.labels) == (9 if asked.get('redraw') else 6)


def test_redrawn_references_change_from_step_to_step(build, monkeypatch):
    model = build(references=dict(redraw=True, per_class=1)).train()
    model.load_references(CLASSES)
    seen, own = [], model.prototypes_of
    monkeypatch.setattr(model, 'prototypes_of', lambda images, labels: seen.append(images.sum().item()) or own(
        images, labels))
    inputs, samples = batch([0])
    for _ in range(6):
        model.loss(inputs, samples)
    assert len(set(seen)) > 1


def test_without_references_nothing_is_needed_to_predict(build):
    model = build(references=dict(root='nowhere')).eval()
    inputs, samples = batch([0])
    with torch.no_grad():
        found, _ = model.predict(inputs, samples)
    assert torch.isfinite(found.pred_instances.unknown_scores).all()
    with pytest.raises(ConfigError, match='PrototypeHook'):
        model.loss(inputs, samples)
    with pytest.raises(DataError, match='nowhere'):
        model.load_references(CLASSES)


@pytest.mark.parametrize('changes, text', [
    (dict(references=dict(pre_class=2)), 'Did you mean "per_class"'), (dict(references=dict(per_class=0)), 'per_class'),
    (dict(references=dict(per_class=2.5)), 'per_class'), (dict(references=dict(per_class=True)), 'per_class'),
    (dict(references=dict(size=32.5)), 'size'), (dict(references=dict(seed=-1)), 'seed'),
    (dict(references=dict(seed='x')), 'seed'), (dict(references=dict(redraw='maybe')), 'redraw'),
    (dict(references=dict(root=5)), 'references.root'), (dict(references=dict(pipeline='x')), 'references.pipeline'),
    (dict(references=dict(pipeline=['x'])), 'references.pipeline'), (dict(references='refs'), 'must be a dict'),
    (dict(head=dict(per_image=1.5)), 'per_image'),
    (dict(head=dict(per_image=3)), 'per_image'), (dict(head=dict(learned=True)), 'learned'),
    (dict(head=dict(type='Shared2FCBBoxHead', _delete_=True, in_channels=16)), 'ComparisonBBoxHead')])
def test_wrong_arguments(build, changes, text):
    with pytest.raises(ConfigError, match=text):
        build(**changes)


def test_classes_that_do_not_fit(build):
    with pytest.raises(ConfigError, match='num_classes is 2'):
        build(classes=2).load_references(CLASSES)
    with pytest.raises(ConfigError, match='references.root'):
        build(references=dict(root=None)).load_references(CLASSES)
    with pytest.raises(DataError, match='"NRBC"'):
        build().load_references(['RBC', 'WBC', 'NRBC'])


