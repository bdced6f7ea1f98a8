"""The classifiers of configs/ have the sizes that they are known by."""
from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.registry import init_default_scope

import cxrdet  # noqa: F401
from cxrdet.registry import MODELS

CONFIGS = Path(__file__).parents[2] / 'configs'


@pytest.mark.parametrize(('name', 'expected'), [
    ('cnn_nih', 95_579_087),
    ('resnet34_nih', 21_797_672 - 1000 * 513 + 15 * 513),  # torchvision's count, with another classifier
    ('vit_b16_nih', 86_567_656 - 1000 * 769 + 15 * 769),
    ('densenet121_nih', 7_978_856 - 1000 * 1025 + 15 * 1025),
    ('swin_t_nih', 28_288_354 - 1000 * 769 + 15 * 769),
    ('convnext_t_nih', 28_589_128 - 1000 * 769 + 15 * 769),
    ('efficientnet_b4_nih', 19_341_616 - 1000 * 1793 + 15 * 1793),
])
def test_parameters(name, expected):
    cfg = Config.fromfile(str(CONFIGS / f'{name}.py'))
    init_default_scope(cfg.default_scope)
    model = MODELS.build(cfg.model)
    assert sum(value.numel() for value in model.parameters()) == expected


def test_vit_v1_by_hand():
    """Patches, positions, eight layers of 4 heads and an MLP of 128/64, last norm, head 2048/1024 on 49 x 64."""
    cfg = Config.fromfile(str(CONFIGS / 'vit_v1_nih.py'))
    init_default_scope(cfg.default_scope)
    model = MODELS.build(cfg.model)

    def linear(before, after):
        return before * after + after
    layer = 2 * 128 + linear(64, 192) + linear(64, 64) + linear(64, 128) + linear(128, 64)
    head = linear(49 * 64, 2048) + linear(2048, 1024) + linear(1024, 15)
    expected = linear(3 * 32 * 32, 64) + 49 * 64 + 8 * layer + 128 + head
    assert sum(value.numel() for value in model.parameters()) == expected
