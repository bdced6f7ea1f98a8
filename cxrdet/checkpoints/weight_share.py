"""How much of a model a file of weights has filled.

MMEngine loads what fits by name and shape and passes over the rest. What was in fact loaded is seen in the one place
that all ways of loading come through, after the layouts of older versions and of other projects have been converted.
"""
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from mmengine.logging import print_log
from torch import Tensor, nn

from cxrdet.core.errors import CheckpointError

__all__ = ['Load', 'check_share', 'recorded_loads']

_NEEDED = 0.5
_SHOWN = 5


@dataclass
class Load:
    """One loading of weights into ``module``; names are those of its ``state_dict``.

    Attributes:
        module: what was loaded into.
        given: names in the file.
        loaded: name -> number of elements that the file has filled.
        reshaped: name -> number of elements whose entry in the file has another shape.
        missing: name -> number of elements that the file has no entry for.
        excused: those among ``reshaped`` that belong to another number of classes: in a head, with another number of
            outputs (first dimension) and all else equal.
    """
    module: nn.Module
    given: set[str]
    loaded: dict[str, int] = field(default_factory=dict)
    reshaped: dict[str, int] = field(default_factory=dict)
    missing: dict[str, int] = field(default_factory=dict)
    excused: set[str] = field(default_factory=set)

    def add(self, name: str, own: Tensor, given: object) -> None:
        """Note an entry of the module and what the file has in its place."""
        if not isinstance(given, Tensor):
            if not name.endswith('num_batches_tracked'):  # old files lack batch norm's count of batches
                self.missing[name] = own.numel()
        elif given.shape == own.shape or own.numel() == given.numel() == 1:
            self.loaded[name] = own.numel()
        else:
            self.reshaped[name] = own.numel()
            in_head = 'head' in f'{type(self.module).__name__}.{name}'.lower()
            if in_head and own.ndim and own.ndim == given.ndim and own.shape[1:] == given.shape[1:]:
                self.excused.add(name)

    @property
    def share(self) -> float:
        """Loaded elements over all but the excused ones, 0 .. 1; 1 where there is nothing to load."""
        loaded = sum(self.loaded.values())
        wanted = loaded + sum(self.missing.values()) + sum(
            number for name, number in self.reshaped.items() if name not in self.excused)
        return loaded / wanted if wanted else 1.0

    @property
    def unexpected(self) -> list[str]:
        """Names in the file that the module has no place for."""
        return sorted(self.given - self.loaded.keys() - self.reshaped.keys())


@contextmanager
def recorded_loads() -> Iterator[list[Load]]:
    """Yield a list that every loading of weights inside the block is added to."""
    loads: list[Load] = []
    original = nn.Module._load_from_state_dict

    def load(self, state_dict, prefix, *args):
        if not prefix or not loads:
            loads.append(Load(self, set(state_dict)))
        original(self, state_dict, prefix, *args)
        own = {**self._parameters, **{name: value for name, value in self._buffers.items()
                                      if name not in self._non_persistent_buffers_set}}
        for name, value in own.items():
            if value is not None:
                loads[-1].add(prefix + name, value, state_dict.get(prefix + name))

    nn.Module._load_from_state_dict = load
    try:
        yield loads
    finally:
        nn.Module._load_from_state_dict = original


def check_share(load: Load, source: str, *, accept: bool = False) -> None:
    """Log how much was loaded; raise where it is less than half.

    Args:
        load: from :func:`recorded_loads`.
        source: how messages call the file.
        accept: warn instead of raising.

    Raises:
        CheckpointError: with the share, and what is missing and unexpected.
    """
    name = type(load.module).__name__
    lists = [f'{len(names)} {what} ({"; ".join(names[:_SHOWN])}{" …" if len(names) > _SHOWN else ""})'
             for what, names in (('are not in the file', list(load.missing)),
                                 ('have another shape in it', list(load.reshaped)),
                                 ('of the file have no place in the model', load.unexpected)) if names]
    text = (f'{source}: {100 * load.share:.1f} % of the weights of {name} (by number of elements) were loaded'
            f'{". Entries: " + ", ".join(lists) if lists else ""}.')
    if load.share >= _NEEDED:
        print_log(text, logger='current')
        return
    if not accept:
        raise CheckpointError(
            f'{text} The rest would start at random{", and what is frozen stay so" if _frozen(load.module) else ""}. '
            'Take the weights of the same architecture; init_cfg.prefix picks a part of a file ("backbone."), '
            'cxrdet.ConvertedPretrained translates the names of torchvision, timm and CheXNet. If this is meant: '
            '--cfg-options allow_partial_weights=True.')
    print_log(text, logger='current', level=logging.WARNING)


def _frozen(module: nn.Module) -> bool:
    return getattr(module, 'frozen_stages', -1) >= 0 or any(not p.requires_grad for p in module.parameters())
