"""The functions over tensors against loops in float64 that are written from the equations."""
import numpy as np
import pytest
import torch

from projects.comparison_detector.comparison_detector.prototypes import (
    class_prototypes,
    cosines,
    merge_references,
    pool_levels,
    squared_distances,
)


def area_mean(level, size):
    """Mean over the cells of the input that each cell of the output covers, in part or whole."""
    channels, height, width = level.shape
    out = np.zeros((channels, *size))
    for i in range(size[0]):
        for j in range(size[1]):
            rows = [r for r in range(height) if r < (i + 1) * height / size[0] and r + 1 > i * height / size[0]]
            columns = [c for c in range(width) if c < (j + 1) * width / size[1] and c + 1 > j * width / size[1]]
            out[:, i, j] = np.mean([level[:, r, c] for r in rows for c in columns], axis=0)
    return out


def slow_prototypes(levels, labels, number, size):
    found = []
    for label in range(number):
        mine = [row for row, own in enumerate(labels) if own == label]
        found.append(np.mean([np.mean([area_mean(level[row], size) for level in levels], axis=0) for row in mine],
                             axis=0))
    return np.stack(found)


def slow_distance(f, p, w):
    return sum(w[index] * (f[index] - p[index]) ** 2 for index in np.ndindex(*w.shape))


def maps(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))


def test_prototypes_are_means_over_images_and_levels():
    levels = [maps(5, 3, size, size, seed=size) for size in (14, 7, 4, 2)]
    labels = [1, 0, 1, 1, 0]
    found = class_prototypes(pool_levels(levels, (7, 7)), torch.tensor(labels), 2)
    assert found.shape == (2, 1, 3, 7, 7)
    np.testing.assert_allclose(found[:, 0], slow_prototypes([level.numpy() for level in levels], labels, 2, (7, 7)),
                               rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize('regions', [0, 4])
def test_distances(regions):
    f, p, w = maps(regions, 3, 5, 5), maps(2, 3, 5, 5, seed=1), maps(3, 5, 5, seed=2)
    found = squared_distances(f, p, w)
    assert found.shape == (regions, 2) and found.dtype == torch.float64
    for i, j in np.ndindex(regions, 2):
        assert found[i, j].item() == pytest.approx(slow_distance(f[i].numpy(), p[j].numpy(), w.numpy()))


def test_distances_near_a_prototype_far_from_zero_in_float32():
    """The three products do not cancel to noise where all maps share a large mean."""
    p = maps(2, 8, 7, 7) + 100
    f = p[:1] + 0.01 * maps(1, 8, 7, 7, seed=1)
    w = torch.full((8, 7, 7), -1 / 784, dtype=torch.float64)
    exact, single = squared_distances(f, p, w), squared_distances(f.float(), p.float(), w.float())
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), exact, rtol=1e-3, atol=1e-6)


def test_cosines():
    f, p = maps(3, 2, 4, 4), maps(2, 2, 4, 4, seed=1)
    found = cosines(f, p).numpy()
    for i, j in np.ndindex(3, 2):
        a, b = f[i].numpy().ravel(), p[j].numpy().ravel()
        assert found[i, j] == pytest.approx((a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum()))
    assert (cosines(torch.zeros(1, 2, 4, 4), p) == 0).all()  # no NaN for a map without content


@pytest.mark.parametrize('function', [
    lambda f, p: squared_distances(f, p, torch.ones(2, 3, 3)), cosines], ids=['distance', 'cosine'])
def test_half_precision_is_computed_in_single(function):
    f, p = maps(3, 2, 3, 3).float(), maps(2, 2, 3, 3, seed=1).float()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        torch.testing.assert_close(function(f, p), function(f.double(), p.double()).float(), rtol=1e-5, atol=1e-5)
    assert function(f.half(), p.half()).dtype == torch.float32


def test_one_image_each():
    features, labels = maps(4, 2, 3, 3), torch.tensor([1, 0, 1, 0])
    found = class_prototypes(features, labels, 2, per_image=2)
    assert torch.equal(found, torch.stack([features[[1, 3]], features[[0, 2]]]))


@pytest.mark.parametrize('per_image', [0, 3])
@pytest.mark.parametrize('how', ['max', 'mean'])
def test_the_order_of_references_changes_nothing(per_image, how):
    features, labels, regions = maps(6, 2, 3, 3), torch.tensor([0, 0, 0, 1, 1, 1]), maps(5, 2, 3, 3, seed=1)
    scores = []
    for order in (range(6), [5, 2, 3, 0, 4, 1]):
        prototypes = class_prototypes(features[order], labels[order], 2, per_image=per_image)
        each = squared_distances(regions, prototypes.flatten(0, 1), -torch.ones(2, 3, 3, dtype=torch.float64))
        scores.append(merge_references(each.unflatten(1, (2, -1)), how))
    torch.testing.assert_close(*scores)


def test_merging():
    scores = torch.tensor([[[1., 3.], [2., -4.]]])
    assert merge_references(scores, 'max').tolist() == [[3., 2.]]
    assert merge_references(scores, 'mean').tolist() == [[2., -1.]]


@pytest.mark.parametrize('labels, number, per_image', [([0, 0], 2, 0), ([0, 1, 1], 2, 2), ([0, 2], 2, 0), ([], 1, 0)])
def test_a_class_without_its_images(labels, number, per_image):
    with pytest.raises(ValueError, match='expected'):
        class_prototypes(torch.zeros(len(labels), 1, 1, 1), torch.tensor(labels, dtype=torch.int64), number,
                         per_image=per_image)
