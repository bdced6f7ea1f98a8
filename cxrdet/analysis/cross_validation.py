"""Trainings of a config on folds of its data, or with several seeds; what they reach together, and whether another
config is better.

The runs are processes of their own (:mod:`cxrdet.analysis.trainings`), and all that they read is written before: the
files of the folds (:mod:`cxrdet.curation.folds`), and one config a run. A command that was stopped finds what is there
and goes on.
"""
import ast
import copy
import json
import logging
import os
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from pprint import pformat
from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.evaluator import Evaluator
from mmengine.logging import print_log
from mmengine.registry import DefaultScope

from cxrdet.analysis.trainings import Trainings, checkpoint_of, cost_of, drop_checkpoints, measured
from cxrdet.core.classification.labels import are_findings
from cxrdet.core.classification.roc import auroc, auroc_interval, group_numbers
from cxrdet.core.detection.fusion import FUSIONS
from cxrdet.core.detection.matching import pair_boxes
from cxrdet.core.errors import ConfigError, CxrdetError, DataError, TrainingError
from cxrdet.core.files import write_json
from cxrdet.core.history import number
from cxrdet.core.machine import usable_cpus
from cxrdet.core.main_scores import detection_scores, multi_label_scores, single_label_scores
from cxrdet.core.paired import paired_difference
from cxrdet.core.predictions import boxes_of_truth
from cxrdet.core.sample_files import read_samples, write_samples
from cxrdet.curation.folds import (
    Pool,
    deal_out,
    fold_table,
    keep,
    pool_of,
    rare_classes,
    read_folds,
    shares_images,
    with_sets,
    write_folds,
)
from cxrdet.engine.lock import RunLock
from cxrdet.evaluation.metrics.log_tables import text_table
from cxrdet.inference.ensemble import MEANS, Fusion, bundle, ensemble_config
from cxrdet.preflight.config import drop_helpers
from cxrdet.preflight.data import ACCEPT, check_run

RESULTS = 'cross_validation.json'
COMMAND = (sys.executable, '-m', 'cxrdet')
_DRAWS = 1000
_PATIENCE = 60  # s
_SCORE_THR = 0.5  # of boxes and of labels that count as told, on the pool
_NO_SCORES = re.compile(r'(^|/)(time|data_time|temperature|undefined_classes|left_out_classes)$|_(low|high)$|'
                        r'_(macro|micro)@')


@dataclass(frozen=True)
class Plan:
    """What is run.

    Attributes:
        folds: K, or a table of folds (``folds.csv`` of an earlier run); None: seeds.
        seeds: How many; None: folds.
        seed: Of the folds and of all trainings; of several seeds the first.
        checkpoint: ``last`` or ``best``, that is measured. The best was chosen on the fold that it is measured on.
        train: Further words for ``cxrdet train``.
        test: Further words for ``cxrdet test``.
        fusion: Of the ensemble, see :class:`cxrdet.inference.ensemble.Fusion`.
        jobs: Trainings at a time; None: one a GPU, or else one a processor core.
    """
    folds: int | Path | None = None
    seeds: int | None = None
    seed: int = 0
    checkpoint: str = 'last'
    train: tuple[str, ...] = ()
    test: tuple[str, ...] = ()
    fusion: str | None = None
    jobs: int | None = None


@dataclass(frozen=True)
class Run:
    """A training: of the config ``name``, in the fold or with the seed ``part``."""
    name: str
    part: str
    config: Path
    folder: Path


