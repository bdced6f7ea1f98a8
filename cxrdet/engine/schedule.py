"""The schedule of a run that goes on from a checkpoint: that of the checkpoint, or that of the config given now."""
import ast
import logging
from collections.abc import Iterator
from itertools import chain

from mmengine.logging import print_log
from mmengine.optim import _ParamScheduler
from mmengine.runner import BaseLoop, IterBasedTrainLoop, Runner

from cxrdet.checkpoints.checkpoint import Checkpoint
from cxrdet.core.errors import CheckpointError, ConfigError
from cxrdet.engine.process import param_groups

_COMPARED = ('param_scheduler', 'optim_wrapper', 'auto_scale_lr', 'train_cfg', 'train_dataloader.batch_size')
_IN_CHECKPOINT = ('param_scheduler', 'optim_wrapper.optimizer', 'optim_wrapper.paramwise_cfg', 'auto_scale_lr')
_EPOCH = 'iterations of an epoch'
NOT_SET = '(not set)'


def schedulers(runner: Runner) -> list[_ParamScheduler]:
    """All built schedulers of a run."""
    found = runner.param_schedulers or []
    return list(chain.from_iterable(found.values())) if isinstance(found, dict) else list(found)


# --- what differs from the checkpoint


def resumed_changes(runner: Runner, checkpoint: dict) -> list[tuple[str, object, object]]:
    """(name, value in the checkpoint, value now) of every setting of a run that a checkpoint may speak against.

    To be called with the loops of ``runner`` built. A checkpoint without a readable config tells less.
    """
    changes, text = [], Checkpoint(checkpoint, 'the checkpoint').config_text
    if text is not None:
        try:
            changes = changed_settings(read_config_text(text), read_config_text(runner.cfg.pretty_text), _COMPARED)
        except ValueError as error:
            runner.logger.warning(f'The settings of the checkpoint cannot be compared with those given now: {error}')
    ends = checkpoint['message_hub'].get('runtime_info', {})
    if not isinstance(runner.train_loop, IterBasedTrainLoop) and ends.get('max_epochs') and ends.get('max_iters'):
        before, now = ends['max_iters'] // ends['max_epochs'], len(runner.train_loop.dataloader)
        if before != now:
            changes.append((_EPOCH, before, now))
    return changes


def tell_changes(changes: list[tuple[str, object, object]], *, new_schedule: bool) -> None:
    """Log a line for every setting that differs, saying which value holds."""
    if not changes:
        return
    lines = ['Resumed with other settings than those of the checkpoint:']
    for name, old, new in changes:
        keeps = not new_schedule and f'{name}.'.startswith(tuple(f'{place}.' for place in _IN_CHECKPOINT))
        lines.append(f'  {name}: {old} in the checkpoint, {new} now; '
                     f'{"the former holds, the new one has NO effect" if keeps else "the new one holds"}')
    if not new_schedule and any(name.startswith((*_IN_CHECKPOINT, 'train_cfg.max_', _EPOCH)) for name, *_ in changes):
        lines.append('  Learning rates go on along the schedule in the checkpoint. With --resume --new-schedule they '
                     'are computed from the config given now.')
    print_log('\n'.join(lines), logger='current', level=logging.WARNING)


# --- what cannot go on


def check_resumed(runner: Runner, checkpoint: dict, changes: list[tuple[str, object, object]], *,
                  new_schedule: bool) -> None:
    """Raise if the run as given now cannot go on from the checkpoint; to be called before its state is loaded.

    Raises:
        ConfigError: fewer epochs or iterations than were done, another optimizer, or schedulers that the state in the
            checkpoint is not of.
        CheckpointError: the optimizer had other groups of parameters.
    """
    _check_end(runner.train_loop, checkpoint['meta'], runner.logger)
    for name, old, new in changes:
        if name.startswith('optim_wrapper.') and name.endswith(('.optimizer.type', '.inner.type')):
            raise ConfigError(f'{name}: {old} in the checkpoint, {new} now: the state of one optimizer is none for '
                              'another. Resume with the one of the checkpoint, or begin a new training from its '
                              'weights alone (--cfg-options load_from=CHECKPOINT, without --resume).')
    _check_groups(runner.optim_wrapper, checkpoint['optimizer'])
    if not new_schedule:
        _check_schedule(runner, checkpoint.get('param_schedulers') or [])


