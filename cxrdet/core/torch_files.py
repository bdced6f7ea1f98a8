"""Files of ``torch.save``, read without executing what is pickled in them, and only where they are undamaged.

A file is an archive (zip) of one pickle and a record for each tensor's data; before
torch 1.6, several pickles and then the data ("legacy"). The pickle is interpreted here:
its operations build plain containers and numbers, and what :func:`read_torch_file`
names beside them. Every form is checked before it is built, which ``pickle``, ``numpy``
and ``torch`` do not: a tensor has to lie within its data, an array has to have a dtype
without objects and as many bytes as its shape takes, a key is a number or text.
"""
import hashlib
import io
import math
import os
import pickle
import re
import struct
import sys
import zipfile
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from reprlib import repr as _short
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import torch

_MAGIC, _PROTOCOL = 0x1950a86a20f9469cfc6c, 1001  # what legacy files begin with
_DIGEST = '.digest'
_CHUNK = 1 << 18  # bytes that are read and summed up while they are in the processor's cache
_HASH = re.compile(r'-(?!(?:19|20)\d{6}\.)([0-9a-f]{8,64})\.\w+$')  # resnet50-0676ba61.pth, not run-20240131.pth


class DamagedFileError(ValueError):
    """The bytes are not those that were written, or make no sense."""


class ForeignFileError(ValueError):
    """No file of ``torch.save``."""


class PickledCodeError(ValueError):
    """The file names something that would have to be executed; the text is its name."""


def read_torch_file(stream: BinaryIO, name: str = '', *, forms: Mapping[str, Any] | None = None,
                    builders: Mapping[type, Callable[[Any, Any], None]] | None = None) -> Any:
    """Read what ``torch.save`` wrote into main memory: tensors, numpy arrays and numbers, plain containers, and more.

    Args:
        stream: a seekable binary stream, at its beginning.
        name: of the file, see :func:`check_undamaged`.
        forms: by the name under which pickles know them, ``module name``: values, or
            for what is called a :class:`Call`.
        builders: by the exact type of an object, what gives it its pickled state.

    Raises:
        DamagedFileError: a checksum does not fit, or the content makes no sense.
        ForeignFileError: it is another kind of file.
        PickledCodeError: it cannot be read without executing code.
    """
    def load(pickled: BinaryIO, *data: Callable) -> Any:
        return _Unpickler(pickled, {**_FORMS, **(forms or {})}, {**_BUILDERS, **(builders or {})}, *data).load()

    try:
        if _is_archive(stream):
            return _read_archive(stream, load)
        check_undamaged(stream, name)
        return _read_legacy(stream, load)
    except (DamagedFileError, ForeignFileError, PickledCodeError, torch.cuda.OutOfMemoryError):
        raise
    except Exception as error:  # nonsense fails in many ways: KeyError, IndexError, OverflowError, struct.error …
        raise DamagedFileError(f'{type(error).__name__}: {str(error).partition(chr(10))[0]}') from error


def check_undamaged(stream: BinaryIO, name: str) -> None:
    """Raise DamagedFileError where checksums show that bytes have changed since the file was written.

    Of an archive these are the CRC-32 of each record and the digest of :func:`add_digest`; of a legacy file the first
    digits of its SHA-256, where its ``name`` ends with them (``resnet50-0676ba61.pth``). Leaves the stream at its
    beginning.
    """
    given = _HASH.search(name)
    if _is_archive(stream):
        _records(stream)
    elif given:
        digest = hashlib.sha256()
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
        if not digest.hexdigest().startswith(given[1]):
            raise DamagedFileError(f'its SHA-256 begins with {digest.hexdigest()[:len(given[1])]}, its name says '
                                   f'{given[1]}; if that is no hash, rename the file')
    stream.seek(0)


def add_digest(file: str | os.PathLike | BinaryIO) -> None:
    """Put a digest over names, sizes and checksums of all records into an archive."""
    with zipfile.ZipFile(file, 'a') as archive:
        infos = archive.infolist()
        if _has_sums(infos):
            record = zipfile.ZipInfo(f'{_folder(infos)}/{_DIGEST}')  # without the time, so that equal files stay equal
            archive.writestr(record, _digest(infos))


# --- archives


def _is_archive(stream: BinaryIO) -> bool:
    head = stream.read(4)
    stream.seek(0)
    return head == b'PK\x03\x04'


