"""Checkpoints: read once, safely, and asked for what they hold; found, judged and loaded.

Reading executes nothing that is pickled in a file (:mod:`cxrdet.core.torch_files`): beside tensors, arrays and plain
containers it may hold what MMEngine puts into checkpoints, logged scalars (``HistoryBuffer``) and the two curves of
``OneCycleLR``. (MMEngine's own loader allows ``getattr`` and, where that is not enough, falls back to executing.)
"""
import hashlib
import io
import logging
import os
import re
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlparse

import numpy as np
import torch
from mmengine.logging import HistoryBuffer, print_log
from mmengine.model import BaseTTAModel, is_model_wrapper
from mmengine.optim.scheduler.param_scheduler import OneCycleParamScheduler
from mmengine.runner import checkpoint as mmengine_checkpoint
from torch import Tensor, nn

from cxrdet.core.errors import CheckpointError
from cxrdet.core.files import write_atomic
from cxrdet.core.torch_files import (
    Call,
    DamagedFileError,
    ForeignFileError,
    PickledCodeError,
    add_digest,
    check_undamaged,
    read_torch_file,
)

_RESUMABLE_KEYS = ('meta', 'state_dict', 'message_hub', 'optimizer')
_EXAMPLES = 3
_NEEDED = 0.5
_SHOWN = 5
_ahead = False  # whether a block of reading_ahead runs
_kept: dict[tuple, 'Checkpoint'] = {}  # by file, state of the file and trust


