"""Ensembles from saved predictions: no model is built, no image is read, no GPU is needed."""
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from mmengine.config import Config
from mmengine.evaluator import Evaluator
from mmengine.logging import print_log
from mmengine.registry import DATASETS, DefaultScope

from cxrdet.core.detection.fusion import check_fusion, fusable, fuse_known
from cxrdet.core.errors import ConfigError, DataError
from cxrdet.core.sample_files import check_sample_path, read_samples, write_samples
from cxrdet.inference.ensemble import MEANS, Fusion, classes_of_data
from cxrdet.models.ensemble_members import MAX_PER_IMG, checked_weights, class_orders, known_labels
from cxrdet.preflight.data import check_run, follow_classes

MOST_THR = 0.05  # a usual threshold of detectors themselves


class Predictions(NamedTuple):
    """What a file holds.

    Attributes:
        path: of the file.
        classes: names in the order of the labels; ``None`` where the file does not say.
        images: name of an image -> {'boxes' (N, 4), 'scores' (N,), 'labels' (N,)}, or {'scores' (C,)} of a classifier.
        records: of a ``.npz`` file, the samples as they stand there.
    """
    path: Path
    classes: tuple[str, ...] | None
    images: dict[str, dict[str, np.ndarray]]
    records: list[dict]


def test_predictions(cfg: Config, files: Sequence[str | Path], *, fusion: Fusion = Fusion(),  # noqa: B008
                     out: str | Path | None = None) -> dict[str, float]:
    """Fuse the predictions in ``files`` and evaluate them on the test set of ``cfg``.

    Args:
        cfg: from :func:`cxrdet.apis.load_config`; its test set gives the ground truth (of classifiers: the first
            ``.npz`` file does).
        files: as ``cxrdet test --out`` (``.npz``) or ``cxrdet predict`` (``predictions.json``) wrote them; images
            are matched by the names of their files, classes by name.
        fusion: how to bring them together.
        out: also write the fused predictions to this ``.npz`` file.

    Returns: the metrics by name.
    Raises: ConfigError, DataError for files that cannot be read or do not fit each other or the test set.
    """
    if out is not None:
        check_sample_path(out)
    found = check_run(cfg, mode='test')
    given = [read_predictions(path) for path in files]
    if not given:
        raise ConfigError('--ensemble-predictions: no files given')
    boxes = ['boxes' in next(iter(one.images.values()), {'boxes': 0}) for one in given]
    if any(boxes) != all(boxes):
        raise ConfigError('--ensemble-predictions: detectors and classifiers do not go together')
    # the labels of classifiers are those of the first .npz file, in the order of its classes
    leading = given if all(boxes) else sorted(given, key=lambda one: not one.records)
    classes = next((one.classes for one in leading if one.classes), None)
    follow_classes(found, classes)
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmdet')):
        dataset = DATASETS.build(cfg.test_dataloader.dataset)
        of_data = dataset.metainfo.get('classes')
        classes = tuple(classes_of_data(classes or of_data, of_data, allow_missing=fusion.allow_missing) if all(boxes)
                        else classes or of_data)
        given = [_named(one, classes) for one in given]
        orders = class_orders(classes, [one.classes for one in given], allow_missing=fusion.allow_missing,
                              names=[str(one.path) for one in given])
        fusion = fusion._replace(weights=checked_weights(fusion.weights, len(given)))
        samples = _detections(dataset, classes, given, orders, fusion) if all(boxes) else _scores(given, orders, fusion)
        for sample in samples:
            sample['classes'] = classes
        evaluator = Evaluator(cfg.test_evaluator)
        evaluator.dataset_meta = dict(dataset.metainfo, classes=classes)
        metrics = evaluator.offline_evaluate(samples)
    if out is not None:
        write_samples(out, samples)
    print_log(f'{len(samples)} images, predictions of {", ".join(map(str, files))}\n'
              + '\n'.join(f'{name}: {value:.4f}' for name, value in metrics.items() if np.ndim(value) == 0),
              logger='current')
    return metrics


def read_predictions(path: str | Path) -> Predictions:
    """Read a file of predictions, ``.npz`` or ``.json``; neither can hold code. A warning tells of boxes that were cut
    off at a score above 0.05. Raises DataError if the file is missing, damaged or holds something else."""
    path = Path(path)
    try:
        if path.suffix == '.json':
            content = json.loads(path.read_bytes())
            if (content.get('score_thr') or 0) > MOST_THR:  # boxes of low scores count in a mean average precision
                print_log(f'{path}: it holds boxes with scores from {content["score_thr"]:g} on only, so that scores '
                          'of the ensemble come out too low; write it with cxrdet predict --score-thr 0',
                          logger='current', level=logging.WARNING)
            return Predictions(path, tuple(content['classes']), {image['file']: _entry(
                image.get('probabilities'), image, 'boxes') for image in content['images']}, [])
        records = read_samples(path)
        images = {str(record['img_path']): _entry(record.get('pred_score'), record.get('pred_instances'), 'bboxes')
                  for record in records}
        classes = next((tuple(record['classes']) for record in records if record.get('classes')), None)
    except OSError as error:
        raise DataError(f'{path}: cannot read the predictions: {error.strerror or error}.') from error
    except DataError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f'{path}: no file of predictions as cxrdet test --out (.npz) or cxrdet predict (.json) '
                        f'writes it: {type(error).__name__}: {error}') from error
    return Predictions(path, classes, images, records)


