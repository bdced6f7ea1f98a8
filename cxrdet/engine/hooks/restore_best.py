"""The weights that a training ends with are those of its best epoch."""
from pathlib import Path

from mmengine.dist import barrier
from mmengine.hooks import CheckpointHook, EMAHook, Hook

from cxrdet.checkpoints.checkpoint import Checkpoint
from cxrdet.core.errors import ConfigError
from cxrdet.engine.hooks.checkpoint import best_paths
from cxrdet.engine.hooks.operating_points import OperatingPointHook
from cxrdet.registry import HOOKS


@HOOKS.register_module()
class RestoreBestHook(Hook):
    """After training, load the best checkpoint that the CheckpointHook has saved into ``runner.model``.

    Of several metrics in ``save_best`` the first decides. With EMA, the averaged weights, which were validated, are
    loaded into the model and the average; so are thresholds that were chosen with them. Files stay as they are:
    ``epoch_N.pth``, which ``last_checkpoint`` names, is the state at the end, from which a run can be resumed. Where
    no best checkpoint was saved, the last weights stay and a warning says so.

    Args:
        enabled: with False the hook does nothing; a switch for recipes that carry it.

    Raises: ConfigError before training if there is no CheckpointHook with ``save_best``.
    """
    priority = 95  # after the CheckpointHook (90), before what tests the final weights (100)

    def __init__(self, *, enabled: bool = True) -> None:
        self.enabled = enabled

    def before_train(self, runner) -> None:
        if self.enabled and saver_of_best(runner) is None:
            raise ConfigError('RestoreBestHook needs a CheckpointHook that saves the best checkpoint: set '
                              'default_hooks.checkpoint.save_best to a metric of the validation, or enabled=False (in '
                              'our configs: --cfg-options early_stop=False).')

    def after_train(self, runner) -> None:
        if not self.enabled:
            return
        barrier()  # the main process has written it; before that the others would not find it and end
        path = _best_path(runner)
        if path is None:
            runner.logger.warning('No best checkpoint was saved in this run: the model keeps its last weights')
            return
        best = Checkpoint.read(path)
        best.load_into(runner.model)
        for hook in runner.hooks:
            if isinstance(hook, EMAHook):
                best.load_into(hook.ema_model.module)
            elif isinstance(hook, OperatingPointHook):
                hook.after_load_checkpoint(runner, best.content)
        runner.logger.info(f'The model has the weights of {path}')


def saver_of_best(runner) -> CheckpointHook | None:
    """The hook that saves the best checkpoint of a run; ``None`` if none does."""
    return next((hook for hook in runner.hooks if isinstance(hook, CheckpointHook) and hook.save_best), None)


def _best_path(runner) -> Path | None:
    """The file; where the folder was moved or copied since it was written, the one in this folder."""
    saver = saver_of_best(runner)
    saved = best_paths(saver)[saver.key_indicators[0]]
    folders = () if saved is None else (runner.work_dir, saver.out_dir or '', Path(saved).parent)
    paths = [Path(folder) / Path(saved).name for folder in folders]
    return next((path for path in paths if path.is_file()), None)
