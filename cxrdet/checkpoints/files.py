"""Finding, reading and loading checkpoints; see :mod:`cxrdet.checkpoints.safe_pickle` for what a file may hold."""
import hashlib
import io
import logging
import os
import re
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import torch
from mmengine.logging import print_log
from mmengine.model import BaseTTAModel, is_model_wrapper
from mmengine.runner import checkpoint as mmengine_checkpoint

from cxrdet.checkpoints.safe_pickle import safe_load
from cxrdet.core.errors import CheckpointError
from cxrdet.core.files import write_atomic

__all__ = ['check_resumable', 'check_whole', 'find_resumable', 'install_safe_loader', 'load_model_weights', 'publish',
           'read_checkpoint', 'safe_load']

_RESUMABLE_KEYS = ('meta', 'state_dict', 'message_hub', 'optimizer')
_EXAMPLES = 3


def read_checkpoint(path: str | os.PathLike, *, map_location: Any = 'cpu', trust: bool = False) -> dict:
    """Read a checkpoint file into a dict: MMEngine's (``state_dict``, ``meta`` …) or a plain dict of tensors.

    Raises:
        CheckpointError: the file is missing, torn, no checkpoint, or needs pickled code and ``trust`` is not set.
    """
    content = safe_load(path, map_location=map_location, trust=trust)
    if not isinstance(content, dict):
        raise CheckpointError(f'{os.fspath(path)}: a checkpoint holds a dict, this file holds a '
                              f'{type(content).__name__}.')
    return content


def publish(path: str | os.PathLike, keys: Collection[str]) -> Path:
    """Write a copy with ``keys`` only beside it, named by its SHA-256 (``epoch_12-1a2b3c4d.pth``); return its path."""
    content = read_checkpoint(path)
    with io.BytesIO() as stream:
        torch.save({key: content[key] for key in content if key in keys}, stream)
        data = stream.getvalue()
    path = Path(path)
    return write_atomic(path.with_name(f'{path.stem}-{hashlib.sha256(data).hexdigest()[:8]}.pth'), data)


def install_safe_loader(*, trust: bool = False) -> None:
    """Make all reading of checkpoints by MMEngine safe: ``load_from``, ``resume``, ``init_cfg`` of type Pretrained.

    It holds for this process, for local files, for downloads (they stay in torch's cache) and for the other stores
    that MMEngine knows. A file that needs pickled code is refused with a :class:`CheckpointError`; with ``trust`` it is
    executed. May be called again with another ``trust``.
    """
    def load_from_local(filename, map_location=None):
        return read_checkpoint(os.path.expanduser(filename), map_location=map_location, trust=trust)

    def load_file(file, map_location=None, weights_only=None):
        return safe_load(file, map_location=map_location, trust=trust)

    def load_url(url, model_dir=None, map_location=None, progress=True, check_hash=False, file_name=None):
        folder = Path(model_dir or Path(torch.hub.get_dir()) / 'checkpoints')
        path = folder / (file_name or Path(urlparse(url).path).name)
        if not path.is_file():
            folder.mkdir(parents=True, exist_ok=True)
            print_log(f'Downloading {url} to {path}', logger='current')
            torch.hub.download_url_to_file(url, str(path), progress=progress)
        return safe_load(path, map_location=map_location, trust=trust)

    mmengine_checkpoint.CheckpointLoader.register_scheme(prefixes='', loader=load_from_local, force=True)
    mmengine_checkpoint._safe_torch_load = load_file  # what the loaders of the other schemes call
    mmengine_checkpoint.load_url = load_url


def find_resumable(work_dir: str | os.PathLike, *, trust: bool = False, finite: bool = False) -> Path | None:
    """Return the newest whole checkpoint in ``work_dir`` that a run can go on from, or None where there is none.

    That is the file that ``last_checkpoint`` names: the one of that name beside it, so that a folder that was moved or
    copied goes on from its own; else, where checkpoints are kept in another folder, the one there. Where this pointer
    or its file is missing, torn or not resumable, the newest other file that reads whole is taken and a warning says
    so. With ``finite``, so is one whose weights are not all finite.

    Raises:
        CheckpointError: the newest checkpoint needs pickled code and ``trust`` is not set.
    """
    for path in _candidates(Path(work_dir)):
        try:
            content = read_checkpoint(path, trust=trust)
        except CheckpointError as error:
            if '--trust-checkpoint' in str(error):
                raise
            print_log(f'Not resumed from: {error}', logger='current', level=logging.WARNING)
            continue
        missing = [key for key in _RESUMABLE_KEYS if key not in content]
        problem = f'it lacks {", ".join(missing)}' if missing else 'not all of its weights are finite'
        if not missing and (not finite or _is_finite(content)):
            return path
        print_log(f'Not resumed from: {path}: {problem}.', logger='current', level=logging.WARNING)
    return None


def _candidates(work_dir: Path) -> list[Path]:
    """The file that the pointer names, then all others but the best ones, newest first."""
    pointer, pointed, folders = work_dir / 'last_checkpoint', None, [work_dir]
    if pointer.is_file():
        text = pointer.read_text(encoding='utf-8', errors='replace').strip('\0 \n')
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
    return ([pointed] if pointed is not None else []) + newest_first


