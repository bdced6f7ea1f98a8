#!/usr/bin/env python
"""Fusion of boxes against the package ensemble-boxes in its fastest form: python benchmarks/fusion.py

One image, as five detectors with 300 boxes and 20 classes each would see it: most boxes of a model are near those of
the others. Both get the same arrays, boxes normalised for ensemble-boxes; the results are compared before the clock
starts, and the first call, which compiles or reads compiled code, is timed apart. Each figure is the best of the
repetitions, all in one process. ensemble-boxes has a second, experimental WBF that is faster and clusters in another
way; it is timed, too, but its results cannot be the same.
"""
import argparse
import contextlib
import io
import sys
import time
from pathlib import Path

import ensemble_boxes
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from cxrdet.core.detection import fusion


def scene(models: int, count: int, classes: int, size: float, seed: int = 0) -> tuple[list, list, list]:
    """Boxes (pixels), scores and labels of each model: the same objects, each model with its own deviations."""
    rng = np.random.default_rng(seed)
    corner, side = rng.uniform(0, 0.85 * size, (count, 2)), rng.uniform(0.02, 0.14, (count, 2)) * size
    objects, names = np.concatenate([corner, corner + side], 1), rng.integers(0, classes, count)
    boxes = [np.clip(objects + rng.normal(0, 0.004 * size, objects.shape), 0, size) for _ in range(models)]
    boxes = [np.concatenate([np.minimum(b[:, :2], b[:, 2:]), np.maximum(b[:, :2], b[:, 2:])], 1) for b in boxes]
    return boxes, [rng.uniform(0.01, 1, count) for _ in boxes], [names.astype(np.float64) for _ in boxes]


def best_time(call, repeats: int) -> float:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--models', type=int, default=5)
    parser.add_argument('--boxes', type=int, default=300, help='of each model')
    parser.add_argument('--classes', type=int, default=20)
    parser.add_argument('--repeats', type=int, default=7)
    args = parser.parse_args(argv)
    size = 1024.0
    boxes, scores, labels = scene(args.models, args.boxes, args.classes, size)
    normal = [b / size for b in boxes]

    def theirs(function):
        return lambda: function(normal, list(scores), labels)  # a list of its own: nms writes into it

    def ours(function):
        return lambda: function(boxes, scores, labels)

    peers = ensemble_boxes
    rows = [('weighted_boxes_fusion', fusion.weighted_boxes_fusion, peers.weighted_boxes_fusion, True),
            ('  its experimental form', fusion.weighted_boxes_fusion, peers.weighted_boxes_fusion_experimental, False),
            ('non_maximum_weighted', fusion.non_maximum_weighted, peers.non_maximum_weighted, True),
            ('nms', fusion.nms, peers.nms, True), ('soft_nms', fusion.soft_nms, peers.soft_nms, True)]
    print(f'{args.models} models x {args.boxes} boxes x {args.classes} classes, best of {args.repeats}')
    print(f'{"":24}{"first call":>12}{"cxrdet":>12}{"ensemble-boxes":>16}{"ratio":>9}')
    slow = False
    for name, mine, peer, alike in rows:
        mine, peer = ours(mine), theirs(peer)
        first = best_time(mine, 1)
        with contextlib.redirect_stdout(io.StringIO()):
            expected = peer()
            for result, wanted, unit in zip(mine(), expected, (size, 1, 1) if alike else ()):
                np.testing.assert_allclose(result / unit, wanted, atol=1e-6, rtol=0, err_msg=name)
            own, other = best_time(mine, args.repeats), best_time(peer, args.repeats)
        print(f'{name:24}{first * 1e3:9.1f} ms{own * 1e3:9.2f} ms{other * 1e3:13.2f} ms{other / own:9.1f}')
        slow |= name == 'weighted_boxes_fusion' and other < 10 * own
    if slow:
        print('weighted_boxes_fusion is less than 10 times faster', file=sys.stderr)
    return int(slow)


if __name__ == '__main__':
    sys.exit(main())
