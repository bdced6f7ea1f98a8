"""PatchCamelyon against torchvision's reader of the same files, in workers too, and what is said about bad files."""
import gzip
import pickle

import h5py
import numpy as np
import pytest
from torch.utils.data import DataLoader
from torchvision.datasets import PCAM

from cxrdet.core.errors import ConfigError, DataError
from cxrdet.datasets.patch_camelyon import FILES, PatchCamelyon


def write(folder, split='train', *, patches=None, labels=None, keys='xy'):
    """The two files of a split, as published: by default five random patches of 96 px, of which rows 1 and 4 hold 1."""
    patches = np.random.default_rng(0).integers(0, 256, (5, 96, 96, 3), np.uint8) if patches is None else patches
    labels = np.array([0, 1, 0, 0, 1], np.uint8).reshape(-1, 1, 1, 1) if labels is None else labels
    folder.mkdir(exist_ok=True)
    for part, key, values in zip('xy', keys, (patches, labels)):
        with h5py.File(folder / FILES.format(split, part), 'w') as file:
            file.create_dataset(key, data=values, **({} if not len(values) else dict(
                compression='gzip', chunks=(1, *values.shape[1:]))))
    return folder


@pytest.fixture
def root(tmp_path):
    return write(tmp_path / 'pcam')


def test_the_same_as_torchvision_reads(root):
    ours, theirs = PatchCamelyon(data_root=str(root)), PCAM(root.parent, split='train')
    assert len(ours) == len(theirs) == 5
    assert ours.metainfo['classes'] == ('tumour',)
    for row, (image, label) in enumerate(theirs):
        info = ours[row]
        np.testing.assert_array_equal(info['img'][..., ::-1], np.asarray(image))
        assert info['img'].dtype == np.uint8 and info['img_shape'] == info['ori_shape'] == (96, 96)
        assert info['gt_score'].dtype == np.float32 and info['gt_score'].tolist() == [label]
        assert info['img_path'].endswith(f'train_x.h5#{row}')


def test_in_workers_after_a_look_in_this_process(root):
    dataset = PatchCamelyon(data_root=str(root), indices=4)
    before = [dataset[row]['img'] for row in range(4)]
    for found in (DataLoader(dataset, batch_size=None, num_workers=2), pickle.loads(pickle.dumps(dataset))):
        for entry, expected in zip(found, before, strict=True):
            np.testing.assert_array_equal(entry['img'], expected)


def test_only_the_rows_that_are_asked_for_are_read(root):
    """A patch that is torn is an error when it is read, with its row, and not before."""
    path = root / FILES.format('train', 'x')
    with h5py.File(path) as file:
        place = file['x'].id.get_chunk_info(3)
    data = bytearray(path.read_bytes())
    data[place.byte_offset:place.byte_offset + place.size] = bytes(place.size)
    path.write_bytes(data)
    dataset = PatchCamelyon(data_root=str(root))
    assert dataset[2]['img'].any()
    with pytest.raises(DataError, match=r'train_x\.h5: "x", row 3: cannot be read'):
        dataset[3]


@pytest.mark.parametrize(('change', 'text'), [
    (lambda root: (root / FILES.format('train', 'y')).unlink(), r'train_y\.h5: no such file\.$'),
    (lambda root: (root / FILES.format('train', 'y')).write_bytes(b'<html>'), r'train_y\.h5: this is no whole HDF5'),
    (lambda root: write(root, keys=('images', 'y')), r'train_x\.h5: expected an array "x", there are: images'),
    (lambda root: write(root, patches=np.zeros((5, 96, 96, 3), np.float32)), r'train_x\.h5: "x".*got \(5.*float32'),
    (lambda root: write(root, patches=np.zeros((5, 3, 96, 96), np.uint8)), r'train_x\.h5: "x".*got \(5, 3, 96, 96\)'),
    (lambda root: write(root, patches=np.zeros((0, 96, 96, 3), np.uint8)), r'train_x\.h5: "x": there is no patch'),
    (lambda root: write(root, labels=np.zeros((4, 1, 1, 1), np.uint8)), r'train_y\.h5: "y".*\(5, 1, 1, 1\), got \(4,'),
    (lambda root: write(root, labels=np.array([0, 1, 0, 7, 9]).reshape(-1, 1, 1, 1)), r'train_y\.h5: "y".*row 3 is 7'),
], ids=['missing', 'no HDF5', 'key', 'type', 'shape', 'empty', 'length', 'label'])
def test_bad_files_are_told_by_file_and_key(root, change, text):
    change(root)
    with pytest.raises(DataError, match=text):
        PatchCamelyon(data_root=str(root))
    with pytest.raises(DataError, match=text):  # before a run, too
        PatchCamelyon.image_files(dict(type='cxrdet.PatchCamelyon', data_root=str(root)))


def test_files_that_are_still_packed(root):
    path = root / FILES.format('valid', 'x')
    path.with_name(path.name + '.gz').write_bytes(gzip.compress(b'x'))
    with pytest.raises(DataError, match=r'valid_x\.h5: no such file\. Unpack .*gunzip .*valid_x\.h5\.gz'):
        PatchCamelyon('valid', data_root=str(root))


def test_arguments(root):
    with pytest.raises(ConfigError, match='split .*.val.*"valid"'):
        PatchCamelyon('val', data_root=str(root))
    with pytest.raises(DataError, match='no class "normal"'):
        PatchCamelyon(data_root=str(root), metainfo=dict(classes=('normal',)))
    assert PatchCamelyon.read_classes(dict(data_root=str(root))) == ('tumour',)
