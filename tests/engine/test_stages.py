"""Parts of models by short names, on literal names of parameters; the models themselves: test_gradual_unfreeze.py."""
import pytest

from cxrdet.core.errors import ConfigError
from cxrdet.engine.stages import backbone_stages, select_parts

RESNET = ['conv1.weight', 'bn1.weight', *(f'layer{i}.{j}.conv1.weight' for i in (1, 2, 3, 4) for j in (0, 1))]
VIT = ['cls_token', 'pos_embed', 'patch_embed.projection.weight', *(f'layers.{i}.ln1.weight' for i in range(12)),
       'ln1.weight']
DENSENET = ['stem.0.weight', *(f'{part}.{i}.0.weight' for i in range(4) for part in ('stages', 'transitions'))]
NAMES = [*(f'backbone.{name}' for name in RESNET), 'neck.fc.weight', 'head.fc.weight', 'head.fc.bias']


def test_resnet_and_what_inherits_from_it():
    stages = backbone_stages(['AttentionResNet', 'ResNet'], RESNET)
    assert stages[0] == ['conv1.weight', 'bn1.weight']
    assert stages[4] == ['layer4.0.conv1.weight', 'layer4.1.conv1.weight']
    assert sum(stages, []) == RESNET


def test_densenet_has_the_transition_with_its_stage():
    stages = backbone_stages(['DenseNet'], DENSENET)
    assert [len(stage) for stage in stages] == [1, 2, 2, 2, 2]
    assert stages[4] == ['stages.3.0.weight', 'transitions.3.0.weight']


def test_a_quarter_of_the_blocks_of_a_vit():
    stages = backbone_stages(['VisionTransformer'], VIT)
    assert stages[0] == ['cls_token', 'pos_embed', 'patch_embed.projection.weight']
    assert stages[1] == ['layers.0.ln1.weight', 'layers.1.ln1.weight', 'layers.2.ln1.weight']
    assert stages[4] == ['layers.9.ln1.weight', 'layers.10.ln1.weight', 'layers.11.ln1.weight', 'ln1.weight']
    assert len(stages) == 5


def test_no_parameters_no_stages():
    assert backbone_stages(['ResNet'], []) == [[]]


@pytest.mark.parametrize(('parts', 'expected'), [
    (['head'], NAMES[-3:]), (['all'], NAMES), (['backbone'], NAMES[:-3]), (['stem'], NAMES[:2]),
    (['top1'], NAMES[8:10]), (['head', 'top2'], NAMES[6:]), (['head.fc.bias'], NAMES[-1:]),
    (['backbone.layer1', 'neck'], [*NAMES[2:4], 'neck.fc.weight']), (['top4', 'stem', 'head'], NAMES)])
def test_parts(parts, expected):
    assert select_parts(NAMES, parts, ['ResNet']) == set(expected)


@pytest.mark.parametrize(('part', 'kinds', 'text'), [
    ('haed', ['ResNet'], 'Did you mean "head"'), ('backbone.layer5', ['ResNet'], r'Did you mean "backbone.layer\d"'),
    ('top5', ['ResNet'], 'the backbone ResNet has 4 stages'), ('top2', ['VGG'], 'of VGG are not known'),
    ('top0', ['ResNet'], 'has 4 stages'), ('backbone.layer', ['ResNet'], 'no part of the model')])
def test_unknown_parts(part, kinds, text):
    with pytest.raises(ConfigError, match=text):
        select_parts(NAMES, [part], kinds)
