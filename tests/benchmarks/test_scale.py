"""The figures of benchmarks/scale.py on tiny inputs."""
import numpy as np
import pytest

from cxrdet.evaluation.metrics.coco_backend import coco_tables, precision_and_recall

BOXES = np.array([[0, 0, 32, 32], [100, 0, 132, 32], [0, 100, 96, 196.]])  # two on the border of small to medium


def case(targets: list[int], found: list[int], *, scores=None, ignore=(), labels=0) -> tuple[dict, dict]:
    """One image: rows of BOXES, those found at equal scores unless told."""
    return ({'boxes': BOXES[found], 'labels': np.full(len(found), labels), 'scores': scores or [0.5] * len(found)},
            {'boxes': BOXES[targets], 'labels': np.zeros(len(targets), int),
             'ignore': np.isin(np.arange(len(targets)), ignore)})


HARD = {
    'ties of scores and overlaps': [case([0, 0, 1], [0, 0, 0, 1, 1]), case([1, 2], [2, 2, 1])],
    'crowds take any number': [case([0, 2], [0, 2, 2, 2], scores=[0.9, 0.8, 0.7, 0.6], ignore=[1])],
    'crowds only': [case([0, 1], [0, 1], ignore=[0, 1])],
    'a class without ground truth': [case([0], [0, 1], labels=1), case([2], [2])],
    'images without boxes or predictions': [case([], [0]), case([1], []), case([], []), case([0], [0])],
    'more than ten and than a hundred': [case([0, 1, 2], [1] * 60 + [2] * 60 + [0] * 3)],
}


@pytest.mark.parametrize('name', HARD)
def test_tables_equal_pycocotools(benchmark, name):
    truth, results = coco_tables(*zip(*HARD[name]), ['cell', 'nucleus'])
    ours = [precision_and_recall(truth, results, max_dets=most) for most in (1, 10, 100)]
    theirs = benchmark('scale').by_pycocotools(truth, results)
    differences = benchmark('scale').largest_differences(ours, theirs, figures=False)
    assert len(differences) == 6 and max(differences.values()) < 1e-12


def test_random_scenes_agree_to_the_figures_of_the_summary(benchmark):
    scale = benchmark('scale')
    truth, results = coco_tables(*scale.scenes(20, 12, 2), ['cell', 'nucleus'])
    ours = [precision_and_recall(truth, results, max_dets=most) for most in (1, 10, 100)]
    theirs = scale.by_pycocotools(truth, results)
    assert max(scale.largest_differences(ours, theirs).values()) < 1e-12
    assert 0.1 < theirs.stats[0] < 0.9
    theirs.eval['precision'][0, 50, 1, 0, 2] += 0.25  # what is not equal is seen
    assert scale.largest_differences(ours, theirs)['precision at 100'] == pytest.approx(0.25)


def test_sets_of_links_and_their_workers(benchmark, tmp_path):
    scale = benchmark('scale')
    for cfg in (scale.nih_set(tmp_path / 'nih', 40), scale.coco_set(tmp_path / 'coco', 40, 120)):
        sizes = scale.worker_memory(cfg, 1, 2)
        assert len(sizes) == 2 and min(sizes) > 1
    assert scale.pss('self') > 2 ** 20


def test_the_cache_gives_the_same_pixels(benchmark, tmp_path):
    scale = benchmark('scale')
    paths = scale.write_blobs(tmp_path, 2, '.png', (50, 40))
    times = scale.cache_times(paths, {'type': 'mmpretrain.Resize', 'scale': 10, 'interpolation': 'area'}, 1)
    assert len(times) == 3 and min(times) >= 0
    assert sum(path.is_file() for path in (tmp_path / 'cache').rglob('*')) == 2
