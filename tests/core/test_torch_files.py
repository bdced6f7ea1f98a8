"""Files of torch.save: what is damaged or hostile is refused, what is read is what was written."""
import codecs
import hashlib
import io
import os
import pickle
import random
import struct
import sys
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
import torch

from cxrdet.core.torch_files import DamagedFileError, PickledCodeError, add_digest, read_torch_file

FORMATS = ['zip', 'legacy']


def content_of(size=1000):
    rng = torch.Generator().manual_seed(0)
    weights = OrderedDict((f'layer{i}.weight', torch.rand(size, generator=rng)) for i in range(3))
    weights._metadata = OrderedDict({'': dict(version=1)})
    return dict(state_dict=weights, meta=dict(epoch=3, palette=np.arange(6.).reshape(2, 3), names=np.array(['a', 'bc']),
                                              rate=np.float64(0.1), seen={'x', 'y'}, big=2 ** 70))


def saved(content, kind='zip'):
    stream = io.BytesIO()
    torch.save(content, stream, _use_new_zipfile_serialization=kind == 'zip')
    return stream.getvalue()


def read(data, name=''):
    return read_torch_file(io.BytesIO(data), name)


def plain(value):
    """Content that can be compared: tensors and arrays by dtype, shape and bytes."""
    if isinstance(value, torch.Tensor):
        data = value.detach().contiguous().flatten().view(torch.uint8).numpy().tobytes()
        return value.dtype, tuple(value.shape), data, value.requires_grad
    if isinstance(value, (np.ndarray, np.generic)):
        value = value.astype(value.dtype.newbyteorder('='))  # numpy itself reads numbers of other machines so
        return str(value.dtype), value.shape, value.tobytes()
    if isinstance(value, dict):
        return type(value), [(key, plain(part)) for key, part in value.items()]
    return (type(value), [plain(part) for part in value]) if isinstance(value, (list, tuple)) else value


@pytest.mark.parametrize('kind', FORMATS)
def test_what_was_written_is_read(kind):
    shared = torch.arange(12.).reshape(3, 4)
    content = dict(
        content_of(), views=[shared, shared.T, shared[1:, ::2], shared[0, 1], torch.rand(2, 1).expand(2, 3)],
        dtypes=[torch.ones(2, 3).to(getattr(torch, name)) for name in (
            'float16', 'bfloat16', 'float64', 'int8', 'uint8', 'int16', 'int32', 'int64', 'bool', 'complex64')],
        empty=[torch.empty(0), torch.empty(0, 3), torch.tensor(1.5)], scalars=[None, True, -1, 1.5, 'ü', b'\xff', 1j],
        learnt=torch.nn.Parameter(torch.ones(2)), fixed=torch.nn.Parameter(torch.ones(2), requires_grad=False),
        size=torch.Size([1, 2]), device=torch.device('cpu'), dtype=torch.float16, tuples=((), (1,), (1, 2), (1, 2, 3)),
        arrays=[np.ones(4).astype(code) for code in ('u1', '>i4', '<f2', 'c16', '?')] + [
            np.eye(3).T, np.zeros((0, 2)), np.float32(2), np.str_('é')])
    found = read(saved(content, kind))
    assert plain(found) == plain(content)
    assert found['state_dict']._metadata == content['state_dict']._metadata
    assert found['views'][0].data_ptr() == found['views'][1].data_ptr()  # what shared memory does so again
    assert type(found['learnt']) is torch.nn.Parameter


@pytest.mark.parametrize('make', [
    lambda: torch.ones(3, dtype=torch.uint16), lambda: OrderedDict(a=1), lambda: {1: {2: [3, (4, {5})]}}])
def test_newer_and_nested_forms(make):
    assert plain(read(saved(make()))) == plain(make())


def test_an_archive_without_checksums_is_read():
    if not hasattr(torch.serialization, 'set_crc32_options'):
        pytest.skip('needs torch 2.6')
    torch.serialization.set_crc32_options(False)
    try:
        data = saved(content_of())
    finally:
        torch.serialization.set_crc32_options(True)
    assert plain(read(data)) == plain(content_of())


