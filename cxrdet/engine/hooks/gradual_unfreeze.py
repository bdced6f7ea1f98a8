"""Parts of a pretrained model that begin to train one after the other."""
from collections.abc import Iterator, Sequence

from mmengine.hooks import Hook
from torch import nn

from cxrdet.core.errors import ConfigError
from cxrdet.engine.process import by_iteration, unwrap
from cxrdet.engine.stages import select_parts
from cxrdet.registry import HOOKS

#: First the head, then the top two stages with it, then all at a small rate. Epochs count from 1.
STAGES = (dict(begin=1, parts=['head']), dict(begin=4, parts=['head', 'top2']),
          dict(begin=7, parts=['all'], lr_mult=0.1))


@HOOKS.register_module()
class GradualUnfreezeHook(Hook):
    """Freeze all but some parts of the model, and free more of them at later epochs::

        unfreeze=dict(type='cxrdet.GradualUnfreezeHook', stages=[
            dict(begin=1, parts=['head']), dict(begin=4, parts=['head', 'top2']),
            dict(begin=7, parts=['all'], lr_mult=0.1)])

    One stage with ``parts=['head']`` is a frozen backbone, in trainings by iterations, too. A frozen part gets no
    gradient and is not moved, by weight decay neither; its modules are in evaluation mode. What the model's own
    settings freeze (``frozen_stages``) stays frozen. The stage follows from the epoch: a resumed run is in the stage of
    an unbroken one.

    ``lr_mult`` multiplies the rate that the schedule gives, during each step only: schedules of every kind go on as if
    it were 1. For rates by depth see ``paramwise_cfg`` or MMPretrain's LearningRateDecayOptimWrapperConstructor.

    Args:
        stages: in the order of ``begin`` (epoch, the first is 1), each with ``parts`` as in
            :func:`cxrdet.engine.stages.select_parts` and optionally ``lr_mult`` > 0.

    Raises: ConfigError before training: a stage that is no such dict, an unknown part, several stages in a run by
        iterations, or DistributedDataParallel without ``find_unused_parameters = True`` in the config.
    """
    priority = 'HIGHEST'  # before the rates are logged and, after the step, before the schedules

    def __init__(self, stages: Sequence[dict] = STAGES) -> None:
        self.stages = [dict(stage) for stage in stages]
        _check(self.stages)
        self._names: set[str] = set()
        self._trained: list[set[str]] = []
        self._current, self._frozen, self._rates = -1, [], []

    def before_train(self, runner) -> None:
        model = unwrap(runner.model)
        if by_iteration(runner) and len(self.stages) > 1:
            raise ConfigError('GradualUnfreezeHook: its stages begin at epochs; use an epoch-based train_cfg, or one '
                              'stage.')
        if getattr(runner.model, 'find_unused_parameters', True) is False:
            raise ConfigError('GradualUnfreezeHook: with several processes, set find_unused_parameters = True.')
        weights = dict(model.named_parameters())
        self._names = {name for name, weight in weights.items() if weight.requires_grad}
        kinds = [kind.__name__ for kind in type(getattr(model, 'backbone', None)).__mro__]
        self._trained = [select_parts(list(weights), stage['parts'], kinds) & self._names for stage in self.stages]
        if not all(self._trained):
            raise ConfigError('GradualUnfreezeHook: a stage has nothing to train; is all of it frozen by the model?')

    def before_train_epoch(self, runner) -> None:
        current = max(i for i, stage in enumerate(self.stages) if stage['begin'] <= runner.epoch + 1)
        if current != self._current:
            self._enter(runner, current)

    def _enter(self, runner, current: int) -> None:
        model, trained, names = unwrap(runner.model), self._trained[current], self._names
        for name, weight in model.named_parameters():
            if name in names:
                weight.requires_grad = name in trained
                weight.grad = weight.grad if name in trained else None
        self._current, self._frozen = current, list(_frozen(model, trained, names - trained))
        runner.logger.info(f'Stage {current + 1} of {len(self.stages)}, from now on there train: '
                           f'{", ".join(self.stages[current]["parts"])} ({len(trained)} of {len(names)} parameters)')

    def before_train_iter(self, runner, batch_idx: int, data_batch=None) -> None:
        for module in self._frozen:  # the loop has set the whole model to training
            module.training = False
        groups = runner.optim_wrapper.param_groups
        self._rates = [group['lr'] for group in groups]
        for group in groups:
            group['lr'] = group['lr'] * self.stages[self._current].get('lr_mult', 1.0)

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs: dict | None = None) -> None:
        for group, rate in zip(runner.optim_wrapper.param_groups, self._rates, strict=True):
            group['lr'] = rate


def _frozen(model: nn.Module, trained: set[str], frozen: set[str]) -> Iterator[nn.Module]:
    """Modules with parameters among ``frozen`` and none in ``trained``, and all modules inside them."""
    def visit(module: nn.Module, prefix: str, inside: bool) -> Iterator[nn.Module]:
        names = {f'{prefix}{name}' for name, _ in module.named_parameters()}
        inside = not names & trained and (inside or bool(names & frozen))
        if inside:
            yield module
        for name, child in module.named_children():
            yield from visit(child, f'{prefix}{name}.', inside)
    return visit(model, '', False)


def _check(stages: list[dict]) -> None:
    begins = [stage.get('begin') for stage in stages]
    if not stages or not all(isinstance(begin, int) for begin in begins) or begins[0] != 1 or (
            sorted(set(begins)) != begins):
        raise ConfigError('GradualUnfreezeHook: expected stages with begin = 1 < … in ascending order of epochs, got '
                          f'{begins}.')
    for stage in stages:
        unknown = sorted(set(stage) - {'begin', 'parts', 'lr_mult'})
        parts, factor = stage.get('parts'), stage.get('lr_mult', 1.0)
        if unknown or isinstance(parts, str) or not parts or not factor > 0:
            raise ConfigError('GradualUnfreezeHook: expected dict(begin=1, parts=["head"], lr_mult=1.0) with at least '
                              f'one part and lr_mult > 0, got {stage}.')
