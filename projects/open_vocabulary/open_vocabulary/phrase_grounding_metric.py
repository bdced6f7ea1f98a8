"""How well phrases are found: recall among the best boxes, and average precision."""
from collections.abc import Mapping, Sequence

import numpy as np
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log

from cxrdet.core.bootstrap import draws_of_groups, percentile_interval
from cxrdet.core.detection.boxes import box_iou
from cxrdet.core.errors import check_choice, check_numbers
from cxrdet.registry import METRICS

_OVERLAPS = np.arange(0.5, 1, 0.05)


def merged_box(boxes: np.ndarray) -> np.ndarray:
    """The box around all boxes (G, 4), xyxy, G > 0: (1, 4)."""
    return np.concatenate((boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)))[None]


def first_hit(boxes: np.ndarray, scores: np.ndarray, truth: np.ndarray, overlap: float) -> float:
    """How many of the best boxes it takes to find a phrase: 1, 2 …, infinity if none of them does.

    Of boxes of one score, the one that is given first goes first.

    Args:
        boxes: (N, 4) xyxy.
        scores: (N,).
        truth: (G, 4) boxes, any of which will do.
        overlap: lowest IoU.
    """
    if not len(boxes) or not len(truth):
        return np.inf
    order = np.argsort(-scores, kind='stable')
    hits = box_iou(boxes[order], truth).max(axis=1) >= overlap
    return float(hits.argmax() + 1) if hits.any() else np.inf


def phrase_precision(boxes: np.ndarray, scores: np.ndarray, truth: np.ndarray) -> float:
    """Average precision of the boxes (N, 4) of one phrase, all points, mean over the IoU 0.5, 0.55 … 0.95.

    Each box of the ground truth (G, 4), G > 0, is found once, by the best-scored box that overlaps it most among those
    that are left.
    """
    order = np.argsort(-scores, kind='stable')
    if not len(order):
        return 0.
    overlaps = box_iou(boxes[order], truth)
    total = 0.
    for least in _OVERLAPS - 1e-9:
        free, found = np.ones(len(truth), bool), np.zeros(len(order), bool)
        for row, values in enumerate(overlaps):
            values = np.where(free, values, -1)
            if values.max() >= least:
                free[values.argmax()], found[row] = False, True
            if not free.any():
                break
        precision = found.cumsum() / np.arange(1, len(found) + 1)
        total += np.maximum.accumulate(precision[::-1])[::-1][found].sum() / len(truth)
    return float(total / len(_OVERLAPS))


