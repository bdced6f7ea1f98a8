"""Measure a trained model on the test set of a config."""
from pathlib import Path

from mmengine.config import Config

from cxrdet.checkpoints.checkpoint import Checkpoint, install_safe_loader
from cxrdet.engine import process
from cxrdet.engine.distributed import init_distributed
from cxrdet.engine.hooks.operating_points import hand_over
from cxrdet.engine.loaders import fit_to_machine
from cxrdet.engine.process import memory_told, set_device
from cxrdet.engine.runner import TestRunner
from cxrdet.inference.ensemble import classes_of_data, data_classes, ensemble_classes
from cxrdet.preflight.check import told_by_place
from cxrdet.preflight.data import check_run, follow_classes, pack_for_metrics


def test(cfg: Config, checkpoint: str | Path | None, *, out: str | Path | None = None,
         launcher: str = 'none', trust: bool = False, pictures: bool = True) -> dict[str, float]:
    """Evaluate ``checkpoint`` on ``cfg.test_dataloader``.

    The class names come from the checkpoint, so the config needs no list of them; the data set is held to them.
    So do the thresholds and the temperature of :class:`cxrdet.MultiLabelMetric`: they are those that were chosen on
    validation and stored in the checkpoint, and none is chosen on the test set.

    Args:
        cfg: From :func:`cxrdet.apis.load_config`; :func:`cxrdet.inference.tta.enable_tta` gives it test-time
            augmentation.
        checkpoint: A file written by training. ``None`` for an ensemble whose members name theirs.
        out: Also write the raw predictions to this ``.npz`` file (:mod:`cxrdet.core.sample_files`).
        launcher: ``none``, ``pytorch``, ``slurm`` or ``mpi``.
        trust: Read checkpoints that can only be read by executing code in them. Off: they are refused.
        pictures: Of classifiers, draw the ROC curves (of several labels also precision and recall) into ``curves/`` in
            the folder of this test's log, ``<work_dir>/<time>/``, unless the metric's ``out_dir`` names another folder.

    Returns:
        The metrics by name, e.g. ``{'coco/bbox_mAP': 0.58, …}``.

    Raises:
        ConfigError, DataError, CheckpointError: With everything that was found wrong.
        MemoryShortageError: With the switches that take less.
    """
    install_safe_loader(trust=trust)
    cfg.launcher = launcher
    set_device(cfg)
    cfg.load_from, cfg.resume = None, False
    found = check_run(cfg, mode='test')
    if checkpoint is None:
        cfg.model.classes = classes_of_data(ensemble_classes(cfg, trust), data_classes(found),
                                            allow_missing=cfg.model.get('allow_missing', False))
        read = Checkpoint({}, 'the ensemble')
        follow_classes(found, cfg.model.classes)
    else:
        read = Checkpoint.read(checkpoint, trust=trust)
        follow_classes(found, read.classes)
    pack_for_metrics(found)
    found.contents.clear()  # what files hold is not kept for the time of the test
    for node in (cfg.model, cfg.model.get('backbone', {})):
        if node.get('init_cfg'):
            node['init_cfg'] = None  # every weight comes from the checkpoint
    if out is not None:
        evaluators = cfg.test_evaluator if isinstance(cfg.test_evaluator, list) else [cfg.test_evaluator]
        cfg.test_evaluator = [*evaluators, dict(type='cxrdet.DumpPredictions', out_file_path=str(out))]
    fit_to_machine(cfg) if launcher == 'none' else init_distributed(launcher, cfg)
    with told_by_place(found.parts), memory_told('test', cfg):
        runner = TestRunner.from_cfg(cfg)
        if checkpoint is not None:
            read.load_into(runner.model)
        points, read = read.operating_points, None
        process.evaluate_in(runner.model, process.evaluation_precision(cfg, fp16=cfg.test_cfg.get('fp16', False)))
        hand_over(runner, points, str(checkpoint))
        for metric in runner.test_loop.evaluator.metrics if pictures else ():
            if getattr(metric, 'out_dir', '') is None:
                metric.out_dir = str(Path(runner.log_dir) / 'curves')
        return runner.test()
