#!/usr/bin/env python
"""What large sets cost: python benchmarks/scale.py evaluation [--images 5000 --boxes 100 --classes 11]

``evaluation``: COCO's average precision and recall as DetectionMetric takes them (faster-coco-eval) and as pycocotools
does, of the same content, by turns in one process. First all numbers are compared: the precision at every recall,
overlap, class and area, the recalls, and the twelve figures of COCO's summary. Then the whole metrics, from the arrays
of a run to the numbers: DetectionMetric beside CocoMetric of MMDetection. Times are of the processor.
"""
import argparse
import contextlib
import io
import logging
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
import cxrdet  # noqa: F401
from cxrdet.evaluation.metrics.coco_backend import coco_tables, precision_and_recall


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    kinds = parser.add_subparsers(dest='what', required=True)
    evaluation = kinds.add_parser('evaluation', help='DetectionMetric beside pycocotools and CocoMetric')
    evaluation.add_argument('--images', type=int, default=5000)
    evaluation.add_argument('--boxes', type=int, default=100, help='in each image, found and true')
    evaluation.add_argument('--classes', type=int, default=11)
    evaluation.add_argument('--rounds', type=int, default=1)
    args = parser.parse_args(argv)
    return globals()[f'measure_{args.what}'](args)


# --- evaluation


def scenes(images: int, boxes: int, classes: int, seed: int = 0) -> tuple[list[dict], list[dict]]:
    """Predictions and ground truth of all sizes; 2 % crowds, scores with ties, classes mistaken, boxes of no object."""
    rng, predictions, targets = np.random.default_rng(seed), [], []
    for number in range(images):
        corner = rng.uniform(0, 500, (boxes, 2))
        side = np.exp(rng.uniform(np.log(8), np.log(220), (boxes, 2)))
        true, labels = np.concatenate([corner, corner + side], 1), rng.integers(0, classes, boxes)
        found = true + rng.normal(0, 0.07, (boxes, 4)) * np.tile(side, 2)
        named = np.where(rng.random(boxes) < 0.85, labels, rng.integers(0, classes, boxes))
        predictions.append({'boxes': found, 'labels': named, 'scores': rng.random(boxes).round(3)})
        targets.append({'boxes': true, 'labels': labels, 'ignore': rng.random(boxes) < 0.02, 'width': 800,
                        'height': 800, 'file_name': f'{number}.png'})
    return predictions, targets


def by_pycocotools(truth: dict, results: list[dict]):
    """pycocotools' evaluation of a COCO file's content and a result file's content."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval
    with contextlib.redirect_stdout(io.StringIO()):
        known = COCO()
        known.dataset = truth
        known.createIndex()
        evaluation = COCOeval(known, known.loadRes([dict(result) for result in results]), 'bbox')
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


def largest_differences(ours: list[tuple[np.ndarray, np.ndarray]], theirs, *, figures: bool = True) -> dict[str, float]:
    """Between tables at 1, 10 and 100 detections and those of pycocotools; NaN here is -1 there.

    Raises: ValueError if one side knows a number that the other does not.
    """
    tables = [(f'precision at {most}', table, theirs.eval['precision'][..., i])
              for i, (most, (table, _)) in enumerate(zip((1, 10, 100), ours))]
    tables += [(f'recall at {most}', table, theirs.eval['recall'][..., i])
               for i, (most, (_, table)) in enumerate(zip((1, 10, 100), ours))]
    (_, recall_1), (_, recall_10), (precision, recall) = ours
    summary = [precision[..., 0], precision[0, ..., 0], precision[5, ..., 0], *(precision[..., i] for i in (1, 2, 3)),
               recall_1[..., 0], recall_10[..., 0], recall[..., 0], *(recall[..., i] for i in (1, 2, 3))]
    if figures:
        mine = np.array([np.nanmean(table) for table in summary])
        tables.append(("the twelve figures of COCO's summary", mine, theirs.stats))
    for name, mine, other in tables:
        if (np.isnan(mine) != (other < 0)).any():
            raise ValueError(f'{name}: other entries are unknown')
    return {name: np.abs(mine - other)[other >= 0].max(initial=0).item() for name, mine, other in tables}


def processor_time(call: Callable[[], object]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


def measure_evaluation(args) -> int:
    logging.disable(logging.CRITICAL)
    predictions, targets = scenes(args.images, args.boxes, args.classes)
    truth, results = coco_tables(predictions, targets, range(args.classes))
    print(f'{args.images} images, {args.boxes} boxes each, {args.classes} classes', flush=True)
    for name, value in largest_differences([precision_and_recall(truth, results, max_dets=most) for most in (
            1, 10, 100)], by_pycocotools(truth, results)).items():
        print(f'  largest difference of {name}: {value:.1e}')
    runs = {'average precision, faster-coco-eval': lambda: precision_and_recall(truth, results),
            'average precision, pycocotools': lambda: by_pycocotools(truth, results),
            'DetectionMetric': whole_metric('cxrdet.DetectionMetric', predictions, targets, args.classes),
            'CocoMetric (classwise)': whole_metric('mmdet.CocoMetric', predictions, targets, args.classes)}
    times = {name: [] for name in runs}
    for _ in range(args.rounds):
        for name, call in runs.items():
            times[name].append(processor_time(call))
    best = {name: min(values) for name, values in times.items()}
    for name, value in best.items():
        print(f'  {name}: {value:.1f} s')
    (ours, theirs), (metric, stock) = ((best[a], best[b]) for a, b in (list(runs)[:2], list(runs)[2:]))
    print(f'pycocotools / ours: {theirs / ours:.1f}; CocoMetric / DetectionMetric: {stock / metric:.1f}')
    return 0


def whole_metric(kind: str, predictions: list[dict], targets: list[dict], classes: int) -> Callable[[], dict]:
    """A call that feeds a metric with the samples of a run, image by image, and computes its numbers."""
    import torch
    from mmengine.evaluator import Evaluator
    from mmengine.registry import METRICS
    samples = [{'img_id': number, 'ori_shape': (target['height'], target['width']), 'img_path': target['file_name'],
                'pred_instances': {'bboxes': torch.from_numpy(found['boxes']), 'labels': torch.from_numpy(
                    found['labels']), 'scores': torch.from_numpy(found['scores'])},
                'instances': [{'bbox': box, 'bbox_label': label, 'ignore_flag': int(ignore)} for box, label, ignore in
                              zip(target['boxes'].tolist(), target['labels'].tolist(), target['ignore'])]}
               for number, (found, target) in enumerate(zip(predictions, targets))]

    def call() -> dict:
        evaluator = Evaluator(METRICS.build({'type': kind, 'classwise': True}))
        evaluator.dataset_meta = {'classes': [f'class {number}' for number in range(classes)]}
        with contextlib.redirect_stdout(io.StringIO()):
            for sample in samples:
                evaluator.process([sample])
            return evaluator.evaluate(len(samples))
    return call


if __name__ == '__main__':
    sys.exit(main())
