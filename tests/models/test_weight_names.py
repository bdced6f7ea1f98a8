"""Names of weights, derived by hand; whole models are compared in tests/models/test_weights.py."""
import numpy as np
import pytest

from cxrdet.core.errors import CheckpointError, ConfigError
from cxrdet.models.weight_names import CHEXNET_CLASSES, family_of, rename, rows, rows_by_name

DENSE = 'features.denseblock1.denselayer1.norm1.weight'
VIT_TORCHVISION = 'encoder.pos_embedding'
VIT_TIMM = 'blocks.0.attn.qkv.weight'
EFFICIENT = 'features.1.0.block.1.fc1.weight'
CONVNEXT = 'features.1.0.layer_scale'
RAD_RESNET, RAD_DENSE = 'backbone.4.0.conv1.weight', 'backbone.0.denseblock1.denselayer1.norm1.weight'
LITE = '_blocks.0._depthwise_conv.weight'
SWIN = 'features.1.0.attn.relative_position_bias_table'


@pytest.mark.parametrize(('source', 'marker', 'old', 'new'), [
    ('torchvision', 'layer1.0.conv1.weight', 'layer4.2.downsample.1.running_var', 'layer4.2.downsample.1.running_var'),
    ('timm', DENSE, 'features.denseblock3.denselayer24.conv2.weight', 'stages.2.block.23.conv2.weight'),
    ('torchvision', DENSE, 'features.denseblock4.denselayer16.norm.2.bias', 'stages.3.block.15.norm2.bias'),
    ('torchvision', DENSE, 'features.transition2.conv.weight', 'transitions.1.conv.weight'),
    ('torchvision', DENSE, 'features.norm5.bias', 'transitions.3.0.bias'),
    ('torchvision', DENSE, 'features.conv0.weight', 'stem.0.weight'),
    ('chexnet', 'module.densenet121.features.denseblock1.denselayer1.norm.1.weight',
     'module.densenet121.features.denseblock2.denselayer10.conv.1.weight', 'stages.1.block.9.conv1.weight'),
    ('torchvision', VIT_TORCHVISION, 'encoder.layers.encoder_layer_11.self_attention.in_proj_bias',
     'layers.11.attn.qkv.bias'),
    ('torchvision', VIT_TORCHVISION, 'encoder.layers.encoder_layer_0.mlp.3.weight', 'layers.0.ffn.layers.1.weight'),
    ('torchvision', VIT_TORCHVISION, 'encoder.layers.encoder_layer_0.mlp.linear_1.weight',
     'layers.0.ffn.layers.0.0.weight'),
    ('timm', VIT_TIMM, 'module.blocks.3.norm2.bias', 'layers.3.ln2.bias'),
    ('timm', VIT_TIMM, 'norm.weight', 'ln1.weight'),
    ('torchvision', EFFICIENT, 'features.1.0.block.0.0.weight', 'layers.1.0.depthwise_conv.conv.weight'),
    ('torchvision', EFFICIENT, 'features.3.1.block.2.fc2.bias', 'layers.3.1.se.conv2.conv.bias'),
    ('torchvision', EFFICIENT, 'features.8.1.running_mean', 'layers.6.bn.running_mean'),
    ('torchxrayvision', DENSE, 'features.transition1.norm.bias', 'transitions.0.norm.bias'),
    ('radimagenet', RAD_RESNET, 'backbone.0.weight', 'conv1.weight'),
    ('radimagenet', RAD_RESNET, 'backbone.7.2.bn3.bias', 'layer4.2.bn3.bias'),
    ('radimagenet', RAD_DENSE, 'backbone.0.transition3.conv.weight', 'transitions.2.conv.weight'),
    ('torchvision', CONVNEXT, 'features.5.8.block.3.weight', 'stages.2.8.pointwise_conv1.weight'),
    ('torchvision', CONVNEXT, 'features.4.1.bias', 'downsample_layers.2.1.bias'),
    ('torchvision', CONVNEXT, 'classifier.0.weight', 'norm3.weight'),
    ('torchvision', SWIN, 'features.7.1.mlp.3.bias', 'stages.3.blocks.1.ffn.layers.1.bias'),
    ('torchvision', SWIN, 'features.6.reduction.weight', 'stages.2.downsample.reduction.weight'),
    ('cxrdet', 'backbone.stem.0.weight', 'backbone.stages.1.block.9.conv1.weight', 'stages.1.block.9.conv1.weight'),
    ('cxrdet', 'backbone.stem.0.weight', 'module.backbone.layer1.0.bn1.bias', 'layer1.0.bn1.bias'),
])
def test_names(source, marker, old, new):
    renamed, head = rename([marker, old], source)
    assert renamed[old] == new
    assert len(renamed) == 2 and not head


@pytest.mark.parametrize(('source', 'marker', 'name', 'bare'), [
    ('torchvision', 'layer1.0.conv1.weight', 'fc.bias', 'fc.bias'),
    ('torchvision', VIT_TORCHVISION, 'heads.head.weight', 'heads.head.weight'),
    ('timm', VIT_TIMM, 'head.bias', 'head.bias'),
    ('torchxrayvision', DENSE, 'op_threshs', 'op_threshs'),
    ('radimagenet', RAD_DENSE, 'backbone.1.bias', 'backbone.1.bias'),
    ('cxrdet', 'backbone.conv1.weight', 'roi_head.bbox_head.fc_cls.bias', 'roi_head.bbox_head.fc_cls.bias'),
    ('chexnet', 'module.densenet121.' + DENSE, 'module.densenet121.classifier.0.weight', 'classifier.0.weight'),
])
def test_classifier_is_set_apart(source, marker, name, bare):
    renamed, head = rename([marker, name], source)
    assert name not in renamed
    assert head == {name: bare}


