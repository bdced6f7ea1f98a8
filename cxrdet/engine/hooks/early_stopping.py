"""Early stopping that a kill does not set back."""
import math

from mmengine.hooks import EarlyStoppingHook as MMEngineEarlyStoppingHook

from cxrdet.core.errors import ConfigError, check_choice
from cxrdet.core.history import better_is
from cxrdet.engine.hooks.restore_best import saver_of_best
from cxrdet.registry import HOOKS


@HOOKS.register_module()
class EarlyStoppingHook(MMEngineEarlyStoppingHook):
    """Stop after ``patience`` validations in a row without an improvement by ``min_delta``::

        early_stopping=dict(type='cxrdet.EarlyStoppingHook', patience=15)

    An improvement is counted from the last score that was one, so that many small steps add up; a score that is NaN or
    infinite is none, and a warning says so. Count and score are in the checkpoint: with
    :class:`cxrdet.CheckpointHook` a resumed run stops where an unbroken one does. :class:`cxrdet.RestoreBestHook`
    brings the best weights back.

    Args:
        monitor: name of a metric of the validation; by default the one by which the CheckpointHook chooses the best
            checkpoint (of several in ``save_best`` the first).
        rule: 'greater' or 'less'; by default that of the CheckpointHook, or with ``monitor`` as the name says (see
            :func:`cxrdet.core.history.better_is`; after it, MMEngine's names).
        min_delta: smallest change that counts, >= 0, in units of the metric. (MMEngine's default of 0.1 is ten points.)
            With 0 every better score counts; an equal one never does.
        patience: validations, >= 1; with ``val_interval=4`` one stands for four epochs.
        stopping_threshold: stop at once when the score is beyond this value.
        enabled: with False the hook does nothing; a switch for recipes that carry it.

    Raises: ConfigError for values out of range, before training if there is nothing to monitor, and at the first
        validation if ``monitor`` is none of its metrics.
    """

    def __init__(self, monitor: str | None = None, rule: str | None = None, *, min_delta: float = 0.001,
                 patience: int = 5, stopping_threshold: float | None = None, enabled: bool = True) -> None:
        if not (isinstance(enabled, int) and isinstance(patience, int) and patience >= 1 and min_delta >= 0
                and rule in (None, 'greater', 'less')):
            raise ConfigError('EarlyStoppingHook: expected enabled (early_stop) True or False, patience a whole number '
                              '>= 1, min_delta >= 0 and rule "greater" or "less", got '
                              f'{enabled!r}, {patience!r}, {min_delta} and {rule!r}.')
        self.enabled, self.monitor = enabled, monitor
        self._settings = dict(min_delta=min_delta, patience=patience, stopping_threshold=stopping_threshold)
        if monitor is not None:
            self._watch(monitor, rule)

    def _watch(self, monitor: str, rule: str | None) -> None:
        try:
            super().__init__(monitor, rule or better_is(monitor), **self._settings)
        except ValueError as error:
            raise ConfigError(f'EarlyStoppingHook: is more of "{monitor}" better, or less? Give rule="greater" or '
                              'rule="less".') from error

    def before_run(self, runner) -> None:
        """Take the metric over from the CheckpointHook.

        The parent's check is left out: it would build a training loop for a run that only tests.
        """
        saver = saver_of_best(runner)
        if self.monitor is None and saver is not None and saver.key_indicators[0] != 'auto':
            self._watch(saver.key_indicators[0], saver.rules[0])

    def before_train(self, runner) -> None:
        if self.enabled and self.monitor is None:
            raise ConfigError('EarlyStoppingHook: no metric to watch. Give monitor=, or set '
                              'default_hooks.checkpoint.save_best to a metric of the validation; enabled=False (in our '
                              'configs: --cfg-options early_stop=False) trains without an early stop.')

    def after_val_epoch(self, runner, metrics: dict | None = None) -> None:
        if not self.enabled:
            return
        if not metrics:  # MMDetection's CocoMetric gives none where nothing was detected
            runner.logger.warning(f'EarlyStoppingHook: the validation gave no metric, not {self.monitor} either: it '
                                  'does not count')
            return
        check_choice('EarlyStoppingHook: monitor', self.monitor, metrics)
        super().after_val_epoch(runner, {self.monitor: float(metrics[self.monitor])})
        if not math.isfinite(metrics[self.monitor]):
            runner.logger.warning(f'{self.monitor} is {metrics[self.monitor]}: that counts as no improvement '
                                  f'({self.wait_count} in a row, the patience is {self.patience})')

    def _check_stop_condition(self, current_score: float) -> tuple[bool, str]:
        beyond, limit = self.rule_map[self.rule], self.stopping_threshold
        reached = limit is not None and beyond(current_score, limit)
        if math.isfinite(current_score) and (reached or current_score != self.best_score):
            return super()._check_stop_condition(current_score)
        self.wait_count += 1
        return self.wait_count >= self.patience, (f'the monitored metric was no number or did not improve in the last '
                                                  f'{self.wait_count} records. best score: {self.best_score:.3f}.')

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        if not self.enabled:
            return
        checkpoint['early_stopping'] = dict(checkpoint.get('early_stopping', {}))
        checkpoint['early_stopping'][self.monitor] = dict(wait_count=self.wait_count, best_score=self.best_score)

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        if not (runner._resume and self.enabled):
            return
        state = checkpoint.get('early_stopping', {}).get(self.monitor)
        if state is None:
            runner.logger.warning(f'The checkpoint knows nothing of an early stop by {self.monitor}: the count of '
                                  'validations without improvement begins anew')
        else:
            self.wait_count, self.best_score = int(state['wait_count']), float(state['best_score'])
