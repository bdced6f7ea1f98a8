"""Fusion against ensemble-boxes, torchvision and equations, over members label by label; what comes in comes out."""
import contextlib
import inspect
import io
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from cxrdet.core.detection import fusion
from cxrdet.core.detection.fusion import (
    CONF_TYPES,
    FUSIONS,
    METHODS,
    PRESETS,
    fusable,
    fuse,
    fuse_known,
    nms,
    soft_nms,
    soft_voting,
    weighted_boxes_fusion,
)
from cxrdet.core.errors import ConfigError

A, B, FAR = [10., 10., 30., 30.], [12., 10., 32., 30.], [100., 100., 140., 120.]
IOU = 18 * 20 / (2 * 400 - 18 * 20)  # of A and B


def case(rng, kind, models=None, most=40):
    """Arrays of up to five models in [0, 1]; in a grid, scores, corners and overlaps coincide again and again."""
    boxes, scores, labels = [], [], []
    for _ in range(models or rng.integers(1, 6)):
        n = rng.integers(0, most)
        if kind == 'free':
            corner, side, score = rng.random((n, 2)) * 0.8, rng.random((n, 2)) * 0.19 + 0.01, rng.random(n)
        else:
            unit = 10 if kind == 'tenths' else 16
            corner, side = rng.integers(0, 6, (n, 2)) / unit, rng.integers(1, 4, (n, 2)) / unit
            score = rng.integers(1, 10, n) / 10
        boxes.append(np.concatenate([corner, corner + side], 1))
        scores.append(score)
        labels.append(rng.integers(0, 3, n).astype(np.float64))
    return boxes, scores, labels


@pytest.mark.long
@pytest.mark.parametrize('seed', range(10))
def test_equal_to_ensemble_boxes(seed):
    """100 cases each, every method, row by row in the same order."""
    peer = pytest.importorskip('ensemble_boxes')
    rng = np.random.default_rng(seed)
    for i in range(100):
        boxes, scores, labels = case(rng, ('free', 'tenths', 'sixteenths')[i % 3], most=25)
        weights = None if i % 2 else rng.integers(1, 4, len(boxes)).astype(np.float64)
        iou_thr, skip = (0.5, 0.55, 0.3, 1 / 3)[i % 4], (0, 0.2, 0.35)[rng.integers(3)]
        both = dict(weights=weights, iou_thr=iou_thr)
        calls = [('weighted_boxes_fusion', {}, dict(skip_box_thr=skip, conf_type=CONF_TYPES[i % 4],
                                                    allows_overflow=i % 5 == 0)),
                 ('non_maximum_weighted', {}, dict(skip_box_thr=skip)), ('nms', {}, {}),
                 ('soft_nms', dict(method=1), dict(method='linear')),
                 ('soft_nms', dict(method=2), dict(method='gaussian'))]
        for name, theirs, ours in calls:
            if name in ('nms', 'soft_nms') and not sum(map(len, scores)):
                continue  # the reference raises
            if name == 'soft_nms':
                both |= dict(sigma=0.3, thresh=0.05)
            theirs = ours | theirs
            with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
                warnings.simplefilter('ignore')
                expected = getattr(peer, name)(boxes, list(scores), labels, **both, **theirs)
            result = getattr(fusion, name)(boxes, scores, labels, **both, **ours)
            for a, b in zip(result, expected):
                np.testing.assert_allclose(a, np.reshape(b, a.shape), atol=1e-6, rtol=0, err_msg=f'{name}, case {i}')


