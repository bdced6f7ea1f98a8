"""A student that is trained beside a frozen teacher, and in all else is the student."""
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from cxrdet.core.errors import ConfigError, check_numbers, did_you_mean
from cxrdet.models.ensemble_members import build_member
from cxrdet.registry import MODELS


class Distilled(BaseModule):
    """What distilled detectors and classifiers share.

    An instance is of a class made for it, with the student's own class as the other parent, so that optimizers, hooks,
    averaged copies, tools and checkpoints find what they find in the student. The teacher is no part of the model: no
    parameter, no entry of the state dict, always in evaluation mode, one for all copies. It is built when training
    begins (``init_weights``) or a loss is asked for.

    Both models see the same batch, as the student's pipeline and preprocessing make it. The student starts with the
    weights that it would have without a teacher.

    Raises: ConfigError if arguments are out of range; on building the teacher, if its checkpoint is not given, or its
        classes or preprocessing are others; CheckpointError if the checkpoint cannot be read or is of another model.
    """

    def __new__(cls, student: dict | None = None, *args, **kwargs):
        """An object of ``cls`` and of the student's class in one; of ``cls`` alone for a copy being made."""
        if student is None:
            return super().__new__(cls)
        with MODELS.switch_scope_and_registry(student.get('_scope_')) as registry:
            named = student.get('type')
            kind = registry.get(named) if isinstance(named, str) else named
        if not isinstance(kind, type):
            raise ConfigError(f'{cls.__name__}: student: expected the config of a model, got type={named!r}')
        return super().__new__(type(cls.__name__, (cls, kind), dict(__doc__=cls.__doc__, __module__=cls.__module__)))

    def __init__(self, student: dict, teacher: dict, *, alpha: float, classes: Sequence[str] | None,
                 data_preprocessor: dict | None) -> None:
        check_numbers(type(self).__name__, alpha=(alpha, '[0, 1]'))
        arguments = {key: value for key, value in student.items() if key not in ('type', '_scope_')}
        if data_preprocessor is not None:
            arguments.setdefault('data_preprocessor', data_preprocessor)
        with MODELS.switch_scope_and_registry(student.get('_scope_')):
            super().__init__(**arguments)
        self.alpha, self.classes = alpha, None if classes is None else tuple(classes)
        self._spec, self._held = dict(teacher), None
        self._columns: list[int] = []

    @property
    def teacher(self) -> nn.Module:
        """The frozen teacher; it is built when it is first asked for."""
        if self._held is None:
            self._held = _Held(self._build_teacher())
        return self._held.model

    def init_weights(self) -> None:
        """Initialise the student and load the teacher, so that what is wrong with it is known before training."""
        super().init_weights()
        self.teacher.eval()

    def check_teacher(self, teacher: nn.Module) -> None:
        """Raise ConfigError if ``teacher`` does not judge what this student judges."""
        raise NotImplementedError

    def in_order(self, logits: Tensor) -> Tensor:
        """The teacher's logits (..., C) or, background last, (..., C + 1) in the order of the student's classes."""
        rest = range(len(self._columns), logits.shape[-1])
        return logits[..., [*self._columns, *rest]]

    def _apply(self, fn, *args, **kwargs):
        if self._held is not None:  # it goes where the student goes
            self._held.model._apply(fn, *args, **kwargs)
        return super()._apply(fn, *args, **kwargs)

    def _build_teacher(self) -> nn.Module:
        name = type(self).__name__
        if not self._spec.get('checkpoint'):
            raise ConfigError(f'{name}: teacher.checkpoint: expected the file of the trained teacher, got nothing. '
                              'Give it on the command line: --cfg-options model.teacher.checkpoint=FILE (or '
                              'teacher_checkpoint=FILE, where the config offers that)')
        if self.classes is None:
            raise ConfigError(f'{name}: the classes of the student are not known, and the teacher\'s go by name: give '
                              'classes=[...] in the order of the data')
        with torch.random.fork_rng(devices=[]):
            member = build_member(self._spec, f'{name}: teacher')
        self._columns = _columns(self.classes, member.classes, f'{name}: {self._spec["checkpoint"]}')
        _check_preprocessing(self, member.model)
        self.check_teacher(member.model)
        return member.model.to(next(self.parameters()).device)