def _folder(infos: list[zipfile.ZipInfo]) -> str:
    folders = [info.filename.removesuffix('/data.pkl') for info in infos if info.filename.endswith('/data.pkl')]
    if len(folders) != 1:
        raise DamagedFileError('the archive holds no data.pkl, or several')
    return folders[0]


def _has_sums(infos: list[zipfile.ZipInfo]) -> bool:
    return any(info.CRC for info in infos)  # torch.serialization.set_crc32_options(False) writes zeros


def _digest(infos: list[zipfile.ZipInfo]) -> str:
    """SHA-256 over the records, in whatever folder and order they stand."""
    start = len(_folder(infos)) + 1
    lines = sorted(f'{info.filename[start:]} {info.file_size} {info.CRC:08x}\n' for info in infos)
    return hashlib.sha256(''.join(lines).encode()).hexdigest()


def _records(stream: BinaryIO) -> dict[str, torch.Tensor]:
    """The bytes of each record by its name within the archive's folder."""
    end = stream.seek(0, os.SEEK_END)
    try:
        with zipfile.ZipFile(stream) as archive:
            infos = archive.infolist()
            start = len(_folder(infos)) + 1
            summed = _has_sums(infos)
            if sum(info.file_size for info in infos) > end * max(100 * (info.compress_type > 0) + 1 for info in infos):
                raise DamagedFileError('its records would take much more memory than it has bytes')
            records = {info.filename[start:]: _record(archive, info, summed) for info in infos}
    except DamagedFileError:
        raise
    except Exception as error:  # BadZipFile, struct.error, UnicodeDecodeError …
        raise DamagedFileError(f'{type(error).__name__}: {error}') from error
    if len(records) < len(infos):
        raise DamagedFileError('a record stands in the archive twice')
    digest = records.pop(_DIGEST, None)
    rest = [info for info in infos if info.filename[start:] != _DIGEST]
    if digest is not None and _bytes(digest) != _digest(rest).encode():
        raise DamagedFileError('the digest over its records is another one than was written')
    return records


def _record(archive: zipfile.ZipFile, info: zipfile.ZipInfo, summed: bool) -> torch.Tensor:
    """The bytes of a record, held to its CRC-32."""
    data = torch.empty(info.file_size, dtype=torch.uint8)
    with archive.open(info) as part:
        if not summed:
            vars(part)['_expected_crc'] = None
        _fill(data, part)
    return data


def _fill(data: torch.Tensor, stream: Any) -> None:
    view = data.numpy().data
    for begin in range(0, len(data), _CHUNK):
        part = view[begin:begin + _CHUNK]
        if stream.readinto(part) != len(part):
            raise DamagedFileError('it ends too early')


def _bytes(data: torch.Tensor) -> bytes:
    return data.numpy().tobytes()


def _read_archive(stream: BinaryIO, load: Callable) -> Any:
    records = _records(stream)
    order = _bytes(records['byteorder']).decode() if 'byteorder' in records else 'little'
    found: dict[str, _Storage] = {}

    def data(dtype: torch.dtype, key: str, _, number: int) -> _Storage:
        if key not in found:
            found[key] = _Storage(records[f'data/{key}'].untyped_storage(), dtype)
            _in_order(found[key], number, order)
        return found[key]

    return load(io.BytesIO(_bytes(records['data.pkl'])), data)


# --- legacy files


def _read_legacy(stream: BinaryIO, load: Callable) -> Any:
    end = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    if stream.read(1) != b'\x80':
        raise ForeignFileError
    stream.seek(0)
    if [load(stream) for _ in range(3)][:2] != [_MAGIC, _PROTOCOL]:  # the third one: of the machine
        raise DamagedFileError('it does not begin as a file of torch.save')
    empty: dict[str, torch.Tensor] = {}  # what the data, which come behind the pickle, are read into
    found: dict[str, _Storage] = {}

    def data(dtype: torch.dtype, key: str, _, number: int, view: tuple | None) -> _Storage:
        if key not in found:
            if not _are_counts(number) or number * dtype.itemsize + sum(map(len, empty.values())) > end:
                raise DamagedFileError('it names more data than it holds')
            empty[key] = torch.empty(number * dtype.itemsize, dtype=torch.uint8)
            found[key] = _Storage(empty[key].untyped_storage(), dtype)
        return _view(found[key], view)

    content = load(stream, data)
    for key in load(stream):
        number, = struct.unpack('<q', stream.read(8))
        _fill(empty.pop(key), stream)
        _in_order(found[key], number, 'little')
    if empty:
        raise DamagedFileError('data are missing')
    return content


