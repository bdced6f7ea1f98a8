"""SwinTransformer takes weights as other backbones do; torchvision's are compared in test_pieces.py."""
import pytest
import torch
from mmdet.models.backbones import SwinTransformer
from mmengine.registry import MODELS

import cxrdet  # noqa: F401
from cxrdet.core.errors import CheckpointError

SMALL = dict(embed_dims=16, depths=(1, 1, 1, 1), num_heads=(1, 1, 2, 2))


def build(**more):
    return MODELS.build(dict(type='cxrdet.SwinTransformer', **SMALL, **more))


def test_without_weights_it_is_the_parent():
    ours, parent = build(), SwinTransformer(**SMALL)
    assert list(ours.state_dict()) == list(parent.state_dict())
    parent.load_state_dict(ours.state_dict())
    image = torch.randn(1, 3, 64, 96)
    parent.eval()
    for mine, theirs in zip(ours.eval()(image), parent(image)):
        assert torch.equal(mine, theirs)
    ours.init_weights()
    assert ours.stages[0].blocks[0].attn.w_msa.qkv.weight.std().item() == pytest.approx(0.02, rel=0.15)


@pytest.mark.parametrize('prefix', ['', 'backbone.'])
def test_pretrained_with_and_without_a_prefix(prefix, tmp_path):
    source = build()
    weights = {prefix + key: value for key, value in source.state_dict().items()}
    torch.save(weights, tmp_path / 'weights.pth')
    more = dict(prefix=prefix) if prefix else {}
    ours = build(init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'weights.pth'), **more))
    ours.init_weights()
    assert all(torch.equal(value, source.state_dict()[key]) for key, value in ours.state_dict().items())


def test_weights_of_another_network_are_refused(tmp_path):
    import torchvision
    small = torchvision.models.SwinTransformer(patch_size=[4, 4], embed_dim=24, depths=[1, 1, 1, 1],
                                               num_heads=[1, 1, 2, 2], window_size=[7, 7])
    torch.save(small.state_dict(), tmp_path / 'swin.pth')
    ours = build(init_cfg=dict(type='cxrdet.ConvertedPretrained', source='torchvision',
                               checkpoint=str(tmp_path / 'swin.pth')))
    with pytest.raises(CheckpointError, match=r'do not fit this SwinTransformer: .*have another shape'):
        ours.init_weights()