def _check_end(loop: BaseLoop, meta: dict, logger: logging.Logger) -> None:
    by_iter = isinstance(loop, IterBasedTrainLoop)
    what, key = ('iterations', 'train_cfg.max_iters') if by_iter else ('epochs', 'train_cfg.max_epochs')
    done, end = (meta['iter'], loop.max_iters) if by_iter else (meta['epoch'], loop.max_epochs)
    if done > end:
        raise ConfigError(f'{key}={end}: the checkpoint to resume from has done {done} {what} already. Give a larger '
                          'number to go on, or test the checkpoint with cxrdet test.')
    if done == end:
        logger.warning(f'All {end} {what} are done: nothing is left to train. To go on, give a larger {key}')


def _check_groups(optim_wrapper, state: dict) -> None:
    wrappers = dict(optim_wrapper.items()) if isinstance(optim_wrapper.param_groups, dict) else {'': optim_wrapper}
    states = state if '' not in wrappers else {'': state}
    if set(wrappers) != set(states):
        raise CheckpointError(f'The checkpoint holds the optimizers {", ".join(states)}, the config '
                              f'{", ".join(wrappers)}: resume with those of the checkpoint.')
    for name, wrapper in wrappers.items():
        sizes = [[len(group['params']) for group in groups]
                 for groups in (states[name]['param_groups'], wrapper.optimizer.param_groups)]
        if sizes[0] != sizes[1]:
            raise CheckpointError(
                f'The optimizer in the checkpoint has {sum(sizes[0])} parameters in {len(sizes[0])} groups, that of '
                f'the config {sum(sizes[1])} in {len(sizes[1])}. Resume with optim_wrapper.paramwise_cfg and the '
                'frozen parts of the checkpoint, or begin a new training from its weights alone '
                '(--cfg-options load_from=CHECKPOINT, without --resume).')


def _check_schedule(runner: Runner, saved: list | dict) -> None:
    """MMEngine puts any state into any scheduler, one after the other, as far as both lists go."""
    states = list(chain.from_iterable(saved.values())) if isinstance(saved, dict) else list(saved)
    built = schedulers(runner)
    if len(states) != len(built) or any(not _fits(*pair) for pair in zip(built, states, strict=True)):
        raise ConfigError('param_scheduler: the checkpoint holds the state of other schedulers than the config gives: '
                          '--resume --new-schedule takes those of the config, at the place where the checkpoint '
                          'stands; else resume with the param_scheduler of the checkpoint.')


def _fits(scheduler: _ParamScheduler, state: dict) -> bool:
    own = scheduler.state_dict()
    return scheduler.param_name == state.get('param_name') and (
        {name for name, value in own.items() if not callable(value)}
        == {name for name, value in state.items() if not callable(value)})


# --- the schedule of the config, from the middle


def hyperparameters(optim_wrapper) -> list[dict]:
    """Rates, momentum, weight decay … of every parameter group, as they stand."""
    return [{key: value for key, value in group.items() if key != 'params'} for group in param_groups(optim_wrapper)]


