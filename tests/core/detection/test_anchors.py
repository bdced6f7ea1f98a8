"""Anchors by hand and against MMDetection's rule."""
import numpy as np
import pytest

from cxrdet.core.detection.anchors import anchor_advice, anchor_shapes, cluster_shapes, shape_iou


def test_anchor_shapes():
    shapes = anchor_shapes(strides=(4, ), scales=(8, ), ratios=(.5, 1, 2))
    np.testing.assert_allclose(shapes, [(32 * 2 ** .5, 32 / 2 ** .5), (32, 32), (32 / 2 ** .5, 32 * 2 ** .5)])
    assert anchor_shapes().shape == (15, 2)


def test_shape_iou():
    np.testing.assert_allclose(shape_iou([(10, 10), (10, 20)], [(10, 10), (20, 10)]), [[1, .5], [.5, 1 / 3]])
    assert shape_iou([], [(1, 1)]).shape == (0, 1)


def test_clusters_find_what_was_planted():
    rng = np.random.default_rng(0)
    planted = np.array([(20., 20.), (60., 20.), (50., 120.)])
    shapes = planted[rng.integers(0, 3, 300)] * rng.uniform(.95, 1.05, (300, 2))
    np.testing.assert_allclose(cluster_shapes(shapes, 3, seed=1), planted, rtol=.03)
    assert cluster_shapes([], 3).shape == (0, 2) and len(cluster_shapes([(5, 5)] * 4, 3)) == 1


def test_shapes_that_differ_in_the_last_digit():
    corner = np.random.default_rng(0).uniform(0, 8, (1000, 2)).round(2)
    shapes = corner + 6 - corner  # as corners give a size back
    assert len(np.unique(shapes, axis=0)) > 5
    np.testing.assert_allclose(cluster_shapes(shapes), np.full((len(cluster_shapes(shapes)), 2), 6.))


def test_advice():
    assert anchor_advice([]) == {}
    fitting = anchor_advice([(32, 32), (64, 64), (128, 128)])
    assert fitting['covered'] == 1 and fitting['mean_iou'] == pytest.approx(1) and fitting['base_scale'] == 8
    assert fitting['size']['50'] == 64 and fitting['ratio']['50'] == 1
    small = anchor_advice([(9, 27), (10, 30), (11, 33)])
    assert small['covered'] == 0 and small['base_scale'] == 4 and small['ratios'] == [3.0]
    assert small['covered_then'] == 1