def _view(storage: '_Storage', view: tuple | None) -> '_Storage':
    """Part of a storage, which files of torch 0.x name: a key, an offset, a number."""
    if view is None:
        return storage
    _, offset, number = view
    size = storage.dtype.itemsize
    if not 0 <= offset <= offset + number <= storage.data.nbytes() // size:
        raise DamagedFileError('a view reaches beyond its data')
    return _Storage(storage.data[offset * size:(offset + number) * size], storage.dtype)


# --- tensors


class _Storage(NamedTuple):
    data: torch.UntypedStorage
    dtype: torch.dtype


def _in_order(storage: _Storage, number: int, order: str) -> None:
    """Put the bytes of ``number`` values into this machine's order."""
    if type(number) is not int or number * storage.dtype.itemsize != storage.data.nbytes() or order not in (
            'little', 'big'):
        raise DamagedFileError(f'{number} values of {storage.dtype} do not take {storage.data.nbytes()} bytes')
    if order != sys.byteorder:
        storage.data.byteswap(storage.dtype)


def _tensor(storage: _Storage, offset: int, size: tuple, stride: tuple, requires_grad: bool = False,
            hooks: object = None, metadata: object = None, *, dtype: torch.dtype | None = None) -> torch.Tensor:
    if metadata or len(size) != len(stride) or not _are_counts(offset, *size, *stride) or math.prod(size) >= 2 ** 63:
        raise DamagedFileError(f'no tensor has offset {_short(offset)}, shape {_short(size)}, strides {_short(stride)}')
    data, dtype = _exact(storage, _Storage).data, dtype or storage.dtype
    last = offset + sum((n - 1) * step for n, step in zip(size, stride)) + 1 if all(size) else offset
    if last * dtype.itemsize > data.nbytes():
        raise DamagedFileError(f'a tensor of shape {_short(tuple(size))} reaches beyond its data')
    return torch.empty(0, dtype=dtype).set_(data, offset, size, stride).requires_grad_(requires_grad is True)


def _tensor_v3(storage, offset, size, stride, requires_grad, hooks, dtype, metadata=None) -> torch.Tensor:
    return _tensor(storage, offset, size, stride, requires_grad, hooks, metadata, dtype=_exact(dtype, torch.dtype))


def _parameter(data: torch.Tensor, requires_grad: bool = True, hooks: object = None) -> torch.nn.Parameter:
    return torch.nn.Parameter(_exact(data, torch.Tensor), requires_grad is True)


# --- other forms


def _exact(value: Any, *types: type) -> Any:
    if type(value) not in types:
        raise DamagedFileError(f'a {types[0].__name__} was expected, got a {type(value).__name__}')
    return value


def _are_counts(*values) -> bool:
    return all(type(value) is int and value >= 0 for value in values)


def _key(key: Any) -> Any:
    """A key of a dict or member of a set; the hash of others may cost any time, or the process."""
    plain = (str, int, float, bool, bytes, type(None), torch.dtype)
    if not (type(key) in plain or isinstance(key, np.generic)
            or (type(key) is tuple and all(type(part) in plain for part in key))):
        raise DamagedFileError(f'a {type(key).__name__} is no key')
    return key


def _encoded(text: str, encoding: str) -> bytes:
    return _exact(text, str).encode({'latin1': 'latin-1', 'latin-1': 'latin-1', 'ascii': 'ascii'}[encoding])


def _binary(data: bytes | str) -> bytes:
    return data.encode('latin-1') if type(data) is str else _exact(data, bytes)  # str: written by Python 2


def _dtype(code: str, *_) -> np.dtype:
    """A dtype of numbers, truth values or texts of one length: it has no objects, fields or subarrays."""
    if not re.fullmatch(r'b1|[iu][1248]|f(2|4|8|12|16)|c(8|16|24|32)|[SU]\d{1,6}', _exact(code, str)):
        raise PickledCodeError(f'numpy.dtype({code})')
    return np.dtype(code, copy=True)