@pytest.mark.parametrize(('name', 'function', 'arguments'), [
    ('wbf', 'weighted_boxes_fusion', {}),
    ('wbf_confident', 'weighted_boxes_fusion', dict(iou_thr=0.5, skip_box_thr=0.3)),
    ('nmw', 'non_maximum_weighted', {}),
])
def test_names_mean_what_they_mean_in_ensemble_boxes(name, function, arguments):
    """Without options; several boxes of one model at one place, as those that soft-NMS leaves."""
    peer = pytest.importorskip('ensemble_boxes')
    rng = np.random.default_rng(5)
    for kind in ('tenths', 'sixteenths'):
        given = case(rng, kind, models=3)
        expected = getattr(peer, function)(*map(list, given), **arguments)
        found = [column[np.argsort(-expected[1], kind='stable')] for column in expected]
        for a, b in zip(fuse(*given, fusion=name), found):
            np.testing.assert_allclose(a, b, atol=1e-6, rtol=0)
        assert len(found[1]) < sum(map(len, given[1]))


def test_presets_are_arguments_by_name():
    given = case(np.random.default_rng(6), 'free', models=3)
    for name, (method, arguments) in PRESETS.items():
        for one, other in zip(fuse(*given, fusion=name), fuse(*given, fusion=method, **arguments)):
            np.testing.assert_array_equal(one, other)
    assert len(fuse(*given, fusion='wbf_confident', skip_box_thr=0.0)[1]) > len(fuse(*given, fusion='wbf_confident')[1])
    assert set(FUSIONS) == {*METHODS, *PRESETS}


def test_what_the_confident_preset_leaves_out_counts_as_missed():
    """Two objects, the second below 0.3: it goes in the preset alone."""
    given = [[A], [A, FAR]], [[0.9], [0.8, 0.2]], [[0], [0, 0]]
    assert fuse(*given)[1] == pytest.approx([0.85, 0.1])
    assert fuse(*given, fusion='wbf_confident')[1] == pytest.approx([0.85])


def iou_of(one, other):
    (ax, ay, ar, ab), (bx, by, br, bb) = one, other
    inter = max(min(ar, br) - max(ax, bx), 0) * max(min(ab, bb) - max(ay, by), 0)
    return inter / ((ar - ax) * (ab - ay) + (br - bx) * (bb - by) - inter)


def wbf_by_the_paper(boxes, scores, labels, weights, iou_thr):
    """Equations 1 to 6 in double precision, one label, one box at a time."""
    clusters = []
    rows = sorted(((s * w, tuple(b), w) for bs, ss, w in zip(boxes, scores, weights) for b, s in zip(bs, ss)),
                  reverse=True)
    for row in rows:
        best, overlap = None, iou_thr
        for cluster in clusters:
            mean = np.average([b for _, b, _ in cluster], axis=0, weights=[s for s, _, _ in cluster])
            if iou_of(mean, row[1]) > overlap:
                best, overlap = cluster, iou_of(mean, row[1])
        clusters.append([row]) if best is None else best.append(row)
    fused = [(np.mean([s for s, _, _ in c]) * min(len(weights), len(c)) / sum(weights),
              *np.average([b for _, b, _ in c], axis=0, weights=[s for s, _, _ in c])) for c in clusters]
    return np.array(sorted(fused, reverse=True))


@pytest.mark.parametrize('weights', [[1, 1, 1], [3, 1, 2]])
def test_wbf_follows_the_paper_in_double_precision(weights):
    boxes, scores, _ = case(np.random.default_rng(3), 'free', models=3)
    boxes, labels = [b * 2000 for b in boxes], [np.zeros(len(s), int) for s in scores]
    expected = wbf_by_the_paper(boxes, scores, labels, weights, 0.3)
    found, score, _ = weighted_boxes_fusion(boxes, scores, labels, weights, iou_thr=0.3)
    np.testing.assert_allclose(score, expected[:, 0], rtol=1e-6)
    np.testing.assert_allclose(found, expected[:, 1:], rtol=1e-12)


@pytest.mark.parametrize(('conf_type', 'expected'), [
    ('avg', (0.8 * 2 + 0.4) / 2 * 2 / 4), ('max', 1.6 / 2), ('box_and_model_avg', (1.6 + 0.4) / 3 * 3 / 4),
    ('absent_model_aware_avg', (1.6 + 0.4) / (3 + 1))])