def test_a_compressed_archive_is_read():
    with zipfile.ZipFile(io.BytesIO(saved(content_of()))) as old, zipfile.ZipFile(
            stream := io.BytesIO(), 'w', zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    assert plain(read(stream.getvalue())) == plain(content_of())


# --- damage


def with_digest(data):
    stream = io.BytesIO(data)
    add_digest(stream)
    return stream.getvalue()


def named(data):
    return f'resnet50-{hashlib.sha256(data).hexdigest()[:8]}.pth'


@pytest.mark.parametrize('damage', ['bit', 'zeros'])
@pytest.mark.parametrize('kind', ['zip', 'digest', 'legacy'])
def test_damaged_bytes_are_refused_or_change_nothing(kind, damage):
    data = saved(content_of(4096), 'legacy' if kind == 'legacy' else 'zip')
    data, expected, rng = with_digest(data) if kind == 'digest' else data, plain(content_of(4096)), random.Random(1)
    name = named(data) if kind == 'legacy' else 'epoch_1.pth'
    assert plain(read(data, name)) == expected
    refused = 0
    for _ in range(100 if damage == 'bit' else 60):
        bad = bytearray(data)
        if damage == 'bit':
            bad[rng.randrange(len(bad))] ^= 1 << rng.randrange(8)
        else:
            begin = rng.randrange(len(bad) - 4096)
            bad[begin:begin + 4096] = bytes(4096)
        try:
            assert plain(read(bytes(bad), name)) == expected
        except (DamagedFileError, ValueError):
            refused += 1
    assert refused > (90 if damage == 'bit' else 59)


def test_archives_with_a_digest_open_elsewhere_and_are_not_repacked_unseen(tmp_path):
    (tmp_path / 'a.pth').write_bytes(with_digest(saved(content_of())))
    assert torch.load(tmp_path / 'a.pth', weights_only=False)['meta']['epoch'] == 3
    changed = io.BytesIO()
    with zipfile.ZipFile(tmp_path / 'a.pth') as old, zipfile.ZipFile(changed, 'w') as new:
        for record in old.namelist():  # each with a new checksum
            data = old.read(record)
            new.writestr(record, data[:-1] + bytes([data[-1] ^ 1]) if record.endswith('data/1') else data)
    with pytest.raises(DamagedFileError, match='digest'):
        read(changed.getvalue())


def test_the_digest_of_equal_archives_is_the_same(monkeypatch):
    files = []
    for now in (1e9, 1.1e9):
        monkeypatch.setattr('time.time', lambda now=now: now)
        files.append(io.BytesIO())
        torch.save(dict(a=torch.ones(2)), files[-1])
        add_digest(files[-1])
    assert files[0].getvalue() == files[1].getvalue()


@pytest.mark.parametrize(('name', 'refused'), [
    ('a-00000000.pth', True), ('a-00000000.other.pth', False), ('run-20240131.pth', False), ('a_00000000.pth', False)])
def test_hash_in_the_name_of_a_legacy_file(name, refused):
    data = saved(content_of(), 'legacy')
    if refused:
        with pytest.raises(DamagedFileError, match='SHA-256 begins with'):
            read(data, name)
    else:
        read(data, name)
    read(saved(content_of()), name)  # archives have checksums


# --- hostile pickles: what numpy, torch or Python would execute, or end at, or read memory for


def archive(pickled, records=()):
    with zipfile.ZipFile(stream := io.BytesIO(), 'w') as new:
        for name, data in {'data.pkl': pickled, 'version': b'3\n', **dict(records)}.items():
            new.writestr(f'archive/{name}', data)
    return stream.getvalue()


def reduced(module, name, arguments, state=None):
    """A pickle of module.name(*arguments) with a state; protocol 2, which torch writes."""
    def opcodes(value):
        if isinstance(value, bytes):  # operations
            return value
        if isinstance(value, tuple):
            return b'(' + b''.join(map(opcodes, value)) + b't'
        return pickle.dumps(value, 2)[2:-1]
    built = b'' if state is None else opcodes(state) + b'b'
    return b'\x80\x02c' + f'{module}\n{name}\n'.encode() + opcodes(arguments) + b'R' + built + b'.'


def dtype(code, state=None):
    return reduced('numpy', 'dtype', (code, False, True), state)[2:-1]


ARRAY = b'cnumpy\nndarray\n'
STORAGE = b'(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x04tQ'
F8 = (3, '<', None, None, None, -1, -1, 0)


def array(shape, kind, data):
    return reduced('numpy.core.multiarray', '_reconstruct', (ARRAY, (0,), b'X\x01\x00\x00\x00b'),
                   (1, shape, kind, False, data))


def tensor(offset, size, stride):
    return reduced('torch._utils', '_rebuild_tensor_v2', (STORAGE, offset, size, stride, False, None))


@pytest.mark.parametrize('pickled', [
    array((2,), dtype('O8', (3, '|', None, None, None, -1, -1, 63)), [1, 2]),
    *(array((length,), dtype('f8', F8), 'x' * 8) for length in (2 ** 62, -1, 3, True)),
    array((1,), dtype('f8', (3, '|', None, None, None, 800, 8, 0)), 'x' * 800),
    array((1,), dtype('f8', (3, '<', None, ('f',), {'f': (1, 0)}, 8, 1, 63)), 'x' * 8), array((1,), 'f8', 'x' * 8),
    reduced('numpy.core.multiarray', 'scalar', (dtype('f8', F8), 'x' * 7)),
    reduced('numpy.core.multiarray', 'scalar', (dtype('O8'), 'x' * 8)),
    tensor(0, (5,), (1,)), tensor(1, (4,), (1,)), tensor(0, (2, 2), (2, 3)), tensor(-1, (2,), (1,)),
    tensor(0, (2,), (-1,)), tensor(0, (2 ** 62, 4), (2 ** 62, 1)), tensor(0, (2,), (1, 1)), tensor(0.0, (2,), (1,)),
    tensor(2 ** 80, (0,), (1,)), tensor(0, (2 ** 40, 2 ** 40), (0, 0)), array((1,) * 100, dtype('f8', F8), 'x' * 8),
    array((2 ** 62,), dtype('U0', (3, '<', None, None, None, 0, 4, 8)), ''), reduced('torch', 'Size', ((-1,),)),
    reduced('numpy', 'ndarray', ((2,),)),
    reduced('_codecs', 'encode', ('x', 'rot13')),
    b'\x80\x02}' + b')' + b'\x85' * 100000 + b'K\x01s.',  # the hash of a tuple so deep
    b'\x80\x02' + b')r\xff\xff\xff\xff' + b'j\xfe\xff\xff\xff.',  # a place in the memo far out
    b'\x80\x02X\xff\xff\xff\xffa.', b'\x80\x04\x8d' + b'\xff' * 7 + b'\x7fa.', b'\x80\x02)R.', b'\x80\x02b.', b'.', b'',
    b'\x80\x02ccollections\nOrderedDict\n)R}X\x05\x00\x00\x00itemsNsb.',
], ids=lambda data: f'{len(data)}-{hashlib.sha256(data).hexdigest()[:4]}')
def test_hostile_forms_are_refused(pickled):
    with pytest.raises((DamagedFileError, PickledCodeError)):
        read(archive(pickled, {'data/0': bytes(16)}))


def test_the_forms_that_these_are_made_from_are_read():
    """So that it is not the way in which they are made that is refused."""
    assert read(archive(array((1,), dtype('f8', F8), struct.pack('<d', 2.5).decode('latin-1')))).tolist() == [2.5]
    assert read(archive(tensor(1, (3,), (1,)), {'data/0': bytes(16)})).tolist() == [0, 0, 0]


@pytest.mark.parametrize(('module', 'name'), [
    ('os', 'system'), ('builtins', 'eval'), ('numpy', 'load'), ('torch', 'load'), ('torch.hub', 'load'),
    ('numpy.core.multiarray', 'fromfile'), ('torch._utils', '_rebuild_sparse_tensor'), ('functools', 'partial')])
def test_other_names_are_refused(module, name):
    with pytest.raises(PickledCodeError, match=name):
        read(archive(f'\x80\x02c{module}\n{name}\n)R.'.encode('latin-1')))


def test_records_that_would_take_all_memory_are_refused():
    with zipfile.ZipFile(stream := io.BytesIO(), 'w', zipfile.ZIP_DEFLATED) as new:
        new.writestr('archive/data.pkl', pickle.dumps({}, 2))
        new.writestr('archive/data/0', bytes(1 << 20))
    with pytest.raises(DamagedFileError, match='memory'):
        read(stream.getvalue())


# --- mutants


def mutants(seeds, number, rng):
    """Pickles with a few bytes flipped, cut, repeated or swapped for other operations, within whole archives."""
    operations = [opcode.code.encode('latin-1')[0] for opcode in __import__('pickletools').opcodes]
    for i in range(number):
        kind, pickled, records = seeds[i % len(seeds)]
        data = bytearray(pickled)
        for _ in range(rng.choice((1, 1, 2, 5))):
            place, length = rng.randrange(len(data)), rng.randrange(1, 40)
            way = rng.randrange(5)
            if way == 0:
                data[place] ^= 1 << rng.randrange(8)
            elif way == 1:
                data[place] = rng.choice(operations)
            elif way == 2:
                del data[place:place + length]
            elif way == 3:
                data[place:place] = data[place:place + length]
            else:
                data = data[:max(1, place)] if rng.random() < 0.2 else data[place:] + data[:place]
        yield archive(bytes(data), records) if kind == 'zip' else bytes(data)


def touch(value, depth=0):
    """Read all memory that what was read reaches for."""
    if isinstance(value, torch.Tensor):
        if value.numel() < 10 ** 6:
            value.clone().flatten().tolist()
        storage = value.untyped_storage()
        bytes(storage[:min(storage.nbytes(), 10 ** 6)])
    elif isinstance(value, (np.ndarray, np.generic)):
        repr(value.tolist() if value.size < 10 ** 6 else None)
    elif isinstance(value, (dict, list, tuple, set)) and depth < 20:
        for part in [*value, *(value.values() if isinstance(value, dict) else ())][:100]:
            touch(part, depth + 1)


def in_child(seeds, number, forms):
    """Read mutants in a process of its own, in which no event of an execution may happen; gives its exit status."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    status = 9
    try:
        def audit(event, arguments):
            if event.partition('.')[0] in ('os', 'subprocess', 'exec', 'compile', 'import', 'open', 'socket', 'pickle',
                                           'ctypes', 'shutil'):
                os.write(2, f'{event} {arguments[:1]} while reading\n'.encode())
                os._exit(7)
        whole = [0]
        armed = list(mutants(seeds, number, random.Random(0)))
        codecs.lookup('raw-unicode-escape')  # Python imports this codec at its first use
        sys.addaudithook(audit)
        read_all(armed, forms, whole)
        status = 0 if whole[0] else 8
    except BaseException as error:
        os.write(2, f'{type(error).__name__}: {error}\n'.encode())
    finally:
        os._exit(status)


def read_all(data, forms, whole):
    for mutant in data:
        try:
            touch(read_torch_file(io.BytesIO(mutant), **forms))
            whole[0] += 1
        except (DamagedFileError, PickledCodeError, ValueError):
            continue


@pytest.fixture(scope='module')
def seeds():
    """Small checkpoints as MMEngine writes them: (format, pickle, records)."""
    from mmengine.logging import HistoryBuffer
    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.rand(4, 3)).sum().backward()
    optimizer.step()
    buffer = HistoryBuffer([1., 2.], [1, 1])
    contents = [content_of(4), dict(state_dict=model.state_dict(), optimizer=optimizer.state_dict()),
                dict(message_hub=dict(log_scalars=dict(loss=buffer)), meta=dict(classes=('a',), score=np.float32(1)))]
    found = []
    for content in contents:
        with zipfile.ZipFile(io.BytesIO(saved(content))) as whole:
            records = {name.partition('/')[2]: whole.read(name) for name in whole.namelist()}
        found += [('zip', records.pop('data.pkl'), records), ('legacy', saved(content, 'legacy'), None)]
    return found


@pytest.mark.parametrize('number', [600, pytest.param(10_000, marks=pytest.mark.long)])
def test_mutants_neither_crash_nor_execute(seeds, number):
    from cxrdet.checkpoints.checkpoint import _BUILDERS, _FORMS
    assert in_child(seeds, number, dict(forms=_FORMS, builders=_BUILDERS)) == 0


@pytest.mark.parametrize('pickled', [b'\x80\x02\x05.', pickle.dumps({'a': 1}, 4), pickle.dumps({'a': 1}, 5)])
def test_an_operation_that_torch_does_not_write(pickled):
    """Damage, or a newer protocol: no reason to execute what is in the file."""
    with pytest.raises(DamagedFileError, match='none of pickles up to protocol 3'):
        read_torch_file(io.BytesIO(archive(pickled)))
