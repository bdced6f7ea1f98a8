#!/usr/bin/env python
"""What large sets cost: python benchmarks/scale.py evaluation|memory|cache [options]

``evaluation``: COCO's average precision and recall as DetectionMetric takes them (faster-coco-eval) and as pycocotools
does, of the same content, by turns in one process. First all numbers are compared: the precision at every recall,
overlap, class and area, the recalls, and the twelve figures of COCO's summary. Then the whole metrics, from the arrays
of a run to the numbers: DetectionMetric beside CocoMetric of MMDetection. Times are of the processor.

``memory``: the memory of four workers together (PSS of smaps_rollup, in which shared pages count once) at the end of
each of three epochs: a table of 112,120 chest films as NIH ChestX-ray14 has it, and a COCO file of 100,000 images with
1,000,000 boxes, all films or images links of one file of 64 px.

``cache``: CachedResize beside LoadImage and Resize, an image at a time in one process, on photographs of cells
(2048 x 1536, JPEG, to 640 px) and chest films (1024 x 1024, PNG, to 224 px) of made-up content. Pixels are compared.
Files and entries are in the memory of the system: what is measured is decoding and resizing, not a disk.
"""
import argparse
import contextlib
import io
import json
import logging
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from linked_set import coco_content, link_images

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
    memory = kinds.add_parser('memory', help='PSS of the workers over three epochs')
    memory.add_argument('--films', type=int, default=112_120)
    memory.add_argument('--images', type=int, default=100_000)
    memory.add_argument('--boxes', type=int, default=1_000_000)
    memory.add_argument('--workers', type=int, default=4)
    memory.add_argument('--epochs', type=int, default=3)
    cache = kinds.add_parser('cache', help='CachedResize beside LoadImage and Resize')
    cache.add_argument('--images', type=int, default=60)
    cache.add_argument('--rounds', type=int, default=3)
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


# --- memory


def measure_memory(args) -> int:
    """PSS of the workers; the exit code is 1 where it has grown by more than 5 % from the first epoch to the last."""
    grown = []
    with tempfile.TemporaryDirectory() as folder:
        for name, cfg in (('NIH table', nih_set(Path(folder, 'nih'), args.films)),
                          ('COCO file', coco_set(Path(folder, 'coco'), args.images, args.boxes))):
            sizes = worker_memory(cfg, args.workers, args.epochs)
            grown.append(sizes[-1] / sizes[0] - 1)
            print(f'{name}: {args.workers} workers after each epoch: {", ".join(f"{size:.0f}" for size in sizes)} MiB; '
                  f'grown by {100 * grown[-1]:.1f} %', flush=True)
    return int(max(grown) > 0.05)


def nih_set(folder: Path, films: int) -> dict:
    """A table of the form of NIH's, with the findings of films drawn at random, four films a patient."""
    from cxrdet.datasets.formats.nih import NIH_CLASSES
    rng = np.random.default_rng(0)
    names = [f'{film // 4 + 1:08}_{film % 4:03}.png' for film in range(films)]
    link_images(folder / 'images', names, shape=(64, 64))
    findings = [*NIH_CLASSES[:-1], *NIH_CLASSES[-1:] * 14]
    drawn = [findings[number] for number in rng.integers(0, len(findings), films)]
    rows = [f'{name},{finding},{film % 4},{film // 4 + 1},{20 + film % 60},{"MF"[film % 2]},PA,2500,2048,0.168,0.168,'
            for film, (name, finding) in enumerate(zip(names, drawn))]
    head = 'Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,' \
           'OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y],'
    (folder / 'Data_Entry_2017.csv').write_text('\n'.join([head, *rows]) + '\n')
    return {'type': 'cxrdet.NIHChestXray14', 'data_root': str(folder), 'pipeline': [
        {'type': 'cxrdet.LoadImage'}, {'type': 'mmpretrain.PackInputs'}]}


