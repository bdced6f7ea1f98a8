"""Recall of phrases by hand."""
import math

import numpy as np
import pytest
import torch

from cxrdet.core.errors import ConfigError
from projects.open_vocabulary.open_vocabulary.phrase_grounding_metric import (
    PhraseGroundingMetric,
    first_hit,
    merged_box,
    phrase_precision,
)

HIT, NEAR, MISS = [0, 0, 10, 10], [0, 0, 10, 6], [50, 50, 60, 60]  # NEAR overlaps HIT with 0.6


def corners(boxes):
    return np.array(boxes, float).reshape(-1, 4)


@pytest.mark.parametrize('boxes, scores, truth, rank', [
    ([HIT], [0.1], [HIT], 1),
    ([MISS, HIT], [0.9, 0.8], [HIT], 2),
    ([MISS, HIT], [0.8, 0.9], [HIT], 1),  # the best score goes first, wherever it stands
    ([MISS, HIT], [0.5, 0.5], [HIT], 2),  # of a tie, what stands first
    ([HIT, MISS], [0.5, 0.5], [HIT], 1),
    ([NEAR], [0.5], [HIT], 1),
    ([[0, 0, 10, 4]], [0.5], [HIT], math.inf),
    ([], [], [HIT], math.inf),
    ([HIT], [0.5], [], math.inf),
    ([HIT], [0.5], [MISS, HIT], 1),  # any of several
])
def test_first_hit(boxes, scores, truth, rank):
    assert first_hit(corners(boxes), np.array(scores), corners(truth), 0.5) == rank


def test_merged_box_is_around_all():
    assert merged_box(np.array([HIT, MISS, [-5, 3, 2, 4]], float)).tolist() == [[-5, 0, 60, 60]]


@pytest.mark.parametrize('boxes, scores, truth, wanted', [
    ([HIT], [0.5], [HIT], 1.),
    ([MISS, HIT], [0.9, 0.5], [HIT], 0.5),
    ([HIT, HIT], [0.9, 0.8], [HIT], 1.),  # the second is a false alarm behind full recall
    ([HIT, HIT, MISS], [0.9, 0.8, 0.7], [HIT, MISS], (1 + 2 / 3) / 2),
    ([NEAR], [0.5], [HIT], 0.3),  # found at 0.5, 0.55 and 0.6 of the ten
    ([], [], [HIT], 0.),
])
def test_precision_of_a_phrase(boxes, scores, truth, wanted):
    assert phrase_precision(corners(boxes), np.array(scores), corners(truth)) == pytest.approx(wanted)


def image(name, phrases, truth, found, groups=None):
    """``truth``: (box, phrase); ``found``: (box, score, phrase)."""
    sample = {'img_path': name, 'phrases': phrases,
              'instances': [{'bbox': box, 'bbox_label': label} for box, label in truth],
              'pred_instances': {'bboxes': torch.tensor([row[0] for row in found], dtype=torch.float32).reshape(-1, 4),
                                 'scores': torch.tensor([row[1] for row in found]),
                                 'labels': torch.tensor([row[2] for row in found]).long()}}
    return sample | ({'phrase_groups': groups} if groups else {})


def scores(data, **options):
    metric = PhraseGroundingMetric(**{'samples': 0, **options})
    metric.dataset_meta = {}
    metric.process(None, data)
    assert len(metric.results) == len(data)
    got = metric.evaluate(len(data))  # which keeps as many results as there are images
    return {key.removeprefix('grounding/'): value for key, value in got.items()}


def test_recall_of_several_images():
    got = scores([
        image('a', ['x', 'y', 'nothing'], [(HIT, 0), (MISS, 1)],
              [(HIT, 0.9, 0), (MISS, 0.8, 0), (HIT, 0.9, 1), (MISS, 0.1, 1)], ['seen', 'unseen', None]),
        image('b', ['z'], [(HIT, 0)], [(MISS, 0.9, 0)], ['seen'])], topk=(1, 2))
    assert got['phrases'] == 3  # one has no box
    assert got['recall_1'] == pytest.approx(1 / 3)
    assert got['recall_2'] == got['ceiling'] == pytest.approx(2 / 3)
    assert got['recall_1_seen'] == 0.5
    assert got['recall_1_unseen'] == 0
    assert got['recall_2_unseen'] == 1
    assert got['mAP'] == pytest.approx((1 + 0.5 + 0) / 3)


def test_protocols_differ_where_a_phrase_has_several_boxes():
    two = [([0, 0, 10, 10], 0), ([0, 10, 10, 20], 0)]
    single, around = [([0, 0, 10, 10], 0.9, 0)], [([0, 0, 10, 20], 0.9, 0)]
    wanted = {('any', 'single'): 1, ('any', 'around'): 1, ('merged', 'single'): 1, ('merged', 'around'): 1}
    for protocol in ('any', 'merged'):
        for name, found in (('single', single), ('around', around)):
            assert scores([image('a', ['x'], two, found)], protocol=protocol)['recall_1'] == wanted[protocol, name]
    for protocol, found, recall in (('any', single, 1), ('any', around, 0), ('merged', single, 0),
                                    ('merged', around, 1)):
        got = scores([image('a', ['x'], two, found)], protocol=protocol, iou_thr=0.6)
        assert got['recall_1'] == recall


def test_intervals_go_by_image():
    """Ten phrases of one image are no ten images: with two images, half of the draws hold one alone."""
    hit = image('a', list('abcdefghij'), [(HIT, number) for number in range(10)],
                [(HIT, 0.9, number) for number in range(10)])
    miss = image('b', ['x'], [(HIT, 0)], [])
    got = scores([hit, miss], samples=200)
    assert (got['recall_1_low'], got['recall_1_high']) == (0, 1)
    assert got['recall_1'] == pytest.approx(10 / 11)
    alone = scores([hit], samples=50)
    assert alone['recall_1_low'] == alone['recall_1_high'] == 1


def test_no_phrase_at_all_is_no_number():
    got = scores([image('a', ['x'], [], [])])
    assert got['phrases'] == 0
    assert math.isnan(got['recall_1'])
    assert math.isnan(scores([])['mAP'])


@pytest.mark.parametrize('options', [dict(protocol='all'), dict(topk=(0, 1)), dict(iou_thr=0), dict(level=1)])
def test_faulty_arguments(options):
    with pytest.raises(ConfigError):
        PhraseGroundingMetric(**options)


@pytest.mark.parametrize('key', ['phrases', 'instances'])
def test_missing_meta_key_is_named(key):
    sample = image('a', ['x'], [], [])
    del sample[key]
    with pytest.raises(ValueError, match=f'"{key}".*meta_keys'):
        scores([sample])
