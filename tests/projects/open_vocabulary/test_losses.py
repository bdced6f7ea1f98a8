"""Matching against every assignment there is and against MMDetection's; losses by hand."""
import itertools
import math

import pytest
import torch
from mmengine.structures import InstanceData
from scipy.optimize import linear_sum_assignment

from cxrdet.core.errors import ConfigError
from projects.open_vocabulary.open_vocabulary.decoder import Found
from projects.open_vocabulary.open_vocabulary.losses import PhraseLoss, Truth, assign, matching_cost, truth_of

SIZE = (40, 60)


def found(boxes=5, phrases=3, lead=(), seed=0):
    generator = torch.Generator().manual_seed(seed)
    places = torch.rand(*lead, boxes, 4, generator=generator) * 0.4 + 0.2
    return Found(torch.randn(*lead, boxes, phrases, generator=generator), places)


def truth(boxes, named):
    return Truth(torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4), torch.tensor(named).bool(), SIZE)


TWO = truth([[5, 5, 20, 25], [30, 10, 55, 30]], [[1, 0, 0], [0, 0, 1]])


def test_equal_boxes_become_one_that_several_phrases_name():
    boxes = torch.tensor([[5., 5, 9, 9], [1, 1, 4, 4], [5, 5, 9, 9]])
    merged = truth_of(boxes, torch.tensor([0, 1, 2]), 3, SIZE)
    assert merged.boxes.tolist() == [[1, 1, 4, 4], [5, 5, 9, 9]]
    assert merged.named.int().tolist() == [[0, 1, 0], [1, 0, 1]]
    assert truth_of(boxes[:0], torch.zeros(0).long(), 3, SIZE).named.shape == (0, 3)


def test_assignment_is_that_of_mmdetection():
    from mmdet.models.task_modules.assigners import HungarianAssigner
    from mmdet.registry import TASK_UTILS  # noqa: F401  fills the registry of the costs
    assigner = HungarianAssigner([dict(type='mmdet.FocalLossCost', weight=2.),
                                  dict(type='mmdet.BBoxL1Cost', weight=5., box_format='xywh'),
                                  dict(type='mmdet.IoUCost', iou_mode='giou', weight=2.)])
    for seed in range(10):
        got = found(seed=seed)
        scale = torch.tensor([60., 40., 60., 40.])
        centre, size = got.boxes[:, :2], got.boxes[:, 2:]
        corners = torch.cat((centre - size / 2, centre + size / 2), dim=1) * scale
        wanted = assigner.assign(InstanceData(bboxes=corners, scores=got.logits),
                                 InstanceData(bboxes=TWO.boxes, labels=torch.tensor([0, 2])), dict(img_shape=SIZE))
        (rows, columns), = assign([matching_cost(got, TWO, dict(cls=2., bbox=5., giou=2.))[None]])[0]
        ours = torch.zeros(5).long()
        ours[rows] = columns + 1
        assert ours.tolist() == wanted.gt_inds.tolist()


@pytest.mark.parametrize('rows, columns', [(5, 3), (3, 5), (4, 4), (3, 0)])
def test_assignment_is_the_cheapest_of_all(rows, columns):
    costs = torch.rand(2, rows, columns, generator=torch.Generator().manual_seed(rows))
    for cost, (row, column) in zip(costs, assign([costs])[0]):
        small, large = sorted((rows, columns))
        table = cost if rows >= columns else cost.T
        cheapest = min((sum(float(table[i, j]) for j, i in enumerate(chosen))
                        for chosen in itertools.permutations(range(large), small)), default=0.)
        assert float(cost[row, column].sum()) == pytest.approx(cheapest)
        assert len(set(row.tolist())) == len(set(column.tolist())) == small


