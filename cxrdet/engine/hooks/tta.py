"""Test-time augmentation for a test, or for one more validation at the end of the training."""
import copy

from mmengine.dataset import Compose
from mmengine.hooks import Hook
from mmengine.registry import MODELS
from mmengine.runner import TestLoop

from cxrdet.core.config_tree import leaves
from cxrdet.core.errors import ConfigError, check_choice
from cxrdet.engine.tta import check_views, tta_model, tta_pipeline
from cxrdet.registry import HOOKS


@HOOKS.register_module()
class TTAHook(Hook):
    """Test with augmentation: while a test runs, the data set gives views of each image and the model merges them.

    ``tta_pipeline`` and ``tta_model`` of the config are used; what it does not have is derived from its test pipeline
    (:func:`cxrdet.engine.tta.tta_pipeline`). Works for every detector and classifier.

    The validations of a training stay as they are, so that the choice of the best checkpoint compares like with like.
    A final validation runs after them on the validation set, with the weights that the model then has (averaged ones
    where there is an ``EMAHook``); its scores are logged as those of a test.

    Args:
        when: 'test', 'final_val' or 'both'.
        flips, scales, combine: for the derived pipeline; with a ``tta_pipeline`` in the config they have no place.

    Raises: ConfigError if ``when`` is unknown, views cannot be derived, or are given in both places.
    """
    priority = 'LOWEST'  # after hooks that put the best weights back

    def __init__(self, when: str = 'test', *, flips: list[str] | None = None, scales: list[float] | None = None,
                 combine: bool = False) -> None:
        check_choice('TTAHook: when', when, ('test', 'final_val', 'both'))
        self.when, self.views = when, dict(flips=flips, scales=scales, combine=combine)
        self._mode, self._undo = 'test', []

    def before_run(self, runner) -> None:
        given = [f'{name}={value}' for name, value in self.views.items() if value not in (None, False)]
        if given and runner.cfg.get('tta_pipeline'):
            raise ConfigError(f'TTAHook has {", ".join(given)}, and the config has a tta_pipeline, in which the views '
                              'stand already: leave one of them out')

    def before_test(self, runner) -> None:
        if self._mode == 'test' and self.when == 'final_val':
            return
        loader = runner.test_loop.dataloader
        sets = list(zip(leaves(loader.dataset), leaves(runner.cfg[f'{self._mode}_dataloader']['dataset'])))
        merge = runner.cfg.get('tta_model') or tta_model(sets[0][1]['pipeline'])
        for dataset, cfg in sets:
            steps = runner.cfg.get('tta_pipeline') or tta_pipeline(cfg['pipeline'], **self.views)
            check_views(steps)
            self._undo.append((dataset, 'pipeline', dataset.pipeline))
            dataset.pipeline = Compose(copy.deepcopy(steps))
        self._undo.append((runner, 'model', runner.model))
        runner.model = MODELS.build(dict(merge, module=runner.model))
        loader._iterator = None  # ends workers that hold the plain pipeline

    def after_test(self, runner) -> None:
        for owner, name, value in self._undo:
            setattr(owner, name, value)
        if self._undo:
            runner.test_loop.dataloader._iterator = None
        self._undo = []

    def after_train(self, runner) -> None:
        if self.when == 'test' or runner.val_loop is None:
            return
        runner.logger.info('Final validation with test-time augmentation')
        test_loop, self._mode = runner._test_loop, 'val'
        runner._test_loop = TestLoop(runner, runner.val_dataloader, runner.val_evaluator, fp16=runner.val_loop.fp16)
        try:
            runner._test_loop.run()
        finally:
            runner._test_loop, self._mode = test_loop, 'test'