def _build_dtype(dtype: np.dtype, state: tuple) -> None:
    """Set the byte order, the one thing that a state of numpy's own may say of these dtypes."""
    order = state[1]
    if order not in ('<', '>', '|') or state != np.dtype(dtype.str[1:]).newbyteorder(order).__reduce__()[2]:
        raise DamagedFileError(f'{_short(state)} is no state of numpy\'s dtype {dtype}')
    dtype.__setstate__(state)  # pyright: ignore[reportAttributeAccessIssue]  # numpy's stubs lack it


def _array(kind: type, shape: tuple, code: bytes | str) -> np.ndarray:
    """An empty array, as numpy writes all of them; its state follows."""
    if kind is not _NDARRAY or shape != (0,):
        raise DamagedFileError('an array that does not begin empty')
    return np.empty(0, np.int8)


def _build_array(array: Any, state: tuple) -> None:
    version, shape, dtype, columns_first, data = state
    dtype, data = _simple(dtype), _binary(data)
    if version not in (0, 1) or array.size or not dtype.itemsize or not _are_counts(*_exact(shape, tuple)):
        raise DamagedFileError(f'no array has the shape {_short(shape)}')
    if math.prod(shape) * dtype.itemsize != len(data):
        raise DamagedFileError(f'an array of shape {_short(shape)} and dtype {dtype} does not take {len(data)} bytes')
    array.__setstate__((1, shape, dtype, bool(columns_first), data))


def _scalar(dtype: np.dtype, data: bytes | str = b'') -> np.generic:
    if len(data := _binary(data)) != _simple(dtype).itemsize:
        raise DamagedFileError(f'a number of dtype {dtype} does not take {len(data)} bytes')
    return np.frombuffer(data, dtype)[0] if data else dtype.type()


def _simple(dtype: np.dtype) -> np.dtype:
    if not isinstance(dtype, np.dtype) or dtype.hasobject or dtype.kind not in 'biufcSU' or dtype.subdtype:
        raise DamagedFileError(f'{dtype} is no dtype of numbers or texts')
    return dtype


def _build_ordered(target: OrderedDict, state: dict) -> None:
    """The versions of the modules, which torch keeps with a model's weights."""
    if set(_exact(state, dict)) - {'_metadata'} or not isinstance(state.get('_metadata', {}), dict):
        raise PickledCodeError(f'collections.OrderedDict with {", ".join(map(str, state))}')
    target.__dict__.update(state)


class Call:
    """Something that a pickle may call; ``build`` makes the value from the arguments, which it checks."""
    __slots__ = ('build', 'name')

    def __init__(self, name: str, build: Callable) -> None:
        self.name, self.build = name, build


def _refused(name: str) -> Callable:
    def build(*_):
        raise PickledCodeError(name)
    return build


_NDARRAY = Call('numpy.ndarray', _refused('numpy.ndarray()'))
_STORAGES = dict(Double=torch.double, Float=torch.float, Half=torch.half, BFloat16=torch.bfloat16, Long=torch.long,
                 Int=torch.int, Short=torch.short, Char=torch.int8, Byte=torch.uint8, Bool=torch.bool,
                 ComplexDouble=torch.cdouble, ComplexFloat=torch.cfloat)
_CALLS = {
    'collections OrderedDict': lambda pairs=(): OrderedDict((_key(key), value) for key, value in pairs),
    'collections Counter': lambda counts=(): Counter(_exact(counts, dict) if counts else {}),
    'torch Size': lambda size=(): torch.Size(size) if _are_counts(*size) else _refused('torch.Size')(),
    'torch device': lambda kind, *index: torch.device(_exact(kind, str), *(_exact(i, int) for i in index)),
    'torch._utils _rebuild_tensor': _tensor, 'torch._utils _rebuild_tensor_v2': _tensor,
    'torch._utils _rebuild_tensor_v3': _tensor_v3, 'torch._utils _rebuild_parameter': _parameter,
    '_codecs encode': _encoded, 'numpy dtype': _dtype,
    **{f'{module} {name}': call for module in ('builtins', '__builtin__') for name, call in (
        ('set', lambda members=(): {_key(member) for member in members}),
        ('complex', lambda real, imaginary: complex(_exact(real, float), _exact(imaginary, float))),
        ('bytes', lambda: b''),
        ('bytearray', lambda data=b'', encoding='latin-1': bytearray(
            _encoded(data, encoding) if type(data) is str else _binary(data))))},
    **{f'numpy.{core}.multiarray {name}': call for core in ('core', '_core')
       for name, call in (('_reconstruct', _array), ('scalar', _scalar))}}