def coco_set(folder: Path, images: int, boxes: int) -> dict:
    """A COCO file of three classes."""
    names = [f'{number:06}.png' for number in range(images)]
    link_images(folder / 'images', names)
    (folder / 'annotations').mkdir()
    (folder / 'annotations' / 'train.json').write_text(json.dumps(coco_content(
        names, boxes, [{'id': i + 1, 'name': name} for i, name in enumerate('abc')])))
    return {'type': 'cxrdet.CellDataset', 'data_root': str(folder), 'ann_file': 'annotations/train.json', 'pipeline': [
        {'type': 'cxrdet.LoadImage'}, {'type': 'mmdet.LoadAnnotations', 'with_bbox': True},
        {'type': 'mmdet.PackDetInputs'}]}


def worker_memory(cfg: dict, workers: int, epochs: int) -> list[float]:
    """PSS in MiB of the workers of a loader of the data set at the end of each epoch, built as a Runner builds it."""
    from mmengine.runner import Runner
    loader = Runner.build_dataloader({
        'dataset': cfg, 'batch_size': 64, 'num_workers': workers, 'persistent_workers': True,
        'sampler': {'type': 'DefaultSampler', 'shuffle': True}, 'collate_fn': {'type': 'pseudo_collate'}}, seed=0)
    sizes = []
    for epoch in range(epochs):
        loader.sampler.set_epoch(epoch)
        batches = iter(loader)
        for _ in range(len(loader)):
            next(batches)
        sizes.append(sum(pss(worker.pid) for worker in loader._iterator._workers) / 2 ** 20)
    return sizes


def pss(process: int) -> int:
    """Proportional memory of a process in bytes."""
    text = Path(f'/proc/{process}/smaps_rollup').read_text()
    return int(text.partition('\nPss:')[2].split()[0]) * 1024


# --- cache


def measure_cache(args) -> int:
    """Milliseconds of the processor an image."""
    kinds = {'photographs, 2048 x 1536 to 640 x 480': ('.jpg', (1536, 2048, 3), {
        'type': 'mmdet.Resize', 'scale': (640, 640), 'keep_ratio': True}),
        'chest films, 1024 x 1024 to 224 x 224': ('.png', (1024, 1024), {
            'type': 'mmpretrain.Resize', 'scale': 224, 'interpolation': 'area'})}
    for name, (ending, shape, resize) in kinds.items():
        with tempfile.TemporaryDirectory() as folder:
            paths = write_blobs(Path(folder), args.images, ending, shape)
            both, hit, first = (1000 * value / args.images for value in cache_times(paths, resize, args.rounds))
        print(f'{name}: decoded and resized {both:.1f} ms, from the cache {hit:.2f} ms ({both / hit:.0f} times); '
              f'the first time {first:.1f} ms', flush=True)
    return 0


def write_blobs(folder: Path, images: int, ending: str, shape: tuple[int, ...]) -> list[str]:
    """Images of blobs of several sizes with a little noise."""
    import cv2
    rng, paths = np.random.default_rng(0), []
    for number in range(images):
        fields = [cv2.resize(rng.random((side, side, *shape[2:])), shape[1::-1]) for side in (6, 24, 96)]
        pixels = 255 * np.mean(fields, axis=0) + rng.normal(0, 2, shape)
        paths.append(str(folder / f'{number}{ending}'))
        cv2.imwrite(paths[-1], pixels.clip(0, 255).astype(np.uint8))
    return paths


def cache_times(paths: list[str], resize: dict, rounds: int) -> tuple[float, float, float]:
    """Seconds for all images: by both steps, from the cache, and while it is filled.

    Raises: AssertionError if a pixel differs.
    """
    from cxrdet.registry import TRANSFORMS
    folder = Path(paths[0]).parent / 'cache'
    load, size = TRANSFORMS.build({'type': 'cxrdet.LoadImage'}), TRANSFORMS.build(dict(resize))
    cached = TRANSFORMS.build({'type': 'cxrdet.CachedResize', 'folder': str(folder), 'resize': resize})

    def by_steps() -> list[np.ndarray]:
        return [size(load({'img_path': path}))['img'] for path in paths]

    def by_cache() -> list[np.ndarray]:
        return [cached({'img_path': path})['img'] for path in paths]
    first = processor_time(by_cache)
    for one, other in zip(by_cache(), by_steps()):
        np.testing.assert_array_equal(one, other)
    times = [(processor_time(by_steps), processor_time(by_cache)) for _ in range(rounds)]
    return *map(min, zip(*times)), first


if __name__ == '__main__':
    sys.exit(main())