def test_score_of_a_cluster(conf_type, expected):
    """Models of weights 2, 1 and 1; the third sees nothing."""
    boxes, score, label = weighted_boxes_fusion([[A], [B], []], [[0.8], [0.4], []], [[1], [1], []], [2, 1, 1],
                                                conf_type=conf_type)
    np.testing.assert_allclose(score, [expected], rtol=1e-6)
    np.testing.assert_allclose(boxes, [[(1.6 * 10 + 0.4 * 12) / 2, 10, (1.6 * 30 + 0.4 * 32) / 2, 30]])
    assert label.tolist() == [1]


def test_overflow_counts_every_box():
    args = [[A, A, B]], [[0.9, 0.9, 0.9]], [[0, 0, 0]]
    assert weighted_boxes_fusion(*args)[1] == pytest.approx([0.9])
    assert weighted_boxes_fusion(*args, allows_overflow=True)[1] == pytest.approx([2.7])


def one_per_model_by_hand(boxes, scores, iou_thr):
    """Best first; each joins the cluster without a box of its model whose mean it overlaps most. Two models."""
    rows = sorted(((s, tuple(b), m) for m, (bs, ss) in enumerate(zip(boxes, scores)) for b, s in zip(bs, ss)),
                  reverse=True)
    clusters = []
    for score, box, model in rows:
        best, overlap = None, iou_thr
        for cluster in clusters:
            mean = np.average([b for _, b, _ in cluster], axis=0, weights=[s for s, _, _ in cluster])
            if iou_of(mean, box) > overlap and model not in {m for _, _, m in cluster}:
                best, overlap = cluster, iou_of(mean, box)
        clusters.append([(score, box, model)]) if best is None else best.append((score, box, model))
    return np.array(sorted(((sum(s for s, _, _ in c) / len(boxes), *np.average(
        [b for _, b, _ in c], axis=0, weights=[s for s, _, _ in c])) for c in clusters), reverse=True))


def test_one_box_of_each_model_in_a_cluster():
    boxes, scores, labels = [[A, B], [A, B]], [[0.9, 0.3], [0.8, 0.2]], [[0, 0], [0, 0]]
    fused, score, _ = weighted_boxes_fusion(boxes, scores, labels, one_per_model=True)
    np.testing.assert_allclose(fused, [A, B])
    np.testing.assert_allclose(score, [0.85, 0.25], rtol=1e-6)
    assert weighted_boxes_fusion(boxes, scores, labels)[1] == pytest.approx([0.55])
    rng = np.random.default_rng(7)
    for _ in range(20):
        many = [rng.uniform(0, 60, (12, 1, 2)) + rng.uniform(0, 8, (12, 2, 2)) + [[0, 0], [30, 30]] for _ in range(2)]
        many, values = [b.reshape(12, 4) for b in many], [rng.random(12) for _ in range(2)]
        expected = one_per_model_by_hand(many, values, 0.4)
        found, score, _ = weighted_boxes_fusion(many, values, [np.zeros(12, int)] * 2, iou_thr=0.4, one_per_model=True)
        np.testing.assert_allclose(score, expected[:, 0], rtol=1e-6)
        np.testing.assert_allclose(found, expected[:, 1:], rtol=1e-6)


def test_one_model_alone_is_left_as_it_is():
    boxes, scores = np.array([A, B, A], float), np.array([0.9, 0.5, 0.2])
    fused, score, _ = fuse([boxes], [scores], [np.zeros(3, int)], fusion='wbf_one_per_model')
    np.testing.assert_array_equal(fused, boxes)
    np.testing.assert_array_equal(score, scores)