_FORMS = {
    **{name: Call(name.replace(' ', '.'), call) for name, call in _CALLS.items()}, 'numpy ndarray': _NDARRAY,
    **{f'torch {name}': value for name, value in vars(torch).items() if isinstance(value, torch.dtype)},
    **{f'{module} {name}Storage': dtype for name, dtype in _STORAGES.items() for module in ('torch', 'torch.cuda')},
    'torch.storage UntypedStorage': torch.uint8}
_BUILDERS = {OrderedDict: _build_ordered, np.ndarray: _build_array, **{
    type(np.dtype(code)): _build_dtype for code in '?' + np.typecodes['AllInteger'] + np.typecodes['Float'] + 'FDGSU'}}


# --- the pickle


_CALLING = b''.join((pickle.INST, pickle.OBJ, pickle.PERSID, pickle.EXT1, pickle.EXT2, pickle.EXT4))


class _Operations(dict):
    """What a pickle may do, by the code of the operation: make plain values and containers."""

    def __missing__(self, code: int):
        if code in _CALLING:
            raise PickledCodeError(f'operation {chr(code)!r}')
        raise DamagedFileError(f'operation {chr(code)!r} is none of pickles up to protocol 3, in which torch.save '
                               'writes: bytes have changed, or pickle_protocol was set higher')


class _Unpickler(pickle._Unpickler):  # the one in Python: that in C takes memory for places that a file only names
    """Reads one pickle; ``data`` gives the data of tensors from what stands for them."""
    append: Callable[[Any], None]
    pop_mark: Callable[[], list]
    metastack: list
    dispatch = _Operations({code[0]: pickle._Unpickler.dispatch[code[0]] for code in (
        getattr(pickle, name) for name in (
            'PROTO STOP NONE NEWTRUE NEWFALSE INT LONG BININT BININT1 BININT2 LONG1 LONG4 BINFLOAT BINUNICODE '
            'BINSTRING SHORT_BINSTRING BINBYTES SHORT_BINBYTES EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_LIST '
            'APPEND APPENDS EMPTY_DICT MARK BINPUT LONG_BINPUT BINGET LONG_BINGET GLOBAL BINPERSID').split())})

    def __init__(self, stream: BinaryIO, forms: Mapping[str, Any], builders: Mapping[type, Callable],
                 data: Callable = _refused('an object outside the pickle')) -> None:  # noqa: B008
        super().__init__(stream, encoding='latin-1')
        self.forms, self.builders, self.data = forms, builders, data

    def find_class(self, module: str, name: str) -> Any:
        full = f'{module} {name}'
        if full not in self.forms:
            raise PickledCodeError(re.sub(r'^(__builtin__|builtins)\.', '', f'{module}.{name}'))
        return self.forms[full]

    def persistent_load(self, pid: tuple) -> Any:
        kind, dtype, *rest = _exact(pid, tuple)
        if kind != 'storage':
            raise PickledCodeError(f'an object of kind {kind} outside the pickle')
        return self.data(_exact(dtype, torch.dtype), *rest)

    def load_reduce(self) -> None:
        arguments, function = _exact(self.stack.pop(), tuple), self.stack.pop()
        if type(function) is not Call:
            raise PickledCodeError(f'a call of {type(function).__name__}')
        self.append(function.build(*arguments))

    def load_build(self) -> None:
        state, target = self.stack.pop(), self.stack[-1]
        self.builders.get(type(target), _refused(f'a state of {type(target).__name__}'))(target, state)

    def load_setitems(self) -> None:
        values = self.pop_mark()
        target = _exact(self.stack[-1], dict, OrderedDict, Counter)
        target.update((_key(key), value) for key, value in zip(values[::2], values[1::2], strict=True))

    def load_setitem(self) -> None:
        self.metastack.append(self.stack[:-2])
        self.stack = self.stack[-2:]
        self.load_setitems()

    dispatch.update({pickle.REDUCE[0]: load_reduce, pickle.NEWOBJ[0]: load_reduce, pickle.BUILD[0]: load_build,
                     pickle.SETITEM[0]: load_setitem, pickle.SETITEMS[0]: load_setitems})
