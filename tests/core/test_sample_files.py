"""Files of predictions: what was written is read, and nothing else is done."""
import io
import pickle
import zipfile

import numpy as np
import pytest
import torch

from cxrdet.core.errors import ConfigError, DataError
from cxrdet.core.sample_files import read_samples, write_samples

SAMPLES = [
    dict(img_path='ä/1.png', img_id=1, ori_shape=(3, 4), scale_factor=(np.float64(0.1), np.float32(0.5)), flip=None,
         classes=('x', 'y'), pred_instances=dict(bboxes=torch.rand(2, 4), scores=torch.tensor([0.1, float('nan')]),
                                                 labels=torch.tensor([1, 0]),
                                                 masks=[dict(size=[3, 4], counts=b'1\\2')])),
    dict(img_path='2.png', pred_score=torch.rand(3).half(), gt=np.eye(2), none=torch.empty(0, 4), one=torch.tensor(7))]


def test_round_trip(tmp_path):
    write_samples(tmp_path / 'a.npz', SAMPLES)
    first, second = read_samples(tmp_path / 'a.npz')
    assert first['img_path'] == 'ä/1.png'
    assert first['ori_shape'] == [3, 4]
    assert first['scale_factor'] == [0.1, 0.5]
    assert first['flip'] is None
    assert first['pred_instances']['masks'] == [dict(size=[3, 4], counts='1\\2')]
    for name in ('bboxes', 'scores', 'labels'):
        torch.testing.assert_close(first['pred_instances'][name], SAMPLES[0]['pred_instances'][name], rtol=0, atol=0,
                                   equal_nan=True)
    for name in ('pred_score', 'none', 'one'):
        torch.testing.assert_close(second[name], SAMPLES[1][name], rtol=0, atol=0)
    assert second['gt'].tolist() == [[1, 0], [0, 1]]


def test_no_samples(tmp_path):
    write_samples(tmp_path / 'a.npz', [])
    assert read_samples(tmp_path / 'a.npz') == []


def test_other_endings_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r'out\.pkl: predictions are written as a \.npz file'):
        write_samples(tmp_path / 'out.pkl', [])


class Harm:
    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, 'w')


def objects(path):
    np.savez(stream := io.BytesIO(), samples=np.array([Harm(path)], object))
    return stream.getvalue()


def text(json):
    np.savez(stream := io.BytesIO(), samples=np.frombuffer(json, np.uint8), float32=np.zeros(2, np.float32))
    return stream.getvalue()


@pytest.mark.parametrize(('make', 'message'), [
    (lambda path: pickle.dumps(Harm(path)), 'this is a pickle.*write'), (objects, 'allow_pickle'),
    (lambda path: pickle.dumps(Harm(path), 0), 'no file of predictions'), (lambda path: b'', 'no file'),
    (lambda path: text(b'[{"a": {"tensor": ["float32", 1, [2]]}}]'), 'reshape'),
    (lambda path: text(b'[{"a": {"tensor": ["float32", 0, [-1, 2, -1]]}}]'), 'no file'),
    (lambda path: text(b'[{"a": {"array": ["int8", 0, [2]]}}]'), 'KeyError'), (lambda path: text(b'{}'), 'no list'),
    (lambda path: text(b'[1]'), 'no list'), (lambda path: text(b'['), 'JSON'), (lambda path: text(b'\xff'), 'Unicode')])
def test_hostile_and_damaged_files(tmp_path, make, message):
    (tmp_path / 'a.npz').write_bytes(make(tmp_path / 'harm'))
    with pytest.raises(DataError, match=rf'a\.npz: (?i:.*{message})'):
        read_samples(tmp_path / 'a.npz')
    assert not (tmp_path / 'harm').exists()


def test_a_flipped_bit_is_refused(tmp_path):
    write_samples(tmp_path / 'a.npz', SAMPLES)
    data = bytearray((tmp_path / 'a.npz').read_bytes())
    with zipfile.ZipFile(tmp_path / 'a.npz') as archive:
        data[archive.getinfo('float32.npy').header_offset + 100] ^= 1
    (tmp_path / 'a.npz').write_bytes(data)
    with pytest.raises(DataError, match=r'a\.npz: no file of predictions'):
        read_samples(tmp_path / 'a.npz')


def test_a_missing_file_is_told_once(tmp_path):
    with pytest.raises(DataError, match='cannot read the predictions: No such file') as caught:
        read_samples(tmp_path / 'a.npz')
    assert str(caught.value).count('a.npz') == 1