class _Held:
    """A frozen model that its owner does not count among its parts; copies of the owner share it."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model.eval().requires_grad_(False)

    def __deepcopy__(self, memo: dict) -> '_Held':
        return self


class Adapter(nn.Conv2d):
    """A 1x1 convolution from a student's channels to its teacher's: trained, but in no state dict.

    It belongs to the training, not to the student; so a copy (an averaged model) uses the same weights.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 1)

    def __deepcopy__(self, memo: dict) -> 'Adapter':
        with torch.random.fork_rng(devices=[]):
            twin = Adapter(self.in_channels, self.out_channels)
        twin.weight, twin.bias = nn.Parameter(self.weight.data), nn.Parameter(self.bias.data)
        return twin

    def _save_to_state_dict(self, *args, **kwargs) -> None:
        pass

    def _load_from_state_dict(self, *args, **kwargs) -> None:
        pass


@contextmanager
def recorded(**modules: nn.Module) -> Iterator[dict[str, tuple[tuple, Any]]]:
    """Yield a dict that holds, after the block, each module's last call in it: (positional arguments, output).

    The last, since a sampler of hard examples tries the head out before the loss does.
    """
    calls: dict[str, tuple[tuple, Any]] = {}

    def watch(name: str):
        return lambda module, args, output: calls.update({name: (args, output)})
    handles = [module.register_forward_hook(watch(name)) for name, module in modules.items()]
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()


def scaled(loss: Tensor | Sequence[Tensor], factor: float) -> Tensor | list[Tensor]:
    """A loss, or those of several levels, times ``factor``."""
    return loss * factor if isinstance(loss, Tensor) else [part * factor for part in loss]


def _columns(classes: Sequence[str], theirs: Sequence[str], where: str) -> list[int]:
    """The teacher's label of each of the student's classes."""
    lacks, alone = [name for name in classes if name not in theirs], [name for name in theirs if name not in classes]
    if lacks or alone or len(set(theirs)) < len(theirs):
        raise ConfigError(f'{where}: the teacher has other classes ({", ".join(theirs)}) than the student '
                          f'({", ".join(classes)}); they are matched by name.'
                          f'{did_you_mean(lacks[0], alone) if lacks else ""} Take a teacher that was trained on the '
                          'same classes')
    return [list(theirs).index(name) for name in classes]


def _check_preprocessing(student: nn.Module, teacher: nn.Module) -> None:
    """Raise unless an image becomes the same numbers for both."""
    image = (torch.arange(3 * 6 * 8) * 7 % 256).reshape(3, 6, 8).to(torch.uint8)
    seen = []
    for model in (student, teacher):
        made = model.data_preprocessor(dict(inputs=[image.clone()]), False)['inputs']
        made = made[0] if isinstance(made, (list, tuple)) else made.squeeze(0)
        seen.append(made[:, :6, :8].float().cpu())
    if seen[0].shape != seen[1].shape or not torch.allclose(*seen, rtol=1e-4, atol=1e-4):
        raise ConfigError(f'{type(student).__name__}: the teacher\'s data_preprocessor ({_described(teacher)}) is not '
                          f'the student\'s ({_described(student)}), but both see the same batch. Use the same mean, '
                          'std and order of channels in both configs')


def _described(model: nn.Module) -> str:
    own = model.data_preprocessor
    facts = {key: getattr(own, key).flatten().tolist() for key in ('mean', 'std')
             if isinstance(getattr(own, key, None), Tensor)}
    swapped = getattr(own, '_channel_conversion', getattr(own, 'to_rgb', False))
    return ', '.join([*(f'{key} {[round(value, 3) for value in values]}' for key, values in facts.items()),
                      f'BGR and RGB {"swapped" if swapped else "as they come"}'])