@METRICS.register_module()
class PhraseGroundingMetric(BaseMetric):
    """Recall of phrases as for Flickr30k Entities, and mAP over phrases, with intervals over images.

    Scalars, with the prefix ``grounding/``: ``recall_1``, ``recall_5`` …: share of the phrases that one of the k
    best-scored boxes finds; ``ceiling``: that any box finds; ``recall_1_low``, ``recall_1_high`` … ends of the
    interval; ``mAP``: mean over phrases of :func:`phrase_precision`; for each group of phrases that the data set names,
    ``recall_1_<group>`` and so on; ``phrases``: their number. Phrases without a box in the image do not count; where
    none has one, all are NaN.

    Samples need ``phrases`` and ``instances``, whose label is the number of the phrase, as meta keys, and
    ``phrase_groups`` where there are groups; the labels of predictions are numbers of phrases, too.

    Args:
        topk: numbers of boxes.
        iou_thr: lowest overlap, in (0, 1].
        protocol: 'any': with one of the boxes of the phrase; 'merged': with the box around them all (MDETR, arXiv
            2104.12763, has both; the mAP goes by the boxes themselves).
        level: of the intervals, in (0, 1); images are drawn, by their files.
        samples: draws; 0: no intervals.

    Raises: ConfigError for arguments out of range; ValueError for samples without the keys.
    """

    default_prefix = 'grounding'
    sample_keys = ('instances',)

    def __init__(self, topk: Sequence[int] = (1, 5, 10), *, iou_thr: float = 0.5, protocol: str = 'any',
                 level: float = 0.95, samples: int = 1000, collect_device: str = 'cpu',
                 prefix: str | None = None) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        check_choice('PhraseGroundingMetric: protocol', protocol, ('any', 'merged'))
        check_numbers('PhraseGroundingMetric', iou_thr=(iou_thr, '(0, 1]'), level=(level, '(0, 1)'),
                      samples=(samples, '[0, inf)'), topk=(min(topk, default=0), '[1, inf)'))
        self.topk, self.iou_thr, self.protocol = tuple(topk), iou_thr, protocol
        self.level, self.samples = level, samples

    def process(self, data_batch: dict | None, data_samples: Sequence[Mapping]) -> None:
        """Keep a list an image, (image, group, rank of the first hit, precision) of each phrase with a box."""
        for sample in data_samples:
            for key in ('phrases', 'instances'):
                if key not in sample:
                    raise ValueError(f'PhraseGroundingMetric needs "{key}" of each image, but the samples have none. '
                                     f'Add "{key}" to the meta_keys of PackDetInputs in the validation and test '
                                     'pipelines')
            found = {key: sample['pred_instances'][key].detach().cpu().numpy()
                     for key in ('bboxes', 'scores', 'labels')}
            groups = sample.get('phrase_groups') or [None] * len(sample['phrases'])
            truth = np.array([box['bbox'] for box in sample['instances']], np.float64).reshape(-1, 4)
            labels = np.array([box['bbox_label'] for box in sample['instances']], np.int64)
            rows = []
            for number in range(len(sample['phrases'])):
                wanted = truth[labels == number]
                if not len(wanted):
                    continue
                own = found['labels'] == number
                boxes, scores = found['bboxes'][own].astype(np.float64), found['scores'][own]
                goal = merged_box(wanted) if self.protocol == 'merged' else wanted
                rows.append((str(sample.get('img_path') or sample.get('img_id')), groups[number],
                             first_hit(boxes, scores, goal, self.iou_thr), phrase_precision(boxes, scores, wanted)))
            self.results.append(rows)  # MMEngine counts one result a sample

    def compute_metrics(self, results: list) -> dict[str, float]:
        """The scalars named in the class's docstring; ``results`` are those of all processes."""
        images, groups, ranks, precisions = ([row[i] for rows in results for row in rows] for i in range(4))
        ranks = np.array(ranks, np.float64)
        values = {f'recall_{k}': ranks <= k for k in self.topk}
        values |= {'ceiling': np.isfinite(ranks), 'mAP': np.array(precisions, np.float64)}
        names = [None, *sorted({group for group in groups if group is not None})]
        metrics: dict[str, float] = {'phrases': float(len(ranks))}
        lines = [f'{len(ranks)} phrases in {len(set(images))} images, IoU >= {self.iou_thr:g}, protocol '
                 f'"{self.protocol}"']
        for group in names:
            chosen = np.array([group in (None, own) for own in groups], bool)
            ending = '' if group is None else f'_{group}'
            lines.append(f'{group or "all"} ({chosen.sum()}):')
            for name, column in values.items():
                mean, low, high = self._interval(column[chosen], [image for image, own in zip(images, chosen) if own])
                metrics[f'{name}{ending}'] = mean
                if self.samples:
                    metrics |= {f'{name}{ending}_low': low, f'{name}{ending}_high': high}
                lines[-1] += f'  {name} {mean:.4f}' + (f' [{low:.4f}, {high:.4f}]' if self.samples else '')
        print_log('\n'.join(lines), logger='current')
        return metrics

    def _interval(self, column: np.ndarray, images: list[str]) -> tuple[float, float, float]:
        """Mean of a value a phrase, and the ends of its interval where images are drawn."""
        if not len(column):
            return (float('nan'),) * 3
        mean = float(column.mean())
        if not self.samples:
            return mean, float('nan'), float('nan')
        draws = [column @ times / times.sum(axis=0) for times in
                 draws_of_groups(len(column), groups=images, samples=self.samples)]
        low, high = percentile_interval(np.concatenate(draws), level=self.level)
        return mean, float(low), float(high)
