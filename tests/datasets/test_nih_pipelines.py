"""The data pieces of chest configs: what a film becomes on its way to the network, and what goes with it."""

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope

from cxrdet.core.recipes import find_config
from cxrdet.datasets.formats.images import read_image
from cxrdet.datasets.phantoms import write_chest_phantoms
from cxrdet.registry import DATASETS

pytestmark = pytest.mark.long

PIECES = {'nih_224': (224, 5, 15), 'nih_224_vit': (224, 20, 15), 'nih_128': (128, 5, 15),
          'chest_phantom_128': (128, 5, 9)}


@pytest.fixture(scope='module')
def films(tmp_path_factory):
    """Fourteen made-up films of 64 px, in the layout of NIH ChestX-ray14."""
    return write_chest_phantoms(tmp_path_factory.mktemp('chest'), num_images=14, size=64)


def build(cfg, films, loader, split='train_val_list.txt'):
    init_default_scope('mmpretrain')
    return DATASETS.build(dict(cfg[f'{loader}_dataloader'].dataset, data_root=str(films), split_file=split))


@pytest.mark.parametrize('name', PIECES)
def test_pieces(films, name):
    side, rotation, classes = PIECES[name]
    cfg = Config.fromfile(find_config(f'cxrdet::_base_/datasets/{name}'))
    train, val = build(cfg, films, 'train'), build(cfg, films, 'val')
    assert f'rotation={rotation}' in repr(train.pipeline) and 'hflip=True' in repr(train.pipeline)
    assert 'ChestAugment' not in repr(val.pipeline)
    for dataset, repeats in ((train, False), (val, True)):
        one, two = dataset[0], dataset[0]
        assert one['inputs'].shape == (3, side, side) and one['inputs'].dtype == torch.uint8
        assert torch.equal(one['inputs'], two['inputs']) == repeats
        assert (one['inputs'][0] == one['inputs'][2]).all()  # a grey film, three times
    info, sample = val.get_data_info(0), val[0]['data_samples']
    assert sample.gt_score.shape == (classes, ) and sample.gt_score.dtype == torch.float32
    assert {key: sample.get(key) for key in ('img_path', 'img_id', 'patient_id', 'view', 'age', 'sex')} == {
        key: info[key] for key in ('img_path', 'img_id', 'patient_id', 'view', 'age', 'sex')}
    assert len(build(cfg, films, 'test', 'test_list.txt')) + len(train) == 14


def test_normalisation_of_imagenet(films):
    """In red, green, blue: (grey / 255 - mean) / deviation of torchvision's documentation."""
    from mmpretrain.registry import MODELS
    cfg = Config.fromfile(find_config('cxrdet::_base_/datasets/nih_224'))
    dataset = build(cfg, films, 'val')
    inputs = MODELS.build(cfg.data_preprocessor)(pseudo_collate([dataset[3]]))['inputs'][0].numpy()
    grey = read_image(dataset.get_data_info(3)['img_path'])[:, :, 0].mean() / 255
    expected = (grey - np.array([0.485, 0.456, 0.406])) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(inputs.mean(axis=(1, 2)), expected, atol=0.02)


def test_preprocessed_variant(films):
    """CLAHE, denoising, sharpening, z-score; mean and deviation of ImageNet are out of the way."""
    cfg = Config.fromfile(find_config('densenet_tiny_preprocessed_nih_128'))
    for loader in ('train', 'val', 'test'):
        inputs = build(cfg, films, loader)[0]['inputs']
        assert inputs.dtype == torch.float32 and inputs.shape == (3, 128, 128)
        assert inputs.mean() == pytest.approx(0, abs=1e-4) and inputs.std() == pytest.approx(1, abs=1e-3)
    assert cfg.data_preprocessor.mean == [0, 0, 0] and cfg.data_preprocessor.std == [1, 1, 1]


@pytest.mark.parametrize(('name', 'expected'), [
    ('clahe', "train_dataloader.dataset.pipeline.0.transforms.0.type cxrdet.CLAHE"),
    ('label_count', 'train_dataloader.sampler.type cxrdet.LabelCountSampler'),
    ('class_balanced', 'train_dataloader.sampler.type cxrdet.ClassBalancedSampler'),
    ('positive_weight', 'custom_hooks.0.type cxrdet.PositiveWeightHook'),
    ('unaugmented', 'train_dataloader.dataset.pipeline.2.type PackInputs'),
])
def test_variants_change_one_thing(name, expected):
    """Against the plain config; what else a config prints must be equal."""
    plain = Config.fromfile(find_config('densenet_tiny_nih_128'))
    changed = Config.fromfile(find_config(f'densenet_tiny_{name}_nih_128'))
    path, value = expected.split()
    node = changed
    for key in path.split('.'):
        node = node[int(key) if key.isdigit() else key]
    assert node == value
    for part in ('model', 'optim_wrapper', 'param_scheduler', 'train_cfg', 'data_preprocessor', 'default_hooks'):
        assert changed[part] == plain[part], part
    if name != 'clahe':
        assert changed.val_dataloader == plain.val_dataloader