@pytest.mark.parametrize(('options', 'iou_thr'), [(dict(iou_thr=0.3), 0.3), ({}, 0.5)])
def test_nms_is_that_of_torchvision(options, iou_thr):
    torch = pytest.importorskip('torch')
    ops = pytest.importorskip('torchvision.ops')
    rng = np.random.default_rng(0)
    boxes, scores, labels = case(rng, 'free', models=4, most=120)
    found, score, label = fuse(boxes, scores, labels, fusion='nms', **options)
    joined = [torch.from_numpy(np.concatenate(column)) for column in (boxes, scores, labels)]
    keep = ops.batched_nms(*joined, iou_thr).numpy()
    assert len(keep) < sum(map(len, scores))
    for a, b in zip((found, score, label), joined):
        np.testing.assert_array_equal(a, b.numpy()[keep])


def test_soft_nms_lowers_scores_as_the_paper_says():
    args = [[A], [B, FAR]], [[0.9], [0.8, 0.1]], [[0], [0, 0]]
    assert soft_nms(*args, decayed=True)[1] == pytest.approx([0.9, 0.8 * np.exp(-IOU**2 / 0.5), 0.1])
    assert soft_nms(*args, decayed=True, method='linear', iou_thr=0.4)[1] == pytest.approx([0.9, 0.8 * (1 - IOU), 0.1])
    assert soft_nms(*args, decayed=True, method='linear', iou_thr=0.9)[1] == pytest.approx([0.9, 0.8, 0.1])
    linear = fuse(*args, fusion='soft_nms', method='linear', iou_thr=0.4)[1]
    assert linear == pytest.approx([0.9, 0.8 * (1 - IOU), 0.1])
    assert soft_nms(*args)[1] == pytest.approx([0.9, 0.8, 0.1])  # as ensemble-boxes
    assert soft_nms(*args, thresh=0.2)[1] == pytest.approx([0.9, 0.8])


def test_soft_voting_by_hand():
    """Model 0 sees the object twice, of which only the better box votes; model 1 sees it, model 2 does not."""
    boxes, score, label = soft_voting([[A, B], [B], [FAR]], [[0.8, 0.7], [0.4], [0.6]], [[2, 2], [2], [2]], [1, 2, 1])
    np.testing.assert_allclose(score, [(0.8 + 2 * 0.4) / 4, 0.6 / 4])
    np.testing.assert_allclose(boxes, [[11, 10, 31, 30], FAR])
    assert label.tolist() == [2, 2]