class Checkpoint:
    """What a checkpoint file holds: MMEngine's (``state_dict``, ``meta`` …) or a plain dict of tensors.

    Args:
        content: all of it, as MMEngine hands it to hooks.
        source: how errors call it.

    Attributes:
        content, source: as given.
    """

    def __init__(self, content: dict, source: str | os.PathLike) -> None:
        if not isinstance(content, dict):
            raise CheckpointError(f'{os.fspath(source)}: a checkpoint holds a dict, this file holds a '
                                  f'{type(content).__name__}.')
        self.content, self.source = content, os.fspath(source)

    @classmethod
    def read(cls, path: str | os.PathLike, *, trust: bool = False) -> 'Checkpoint':
        """Read a file into main memory, unless it was read already in a block of :func:`reading_ahead`.

        Args:
            path: the file.
            trust: execute code that is pickled in it. Only for files of people you trust.

        Raises:
            CheckpointError: the file is missing, damaged, no checkpoint, or needs pickled code and ``trust`` is not
                set. Of a damaged one, the newest whole checkpoint beside it is named.
        """
        key = _state_of(path, trust)
        found = _kept.pop(key, None)
        if found is None:
            try:
                found = cls(_load(path, trust=trust), path)
            except _DamagedError as error:
                good = _newest_whole(Path(path))
                raise CheckpointError(f'{error} ' + ('Take another one.' if good is None else
                                                     f'The newest whole one beside it is {good}')) from error
        if _ahead:
            _kept[key] = found
        return found

    @property
    def weights(self) -> dict[str, Tensor]:
        """The model's weights by name, without the prefix ``module.`` of parallel models, as MMEngine takes it off.

        Raises: CheckpointError if there are none.
        """
        weights = self.content.get('state_dict', self.content)
        if not isinstance(weights, dict) or not any(isinstance(value, Tensor) for value in weights.values()):
            raise CheckpointError(f'{self.source}: neither a "state_dict" nor tensors in it; it holds the keys '
                                  f'{", ".join(map(str, list(self.content)[:10])) or "(none)"}.')
        plain = type(weights)((re.sub(r'^module\.', '', key), value) for key, value in weights.items())
        if hasattr(weights, '_metadata'):
            vars(plain)['_metadata'] = vars(weights)['_metadata']
        return plain

    @property
    def meta(self) -> dict:
        """What training noted about itself; {} in a plain dict of tensors."""
        meta = self.content.get('meta')
        return meta if isinstance(meta, dict) else {}

    @property
    def classes(self) -> tuple[str, ...] | None:
        """The names of the classes in the order of the model's labels; None where the file does not say."""
        facts = self.meta.get('dataset_meta')
        named = {str(key).lower(): value for key, value in (facts if isinstance(facts, dict) else {}).items()}
        classes = named.get('classes')
        return ((classes,) if isinstance(classes, str) else tuple(classes)) if classes else None

    @property
    def needed_classes(self) -> tuple[str, ...]:
        """The same for those who cannot do without: raises CheckpointError where the file does not say."""
        if self.classes is None:
            raise CheckpointError(f'{self.source}: it does not say its classes (meta.dataset_meta.classes), by which '
                                  'boxes and findings are named and models matched. Use a checkpoint as training '
                                  'writes it')
        return self.classes

    @property
    def operating_points(self) -> dict | None:
        """Thresholds and temperature, as :class:`cxrdet.OperatingPointHook` wrote them."""
        return self.meta.get('operating_points')

    @property
    def precision(self) -> str | None:
        """The number format of the training."""
        return self.meta.get('precision')

    @property
    def config_text(self) -> str | None:
        """The config of the training, as text."""
        text = self.meta.get('cfg')
        return text if isinstance(text, str) and text.strip() else None

    def check_resumable(self) -> None:
        """Raise CheckpointError if the file lacks something that a run needs to go on: it holds weights only."""
        missing = self.lacks + [f'meta.{key}' for key in ('epoch', 'iter')
                                if 'meta' in self.content and key not in self.meta]
        if missing:
            raise CheckpointError(f'{self.source}: the checkpoint lacks {", ".join(missing)}: a run cannot go on from '
                                  'it. To begin a new one from its weights: --cfg-options load_from=CHECKPOINT, '
                                  'without --resume.')

    @property
    def lacks(self) -> list[str]:
        """Parts that a run needs to go on and that are not there."""
        return [key for key in _RESUMABLE_KEYS if key not in self.content]

    @property
    def is_finite(self) -> bool:
        """Whether all weights are, also those that EMA keeps beside its averages."""
        return all(bool(torch.isfinite(value).all()) for part in ('state_dict', 'ema_state_dict')
                   for value in self.content.get(part, {}).values()
                   if isinstance(value, Tensor) and value.is_floating_point())

    def keep(self, *, trust: bool = False) -> None:
        """Let the next :meth:`read` of the unchanged file give this, so that it is read once."""
        _kept[_state_of(self.source, trust)] = self

    def load_into(self, model: nn.Module) -> None:
        """Load the weights into ``model``.

        Every parameter and buffer of the model must be in the file in its shape; entries that the model does not have
        are counted and logged.

        Raises: CheckpointError: these are the weights of another model, whose own are then undefined.
        """
        with recorded_loads() as loads:
            try:  # the modules' converters of old layouts run here
                unexpected = _plain(model).load_state_dict(self.weights, strict=False).unexpected_keys
            except RuntimeError:
                if not loads or not loads[0].reshaped:
                    raise
                unexpected = loads[0].unexpected
        self._check(loads[0], unexpected)

    def check_model(self, model: nn.Module) -> None:
        """Raise CheckpointError, as :meth:`load_into` does, if this is a checkpoint of another model."""
        model, weights = _plain(model), self.weights
        load = Load(model, set(weights))
        for name, own in model.state_dict().items():
            load.add(name, own, weights.get(name))
        self._check(load, load.unexpected)

    def _check(self, load: 'Load', unexpected: list[str]) -> None:
        """Raise if entries of the model are missing or have another shape; log those that it does not have."""
        total = len(load.module.state_dict())
        reshaped = [f'{name}: {tuple(given)} in the file, {tuple(own)} in the model'
                    for name, (given, own) in load.reshaped.items()]
        left_over = _counted('are not in the model', unexpected, len(load.given))
        if load.missing or reshaped:
            raise CheckpointError(' '.join(filter(None, (
                f'{self.source}: these are the weights of another model than this {type(load.module).__name__}:',
                _counted('are missing in the file', load.missing, total),
                _counted('have another shape', reshaped, total), left_over,
                f'The file was trained on {len(self.classes)} classes.' if self.classes else '',
                'Use the config that the checkpoint was trained with.'))))
        if left_over:
            print_log(f'{self.source}: {left_over} They are not used.', logger='current', level=logging.WARNING)


# --- weights and models


def _plain(model: torch.nn.Module) -> torch.nn.Module:
    while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
        model = model.get_submodule('module')
    return model


def _counted(what: str, names: Iterable[str], total: int) -> str:
    names = list(names)
    more = f'; and {len(names) - _EXAMPLES} more' if len(names) > _EXAMPLES else ''
    return f'{len(names)} of {total} entries {what} ({"; ".join(names[:_EXAMPLES])}{more}).' if names else ''


