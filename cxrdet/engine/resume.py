"""What a resumed run has to make up for before it goes on."""
from mmengine.runner import IterBasedTrainLoop, Runner

__all__ = ['validate_resumed']


def validate_resumed(runner: Runner) -> bool:
    """Run the validation that was due when the resumed checkpoint had been written; return whether there was one.

    :class:`cxrdet.CheckpointHook` writes before it validates. So best score, early stop and schedules that depend on a
    metric go on as in an unbroken run. To be called from ``before_train``, after the checkpoint has been loaded.
    """
    loop = runner.train_loop
    by_iter = isinstance(loop, IterBasedTrainLoop)
    done, end = (loop.iter, loop.max_iters) if by_iter else (loop.epoch, loop.max_epochs)
    if runner.val_loop is None or not done:
        return False
    loop._decide_current_val_interval()  # as the loop does before it asks the same question
    if done < loop.val_begin or (done % loop.val_interval and done != end):
        return False
    runner.logger.info(f'Validating the resumed checkpoint ({"iteration" if by_iter else "epoch"} {done})')
    runner.val_loop.run()
    return True
