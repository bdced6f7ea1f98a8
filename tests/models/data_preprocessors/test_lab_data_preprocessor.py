"""The preprocessor against OpenCV's L*a*b*, normalised by hand."""
import cv2
import numpy as np
import pytest
import torch
from mmengine.registry import init_default_scope
from mmpretrain.structures import DataSample

from cxrdet.core.errors import ConfigError
from cxrdet.registry import MODELS

CONFIG = {'type': 'cxrdet.LabDataPreprocessor', 'mean': [78., -2., -8.], 'std': [22., 9., 10.]}


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('mmpretrain')


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (2, 8, 6, 3), dtype=np.uint8)  # BGR


def expected(images):
    lab = np.stack([cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_BGR2LAB) for image in images])
    return ((lab - CONFIG['mean']) / CONFIG['std']).transpose(0, 3, 1, 2)


@pytest.mark.parametrize('batch', [torch.Tensor, list])
def test_images_become_normalised_lab(images, batch):
    inputs = torch.from_numpy(images).permute(0, 3, 1, 2)
    data = {'inputs': inputs if batch is torch.Tensor else list(inputs)}
    found = MODELS.build(CONFIG)(data)['inputs']
    assert found.dtype == torch.float32 and data['inputs'][0].dtype == torch.uint8
    np.testing.assert_allclose(found.numpy(), expected(images), atol=0.04)


def test_half_precision_around_it_changes_nothing(images):
    data = {'inputs': torch.from_numpy(images).permute(0, 3, 1, 2)}
    preprocessor = MODELS.build(CONFIG)
    with torch.autocast('cpu', torch.bfloat16):
        inside = preprocessor(data)['inputs']
    torch.testing.assert_close(inside, preprocessor(data)['inputs'], rtol=0, atol=0)


def test_batch_augments_mix_what_is_normalised(images):
    samples = [DataSample().set_gt_label(label) for label in (0, 1)]
    data = {'inputs': torch.from_numpy(images).permute(0, 3, 1, 2), 'data_samples': samples}
    augments = {'augments': [{'type': 'CutMix', 'alpha': 1.0}], 'probs': [1.0]}
    mixed = MODELS.build(CONFIG | {'batch_augments': augments, 'num_classes': 2})(data, training=True)
    plain = torch.from_numpy(expected(images)).float()
    near = [(mixed['inputs'][0] - plain[i]).abs().amax(0) < 0.04 for i in (0, 1)]
    assert (near[0] | near[1]).all()  # every pixel comes from one of the two
    assert near[1].float().mean().item() == pytest.approx(mixed['data_samples'][0].gt_score[1].item(), abs=1e-6)


@pytest.mark.parametrize(('call', 'message'), [
    (lambda: MODELS.build(CONFIG | {'to_rgb': True}), 'leave to_rgb out'),
    (lambda: MODELS.build(CONFIG)({'inputs': torch.zeros(1, 1, 4, 4)}), 'expected images of three channels, got 1'),
])
def test_bad_input_is_refused(call, message):
    with pytest.raises(ConfigError, match=message):
        call()
