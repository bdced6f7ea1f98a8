import hashlib
import os
import platform
import shlex
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope

import cxrdet
from cxrdet.core.classification.labels import are_findings
from cxrdet.core.classification.roc import AurocInterval, auroc_interval
from cxrdet.core.commit import commit_of
from cxrdet.core.detection.average_precision import IOUS
from cxrdet.core.diagnosis import quality_text
from cxrdet.core.errors import ConfigError, DataError, check_numbers
from cxrdet.core.files import sha256_of, write_atomic
from cxrdet.core.folders import OutputFolder
from cxrdet.core.history import read_history
from cxrdet.core.main_scores import detection_scores, multi_label_scores, single_label_scores
from cxrdet.core.model_diagnosis import diagnosis_of
from cxrdet.core.predictions import Collected
from cxrdet.core.run_log import read_logs
from cxrdet.inference.cam import GradCam, check_installed
from cxrdet.inference.predict import build_pipeline
from cxrdet.inference.split_predictions import LoadedModel, judge
from cxrdet.inference.tasks import Decisions
from cxrdet.preflight.data import training_quality
from cxrdet.version import __version__
from cxrdet.visualization.boxes import resized
from cxrdet.visualization.curves import history_panels
from cxrdet.visualization.panels import (
    Panel,
    calibration_panel,
    detection_pr_panels,
    froc_panels,
    pr_panels,
    roc_panels,
)
from cxrdet.visualization.plots import write_panels
from cxrdet.visualization.report import Content, render_page
from cxrdet.visualization.report.pictures import (
    BOX_KINDS,
    LABEL_KINDS,
    LONG_SIDE,
    detection_pictures,
    label_pictures,
)

CURVES = ('Precision and recall of boxes at IoU 0.5', 'FROC at IoU 0.5', 'ROC', 'Precision and recall', 'Calibration')
_MOST_PANELS = 24
_MOST_CAMS, _CAM_CLASSES = 24, 3
_SPLITS = {'val': 'validation', 'test': 'test'}
_PACKAGES = ('torch', 'torchvision', 'onedl-mmengine', 'onedl-mmcv', 'onedl-mmdetection', 'onedl-mmpretrain', 'numpy')


def report(config: Config | str | Path, checkpoint: str | Path, *, out: str | Path, history: str | Path | None = None,
           pictures: int = 60, cam: bool | None = None, samples: int = 200, curves: str | Path | None = None,
           command: str | None = None, seed: int = 0, **judging: Any) -> Path:
    """One page on a trained model, an HTML file that needs no other and no network; return ``out``.

    Args:
        config, checkpoint: as for :func:`cxrdet.inference.split_predictions.judge`.
        history: work folder or ``history.json`` of the training; by default it is
            looked for beside the checkpoint and in the work folder of the config.
        pictures: at most so many in the gallery, 0 or more.
        cam: classifiers: Grad-CAM overlays; None: where they can be drawn.
        samples: draws of the bootstrap, 1 or more.
        curves: also write the curves as ``.png`` files into this folder; those of an earlier report in it are replaced.
        command: that made the report, as it stands on the page.
        seed: of the bootstrap, and of the training images that are drawn.
        **judging: ``split``, ``train_images``, ``score_thr``, ``device``, ``workers``, ``trust`` and ``progress`` of
            ``judge``. ``score_thr=None``: boxes are counted and drawn from the score of the best F1 on.

    Raises: ConfigError, DataError, CheckpointError with what was found wrong.
    """
    if Path(out).suffix.lower() not in ('.html', '.htm'):
        raise ConfigError(f'--out {out}: the report is an HTML file; expected a name that ends in .html')
    check_numbers('report', pictures=(pictures, '[0, inf)'), samples=(samples, '[1, inf)'))
    if history is not None:
        read_history(history)  # before the long work: it may name no file
    drawn = None if curves is None else OutputFolder(curves, 'report', names=map(_curve_file, CURVES))
    loaded, judged, train = judge(config, checkpoint, seed=seed, **judging)
    content = content_of(loaded, judged, train, score_thr=judging.get('score_thr'), pictures=pictures, cam=cam,
                         samples=samples, seed=seed, quality=training_quality(loaded.cfg))
    content.training, content.training_note = training_panels(loaded.cfg, checkpoint, history)
    content.command = command or shlex.join(
        ['cxrdet', 'report', str(loaded.cfg.filename), str(checkpoint), '--out', str(out)])
    write_atomic(out, render_page(content))
    if drawn is not None:
        with drawn as folder:
            for title, panels in (dict(content.curves) | {CURVES[4]: content.calibration}).items():
                if panels:
                    write_panels(folder / _curve_file(title), panels)
    return Path(out)