@pytest.mark.parametrize(('names', 'source', 'error', 'text'), [
    (['a'], 'torchvison', ConfigError, r'source must be .* got "torchvison".*Did you mean "torchvision"'),
    ([], 'timm', CheckpointError, r'names begin with \(none\)'),
    (['conv.weight'], 'timm', CheckpointError, r'DenseNet, ResNet, Vision Transformer.*begin with conv\.weight'),
    ([VIT_TIMM], 'torchvision', CheckpointError, 'Vision Transformer as timm names them.*source="torchvision"'),
    ([RAD_RESNET], 'torchvision', CheckpointError, 'ResNet as radimagenet names them'),
    ([VIT_TIMM, 'fc_norm.weight'], 'timm', CheckpointError, r'1 of 2 weights belong to no .*fc_norm\.weight'),
    ([DENSE, 'features.denseblock5.denselayer1.norm1.weight'], 'timm', CheckpointError, 'denseblock5'),
    ([DENSE, 'features.norm0.weights'], 'timm', CheckpointError, 'norm0.weights'),
])
def test_what_is_not_understood(names, source, error, text):
    with pytest.raises(error, match=text):
        rename(names, source)


def test_blocks_of_joined_stages_are_counted_on():
    """Two blocks in stage 4 of torchvision, one in 6: the first of stage 5 is number 2 here, of stage 7 number 1."""
    blocks = [f'features.{stage}.{number}.block.3.0.weight' for stage, number in (
        (4, 0), (4, 1), (5, 0), (6, 0), (7, 0))]
    renamed, _ = rename([EFFICIENT, *blocks], 'torchvision')
    assert [renamed[name] for name in blocks] == [f'layers.{place}.linear_conv.conv.weight' for place in (
        '4.0', '4.1', '4.2', '5.0', '5.1')]


@pytest.mark.parametrize(('blocks', 'places'), [
    (16, {1: '2.0', 2: '2.1', 3: '3.0', 5: '4.0', 10: '4.5', 11: '5.0', 15: '5.4'}),
    (21, {3: '2.2', 4: '3.0', 7: '4.0', 14: '4.7', 15: '5.0', 20: '5.5'})])
def test_blocks_that_are_counted_through(blocks, places):
    """The last blocks of strides 4, 8, 16, 32 are 2, 4, 10, 15 of EfficientNet-Lite0 and 3, 6, 14, 20 of Lite1."""
    names = [LITE, *(f'_blocks.{number}._project_conv.weight' for number in range(blocks))]
    ends = {'_conv_stem.weight': 'layers.0.conv.weight', '_bn0.bias': 'layers.0.bn.bias',
            '_conv_head.weight': 'layers.6.conv.weight', '_bn1.running_var': 'layers.6.bn.running_var'}
    renamed, head = rename([*names, *ends, *(f'_blocks.1._bn{i}.bias' for i in range(3)), '_fc.bias'],
                           'efficientnet_lite')
    assert head == {'_fc.bias': '_fc.bias'} and ends.items() <= renamed.items()
    for number, place in places.items():
        assert renamed[f'_blocks.{number}._project_conv.weight'] == f'layers.{place}.linear_conv.conv.weight'
    steps = [renamed[f'_blocks.1._bn{i}.bias'].split('.')[3] for i in range(3)]
    assert steps == ['expand_conv', 'depthwise_conv', 'linear_conv']


def test_a_lite_network_of_another_depth():
    with pytest.raises(CheckpointError, match=r'belong to no EfficientNet-Lite of efficientnet_lite: _blocks\.0'):
        rename([LITE, '_blocks.1._bn0.bias'], 'efficientnet_lite')


def test_merged_patches_stand_in_another_order():
    """Torchvision puts four neighbours down, then right, all channels of each; here right, then down, by channel."""
    family = family_of([SWIN], 'torchvision')
    value = np.array([0, 1, 10, 11, 20, 21, 30, 31])  # (0, 0), (1, 0), (0, 1), (1, 1) as (row, column), two channels
    assert family.value('stages.1.downsample.norm.bias', value).tolist() == [0, 20, 10, 30, 1, 21, 11, 31]
    assert family.value('stages.1.downsample.reduction.weight', np.stack([value, value])).shape == (2, 8)
    assert family.value('stages.1.blocks.0.norm1.bias', value) is value


def test_chexnet_rows():
    assert len(CHEXNET_CLASSES) == 14
    wanted = rows_by_name(['Hernia', 'Atelectasis', 'Mass'])
    assert wanted == [13, 0, 4]
    table = rows({'classifier.0.bias': range(100, 114)}, slice(0, 2))
    assert list(table['bias']) == [100, 101]


def test_classes_that_chexnet_does_not_know():
    with pytest.raises(ConfigError, match=r'class of the published classifier .* got "No Finding"'):
        rows_by_name(['Mass', 'No Finding'])
    with pytest.raises(ConfigError, match='Did you mean "Pleural_Thickening"'):
        rows_by_name(['Pleural Thickening'])
    with pytest.raises(ConfigError, match='named twice'):
        rows_by_name(['Mass', 'Mass'])