@pytest.mark.parametrize('method', FUSIONS)
class TestEveryMethod:

    def test_labels_are_never_merged(self, method):
        boxes, scores, labels = fuse([[A], [A]], [[0.9], [0.8]], [[0], [1]], fusion=method)
        assert boxes.tolist() == [A, A]
        assert labels.tolist() == [0, 1]

    @pytest.mark.parametrize('scale', [1024, 640.3, 1e-3])
    def test_any_unit(self, method, scale):
        boxes, scores, labels = case(np.random.default_rng(7), 'free', models=3)
        one = fuse(boxes, scores, labels, fusion=method)
        other = fuse([b * scale for b in boxes], scores, labels, fusion=method)
        np.testing.assert_allclose(other[0] / scale, one[0], rtol=1e-9)
        np.testing.assert_allclose(other[1], one[1], rtol=1e-9)
        np.testing.assert_array_equal(other[2], one[2])

    def test_moved_boxes_move_the_result(self, method):
        boxes, scores, labels = case(np.random.default_rng(8), 'free', models=3)
        one = fuse(boxes, scores, labels, fusion=method)
        other = fuse([b - 3 for b in boxes], scores, labels, fusion=method)  # negative corners, too
        np.testing.assert_allclose(other[0] + 3, one[0], atol=1e-9)

    @pytest.mark.parametrize('models', [0, 1, 3])
    def test_nothing(self, method, models):
        result = fuse([np.zeros((0, 4))] * models, [np.zeros(0)] * models, [np.zeros(0, int)] * models, fusion=method)
        assert [a.shape for a in result] == [(0, 4), (0,), (0,)]

    def test_one_model_finds_nothing(self, method):
        result = fuse([np.zeros((0, 4)), np.array([A])], [[], [0.8]], [[], [3]], fusion=method)
        assert result[0].tolist() == [A]
        assert result[2].tolist() == [3]

    def test_weight_zero(self, method):
        boxes, scores, _ = fuse([[A], [B, FAR]], [[0.9], [0.8, 0.7]], [[0], [0, 0]], fusion=method, weights=[1, 0])
        np.testing.assert_allclose(boxes[0], A)
        assert scores[0] == pytest.approx(0.9)
        assert (scores[1:] == 0).all()
        assert np.isfinite(boxes).all()

    def test_boxes_without_score_or_area(self, method):
        boxes, scores, _ = fuse([[A, B, [5, 5, 5, 9]]], [[0, 0, 0.9]], [[0, 0, 0]], fusion=method)
        assert np.isfinite(boxes).all()
        assert (scores == 0).all()

    @pytest.mark.parametrize(('boxes', 'scores'), [
        ('float32', 'float32'), ('float64', 'float64'), ('float16', 'float16'), ('float32', 'bfloat16'),
        ('int64', 'float32')])
    @pytest.mark.parametrize('library', ['numpy', 'torch'])
    def test_same_in_and_out(self, method, library, boxes, scores):
        lib = pytest.importorskip(library)
        if not hasattr(lib, scores):
            pytest.skip('NumPy has no bfloat16')
        array = lib.asarray if library == 'numpy' else lib.tensor
        args = ([array([A], dtype=getattr(lib, boxes)), array([B], dtype=getattr(lib, boxes))],
                [array([0.75], dtype=getattr(lib, scores)), array([0.5], dtype=getattr(lib, scores))],
                [array([4], dtype=lib.int32), array([4], dtype=lib.int32)])
        before = [str(column) for column in args]
        result = fuse(*args, fusion=method)
        assert all(type(a) is type(args[0][0]) for a in result)
        whole = (lib.float64 if library == 'numpy' else lib.float32) if boxes == 'int64' else getattr(lib, boxes)
        assert [a.dtype for a in result] == [whole, getattr(lib, scores), lib.int32]
        assert [str(column) for column in args] == before
        expected = fuse([[A], [B]], [[0.75], [0.5]], [[4], [4]], fusion=method)
        for a, b in zip(result, expected):
            np.testing.assert_allclose(np.array(a.tolist()), b, rtol=5e-3)

    def test_best_first(self, method):
        boxes, scores, labels = case(np.random.default_rng(9), 'tenths', models=4)
        score = fuse(boxes, scores, labels, fusion=method)[1]
        assert (np.diff(score) <= 0).all()


@pytest.mark.parametrize(('boxes', 'scores', 'labels', 'more', 'message'), [
    ([[A]], [[0.5], [0.5]], [[0]], {}, 'boxes, scores and labels of the same models, got 1, 2 and 1 entries'),
    ([[A], [A]], [[0.5], [0.5, 0.4]], [[0], [0]], {}, r'model 1: expected boxes \(N, 4\), .* got \(1, 4\), \(2,\)'),
    ([[A[:3]]], [[0.5]], [[0]], {}, r'model 0: .* got \(1, 3\)'),
    ([[A], [A, [30, 10, 20, 40]]], [[0.5], [0.5, 0.5]], [[0], [0, 0]], {}, r'model 1, box 1: expected x1 <= x2'),
    ([[[0, 0, np.inf, 1]]], [[0.5]], [[0]], {}, 'model 0, box 0: a corner is not finite'),
    ([[A]], [[np.nan]], [[0]], {}, 'the score must be finite and >= 0'),
    ([[A]], [[-0.1]], [[0]], {}, 'the score must be finite and >= 0'),
    ([[A]], [[0.5]], [[0.5]], {}, 'the label must be a whole number'),
    ([[A]], [[0.5]], [[0]], dict(weights=[1, 2]), r'one weight per model, 1, got shape \(2,\)'),
    ([[A]], [[0.5]], [[0]], dict(weights=[0]), 'not all 0'),
    ([[A]], [[0.5]], [[0]], dict(weights=[-1]), 'weights must be finite, >= 0'),
    ([[A]], [[0.5]], [[0]], dict(iou_thr=1.5), r'iou_thr must lie in \[0, 1\], got 1.5'),
    ([[A]], [[0.5]], [[0]], dict(conf_type='mean'), 'conf_type must be one of avg, max'),
    ([[A]], [[0.5]], [[0]], dict(fusion='wfb'), 'Did you mean "wbf"'),
    ([[A]], [[0.5]], [[0]], dict(fusion='wbf_one_per_modl'), 'Did you mean "wbf_one_per_model"'),
    ([[A]], [[0.5]], [[0]], dict(fusion='nms', skip_box_thr=0.1), 'of fusion "nms" must be .* got "skip_box_thr"'),
    ([[A]], [[0.5]], [[0]], dict(fusion='soft_nms', sigma=0), 'sigma > 0'),
])
def test_what_is_refused(boxes, scores, labels, more, message):
    with pytest.raises(ValueError, match=message):
        fuse(boxes, scores, labels, **more)