@dataclass
class Load:
    """One loading of weights into ``module``; names are those of its ``state_dict``.

    Attributes:
        module: what was loaded into.
        given: names in the file.
        loaded: name -> number of elements that the file has filled.
        reshaped: name -> shape in the file and in the module, where they differ.
        missing: name -> number of elements that the file has no entry for.
        excused: those among ``reshaped`` that belong to another number of classes: in a head, with another number of
            outputs (first dimension) and all else equal.
    """
    module: nn.Module
    given: set[str]
    loaded: dict[str, int] = field(default_factory=dict)
    reshaped: dict[str, tuple[torch.Size, torch.Size]] = field(default_factory=dict)
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
            self.reshaped[name] = given.shape, own.shape
            in_head = 'head' in f'{type(self.module).__name__}.{name}'.lower()
            if in_head and own.ndim and own.ndim == given.ndim and own.shape[1:] == given.shape[1:]:
                self.excused.add(name)

    @property
    def share(self) -> float:
        """Loaded elements over all but the excused ones, 0 .. 1; 1 where there is nothing to load."""
        loaded = sum(self.loaded.values())
        wanted = loaded + sum(self.missing.values()) + sum(
            own.numel() for name, (_, own) in self.reshaped.items() if name not in self.excused)
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

    nn.Module._load_from_state_dict = load  # pyright: ignore[reportAttributeAccessIssue]  # *args for six names
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


# --- read once


@contextmanager
def reading_ahead() -> Iterator[None]:
    """Checkpoints that are read in this block are kept for whoever reads the same file next, unchanged and once."""
    global _ahead
    _ahead = True
    try:
        yield
    finally:
        _ahead = False


def _state_of(path: str | os.PathLike, trust: bool) -> tuple:
    try:
        state = os.stat(path)
    except OSError:
        return ()
    return os.path.realpath(path), state.st_mtime_ns, state.st_size, state.st_ino, trust


# --- reading


class _DamagedError(CheckpointError):
    """A file whose bytes are not those that were written."""


def _load(file: str | os.PathLike | BinaryIO, *, trust: bool = False) -> Any:
    """What a file or stream of ``torch.save`` holds; raises CheckpointError, see :meth:`Checkpoint.read`."""
    is_path = isinstance(file, (str, os.PathLike))
    name = os.fspath(file) if is_path else 'checkpoint'
    if is_path:
        _check_file(Path(file))
    try:
        with open(file, 'rb') if is_path else nullcontext(file) as stream:
            if trust:
                check_undamaged(stream, name)
                return torch.load(stream, map_location='cpu', weights_only=False)
            return read_torch_file(stream, name, forms=_FORMS, builders=_BUILDERS)
    except PickledCodeError as error:
        raise CheckpointError(
            f'{name}: to read this file, code that is pickled in it would have to be executed ({error}). It was '
            'refused. If you know who made the file and trust them, pass --trust-checkpoint (trust=True in Python); '
            'otherwise ask for a file with weights only.') from error
    except ForeignFileError as error:
        raise CheckpointError(f'{name}: this is not a PyTorch checkpoint.') from error
    except OSError as error:
        raise CheckpointError(f'{name}: the checkpoint cannot be read ({error.strerror or error}).') from error
    except torch.cuda.OutOfMemoryError:
        raise
    except Exception as error:  # what torch.load, with trust, makes of nonsense
        raise _DamagedError(f'{name}: the checkpoint is cut off or damaged ({_size(file)}{error}).') from error


def _size(file: str | os.PathLike | BinaryIO) -> str:
    return f'{os.path.getsize(file)} bytes; ' if isinstance(file, (str, os.PathLike)) else ''


def _check_file(path: Path) -> None:
    if not path.is_file():
        what = 'is a folder, not a checkpoint file' if path.is_dir() else 'no such checkpoint file'
        raise CheckpointError(f'{path}: {what}.')
    if path.stat().st_size == 0:
        raise _DamagedError(f'{path}: the checkpoint is empty (0 bytes): its writing was cut short.')


def _newest_whole(damaged: Path) -> Path | None:
    """The newest checkpoint beside a damaged one that reads whole, without executing anything."""
    for path in chain(*_candidates(damaged.parent)):
        try:
            if path.resolve() != damaged.resolve():
                _load(path)
                return path
        except CheckpointError:
            continue
    return None


