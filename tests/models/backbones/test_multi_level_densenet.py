"""MultiLevelDenseNet against MMPretrain's DenseNet; its maps against torchvision's are compared in test_pieces.py."""
import pytest
import torch
from mmpretrain.models.backbones import DenseNet

import cxrdet  # noqa: F401
from cxrdet.registry import MODELS

ARCH = dict(growth_rate=16, depths=[2, 3, 2, 2], init_channels=16)


def test_last_map_and_names_are_those_of_the_parent():
    ours = MODELS.build(dict(type='cxrdet.MultiLevelDenseNet', arch=ARCH)).eval()
    parent = DenseNet(ARCH)
    parent.load_state_dict(ours.state_dict())  # strict: the same names
    parent.eval()
    image = torch.randn(2, 3, 64, 96)
    maps = ours(image)
    # 16 + 2 * 16 = 48; 24 + 3 * 16 = 72; 36 + 2 * 16 = 68; 34 + 2 * 16 = 66 channels
    assert [tuple(level.shape) for level in maps] == [(2, 48, 16, 24), (2, 72, 8, 12), (2, 68, 4, 6), (2, 66, 2, 3)]
    assert torch.equal(maps[3], parent(image)[0])
    _, _, convolution, pooling = parent.transitions[0]
    after = parent.transitions[0](parent.stages[0](parent.stem(image)))
    torch.testing.assert_close(pooling(convolution(maps[0])), after)
    assert all((level >= 0).all() for level in maps)


@pytest.mark.parametrize('out_indices', [(1, ), (0, 3)])
def test_some_of_the_levels(out_indices):
    backbone = MODELS.build(dict(type='cxrdet.MultiLevelDenseNet', arch=ARCH, out_indices=out_indices))
    maps = backbone(torch.zeros(2, 3, 32, 32))
    assert [level.shape[1] for level in maps] == [[48, 72, 68, 66][i] for i in out_indices]


def test_gradients_reach_the_first_layer_from_every_level():
    backbone = MODELS.build(dict(type='cxrdet.MultiLevelDenseNet', arch=ARCH)).train()
    maps = backbone(torch.randn(2, 3, 64, 64))
    for level in maps:
        gradient, = torch.autograd.grad(level.square().sum(), backbone.stem[0].weight, retain_graph=True)
        assert gradient.abs().sum() > 0