def content_of(loaded: LoadedModel, judged: Collected, train: Collected | None = None, *,
               score_thr: float | None = None, pictures: int = 60, cam: bool | None = None, samples: int = 200,
               seed: int = 0, quality: Mapping | None = None) -> Content:
    """What the report tells, from predictions that were collected before; arguments as for :func:`report`.

    Raises: ConfigError if no image was judged.
    """
    if not judged.records:
        raise ConfigError(f'The {judged.split} set has no image to judge.')
    diagnosis = diagnosis_of(judged, train, points=loaded.meta.get('operating_points'), source=loaded.checkpoint,
                             score_thr=score_thr, quality=quality)
    unit = 'image' if judged.groups() is None else 'patient'
    content = Content(
        title=f'Report of {Path(str(loaded.cfg.filename or loaded.checkpoint)).stem}', diagnosis=diagnosis,
        rows=diagnosis['per_class'], data=_data_facts(loaded, judged, train, quality),
        model=_model_facts(loaded, judged),
        reproduce=_reproduce_facts(loaded, judged, seed=seed, samples=samples),
        about=f'A {loaded.task} model of {len(loaded.classes)} classes, judged on {len(judged.records)} '
              f'{_SPLITS[judged.split]} images.',
        curves_note=f'Bands are pointwise 95 % intervals of the same bootstrap of whole {unit}s.')
    if loaded.task == 'detection':
        _add_detection(content, judged, samples, seed, pictures)
    else:
        _add_classification(content, loaded, judged, samples, seed, pictures, cam)
    content.scores_note += (
        f' In brackets: 95 % intervals, percentiles of {samples} bootstrap draws of whole {unit}s.'
        + (' No patients are known: images of one patient would make them too narrow.' if unit == 'image' else '')
        + (' The checkpoint was chosen on these images, so the scores are a little too good: --split test judges on '
           'others, if the config has them.' if judged.split == 'val' else ''))
    return content


def _add_detection(content: Content, judged: Collected, samples: int, seed: int, pictures: int) -> None:
    classes, score_thr, groups = judged.classes, content.diagnosis['score_thr'], judged.groups()
    content.scores, by_class = detection_scores(judged.pairing, score_thr=score_thr, groups=groups, samples=samples,
                                                seed=seed)
    content.rows = [row | extra for row, extra in zip(content.rows, by_class, strict=True)]
    content.scores_note = (f'mAP is COCO\'s, the mean over IoU {IOUS[0]} to {IOUS[-1]}; FROC is the mean sensitivity '
                           'at 1/8 to 8 false positives an image, at IoU 0.5. Precision, recall and F1 are over all '
                           f'boxes with a score of {score_thr:.2f} or more.')
    table = judged.pairing.lesions()
    shown, names = _most_common(content, classes, table.lesions.sum(axis=0))
    part = table.of_classes(shown)
    content.curves = {CURVES[0]: detection_pr_panels(part, names, groups=groups, samples=samples),
                      CURVES[1]: froc_panels(part, names, groups=groups, samples=samples)}
    owners = np.arange(len(judged.records)) if groups is None else groups
    content.calibration = [
        calibration_panel(hits.hits.astype(np.float64), hits.scores, title, groups=owners[hits.image], samples=samples)
        for hits, title in [(table, 'all classes'), *((table.of_classes([i]), classes[i]) for i in shown)]]
    content.kinds, content.pictures = BOX_KINDS, detection_pictures(
        judged.pairing, [record['image'] for record in judged.records], classes, judged.read, score_thr=score_thr,
        most=pictures)
    content.pictures_note = _picture_note(content, 'errors') + (
        f' Boxes with a score of {score_thr:.2f} or more; names stand at errors only.')