@pytest.mark.parametrize(('method', 'options', 'message'), [
    ('wfb', {}, 'Did you mean "wbf"'),
    ('wbf', dict(weights=[1]), 'option .* got "weights"'),
    ('wbf', dict(conf_type='maxx'), 'Did you mean "max"'),
    ('nms', dict(iou_thr=1.5), r'iou_thr must lie in \[0, 1\], got 1.5'),
    ('nms', dict(iou_thr='half'), "fusion \"nms\" cannot take {'iou_thr': 'half'}"),
    ('voting', dict(skip_box_thr=None), 'fusion "voting" cannot take'),
    ('soft_nms', dict(method='gauss'), "got 'gauss'"),
])
def test_options_are_checked_before_there_are_boxes(method, options, message):
    fusion.check_fusion('wbf', dict(conf_type='max', skip_box_thr=0.9), where='here')
    with pytest.raises(ConfigError, match=f'^here: .*{message}'):
        fusion.check_fusion(method, options, where='here')


def test_signature_is_the_one_agreed():
    assert list(inspect.signature(weighted_boxes_fusion).parameters)[:8] == [
        'boxes', 'scores', 'labels', 'weights', 'iou_thr', 'skip_box_thr', 'conf_type', 'allows_overflow']
    assert nms([[A]], [[0.5]], [[0]], None, 0.5)[0].tolist() == [A]


PROBE = f'''
import sys
import numba.core.caching as caching
if {{refuse!r}} == 'nowhere':
    caching.CacheImpl._locator_classes = []
from cxrdet.core.detection import fusion
assert 'torch' not in sys.modules
if {{refuse!r}} == 'full':
    def save(*args):
        raise OSError(28, 'No space left on device')
    caching.Cache._save_overload = save
print(fusion.nms([[{A}]], [[0.5]], [[0]])[0].tolist())
'''


@pytest.mark.long
@pytest.mark.parametrize('refuse', ['', 'nowhere', 'full'])
def test_no_place_for_compiled_code(refuse, tmp_path):
    """Fusion works where Numba finds no folder to write to, or cannot write into the one it found."""
    root = Path(__file__).parents[3]
    run = subprocess.run([sys.executable, '-c', PROBE.format(refuse=refuse)], cwd=root, capture_output=True, text=True,
                         env=os.environ | {'NUMBA_CACHE_DIR': str(tmp_path), 'PYTHONPATH': str(root)})
    assert run.stdout.strip() == str([A]), run.stderr
    assert any(tmp_path.rglob('*.nbi')) == (refuse == '')


