"""Thresholds chosen on validation go into the checkpoint whose weights they were chosen with."""
from mmengine.hooks import Hook

from cxrdet.checkpoints.checkpoint import Checkpoint
from cxrdet.registry import HOOKS


@HOOKS.register_module()
class OperatingPointHook(Hook):
    """Write thresholds and temperature of :class:`cxrdet.MultiLabelMetric` into ``meta.operating_points``::

        default_hooks = dict(operating_points=dict(type='cxrdet.OperatingPointHook'))

    Only into checkpoints whose weights they belong to: those written between a validation and the next training step,
    as ``best_*.pth`` is (with an EMAHook both hold the averaged weights). The checkpoint of an epoch is written before
    its validation and has none. Does nothing where the validation has no such metric.

    Where the Runner itself judges a test set, the metric gets those of the last validation or of the loaded file.
    """

    priority = 'NORMAL'  # before CheckpointHook, which writes the best checkpoint after the validation

    def __init__(self) -> None:
        self._content: dict | None = None
        self._source: str | None = None

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        self._source = str(runner._load_from or 'the checkpoint')
        self._content = Checkpoint(checkpoint, self._source).operating_points

    def before_train_iter(self, runner, batch_idx: int, data_batch=None) -> None:
        self._content, self._source = None, 'this run, whose weights were trained further since the last validation,'

    def after_val_epoch(self, runner, metrics: dict | None = None) -> None:
        found = [metric.chosen for metric in runner.val_evaluator.metrics if getattr(metric, 'chosen', None)]
        self._content, self._source = found[0].to_dict() if found else None, 'the last validation of this run'

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        if self._content is not None:
            checkpoint['meta']['operating_points'] = self._content

    def before_test(self, runner) -> None:
        if self._source is not None:
            hand_over(runner, self._content, self._source)


def hand_over(runner, content: dict | None, source: str) -> None:
    """Let the metrics of the test set use the operating points of a checkpoint, or none, and choose none themselves."""
    for metric in runner.test_loop.evaluator.metrics:
        if hasattr(metric, 'use_operating_points'):
            metric.use_operating_points(content, source)