def _add_classification(content: Content, loaded: LoadedModel, judged: Collected, samples: int, seed: int,
                        pictures: int, cam: bool | None) -> None:
    true, prob, classes, thresholds = judged.matrix('truth'), judged.matrix('probabilities'), judged.classes, None
    diagnosis, groups = content.diagnosis, judged.groups()
    called = np.arange(len(classes)) == prob.argmax(axis=1)[:, None]
    if loaded.task == 'multi-label':
        thresholds = np.array([row['threshold'] for row in content.rows], np.float64)
        use, called = [name in diagnosis['fit']['over'] for name in classes], prob >= thresholds
        content.scores = multi_label_scores(true, prob, thresholds, use, findings=are_findings(classes),
                                            groups=groups, samples=samples, seed=seed)
        low, high = (np.array([row[end] for row in content.rows], np.float64) for end in ('low', 'high'))
        interval = AurocInterval(low, high, **diagnosis['interval'])
        content.scores_note = (f'Means over {sum(use)} of {len(classes)} classes, those with enough images to judge '
                               f'({", ".join(diagnosis["fit"]["over"])}). Decisions by '
                               f'{diagnosis["operating_point"]}.')
    else:
        content.scores = single_label_scores(true, prob, groups=groups, samples=samples, seed=seed)
        content.scores_note = 'Means are over classes; AUROC is of each class against all others.'
        interval = auroc_interval(true, prob, groups=groups)
    content.curves_note += f' The interval behind the AUROC of a class is {interval.about}.'
    content.scores_note += f' The interval of a single class is {interval.about}.'
    shown, names = _most_common(content, classes, np.nansum(true == 1, axis=0))
    interval = interval._replace(low=interval.low[shown], high=interval.high[shown])
    own = true[:, shown], prob[:, shown], names
    content.curves = {CURVES[2]: roc_panels(*own, groups=groups, samples=samples, interval=interval),
                      CURVES[3]: pr_panels(*own, groups=groups, samples=samples)}
    content.calibration = _label_calibration(loaded.task, true, prob, shown, names, groups, samples)
    overlays = _Overlays(loaded, judged.read, thresholds, cam)
    content.kinds, content.pictures = LABEL_KINDS, label_pictures(
        true, prob, called, [record['image'] for record in judged.records], classes, overlays,
        single=thresholds is None, most=pictures)
    content.pictures_note = _picture_note(content, 'wrong decisions') + overlays.note


class _Overlays:
    """The picture of an image: the first ones are Grad-CAM overlays, if wanted (else
    ConfigError) or possible (``cam`` None).
    """

    def __init__(self, loaded: LoadedModel, read: Callable, thresholds, cam: bool | None) -> None:
        self.read, self.cam, self.left, self.note = read, cam, 0, ''
        with suppress(() if cam else ConfigError):
            if cam is not False:
                check_installed()
                with DefaultScope.overwrite_default_scope(loaded.cfg.get('default_scope', 'mmpretrain')):
                    self.load, self.prepare = build_pipeline(loaded.cfg)
                self.settings = Decisions(loaded.classes, thresholds, '', None, GradCam(loaded.model), None,
                                          loaded.model)
                self.left = _MOST_CAMS
                self.note = (f' The first {_MOST_CAMS} have Grad-CAM overlays of the classes that the model calls, '
                             'the three most probable ones: where the score comes from, each stretched to its own '
                             'range.')

    def __call__(self, path: str, prob: np.ndarray, called: np.ndarray) -> np.ndarray:
        if self.left:
            self.left -= 1
            try:
                return self._sheet(path, prob, called)
            except ConfigError as error:
                if self.cam:
                    raise
                self.left, self.note = 0, f' Without Grad-CAM: {str(error).rstrip(".")}.'
        return resized(self.read(path), LONG_SIDE, enlarge=False)[0]

    def _sheet(self, path: str, prob: np.ndarray, called: np.ndarray) -> np.ndarray:
        results = self.load({'img_path': path, 'img_id': 0})
        image = results['img'].copy()
        record = {'file': path.rpartition('/')[2], 'probabilities': prob.tolist(),
                  'decisions': called.astype(int).tolist()}
        order = np.argsort(-prob, kind='stable')
        labels = [int(i) for i in order if called[i]][:_CAM_CLASSES] or [int(order[0])]
        sheet = self.settings._replace(shown=labels).draw(image, self.prepare(results), self.prepare.transforms, record)
        return resized(sheet, 900, enlarge=False)[0]