def _history(*arguments) -> HistoryBuffer:
    if arguments:
        raise DamagedFileError('a HistoryBuffer is pickled without arguments')
    return HistoryBuffer()


def _build_history(buffer: HistoryBuffer, state: dict) -> None:
    """Set values and counts. The functions of its statistics, of the class, stay what they are."""
    values, counts, most = (state[key] for key in ('_log_history', '_count_history', 'max_length'))
    if any(type(array) is not np.ndarray or array.shape != (len(values),) or array.dtype.kind not in 'biuf'
           for array in (values, counts)):
        raise DamagedFileError('a HistoryBuffer holds two lists of numbers of one length')
    if type(most) is not int or most < 1:
        raise DamagedFileError(f'a HistoryBuffer of at most {type(most).__name__} values')
    buffer.max_length, buffer._log_history, buffer._count_history = most, values, counts


def _attribute(owner: Any, name: str) -> Any:
    """Stand in for ``getattr``, by which files name a HistoryBuffer's four statistics and OneCycleLR's two curves."""
    for call, kind, names in _ATTRIBUTES:
        if owner is call and name in names:
            return getattr(kind, name)
    raise PickledCodeError(f'getattr({getattr(owner, "name", "…")},{name})')


def _one_cycle(*_) -> None:
    raise PickledCodeError('OneCycleParamScheduler()')


_HISTORY, _ONE_CYCLE = Call('HistoryBuffer', _history), Call('OneCycleParamScheduler', _one_cycle)
_ATTRIBUTES = ((_HISTORY, HistoryBuffer, ('current', 'max', 'mean', 'min')),
               (_ONE_CYCLE, OneCycleParamScheduler, ('_annealing_cos', '_annealing_linear')))
_FORMS = {f'{HistoryBuffer.__module__} HistoryBuffer': _HISTORY,
          f'{OneCycleParamScheduler.__module__} OneCycleParamScheduler': _ONE_CYCLE,
          **{f'{module} getattr': Call('getattr', _attribute) for module in ('builtins', '__builtin__')}}
_BUILDERS = {HistoryBuffer: _build_history}


# --- for MMEngine


def install_safe_loader(*, trust: bool = False) -> None:
    """Make all reading of checkpoints by MMEngine safe: ``load_from``, ``resume``, ``init_cfg`` of type Pretrained.

    It holds for this process and all stores that MMEngine knows; all is read into main memory. A file that needs
    pickled code is refused with a :class:`CheckpointError`; with ``trust`` it is executed.
    """
    def load_from_local(filename, map_location=None):
        return Checkpoint.read(os.path.expanduser(filename), trust=trust).content

    def load_file(file, map_location=None, weights_only=None):
        return _load(file, trust=trust)

    def load_url(url, model_dir=None, map_location=None, progress=True, check_hash=False, file_name=None):
        folder = Path(model_dir or Path(torch.hub.get_dir()) / 'checkpoints')
        path = folder / (file_name or Path(urlparse(url).path).name)
        if not path.is_file():
            folder.mkdir(parents=True, exist_ok=True)
            print_log(f'Downloading {url} to {path}', logger='current')
            torch.hub.download_url_to_file(url, str(path), progress=progress)
        return Checkpoint.read(path, trust=trust).content

    mmengine_checkpoint.CheckpointLoader.register_scheme(prefixes='', loader=load_from_local, force=True)
    mmengine_checkpoint._safe_torch_load = load_file  # what the loaders of the other schemes call
    mmengine_checkpoint.load_url = load_url


# --- in a work folder


def find_resumable(work_dir: str | os.PathLike, *, trust: bool = False, finite: bool = False) -> Checkpoint | None:
    """Return the newest whole checkpoint in ``work_dir`` that a run can go on from, or None where there is none.

    That is the file that ``last_checkpoint`` names: the one of that name beside it, so that a folder that was moved or
    copied goes on from its own; else, where checkpoints are kept in another folder, the one there. Where this pointer
    or its file is missing, torn or not resumable, the newest other file that reads whole is taken and a warning says
    so. With ``finite``, so is one whose weights are not all finite.

    Raises:
        CheckpointError: the newest checkpoint needs pickled code and ``trust`` is not set.
    """
    behind, others = _candidates(Path(work_dir))
    for path in [*behind, *others]:
        try:
            found = Checkpoint(_load(path, trust=trust), path)
        except CheckpointError as error:
            if '--trust-checkpoint' in str(error):
                raise
            print_log(f'Not resumed from: {error}', logger='current', level=logging.WARNING)
            continue
        problem = f'it lacks {", ".join(found.lacks)}' if found.lacks else 'not all of its weights are finite'
        if not found.lacks and (not finite or found.is_finite):
            if path in behind:  # make up for the last step of the run that was killed
                write_atomic(Path(work_dir) / 'last_checkpoint', os.fsencode(path))
            return found
        print_log(f'Not resumed from: {path}: {problem}.', logger='current', level=logging.WARNING)
    return None


