"""What prediction does for detectors and for classifiers: records, rows of a table, pictures."""
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from mmengine.logging import print_log

from cxrdet.core.classification.calibration import scale
from cxrdet.core.classification.operating_points import read_points
from cxrdet.core.errors import ConfigError, check_choice
from cxrdet.inference.cam import CamChoice, GradCam
from cxrdet.visualization.boxes import draw_boxes, input_picture
from cxrdet.visualization.cam import cam_sheet

_SAME_VIEW = {'LoadImage', 'LoadImageFromFile', 'Resize', 'ResizeEdge', 'CLAHE', 'Denoise', 'Sharpen', 'ZScore',
              'Normalize', 'PackInputs'}  # steps of a pipeline that neither crop nor move the image


class Options(NamedTuple):
    """What the caller of :func:`cxrdet.inference.predict.predict` asked for.

    Args:
        score_thr: Lowest score, in [0, 1], of a box that is kept (None: 0.3), or of a positive decision for any class.
        operating_point: Multi-label: the stored thresholds to decide by; None: the first that is stored, else 0.5.
        calibrate: Multi-label: divide logits by the stored temperature; stored thresholds follow.
        cam: Classifiers: draw Grad-CAM for these classes, from this layer.
        formats: Detectors: write the boxes as ``coco``, ``yolo``, ``label-studio`` or ``cvat``, too.
        prompt: Detectors that read text: what to look for, ``'white blood cell . platelet'``; None: what their config
            says.
        classes: Of the model, which the checkpoint names; of one that reads text, the phrases of its prompt.
    """

    score_thr: float | None = None
    operating_point: str | None = None
    calibrate: bool = False
    cam: CamChoice | None = None
    formats: Sequence[str] = ()
    prompt: str | None = None
    classes: tuple[str, ...] = ()


def task_of(sample, options: Options, model: torch.nn.Module, points: dict | None, checkpoint: str):
    """What is done with predictions like ``sample``: :class:`Boxes` or :class:`Decisions`.

    Args:
        sample: A first one.
        options: What the caller asked for.
        model: By which it was predicted.
        points: Operating points in the checkpoint, if there are any.
        checkpoint: Its name.

    Raises: ConfigError if nothing is known, or options do not fit.
    """
    if 'pred_instances' in sample and 'bboxes' in sample.pred_instances:
        return Boxes(options)
    if isinstance(sample.get('pred_score'), torch.Tensor):
        return _decisions(options, model, points, checkpoint)
    raise ConfigError('This model predicts neither boxes nor classes: only detectors and classifiers can be used here, '
                      f'got {type(sample).__name__} with {", ".join(sample.keys()) or "nothing"}')


def prompted_classes(model: torch.nn.Module, prompt: str | None, classes: tuple[str, ...]) -> tuple[str, ...]:
    """The names of what a model finds: of one that reads text (it has ``set_prompt``), the phrases of ``prompt``.

    Args:
        model: Takes the prompt; None: keeps its own, or takes ``classes``.
        prompt: Phrases with full stops between them, or None.
        classes: Those of the checkpoint, which any other model finds.

    Raises: ConfigError if the model reads no text but is given a prompt, or reads text and has none.
    """
    set_prompt = getattr(model, 'set_prompt', None)
    if set_prompt is not None:
        return tuple(set_prompt(prompt, classes))
    if prompt is not None:
        raise ConfigError(f'--prompt is for detectors that read text; this {type(model).__name__} finds its '
                          f'{len(classes)} classes and no others ({", ".join(classes)}). Leave it out')
    return classes


def summary(records: Sequence[dict]) -> str:
    """One line on what was found, e.g. ``'7 boxes in 2 images'``."""
    kind = 'boxes' if any('boxes' in record for record in records) else 'findings'
    count = sum(len(record['boxes' if kind == 'boxes' else 'classes']) for record in records)
    if count == 1:
        kind = kind.removesuffix('es') if kind == 'boxes' else kind.removesuffix('s')
    return f'{count} {kind} in {len(records)} image{"s" * (len(records) != 1)}'