def _is_finite(content: dict) -> bool:
    """Whether all weights are, also those that EMA keeps beside its averages."""
    return all(bool(torch.isfinite(value).all()) for part in ('state_dict', 'ema_state_dict')
               for value in content.get(part, {}).values()
               if isinstance(value, torch.Tensor) and value.is_floating_point())


def _step(path: Path) -> int:
    return int(re.findall(r'\d+', path.stem)[-1])


def load_model_weights(model: torch.nn.Module, path: str | os.PathLike, *, trust: bool = False) -> dict:
    """Load the weights in ``path`` into ``model`` and return the checkpoint's ``meta`` ({} in a plain state dict).

    Every parameter and buffer of the model must be in the file in its shape; entries that the model does not have are
    counted and logged. A prefix ``module.`` is taken off, as MMEngine does.

    Raises:
        CheckpointError: the file cannot be read (see :func:`read_checkpoint`), or was made by another model; the
            model's weights are then undefined.
    """
    content = read_checkpoint(path, trust=trust)
    weights = content.get('state_dict', content)
    if not isinstance(weights, dict) or not any(isinstance(value, torch.Tensor) for value in weights.values()):
        raise CheckpointError(f'{os.fspath(path)}: neither a "state_dict" nor tensors in it; it holds the keys '
                              f'{", ".join(map(str, list(content)[:10])) or "(none)"}.')
    meta = content.get('meta') if isinstance(content.get('meta'), dict) else {}
    model = _plain(model)
    weights = _without_prefix(weights)
    reshaped = _reshaped(model, weights)
    fitting = type(weights)((key, value) for key, value in weights.items() if key not in reshaped)
    if hasattr(weights, '_metadata'):
        fitting._metadata = weights._metadata
    result = model.load_state_dict(fitting, strict=False)  # the modules' converters of old layouts run here
    _check(model, weights, result.missing_keys, result.unexpected_keys, os.fspath(path), meta)
    return meta


def check_resumable(model: torch.nn.Module, content: dict, source: str) -> None:
    """Raise CheckpointError, as :func:`load_model_weights` does, if the checkpoint ``content`` is of another model."""
    model, weights = _plain(model), _without_prefix(content['state_dict'])
    own = model.state_dict()
    _check(model, weights, [key for key in own if key not in weights], [key for key in weights if key not in own],
           source, content.get('meta') or {})


def check_whole(content: dict, source: str) -> None:
    """Raise CheckpointError if ``content`` lacks something that a run needs to go on: it holds weights only."""
    meta = content.get('meta')
    missing = [key for key in _RESUMABLE_KEYS if key not in content]
    missing += [f'meta.{key}' for key in ('epoch', 'iter') if isinstance(meta, dict) and key not in meta]
    if missing:
        raise CheckpointError(f'{source}: the checkpoint lacks {", ".join(missing)}: a run cannot go on from it. To '
                              'begin a new one from its weights: --cfg-options load_from=CHECKPOINT, without --resume.')


def _plain(model: torch.nn.Module) -> torch.nn.Module:
    while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
        model = model.module
    return model


def _without_prefix(weights: dict) -> dict:
    plain = type(weights)((re.sub(r'^module\.', '', key), value) for key, value in weights.items())
    if hasattr(weights, '_metadata'):
        plain._metadata = weights._metadata
    return plain


def _reshaped(model: torch.nn.Module, weights: dict) -> dict[str, str]:
    """Entries whose shape in the file is not that in the model, with a description."""
    own = {key: value.shape for key, value in model.state_dict().items() if isinstance(value, torch.Tensor)}
    return {key: f'{key}: {tuple(value.shape)} in the file, {tuple(own[key])} in the model'
            for key, value in weights.items() if key in own and own[key] != value.shape}


def _check(model: torch.nn.Module, weights: dict, missing: list[str], unexpected: list[str], source: str,
           meta: dict) -> None:
    """Raise if entries of the model are missing or have another shape; log those that it does not have."""
    total, reshaped = len(model.state_dict()), _reshaped(model, weights)
    missing = [key for key in missing if 'num_batches_tracked' not in key and key not in reshaped]
    left_over = _counted('are not in the model', unexpected, len(weights))
    if missing or reshaped:
        classes = (meta.get('dataset_meta') or {}).get('classes')
        raise CheckpointError(' '.join(filter(None, (
            f'{source}: these are the weights of another model than this {type(model).__name__}:',
            _counted('are missing in the file', missing, total),
            _counted('have another shape', reshaped.values(), total), left_over,
            f'The file was trained on {len(classes)} classes.' if classes else '',
            'Use the config that the checkpoint was trained with.'))))
    if left_over:
        print_log(f'{source}: {left_over} They are not used.', logger='current', level=logging.WARNING)


def _counted(what: str, names: Iterable[str], total: int) -> str:
    names = list(names)
    more = f'; and {len(names) - _EXAMPLES} more' if len(names) > _EXAMPLES else ''
    return f'{len(names)} of {total} entries {what} ({"; ".join(names[:_EXAMPLES])}{more}).' if names else ''