def _entry(probabilities, found: dict, boxes: str) -> dict[str, np.ndarray]:
    """An entry of ``Predictions.images``: the probabilities, or the ``boxes``, scores and labels of what was found."""
    if probabilities is not None:
        return {'scores': np.asarray(probabilities, np.float64)}
    return {'boxes': np.asarray(found[boxes], np.float64).reshape(-1, 4),
            'scores': np.asarray(found['scores'], np.float64), 'labels': np.asarray(found['labels'], np.int64)}


def _named(one: Predictions, classes: tuple[str, ...]) -> Predictions:
    if one.classes:
        return one
    print_log(f'{one.path}: it does not name its classes; they are taken to be {", ".join(classes)}, in this order',
              logger='current', level=logging.WARNING)
    return one._replace(classes=classes)


def _detections(dataset, classes: Sequence[str], given: Sequence[Predictions], orders: Sequence[list[int]],
                fusion: Fusion) -> list[dict]:
    """Samples as a detector would give them, with the data set's ground truth."""
    infos = [dataset.get_data_info(i) for i in range(len(dataset))]
    found = [_usable(one, _in_order(one, [info['img_path'] for info in infos])) for one in given]
    method, options = fusion.method or 'wbf', fusion.options or {}
    check_fusion(method, options, where='--ensemble-predictions')
    known = known_labels(classes, orders)
    samples = []
    for i, info in enumerate(infos):
        views = []
        for images, order in zip(found, orders):
            labels = np.array(order, np.int64)[images[i]['labels']]
            views.append((images[i]['boxes'][labels >= 0], images[i]['scores'][labels >= 0], labels[labels >= 0]))
        try:
            fused = fuse_known(*zip(*views), known, fusion=method, weights=fusion.weights, most=MAX_PER_IMG,
                               **options)
        except ValueError as error:
            raise ConfigError(f'--ensemble-predictions, {info["img_path"]}: {error}') from error
        predicted = dict(zip(('bboxes', 'scores', 'labels'), map(torch.from_numpy, fused)))
        samples.append(dict(img_id=info['img_id'], img_path=info['img_path'], instances=info['instances'],
                            ori_shape=(info['height'], info['width']), pred_instances=predicted))
    return samples


def _usable(one: Predictions, images: Sequence[dict]) -> list[dict]:
    """The predictions of a file without boxes that cannot be fused, which a model may give now and then."""
    kept = [fusable(image['boxes'], image['scores']) for image in images]
    lost = sum(int((~rows).sum()) for rows in kept)
    if lost:
        print_log(f'{one.path}: {lost} of {sum(map(len, kept))} boxes are inverted or not finite and are left out',
                  logger='current', level=logging.WARNING)
    return [{key: values[rows] for key, values in image.items()} for image, rows in zip(images, kept)]


def _scores(given: Sequence[Predictions], orders: Sequence[list[int]], fusion: Fusion) -> list[dict]:
    """Samples as a classifier would give them; their labels are those of the first ``.npz`` file."""
    first = next((one for one in given if one.records), None)
    method = fusion.method or 'probs'
    if first is None or method not in MEANS or fusion.options or fusion.allow_missing:
        raise ConfigError('For classifiers, one file at least must be a .npz of cxrdet test --out, which holds the '
                          f'labels, and the fusion a mean of {" or ".join(MEANS)} of the same classes')
    weights = np.ones(len(given)) if fusion.weights is None else np.array(fusion.weights)
    found = [_in_order(one, list(first.images)) for one in given]
    samples = []
    for i, record in enumerate(first.records):
        rows = [images[i]['scores'][np.argsort(order)] for images, order in zip(found, orders)]
        single = np.ndim(record.get('pred_label')) == 1 and len(record['pred_label']) == 1 and all(
            abs(row.sum() - 1) < 1e-4 for row in rows)
        score = torch.from_numpy(_mean(np.array(rows), weights / weights.sum(), method, single)).float()
        label = score.argmax().reshape(1) if single else (score >= 0.5).nonzero().reshape(-1)
        samples.append(dict(record, pred_score=score, pred_label=label))
    return samples


def _mean(probabilities: np.ndarray, weights: np.ndarray, method: str, single: bool) -> np.ndarray:
    """Mean (C,) over the models of probabilities (T, C), or of the logits that they come from."""
    if method == 'probs':
        return weights @ probabilities
    clear = np.clip(probabilities, 1e-12, 1 - 1e-12)
    logits = weights @ (np.log(clear) if single else np.log(clear / (1 - clear)))
    if not single:
        return 1 / (1 + np.exp(-logits))
    powers = np.exp(logits - logits.max())
    return powers / powers.sum()


def _in_order(one: Predictions, paths: Sequence[str]) -> list[dict[str, np.ndarray]]:
    """The predictions of a file for these images, found by as much of the end of their paths as tells them apart."""
    parts = [Path(path).parts for path in paths]
    depth = next(d for d in range(1, max(map(len, parts), default=1) + 1)
                 if len({part[-d:] for part in parts}) == len(parts) or d == max(map(len, parts)))
    known: dict[tuple[str, ...], list[dict]] = {}
    for name, image in one.images.items():
        known.setdefault(Path(name).parts[-depth:], []).append(image)
    lost = [path for path, part in zip(paths, parts) if len(known.get(part[-depth:], ())) != 1]
    if lost:
        raise DataError(f'{one.path}: {len(lost)} of {len(paths)} images of the test set are not there, or not only '
                        f'once: {", ".join(lost[:5])}{", …" if len(lost) > 5 else ""}')
    return [known[part[-depth:]][0] for part in parts]