def _label_calibration(task: str, true: np.ndarray, prob: np.ndarray, shown: Sequence[int], names: Sequence[str],
                       groups, samples: int) -> list[Panel]:
    owners = np.arange(len(true)) if groups is None else groups
    if task == 'multi-label':
        panels = [calibration_panel(true.reshape(-1), prob.reshape(-1), 'all labels', samples=samples,
                                    groups=np.repeat(owners, true.shape[1]))]
    else:
        best = prob.argmax(axis=1)
        right = (best == true.argmax(axis=1)).astype(np.float64)
        panels = [calibration_panel(right, prob.max(axis=1), 'most probable class', groups=groups, samples=samples)]
    return panels + [calibration_panel(true[:, i], prob[:, i], name, groups=groups, samples=samples)
                     for i, name in zip(shown, names, strict=True)]


def _most_common(content: Content, classes: Sequence[str], counts: np.ndarray) -> tuple[list[int], list[str]]:
    """Numbers and names of the classes that get panels, in their order; a word about the others."""
    shown = sorted(np.argsort(-counts, kind='stable')[:_MOST_PANELS].tolist()) if len(classes) else []
    if len(shown) < len(classes):
        content.scores_note += f' Curves are drawn of the {len(shown)} most frequent classes.'
    return shown, [classes[i] for i in shown]


def _picture_note(content: Content, what: str) -> str:
    return (f'{len(content.pictures)} images with {what}: first the worst, then such as show every kind of error of '
            'every class. A click or the Enter key enlarges one.')


def _curve_file(title: str) -> str:
    return f'{title.lower().replace(" ", "_").replace(".", "")}.png'


def _data_facts(loaded: LoadedModel, judged: Collected, train: Collected | None,
                quality: Mapping | None) -> list[tuple[str, str]]:
    source = loaded.cfg.get(f'{judged.split}_dataloader', {}).get('dataset', {})
    number, groups = len(judged.records), judged.groups()
    facts = [('Data set', str(source.get('type', 'unknown')).rpartition('.')[2]),
             ('Judged', f'{number} {_SPLITS[judged.split]} images'
              + ('' if groups is None else f', {len(np.unique(groups))} patients')
              + (f' (a sample of {judged.total})' if number < judged.total else ''))]
    if train is not None:
        facts.append(('Training', f'{train.total} images, of which {len(train.records)} were looked at'))
    if quality is not None:
        facts.append(('Annotations of the training set', quality_text(quality)))
    if judged.task == 'detection':
        boxes = [int((~record['gt_ignore']).sum()) for record in judged.records]
        facts.append(('Boxes', f'{sum(boxes)} judged; {np.median(boxes):g} an image (median), {max(boxes, default=0)} '
                      f'at most; {boxes.count(0)} images without any') if boxes else ('Boxes', '0'))
    else:
        truth = judged.matrix('truth')
        facts.append(('Labels', f'{int((truth == 1).sum())} present, {int((truth == 0).sum())} absent, '
                      f'{int(np.isnan(truth).sum())} unknown'))
    facts.append(('Image sizes', _sizes(judged.records)))
    for key, name in (('view', 'Views'), ('sex', 'Sex')):
        counts = Counter(record['facts'][key] for record in judged.records if record['facts'].get(key))
        if counts:
            facts.append((name, ', '.join(f'{value} {count}' for value, count in counts.most_common())))
    return facts


def _model_facts(loaded: LoadedModel, judged: Collected) -> list[tuple[str, str]]:
    cfg, model = loaded.cfg, loaded.model
    count = sum(weight.numel() for weight in model.parameters())
    parts = [(name, type(part).__name__) for name, part in model.named_children() if name != 'data_preprocessor']
    sizes = Counter(f'{shape[-1]} × {shape[-2]}' for shape in judged.inputs.elements())
    shown = ', '.join(size for size, _ in sizes.most_common(3)) + (' …' if len(sizes) > 3 else '')
    meta = loaded.meta
    trained = ', '.join(f'{meta[key]} {text}' for key, text in (('epoch', 'epochs'), ('iter', 'iterations'))
                        if meta.get(key))
    facts = [('Config', os.path.basename(str(cfg.filename or 'none'))), ('Model', type(model).__name__),
             ('Parts', '; '.join(f'{name}: {kind}' for name, kind in parts)),
             ('Parameters', f'{count:,}'.replace(',', ' ')),
             ('Input (width × height)', shown or 'unknown'), ('Task', loaded.task),
             ('Classes', f'{len(loaded.classes)}: {", ".join(loaded.classes)}'),
             ('Checkpoint', Path(loaded.checkpoint).name)]
    return facts + ([('Trained for', trained)] if trained else [])