def restart_schedule(runner: Runner, fresh: list[dict]) -> None:
    """Give optimizer and schedulers the values that an unbroken run of the config would have at this place.

    Schedulers compute a rate from the one before it, and several share one: they are stepped from the beginning of the
    run as training does. A place in an epoch of another length goes by whole epochs.

    Args:
        runner: resumed, but for its schedulers, which are as built.
        fresh: what :func:`hyperparameters` gave when the optimizer had been built, before it was resumed.

    Raises:
        ConfigError: the schedule ends before this place.
    """
    for group, values in zip(param_groups(runner.optim_wrapper), fresh, strict=True):
        for key in set(group) - set(values) - {'params'}:
            del group[key]
        group.update(values)
    built = schedulers(runner)
    for scheduler in built:
        scheduler.optimizer._global_step = runner.iter  # else MMEngine warns of schedulers that run ahead
    try:
        for by_epoch in _steps(runner.train_loop):
            for scheduler in built:
                if scheduler.by_epoch == by_epoch:
                    scheduler.step()
    except ValueError as error:  # OneCycleLR
        raise ConfigError(f'--new-schedule: param_scheduler ends before iteration {runner.iter}, where the checkpoint '
                          f'stands ({error}).') from None
    if any(getattr(scheduler, 'need_val_args', False) for scheduler in built):
        runner.logger.warning('--new-schedule: a schedule that goes by a metric (ReduceOnPlateau) starts anew')
    rates = sorted({group['lr'] for group in param_groups(runner.optim_wrapper)})
    runner.logger.info(f'The schedule of the config holds from epoch {runner.epoch}, iteration {runner.iter}; learning '
                       f'rates there: {", ".join(f"{rate:.4g}" for rate in rates)}')


def _steps(loop: BaseLoop) -> Iterator[bool]:
    """Steps of the schedules up to where the loop stands: False for an iteration, True for the end of an epoch."""
    if isinstance(loop, IterBasedTrainLoop):
        yield from (False for _ in range(loop.iter))
        return
    length = len(loop.dataloader)
    for _ in range(loop.epoch):
        yield from (False for _ in range(length))
        yield True
    if loop.iter // length == loop.epoch:
        yield from (False for _ in range(loop.iter % length))


# --- the text of a config


def read_config_text(text: str) -> dict:
    """The settings in the text that MMEngine writes of a config: ``name = value`` lines of literals and ``dict(...)``.

    Nothing is executed. What is neither a literal nor ``dict(...)`` stands in the result as its source text.

    Raises:
        ValueError: the text is no Python.
    """
    try:
        lines = ast.parse(text).body
        return {line.targets[0].id: _value(line.value) for line in lines
                if isinstance(line, ast.Assign) and isinstance(line.targets[0], ast.Name)}
    except (SyntaxError, RecursionError, MemoryError) as error:
        raise ValueError(f'not the text of a config ({type(error).__name__})') from None


def _value(node: ast.expr) -> object:
    if isinstance(node, (ast.List, ast.Tuple)):
        return [_value(item) for item in node.elts]
    if isinstance(node, ast.Dict) and None not in node.keys:
        return {str(_value(key)): _value(value) for key, value in zip(node.keys, node.values, strict=True)}
    if isinstance(node, ast.Call) and getattr(node.func, 'id', None) == 'dict' and all(w.arg for w in node.keywords):
        if not node.args:
            return {word.arg: _value(word.value) for word in node.keywords}
        if len(node.args) == 1 and isinstance(node.args[0], ast.Dict) and not node.keywords:
            return _value(node.args[0])  # dict({'0': 1}): where a key is no identifier
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError):
        return ast.unparse(node)


def changed_settings(old: dict, new: dict, under: tuple[str, ...]) -> list[tuple[str, object, object]]:
    """(dotted name, old value, new value) of what differs in or below the dotted names ``under``; ``NOT_SET`` where
    one of the two, as :func:`read_config_text` gives them, has none."""
    before, after = dict(_flat(old)), dict(_flat(new))
    names = [*before, *(name for name in after if name not in before)]
    return [(name, before.get(name, NOT_SET), after.get(name, NOT_SET)) for name in names
            if before.get(name) != after.get(name) and f'{name}.'.startswith(tuple(f'{place}.' for place in under))]


def _flat(node: object, name: str = '') -> Iterator[tuple[str, object]]:
    """(dotted name, value) of everything but dicts and lists of dicts, whose parts go by key and number."""
    if isinstance(node, list) and any(isinstance(item, dict) for item in node):
        node = dict(enumerate(node))
    if not isinstance(node, dict):
        yield name, node
        return
    for key, value in node.items():
        yield from _flat(value, f'{name}.{key}' if name else str(key))