def _candidates(work_dir: Path) -> tuple[list[Path], list[Path]]:
    """Files later than the one that the pointer names, of its kind and written after the pointer, for a run was killed
    between the two; then that file and all others but the best ones. Both newest first.
    """
    pointer, pointed, folders = work_dir / 'last_checkpoint', None, [work_dir]
    if pointer.is_file():
        text = os.fsdecode(pointer.read_bytes()).strip('\0 \n')
        if text:
            named = Path(text)
            if not (work_dir / named.name).is_file() and not (named.parent / 'last_checkpoint').is_file():
                folders += [named.parent] if named.parent.is_dir() else []  # else it is that of another run
            pointed = next((folder / named.name for folder in folders if (folder / named.name).is_file()), None)
        if pointed is None:
            print_log(f'{pointer} names no checkpoint ("{text}"): the newest whole one in the folder is looked for.',
                      logger='current', level=logging.WARNING)
    others = {path.resolve(): path for folder in reversed(folders) for path in folder.glob('*.pth')
              if re.search(r'\d', path.stem) and not path.name.startswith(('.', 'best_'))}
    if pointed is not None:
        others.pop(pointed.resolve(), None)
    newest_first = sorted(others.values(), key=lambda path: (path.stat().st_mtime_ns, _step(path)), reverse=True)
    if pointed is None:
        return [], newest_first
    later = [path for path in newest_first if path.stat().st_mtime_ns >= pointer.stat().st_mtime_ns
             and _step(path) > _step(pointed) and _kind(path) == _kind(pointed)]
    return later, [pointed, *(path for path in newest_first if path not in later)]


def _step(path: Path) -> int:
    return int((re.findall(r'\d+', path.stem) or [0])[-1])


def _kind(path: Path) -> str:
    return re.sub(r'\d+', '', path.name)


def packed(content: dict) -> bytes:
    """The bytes of a file that holds ``content``, with a digest of what is in it."""
    with io.BytesIO() as stream:
        torch.save(content, stream)
        add_digest(stream)
        return stream.getvalue()


def keep_keys(path: str | os.PathLike, keys: Collection[str]) -> Path:
    """Write a copy with ``keys`` only beside it, named by its SHA-256 (``epoch_12-1a2b3c4d.pth``); return its path."""
    content = Checkpoint.read(path).content
    return _write_named({key: content[key] for key in content if key in keys}, path)


def publish(path: str | os.PathLike, out: str | os.PathLike, *, trust: bool = False) -> Path:
    """Write what somebody else needs to use a model, and nothing else: weights, classes, thresholds and precision.

    Args:
        path: a checkpoint of a training; of one with EMA, the averages are its weights.
        out: the new file, ``model.pth``, which becomes ``model-1a2b3c4d.pth`` by its SHA-256.
        trust: as for :meth:`Checkpoint.read`.

    Returns: the file that was written.
    Raises: CheckpointError if the checkpoint cannot be read, holds no weights, or does not name its classes.
    """
    checkpoint = Checkpoint.read(path, trust=trust)
    weights = {key: value.detach().cpu().clone() if isinstance(value, Tensor) else value
               for key, value in checkpoint.weights.items()}
    meta = {'dataset_meta': {'classes': checkpoint.needed_classes}, 'operating_points': checkpoint.operating_points,
            'precision': checkpoint.precision}
    return _write_named({'meta': {key: value for key, value in meta.items() if value is not None},
                         'state_dict': weights}, out)


def _write_named(content: dict, path: str | os.PathLike) -> Path:
    data, path = packed(content), Path(path)
    return write_atomic(path.with_name(f'{path.stem}-{hashlib.sha256(data).hexdigest()[:8]}.pth'), data)