def _reproduce_facts(loaded: LoadedModel, judged: Collected, *, seed: int, samples: int) -> list[tuple[str, str]]:
    checkpoint, versions = Path(loaded.checkpoint), [f'cxrdet {__version__}', f'Python {platform.python_version()}']
    for package in _PACKAGES:
        try:
            versions.append(f'{package} {version(package)}')
        except PackageNotFoundError:
            continue
    device = next((weight.device for weight in loaded.model.parameters()), torch.device('cpu'))
    name = torch.cuda.get_device_name(device) if device.type == 'cuda' else f'CPU, {platform.machine()}'
    commit, changed = commit_of(Path(cxrdet.__file__).parent) or ('unknown: no repository tracks the package', False)
    return [('Commit of cxrdet', commit + (' with changes' if changed else '')), ('Versions', ', '.join(versions)),
            ('Checkpoint, SHA-256', sha256_of(checkpoint) if checkpoint.is_file() else 'no file'),
            ('Data, SHA-256', f'{fingerprint(judged.records)} of the names and sizes of the judged files and their '
                              'ground truth'),
            ('Seed of the training', str(loaded.meta.get('seed', 'unknown'))),
            ('Seed of this report', f'{seed}; {samples} bootstrap draws'), ('Device', name),
            ('Made', time.strftime('%Y-%m-%d %H:%M UTC', time.gmtime()))]


def fingerprint(records: Sequence[Mapping]) -> str:
    """SHA-256 over names and sizes in bytes of the image files and their ground truth, whatever the folder.

    Two sets with the same fingerprint have the same files by name and size, and the same boxes or labels.
    """
    lines = []
    for record in records:
        path = Path(record['image'])
        size = path.stat().st_size if path.is_file() else -1
        truth = [np.asarray(record[key], np.float64).round(3).tolist() for key in
                 ('gt_boxes', 'gt_labels', 'gt_ignore', 'truth') if key in record]
        lines.append(f'{path.name} {size} {truth}')
    return hashlib.sha256('\n'.join(sorted(lines)).encode()).hexdigest()


def training_panels(cfg: Config, checkpoint: str | Path,
                    history: str | os.PathLike | None = None) -> tuple[list[Panel], str]:
    """Curves of training, and where they are from or why there are none: of
    ``history``, which must be there, or looked for.

    Raises: DataError if ``history`` is given and cannot be read.
    """
    folders = [Path(checkpoint).parent, Path(cfg.get('work_dir') or '.')]
    found = history or next((folder for folder in folders if (folder / 'history.json').is_file()), None)
    records, note = read_history(found) if found else [], ''
    for folder in () if found else folders:
        with suppress(DataError):  # a log of tests only
            if not records and (logs := sorted(folder.glob('*/vis_data/scalars.json'))):
                records, note = read_logs(logs), (' From the log of MMEngine, whose losses are smoothed: the run had '
                                                  'no cxrdet.HistoryHook.')
    if not records:
        return [], '' if found else ('No history.json was found beside the checkpoint or in the work folder: '
                                     '--history names one, and cxrdet.HistoryHook writes it.')
    main, last = (cfg.get('default_hooks', {}).get('checkpoint') or {}).get('save_best'), records[-1]
    panels = history_panels(records, main=main if isinstance(main, str) else None)
    done = f'{last["epoch"]} epochs' if 'epoch' in last else f'{last["iter"]} iterations'
    seconds = sum(sum(record.get('time', {}).values()) for record in records)
    return panels, f'{done}{f", {seconds / 60:.0f} minutes with validation" if seconds else ""}.{note}'


def _sizes(records: Sequence[Mapping]) -> str:
    counts = Counter((record['width'], record['height']) for record in records)
    (width, height), number = counts.most_common(1)[0] if counts else ((0, 0), 0)
    if len(counts) <= 1:
        return f'{width} × {height} pixels'
    widths, heights = zip(*counts)
    return (f'{min(widths)} to {max(widths)} × {min(heights)} to {max(heights)} pixels; most often {width} × {height} '
            f'({number} images)')