def test_numba_waits_until_it_is_needed():
    code = 'import sys, cxrdet.core.detection.fusion; print("numba" in sys.modules)'
    root = Path(__file__).parents[3]
    run = subprocess.run([sys.executable, '-c', code], cwd=root, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == 'False'


def members(library=np):
    """Three models; the last one does not know label 1, the first not label 2."""
    rows = [([A, B], [0.9, 0.6], [0, 1]), ([B, A, B], [0.5, 0.4, 0.3], [0, 1, 2]), ([A, A], [0.3, 0.7], [0, 2])]
    array = np.array if library is np else torch.tensor
    return [[array(row[i]) for row in rows] for i in range(3)], [{0, 1}, {0, 1, 2}, {0, 2}]


@pytest.mark.parametrize('library', [np, torch], ids=['numpy', 'torch'])
@pytest.mark.parametrize('weights', [None, [2, 1, 1]])
@pytest.mark.parametrize('fusion', FUSIONS)
def test_each_label_is_fused_by_those_who_know_it(fusion, weights, library):
    columns, known = members(library)
    found = np.column_stack([np.asarray(column) for column in fuse_known(*columns, known, fusion=fusion,
                                                                         weights=weights)])
    assert (np.diff(found[:, 4]) <= 0).all()
    for label in range(3):
        models = [i for i in range(3) if label in known[i]]
        own = [[np.asarray(columns[k][i])[np.asarray(columns[2][i]) == label] for i in models] for k in range(3)]
        expected = np.column_stack(fuse(*own, fusion=fusion, weights=weights and [weights[i] for i in models]))
        np.testing.assert_allclose(found[found[:, 5] == label], expected, rtol=1e-6)


def test_silence_of_who_does_not_know_counts_for_nothing():
    """By hand: of two models one knows the label, and its 0.9 stays; where both know it, it is (0.9 + 0) / 2."""
    one = [np.array([A]), np.zeros((0, 4))], [np.array([0.9]), np.zeros(0)], [np.array([1]), np.zeros(0, int)]
    assert fuse_known(*one, [{0, 1}, {0}], fusion='voting')[1] == pytest.approx([0.9])
    assert fuse_known(*one, [{0, 1}, {0, 1}], fusion='voting')[1] == pytest.approx([0.45])
    assert len(fuse_known(*one, [{0}, {0}], fusion='voting')[1]) == 0  # a label that nobody knows


def test_the_best_stay():
    columns, known = members()
    boxes, scores, labels = fuse_known(*columns, known, fusion='nms', most=2)
    assert boxes.tolist() == [A, A] and scores.tolist() == [0.9, 0.7] and labels.tolist() == [0, 2]


def test_models_without_weight():
    columns, known = members()
    labels = fuse_known(*columns, known, weights=[0, 0, 1])[2]
    assert set(labels.tolist()) == {0, 2}  # who knows label 1 has no weight


@pytest.mark.parametrize(('known', 'more', 'message'), [
    ([{0}, {0}], {}, 'known labels and weights of the same models'),
    ([{0}, {0}, {0}], dict(weights=[1, 1]), 'known labels and weights of the same models'),
    ([{0}, {0}, {0}], dict(weights=[0, 0, 0]), 'no model with a weight knows a label'),
    ([(), (), ()], {}, 'no model with a weight knows a label'),
    ([{0}, {0}, {0}], dict(fusion='wfb'), 'Did you mean "wbf"'),
])
def test_members_that_are_refused(known, more, message):
    with pytest.raises(ValueError, match=message):
        fuse_known(*members()[0], known, **more)


@pytest.mark.parametrize('library', [np, torch], ids=['numpy', 'torch'])
def test_boxes_that_can_be_fused(library):
    array, inf, nan = np.array if library is np else torch.tensor, float('inf'), float('nan')
    boxes = [A, [30., 10., 10., 30.], [10., 30., 30., 10.], [10., 10., 10., 30.], [0., 0., inf, 1.],
             [-inf, 0., inf, 1.], [0., nan, 1., 1.], A, A, A]
    mask = fusable(array(boxes), array([0.5] * 7 + [nan, inf, -1.]))
    assert type(mask) is type(array([True]))
    assert mask.tolist() == [True, False, False, True, False, False, False, False, False, True]
    assert fusable(array(boxes)[:0], array([0.5])[:0]).tolist() == []
