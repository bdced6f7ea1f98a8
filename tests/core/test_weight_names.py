"""Names of weights, derived by hand; whole models are compared in tests/models/test_weights.py."""
import pytest

from cxrdet.core.errors import CheckpointError, ConfigError
from cxrdet.core.weight_names import CHEXNET_CLASSES, rename, rows, rows_by_name

DENSE = 'features.denseblock1.denselayer1.norm1.weight'
VIT_TORCHVISION = 'encoder.pos_embedding'
VIT_TIMM = 'blocks.0.attn.qkv.weight'


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
])
def test_names(source, marker, old, new):
    renamed, head = rename([marker, old], source)
    assert renamed[old] == new
    assert len(renamed) == 2 and not head


@pytest.mark.parametrize(('source', 'marker', 'name', 'bare'), [
    ('torchvision', 'layer1.0.conv1.weight', 'fc.bias', 'fc.bias'),
    ('torchvision', VIT_TORCHVISION, 'heads.head.weight', 'heads.head.weight'),
    ('timm', VIT_TIMM, 'head.bias', 'head.bias'),
    ('chexnet', 'module.densenet121.' + DENSE, 'module.densenet121.classifier.0.weight', 'classifier.0.weight'),
])
def test_classifier_is_set_apart(source, marker, name, bare):
    renamed, head = rename([marker, name], source)
    assert name not in renamed
    assert head == {name: bare}


@pytest.mark.parametrize(('names', 'source', 'error', 'text'), [
    (['a'], 'torchvison', ConfigError, r'source "torchvison" is unknown.*Did you mean "torchvision"'),
    ([], 'timm', CheckpointError, r'names begin with \(none\)'),
    (['conv.weight'], 'timm', CheckpointError, r'DenseNet, ResNet, Vision Transformer.*begin with conv\.weight'),
    ([VIT_TIMM], 'torchvision', CheckpointError, 'Vision Transformer as timm names them.*source="torchvision"'),
    ([VIT_TIMM, 'fc_norm.weight'], 'timm', CheckpointError, r'1 of 2 weights belong to no .*fc_norm\.weight'),
    ([DENSE, 'features.denseblock5.denselayer1.norm1.weight'], 'timm', CheckpointError, 'denseblock5'),
    ([DENSE, 'features.norm0.weights'], 'timm', CheckpointError, 'norm0.weights'),
])
def test_what_is_not_understood(names, source, error, text):
    with pytest.raises(error, match=text):
        rename(names, source)


def test_chexnet_rows():
    assert len(CHEXNET_CLASSES) == 14
    wanted = rows_by_name(['Hernia', 'Atelectasis', 'Mass'])
    assert wanted == [13, 0, 4]
    table = rows({'classifier.0.bias': range(100, 114)}, slice(0, 2))
    assert list(table['bias']) == [100, 101]


def test_classes_that_chexnet_does_not_know():
    with pytest.raises(ConfigError, match=r'no class "No Finding"'):
        rows_by_name(['Mass', 'No Finding'])
    with pytest.raises(ConfigError, match='Did you mean "Pleural_Thickening"'):
        rows_by_name(['Pleural Thickening'])
    with pytest.raises(ConfigError, match='named twice'):
        rows_by_name(['Mass', 'Mass'])