def cross_validate(configs: Mapping[str, Config], work_dir: str | Path, plan: Plan, *,
                   tell: Callable[[str], None] = lambda text: None) -> dict[str, Any]:
    """Run what has not been run yet, and write ``cross_validation.json``.

    Args:
        configs: By name, from :func:`cxrdet.apis.load_config`: one, or a second one that is compared with the first on
            the same folds.
        work_dir: Everything is written there.
        plan: What is run.
        tell: Called with a line for each run that has ended.

    Returns: What the file holds, see :func:`result_of`.

    Raises:
        ConfigError, DataError: With everything that was found wrong, before any training; also if the folder holds
            another cross-validation.
        TrainingError: With a line for each run that failed; the others have been run.
    """
    work = Path(work_dir)
    if (plan.folds is None) == (plan.seeds is None):
        raise ConfigError('Expected either folds or seeds.')
    lock = RunLock(work)
    lock.look()
    for name, cfg in configs.items():
        _check(name, cfg, plan.fusion)
    pools, fold = _dealt(configs, plan) if plan.seeds is None else ({}, np.zeros(0, np.int64))
    lock.acquire()
    try:
        about, runs, groups = _written(configs, work, plan, pools, fold)
        failures = _run_all(runs, plan, tell)
        if failures:
            raise TrainingError('\n  '.join([f'{len(failures)} of {len(runs)} runs have failed:', *failures,
                                             'The same command goes on with these.']))
        result = about | {'configs': {}}
        for name, cfg in configs.items():
            own = [run for run in runs if run.name == name]
            pool = pools.get(name)
            result['configs'][name] = _judged(cfg, own, about, pool, groups, partial(
                _ensemble, pool=pool, fusion=plan.fusion, tell=tell))
        result |= _compared(result)
        write_json(work / RESULTS, result, indent=1)
    finally:
        lock.release()
    return result


# --- what is run


def _check(name: str, cfg: Config, fusion: str | None) -> None:
    """Raise ConfigError for what cannot be trained, or not be brought together."""
    if 'members' in (cfg.get('model') or {}):
        raise ConfigError(f'{name}: an ensemble is not trained; cross-validate one of its members, which gives an '
                          'ensemble, too.')
    offered = tuple(FUSIONS) if cfg.get('default_scope', 'mmdet') == 'mmdet' else MEANS
    if fusion not in (None, *offered):
        raise ConfigError(f'--fusion: expected one of {", ".join(offered)} for {name}, got {fusion}.')
    check_run(copy.deepcopy(cfg), mode='train')


def _dealt(configs: Mapping[str, Config], plan: Plan) -> tuple[dict[str, Pool], np.ndarray]:
    """The images of each config, the same ones, and their folds."""
    pools = {name: pool_of(cfg) for name, cfg in configs.items()}
    (first, pool), *others = pools.items()
    for name, other in others:
        if (other.names, other.files) != (pool.names, pool.files):
            raise DataError(f'{name}: it trains and validates on {len(other.names)} images, other ones than the '
                            f'{len(pool.names)} of {first}; a comparison needs the same.')
    if isinstance(plan.folds, Path):
        return pools, read_folds(plan.folds, pool)
    return pools, deal_out(pool, plan.folds, seed=plan.seed, copies_apart=bool(configs[first].get(ACCEPT)))


def _written(configs: Mapping[str, Config], work: Path, plan: Plan, pools: Mapping[str, Pool],
             fold: np.ndarray) -> tuple[dict, list[Run], dict[str, str | None]]:
    """Write folds and configs; what all runs share, the runs, and the patient of each image of the pool by its path."""
    about: dict[str, Any] = {'seed': plan.seed, 'checkpoint': plan.checkpoint}
    groups: dict[str, str | None] = {}
    if plan.seeds is not None:
        about['seeds'] = plan.seeds
        parts = {name: [cfg] * plan.seeds for name, cfg in configs.items()}
    else:
        pool = next(iter(pools.values()))
        keep(work / 'folds.csv', fold_table(pool, fold))
        _tell_of_rare_classes(pool, int(fold.max()) + 1)
        parts = {name: write_folds(cfg, pools[name], fold, work / 'folds') for name, cfg in configs.items()}
        groups = dict(zip(pool.files, pool.groups))
        about |= {'folds': int(fold.max()) + 1, 'images': len(pool.names), 'unit': pool.unit}
        if pool.unit == 'patient':
            about['patients'] = len(set(pool.groups) - {None})
    keep(work / 'plan.json', json.dumps({'by': 'seeds' if plan.seeds else 'folds', 'checkpoint': plan.checkpoint,
                                         'train': plan.train, 'test': plan.test}))
    runs = []
    for k in range(about.get('folds', plan.seeds)):  # run by run, so that what is stopped half-way has pairs
        for name, cfgs in parts.items():
            seed = plan.seed + (k if plan.seeds is not None else 0)
            part = f'seed_{seed}' if plan.seeds is not None else f'fold_{k}'
            runs.append(Run(name, part, work / name / f'{part}.py', work / name / part))
            keep(runs[-1].config, _text_of(cfgs[k], seed))
    return about, runs, groups


