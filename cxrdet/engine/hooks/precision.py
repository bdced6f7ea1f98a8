"""The number format of a training, in its checkpoints."""
from mmengine.hooks import Hook

from cxrdet.checkpoints.checkpoint import Checkpoint
from cxrdet.engine.process import training_precision


class PrecisionHook(Hook):
    """Write the number format of the training into every checkpoint (``meta.precision``); tell of a resume in another.

    ``cxrdet.apis.train`` gives it to every run, whatever the config. See :mod:`cxrdet.engine.process`.
    """

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        checkpoint['meta']['precision'] = training_precision(runner.optim_wrapper)

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        before = Checkpoint(checkpoint, 'the checkpoint').precision if runner._resume else None
        now = training_precision(runner.optim_wrapper)
        if before not in (None, now):
            runner.logger.warning(f'The checkpoint was trained in {before}, this run goes on in {now}: it will not end '
                                  f'with the numbers of an unbroken run. precision={before} keeps to it')