def detection_record(sample, classes: Sequence[str], score_thr: float) -> dict:
    """Boxes of a DetDataSample with a score of at least ``score_thr``, best first, in pixels of the original image.

    Of a detector that says how little each box is like any class that it knows, also these ``unknown_scores``.
    """
    found = sample.pred_instances.cpu()
    found = found[found.scores >= score_thr]
    found = found[found.scores.argsort(descending=True, stable=True)]
    height, width = sample.ori_shape[:2]
    labels = found.labels.tolist()
    unknown = {'unknown_scores': found.unknown_scores.double().numpy().round(6).tolist()} \
        if 'unknown_scores' in found else {}
    return {'width': int(width), 'height': int(height), 'boxes': found.bboxes.double().numpy().round(3).tolist(),
            'scores': found.scores.double().numpy().round(6).tolist(), 'labels': labels,
            'classes': [classes[label] for label in labels], **unknown}


class Boxes:
    """What is done with the boxes of a detector."""
    header = ('x1', 'y1', 'x2', 'y2', 'score', 'label', 'class')  # columns of the CSV file behind ``image``

    def __init__(self, options: Options) -> None:
        for name in ('operating_point', 'calibrate', 'cam'):
            if getattr(options, name):
                raise ConfigError(f'--{name.replace("_", "-")} is for classifiers, but this model is a detector')
        self.classes, self.score_thr = options.classes, 0.3 if options.score_thr is None else options.score_thr

    def facts(self) -> dict[str, Any]:
        """What stands in the JSON file before the images."""
        return {'score_thr': self.score_thr, 'classes': list(self.classes)}

    def record(self, sample) -> dict:
        """What stands there for an image."""
        return detection_record(sample, self.classes, self.score_thr)

    def rows(self, record: dict) -> Iterable[list]:
        """Rows of the CSV file: x1, y1, x2, y2, score, label, class."""
        for box, *rest in zip(record['boxes'], record['scores'], record['labels'], record['classes'], strict=True):
            yield [*box, *rest]

    def draw(self, image: np.ndarray, packed: dict, steps: Sequence, record: dict) -> np.ndarray:
        """A picture, from the image, what the pipeline has made of it, and its steps."""
        names = dict(zip(record['labels'], record['classes'], strict=True))
        return draw_boxes(image, record['boxes'], record['labels'], record['scores'], classes=names)


class Decisions(NamedTuple):
    """How the scores of a classifier become decisions.

    Attributes:
        classes: C names.
        thresholds: (C,) lowest probability of a positive decision; None of a single-label model: the most probable
            class.
        source: where the thresholds come from, in words.
        temperature: by which the logits are divided; None: the probabilities stay as they are.
        cam, model: for drawing.
        shown: numbers of the classes that are drawn in every image; None: those that are found in it.
    """

    classes: tuple[str, ...]
    thresholds: np.ndarray | None
    source: str
    temperature: float | None
    cam: GradCam | None
    shown: list[int] | None
    model: torch.nn.Module
    header = ('class', 'probability', 'threshold', 'decision')

    def facts(self) -> dict[str, Any]:
        facts: dict[str, Any] = {'classes': list(self.classes), 'decided_by': self.source}
        if self.thresholds is not None:
            facts['thresholds'] = [_short(value) for value in self.thresholds]
        if self.temperature is not None:
            facts['temperature'] = _short(self.temperature)
        return facts

    def record(self, sample) -> dict:
        """Probabilities and decisions of all classes, and the names of the classes that were decided to be present."""
        scores = sample.pred_score.detach().cpu().double().numpy()
        if self.temperature is not None:
            scores = _scaled(scores, self.temperature)
        if self.thresholds is None:
            decided = np.arange(len(scores)) == scores.argmax()
        else:
            decided = scores >= self.thresholds
        height, width = sample.ori_shape[:2]
        return {'width': int(width), 'height': int(height), 'probabilities': [_short(value) for value in scores],
                'decisions': decided.astype(int).tolist(),
                'classes': [name for name, found in zip(self.classes, decided, strict=True) if found]}

    def rows(self, record: dict) -> Iterable[list]:
        """Rows class, probability, threshold, decision of a record; the threshold of a single-label model is empty."""
        thresholds = [''] * len(self.classes) if self.thresholds is None else map(_short, self.thresholds)
        yield from (list(row) for row in zip(self.classes, record['probabilities'], thresholds, record['decisions'],
                                             strict=True))

    def draw(self, image: np.ndarray, packed: dict, steps: Sequence, record: dict) -> np.ndarray | None:
        """A sheet of Grad-CAM overlays; on the image as read, or, if it is cropped, on the part that the model sees."""
        if self.cam is None:
            return None
        scores, decisions, labels = np.array(record['probabilities']), record['decisions'], self.shown
        if labels is None:
            labels = sorted(np.flatnonzero(decisions), key=lambda i: -scores[i]) or [int(scores.argmax())]
        data = self.model.data_preprocessor(pseudo_collate([packed]), False)
        heats = self.cam(data['inputs'], labels)
        height, width = packed['inputs'].shape[-2:]
        heats = heats[:, :height, :width]  # without padding
        if not all(type(step).__name__ in _SAME_VIEW for step in steps):
            image = input_picture(packed['inputs'].cpu().numpy())
        titles = [f'{self.classes[i]} {scores[i]:.2f} ({"present" if decisions[i] else "absent"})' for i in labels]
        return cam_sheet(image, heats, titles, name=record['file'].rpartition('/')[2])