def _tell_of_rare_classes(pool: Pool, folds: int) -> None:
    if rare := rare_classes(pool, folds):
        print_log(f'{", ".join(f"{name} ({count})" for name, count in rare.items())}: fewer {pool.unit}s than folds '
                  f'({folds}) have it, so that folds without it have no figures of it.', logger='current',
                  level=logging.WARNING)


def _text_of(cfg: Config, seed: int) -> str:
    """A config as a file, with a seed."""
    cfg = copy.deepcopy(cfg)
    cfg.randomness = dict(cfg.get('randomness') or {}) | {'seed': seed}
    cfg.pop('work_dir', None)
    drop_helpers(cfg)
    values = {key: pformat(value, sort_dicts=False, width=118) for key, value in cfg.to_dict().items()}
    try:
        for text in values.values():
            ast.literal_eval(text)
    except (ValueError, SyntaxError):  # it holds more than plain values
        return cfg.pretty_text  # which takes seconds
    return ''.join(f'{key} = {text}\n' for key, text in values.items())


def _run_all(runs: Sequence[Run], plan: Plan, tell: Callable[[str], None]) -> list[str]:
    """Run what has no result yet; a line for each run that failed."""
    left = [run for run in runs if not (run.folder / 'result.json').is_file()]
    devices, cores = _devices(), usable_cpus()
    jobs = max(1, min(plan.jobs or len(devices) or cores, len(left)))
    trainings = Trainings(threads=max(1, cores // jobs), devices=(devices * jobs)[:max(jobs, len(devices))])
    work = {(run.name, run.part): partial(_measure, run, trainings, plan, tell) for run in left}
    failures = trainings.run_all(work, workers=jobs)
    folders = {(run.name, run.part): run.folder for run in runs}
    return [f'{name}, {part}: {error} {getattr(error, "output", None) or ""} (see {folders[name, part]}/*.log)'
            for (name, part), error in failures.items()]


def _devices() -> list[str]:
    """The GPUs of this machine as CUDA_VISIBLE_DEVICES names them."""
    import torch
    named = [name for name in os.environ.get('CUDA_VISIBLE_DEVICES', '').split(',') if name]
    count = torch.cuda.device_count()
    return (named or list(map(str, range(count))))[:count]


def _measure(run: Run, trainings: Trainings, plan: Plan, tell: Callable[[str], None]) -> None:
    """Train (or go on training), test, and write ``result.json``."""
    _let_end(run.folder)
    trainings.call([*COMMAND, 'train', str(run.config), '--work-dir', str(run.folder), '--resume', *plan.train],
                   run.folder, 'train', once='trained', title='cxrdet train')
    checkpoint = checkpoint_of(run.folder, plan.checkpoint)
    trainings.call([*COMMAND, 'test', str(run.config), str(checkpoint), '--work-dir', str(run.folder / 'test'),
                    '--out', str(run.folder / 'predictions.npz'), '--no-pictures', *plan.test],
                   run.folder, 'test', title='cxrdet test')
    drop_checkpoints(run.folder, but=checkpoint)
    cost = cost_of(run.folder)
    write_json(run.folder / 'result.json', {
        'checkpoint': os.path.relpath(checkpoint, run.folder), 'minutes': round(cost['wall'] / 60, 1),
        'interrupted': cost['interrupted'], 'metrics': _figures(run.folder / 'test')})
    tell(f'{run.name}, {run.part}: trained in {cost["wall"] / 60:.1f} min')


def _figures(folder: Path) -> dict[str, float | None]:
    """The numbers that the newest test in a work folder has measured."""
    return {key: number(value) for key, value in measured(folder).items() if isinstance(value, (int, float))}


def _let_end(folder: Path) -> None:
    """Wait while a training whose command was killed saves its checkpoint; one that stays is told by the next."""
    until = time.monotonic() + _PATIENCE
    while time.monotonic() < until:
        try:
            return RunLock(folder).look()
        except ConfigError:
            time.sleep(0.2)


# --- what they reach


def _judged(cfg: Config, runs: Sequence[Run], about: Mapping, pool: Pool | None, groups: Mapping[str, str | None],
            ensemble: Callable[..., dict]) -> dict[str, Any]:
    """The figures of one config over its runs, and its ensemble."""
    results = [json.loads((run.folder / 'result.json').read_text()) for run in runs]
    found: dict[str, Any] = {'runs': {run.part: {'minutes': result['minutes'], 'checkpoint': str(
        run.folder / result['checkpoint'])} for run, result in zip(runs, results)}}
    pooled, folder = {}, runs[0].folder.parent
    samples = read_samples(runs[0].folder / 'predictions.npz')
    found['classes'] = list(samples[0]['classes'])
    if pool is not None:
        samples = numbered(samples + [one for run in runs[1:] for one in read_samples(run.folder / 'predictions.npz')])
        write_samples(folder / 'out_of_fold.npz', samples)
        pooled = metrics_of(_pool_config(cfg, pool, folder.parent), samples)
        found['pool'] = pool_scores(samples, groups)
    found['metrics'] = summary_of({run.part: result['metrics'] for run, result in zip(runs, results)},
                                  test_to_train=test_to_train(about), pooled=pooled)
    found['ensemble'] = ensemble(cfg, runs, found['runs'], folder / 'ensemble')
    return found


def test_to_train(about: Mapping) -> float:
    """Test images over training images of a run, as :func:`cxrdet.core.paired.paired_difference` wants it."""
    return 1 / (about['folds'] - 1) if 'folds' in about else 0.0


test_to_train.__test__ = False


def summary_of(values: Mapping[str, Mapping[str, float | None]], *, test_to_train: float,
               pooled: Mapping[str, float]) -> dict[str, dict]:
    """Of each metric its ``values`` by run, ``mean``, ``sd`` and the ends ``low`` and ``high`` of its 95 % interval by
    Student's t, corrected for folds that share images, and what it is of all out-of-fold predictions, ``pooled``; None
    where it is not defined.

    Args:
        values: Metrics by run.
        test_to_train: See :func:`cxrdet.core.paired.paired_difference`.
        pooled: Metrics of the pool; none for seeds.
    """
    found = {}
    for key in dict.fromkeys(key for metrics in values.values() for key in metrics):
        own = np.array([np.nan if metrics.get(key) is None else metrics[key] for metrics in values.values()], float)
        mean, low, high = paired_difference(own, np.zeros(len(own)), test_to_train=test_to_train)
        known = own[~np.isnan(own)]
        found[key] = {'values': {part: metrics.get(key) for part, metrics in values.items()},
                      'mean': number(mean), 'sd': number(known.std(ddof=1)) if len(known) > 1 else None,
                      'low': number(low), 'high': number(high)}
        if key in pooled:
            found[key]['pooled'] = number(pooled[key])
    return found


def numbered(samples: Sequence[dict]) -> list[dict]:
    """Samples of several sets, whose ids of images are made unique if they are not."""
    ids = [sample.get('img_id') for sample in samples]
    if len(set(map(str, ids))) == len(ids):
        return list(samples)
    return [sample | {'img_id': row} for row, sample in enumerate(samples, 1)]


def _pool_config(cfg: Config, pool: Pool, work: Path) -> Config:
    """The config with the whole pool for a test set."""
    if not any('ann_file' in node for node in _nodes(cfg.test_evaluator if cfg.get('test_evaluator') else
                                                     cfg.val_evaluator)):
        return cfg
    every = list(range(len(pool.names)))
    return with_sets(cfg, *pool.write(work / 'folds' / 'all', every, every))


def _nodes(evaluator) -> list[dict]:
    return [node for node in (evaluator if isinstance(evaluator, list) else [evaluator]) if isinstance(node, dict)]


def metrics_of(cfg: Config, samples: Sequence[dict]) -> dict[str, float]:
    """The metrics of a config's test evaluator over samples as ``cxrdet test --out`` writes them. Thresholds that would
    have to be chosen on these samples are left out."""
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmdet')):
        evaluator = Evaluator(copy.deepcopy(cfg.get('test_evaluator') or cfg.val_evaluator))
        evaluator.dataset_meta = {'classes': tuple(samples[0]['classes'])}
        for metric in evaluator.metrics:
            if hasattr(metric, 'use_operating_points'):
                metric.use_operating_points(None, 'the pool of the folds')
        found = evaluator.offline_evaluate(list(samples))
    return {key: float(value) for key, value in found.items() if np.ndim(value) == 0}


def pool_scores(samples: Sequence[dict], groups: Mapping[str, str | None]) -> dict[str, Any]:
    """Main scores of all out-of-fold predictions (:mod:`cxrdet.core.main_scores`), with bootstrap intervals.

    Args:
        samples: As ``cxrdet test --out`` writes them.
        groups: Absolute path of an image -> its patient, None: unknown.

    Returns: ``unit`` ('patient' or 'image'), ``draws``, ``scores``, each with ``name``, ``value``, ``low`` and
        ``high``, and ``classes``, by name their AP or AUROC with interval, which ``interval_of_classes`` describes; no
        figures of detectors whose samples do not tell the boxes that were annotated.
    """
    paths = [str(sample.get('img_path')) for sample in samples]
    patients, known = group_numbers([groups.get(os.path.abspath(path)) for path in paths], paths)
    options = {'groups': patients, 'samples': _DRAWS}
    classes, scores, by_class = samples[0]['classes'], [], []
    interval = f'by percentiles of {_DRAWS} bootstrap draws of {"whole patients" if known else "images"}'
    if 'pred_instances' in samples[0]:
        if all('instances' in sample for sample in samples):
            told = [{name: np.asarray(sample['pred_instances'][key], kind) for name, key, kind in (
                ('boxes', 'bboxes', np.float64), ('scores', 'scores', np.float64), ('labels', 'labels', np.int64))}
                for sample in samples]
            truth = [boxes_of_truth(sample['instances']) for sample in samples]
            scores, by_class = detection_scores(pair_boxes(told, truth, len(classes), most=100), score_thr=_SCORE_THR,
                                         **options)
    else:
        prob = np.array([np.asarray(sample['pred_score'], np.float64) for sample in samples])
        true = np.array([truth_of(sample, len(classes)) for sample in samples])
        if _single_label(samples, prob):
            scores = single_label_scores(true, prob, **options)
        else:
            use = (true == 1).any(axis=0) & (true == 0).any(axis=0)
            scores = multi_label_scores(true, prob, np.full(len(classes), _SCORE_THR), use,
                                        findings=are_findings(classes), **options)
        low, high, _, interval = auroc_interval(true, prob, groups=patients if known else None, samples=_DRAWS)
        by_class = [dict(zip(('AUROC', 'AUROC_low', 'AUROC_high'), ends)) for ends in zip(
            auroc(true, prob), low, high)]
    return {'unit': 'patient' if known else 'image', 'draws': _DRAWS, 'interval_of_classes': interval,
            'scores': list(map(_as_numbers, scores)),
            'classes': {name: _as_numbers(row) for name, row in zip(classes, by_class)}}


def _single_label(samples: Sequence[dict], prob: np.ndarray) -> bool:
    """Whether each image has one class and its scores are a softmax (which gt_score, of both tasks, does not tell)."""
    return all(len(sample.get('gt_label', ())) == 1 for sample in samples) and bool(
        (np.abs(prob.sum(axis=1) - 1) < 0.02).all())


def _as_numbers(row: Mapping) -> dict:
    return {key: value if isinstance(value, str) else number(value) for key, value in row.items()}


def truth_of(sample: Mapping, classes: int) -> np.ndarray:
    """(C,) labels of a classifier's sample: 1, 0 or NaN."""
    if sample.get('gt_score') is not None:
        return np.asarray(sample['gt_score'], np.float64)
    row = np.zeros(classes)
    row[np.asarray(sample['gt_label'], np.int64)] = 1
    return row


def _ensemble(cfg: Config, runs: Sequence[Run], found: Mapping[str, Mapping], folder: Path, *,
              pool: Pool | None, fusion: str | None, tell: Callable[[str], None]) -> dict[str, Any]:
    """Write the ensemble of all runs as one model, ``ensemble.py`` and ``ensemble.pth``, which every command takes, and
    measure it on the test set, if none of the runs has trained on that."""
    file = folder / 'result.json'
    members = [f'{run.config}:{found[run.part]["checkpoint"]}' for run in runs]
    made_of = {'members': members, 'fusion': fusion}
    if file.is_file() and (known := json.loads(file.read_text())).pop('made_of') == made_of:
        return known
    whole = copy.deepcopy(cfg)
    drop_helpers(whole)
    try:
        config, checkpoint = bundle(ensemble_config(members, config=whole, fusion=Fusion(fusion)), folder)
    except CxrdetError as error:
        return {'error': str(error)}
    result: dict[str, Any] = {'config': str(config), 'checkpoint': str(checkpoint)}
    if pool is None or not shares_images(cfg, pool):
        trainings = Trainings(threads=usable_cpus())
        failures = trainings.run_all({'test': partial(
            trainings.call, [*COMMAND, 'test', str(config), str(checkpoint), '--work-dir', str(folder / 'test'),
                             '--no-pictures'], folder, 'test', title='cxrdet test')}, workers=1)
        if failures:
            raise TrainingError(f'the ensemble: {failures["test"]} (see {folder}/test.log)')
        result['metrics'] = _figures(folder / 'test')
    write_json(file, result | {'made_of': made_of})
    tell(f'{runs[0].name}: {config}')
    return result


def _compared(result: Mapping) -> dict[str, Any]:
    """The differences of the second config from the first, run by run."""
    if len(result['configs']) < 2:
        return {}
    (one, own), (other, others) = result['configs'].items()
    differences = {}
    for key in own['metrics'].keys() & others['metrics'].keys():
        pairs = [[np.nan if value is None else value for value in found['metrics'][key]['values'].values()]
                 for found in (others, own)]
        mean, low, high = paired_difference(*pairs, test_to_train=test_to_train(result))
        differences[key] = {'mean': number(mean), 'low': number(low), 'high': number(high)}
    return {'difference': {'of': other, 'from': one, 'metrics': {
        key: differences[key] for key in own['metrics'] if key in differences}}}


# --- what is told


def headline(metrics: Sequence[str], classes: Sequence[str]) -> list[str]:
    """The metrics that a short table shows: over all classes, without intervals of their own, at no threshold."""
    ends = tuple(f'_{name}' for name in classes)
    return [key for key in metrics if not _NO_SCORES.search(key) and not key.endswith(ends)]


def report_text(result: Mapping) -> str:
    """The result in short, as text."""
    lines = []
    what = f'{result["folds"]} folds of {result["images"]} images' if 'folds' in result else f'{result["seeds"]} seeds'
    if 'folds' in result:
        what += f' of {result["patients"]} patients' if result['unit'] == 'patient' else ', each image for itself'
    for name, found in result['configs'].items():
        shown = headline(list(found['metrics']), found['classes'])
        tested = found['ensemble'].get('metrics')
        rows = [['metric', 'mean', 'sd', '95 % interval', *(['pooled'] if 'folds' in result else []),
                 *(['ensemble, test set'] if tested else [])]]
        for key in shown:
            values = found['metrics'][key]
            rows.append([key, values['mean'], values['sd'], _interval(values), *(
                [values.get('pooled')] if 'folds' in result else []), *([tested.get(key)] if tested else [])])
        lines += [f'{name}: {what}, {result["checkpoint"]} checkpoints', *text_table(rows)]
        if (pool := found.get('pool')) and pool['scores']:
            lines += [f'All out-of-fold predictions together, intervals by bootstrap of {pool["unit"]}s:',
                      *text_table([['score', 'value', '95 % interval'], *(
                          [score['name'], score['value'], _interval(score)] for score in pool['scores'])])]
            if rows := _class_rows(pool['classes']):
                lines += [f'By class; the interval is {pool["interval_of_classes"]}:', *text_table(rows)]
        ensemble = found['ensemble']
        lines += [f'Ensemble: {ensemble.get("config") or "none: " + ensemble["error"]}', '']
    if 'difference' in result:
        difference = result['difference']
        shown = headline(list(difference['metrics']), next(iter(result['configs'].values()))['classes'])
        lines += [f'{difference["of"]} minus {difference["from"]}, paired', *text_table([
            ['metric', 'difference', '95 % interval'], *(
                [key, difference['metrics'][key]['mean'], _interval(difference['metrics'][key])] for key in shown)])]
    return '\n'.join(lines).rstrip()


def _class_rows(classes: Mapping[str, Mapping]) -> list[list]:
    keys = [key for key in next(iter(classes.values()), {}) if not key.endswith(('_low', '_high'))]
    head = ['class', *(cell for key in keys for cell in (key, '95 % interval'))]
    return [head, *([name, *(cell for key in keys for cell in (
        row[key], _interval({end: row[f'{key}_{end}'] for end in ('low', 'high')})))] for name, row in classes.items()
    )] if keys else []


def _interval(values: Mapping) -> str:
    ends = [values['low'], values['high']]
    return '-' if None in ends else f'{ends[0]:.4f} to {ends[1]:.4f}'