def test_several_images_and_repeats_against_scipy():
    generator = torch.Generator().manual_seed(1)
    costs = [torch.rand(2, 9, count, generator=generator) for count in (3, 0, 5)]
    pairs = assign(costs, repeats=3)
    for cost, image in zip(costs, pairs):
        times = min(3, 9 // max(cost.shape[2], 1))
        for matrix, (row, column) in zip(cost, image):
            wanted = linear_sum_assignment(matrix.repeat(1, times).numpy()) if cost.shape[2] else ([], [])
            assert float(matrix[row, column].sum()) == pytest.approx(float(matrix[wanted[0], wanted[1] % max(
                cost.shape[2], 1)].sum()) if len(wanted[0]) else 0)
            assert sorted(column.tolist()) == sorted(list(range(cost.shape[2])) * times)


def test_costs_that_are_no_numbers_end_no_training():
    costs = torch.rand(1, 4, 2)
    costs[0, 0] = float('nan')
    (rows, _), = assign([costs])[0]
    assert 0 not in rows


def test_cost_of_a_box_with_two_names_is_the_mean_over_them():
    got = found()
    both = matching_cost(got, truth([[5, 5, 20, 25]], [[1, 0, 1]]), dict(cls=1., bbox=0., giou=0.))
    each = [matching_cost(got, truth([[5, 5, 20, 25]], [named]), dict(cls=1., bbox=0., giou=0.))
            for named in ([1, 0, 0], [0, 0, 1])]
    torch.testing.assert_close(both, (each[0] + each[1]) / 2)


def test_losses_by_hand():
    """One image, one box, which the query hits but for a shift of 6 px to the right."""
    wanted = truth([[6, 10, 18, 30]], [[1, 0]])
    got = Found(torch.tensor([[[0., -2.]]]), torch.tensor([[[18 / 60, 20 / 40, 12 / 60, 20 / 40]]]))
    losses = PhraseLoss()([got], None, [wanted])
    score = 1 / (1 + math.exp(2))
    focal = 0.25 * 0.5 ** 2 * -math.log(0.5) + 0.75 * score ** 2 * -math.log(1 - score)
    assert losses['loss_cls'].item() == pytest.approx(focal, rel=1e-5)
    assert losses['loss_bbox'].item() == pytest.approx(5 * 0.1, rel=1e-5)
    giou = 6 * 20 / (18 * 20)  # nothing of the box around them is outside of both
    assert losses['loss_giou'].item() == pytest.approx(2 * (1 - giou), rel=1e-4)


def test_quality_goes_with_the_overlap():
    wanted = truth([[6, 10, 18, 30]], [[1, 0]])
    got = Found(torch.tensor([[[0., -50.]]]), torch.tensor([[[18 / 60, 20 / 40, 12 / 60, 20 / 40]]]))
    losses = PhraseLoss(cls=dict(type='mmdet.QualityFocalLoss', loss_weight=1.))([got], None, [wanted])
    assert losses['loss_cls'].item() == pytest.approx(abs(1 / 3 - 0.5) ** 2 * math.log(2), rel=1e-4)


@pytest.mark.parametrize('cls', [dict(type='mmdet.FocalLoss'), dict(type='mmdet.QualityFocalLoss'),
                                 dict(type='mmdet.CrossEntropyLoss', use_sigmoid=True)])
def test_losses_of_all_layers_and_images(cls):
    layers = [found(lead=(3,), seed=seed) for seed in (1, 2)]
    for part in layers:
        part.logits[1, :, 1:] = -50  # an image with one phrase
        part.logits.requires_grad_()
        part.boxes.requires_grad_()
    truths = [TWO, truth([], torch.zeros(0, 1).tolist() or [[0]][:0])._replace(named=torch.zeros(0, 1).bool()),
              truth([[1, 1, 9, 9]], [[1, 1, 0]])]
    losses = PhraseLoss(cls=cls, iou=dict(giou=dict(type='mmdet.GIoULoss'), iou=dict(type='mmdet.IoULoss')),
                        token_weight=0.5)(layers, layers[0], truths)
    names = {f'{prefix}loss_{part}' for prefix in ('', 'd0.', 'token.') for part in ('cls', 'bbox', 'giou', 'iou')}
    assert set(losses) == names
    assert all(torch.isfinite(value) for value in losses.values())
    sum(losses.values()).backward()
    assert layers[0].logits.grad[1, :, 1:].abs().max() < 1e-20  # phrases that are not there teach nothing
    assert layers[1].logits.grad[0].any()


def test_no_box_in_any_image():
    got = found(lead=(1,))
    losses = PhraseLoss()([got], got, [TWO._replace(boxes=TWO.boxes[:0], named=TWO.named[:0])])
    assert losses['loss_bbox'] == losses['loss_giou'] == 0
    assert losses['loss_cls'] > 0


def test_unknown_cost_is_refused():
    with pytest.raises(ConfigError, match='iuo'):
        PhraseLoss(costs=dict(iuo=2.))