def _decisions(options: Options, model: torch.nn.Module, content: dict | None, checkpoint: str) -> Decisions:
    from mmpretrain.models.heads import ClsHead  # only now: detectors do without MMPretrain
    if options.formats:
        raise ConfigError('--format is for boxes, but this model is a classifier: leave it out')
    cam, shown = None, None
    if options.cam is not None:
        cam = GradCam(model, options.cam.layer)
        for name in options.cam.classes or ():
            check_choice('--cam-classes', name, options.classes)
        shown = options.cam.classes and [options.classes.index(name) for name in options.cam.classes]
    if isinstance(getattr(model, 'head', None), ClsHead):  # a single label
        if options.score_thr is not None or options.operating_point is not None or options.calibrate:
            raise ConfigError('--score-thr, --operating-point and --calibrate are for models that decide class by '
                              'class; this one gives each image its most probable class')
        return Decisions(options.classes, None, 'the most probable class', None, cam, shown, model)
    points = None if content is None else read_points(content, options.classes, checkpoint)
    if points is None and (options.operating_point is not None or options.calibrate):
        raise ConfigError(f'{checkpoint} holds no operating points and no temperature: best_*.pth of a training with '
                          'cxrdet.OperatingPointHook does. Leave --operating-point and --calibrate out')
    temperature = points.temperature if options.calibrate else None
    own, told = _thresholds_of_head(model, len(options.classes))
    if options.score_thr is not None:
        thresholds, source = np.full(len(options.classes), options.score_thr), f'{options.score_thr:g}, as asked for'
    elif points is None:
        thresholds = own
        source = (f'{told} for every class, for {checkpoint} stores none (training with cxrdet.OperatingPointHook '
                  'stores them in best_*.pth)')
    else:
        name, thresholds = points.pick(options.operating_point)
        source = (f'operating point "{name}" ({points.rules[name]}) of {checkpoint}, chosen on {points.images} '
                  'validation images')
        missing = [label for label, value in zip(options.classes, thresholds, strict=True) if np.isnan(value)]
        if missing:
            source += f'; {told} for {", ".join(missing)}, which could not be chosen there'
        thresholds = np.where(np.isnan(thresholds), own, thresholds)
        thresholds = thresholds if temperature is None else _scaled(thresholds, temperature)
    print_log(f'Thresholds: {source}', logger='current')
    return Decisions(options.classes, thresholds, source, temperature, cam, shown, model)


def _thresholds_of_head(model: torch.nn.Module, classes: int) -> tuple[np.ndarray, str]:
    """``thr`` of the head for each class, (C,), 0.5 where there is none; and what that is, in words."""
    given = getattr(getattr(model, 'head', None), 'thr', None)
    values = np.broadcast_to(0.5 if given is None else torch.as_tensor(given).double().cpu().numpy(), (classes,))
    if (values == 0.5).all():
        return values, '0.5'
    return values, 'thr of the head' + (f' ({values[0]:g})' if (values == values[0]).all() else '')


def _scaled(values: np.ndarray, temperature: float) -> np.ndarray:
    """Divide logits by the temperature; 0 and 1, which no finite logit gives, stay."""
    return np.where((values > 0) & (values < 1), scale(values, temperature), values)


def _short(value: float) -> float:
    return float(f'{value:.6g}')
