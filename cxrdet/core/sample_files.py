"""Samples with their predictions as one file of numbers and text (``.npz``), which cannot hold code."""
import json
import math
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from cxrdet.core.errors import ConfigError, DataError
from cxrdet.core.files import atomic_path


def check_sample_path(path: str | os.PathLike) -> None:
    """Raise ConfigError for a name that is none of such a file."""
    if not str(path).endswith('.npz'):
        raise ConfigError(f'{path}: predictions are written as a .npz file, got another ending. (A pickle can execute '
                          'code when it is read; mmdet.DumpDetResults in test_evaluator writes one.)')


def write_samples(path: str | os.PathLike, samples: Sequence[dict]) -> None:
    """Write dicts of tensors, arrays, numbers, texts and containers of these; of other things their text is written.

    All values of one dtype stand in one array of the file. ``samples`` in it is JSON, in which
    ``{"tensor": [dtype, start, shape]}`` (or ``"array"``) stands for a part of such an array.
    """
    check_sample_path(path)
    flat: dict[str, list[np.ndarray]] = {}
    used: dict[str, int] = {}

    def plain(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            value = value.detach().cpu()
            return {'tensor': noted((value.float() if value.dtype == torch.bfloat16 else value).numpy())}
        if isinstance(value, np.generic):
            return value.item()
        if isinstance(value, np.ndarray) and value.dtype.kind in 'biufc':
            return {'array': noted(value)}
        if isinstance(value, dict):
            return {str(key): plain(part) for key, part in value.items()}
        if isinstance(value, (list, tuple, np.ndarray)):
            return [plain(part) for part in value]
        return value.decode('latin-1') if isinstance(value, bytes) else value

    def noted(values: np.ndarray) -> list:
        kind, start = values.dtype.name, used.get(values.dtype.name, 0)
        flat.setdefault(kind, []).append(values.ravel())
        used[kind] = start + values.size
        return [kind, start, list(values.shape)]

    text = json.dumps([plain(sample) for sample in samples], default=str)
    arrays: dict[str, Any] = {kind: np.concatenate(parts) for kind, parts in flat.items()}
    with atomic_path(path) as beside:
        np.savez_compressed(beside, samples=np.frombuffer(text.encode(), np.uint8), **arrays)


def read_samples(path: str | os.PathLike) -> list[dict]:
    """Read what :func:`write_samples` wrote, tuples as lists; nothing in the file is
    executed. DataError for another file.
    """
    try:
        with open(path, 'rb') as stream:
            if stream.read(1) == b'\x80':
                raise DataError(f'{path}: this is a pickle, which can execute code when it is read. Write the '
                                'predictions anew, with cxrdet test --out FILE.npz')
            stream.seek(0)
            with np.load(stream, allow_pickle=False) as arrays:
                flat = {name: arrays[name] for name in arrays.files}

        def filled(entry: dict) -> Any:
            kind = next(iter(entry)) if len(entry) == 1 else None
            if kind not in ('tensor', 'array'):
                return entry
            dtype, start, shape = entry[kind]
            values = flat[dtype][start:start + math.prod(shape)].reshape(shape)
            return torch.from_numpy(values.copy()) if kind == 'tensor' else values

        samples = json.loads(flat['samples'].tobytes(), object_hook=filled)
        if not isinstance(samples, list) or not all(isinstance(sample, dict) for sample in samples):
            raise ValueError('no list of samples')
    except DataError:
        raise
    except OSError as error:
        raise DataError(f'{path}: cannot read the predictions: {error.strerror or error}.') from error
    except Exception as error:  # numpy, zipfile, zlib and json raise what they will
        raise DataError(f'{path}: no file of predictions as cxrdet test --out FILE.npz writes it: '
                        f'{type(error).__name__}: {error}') from error
    return samples
