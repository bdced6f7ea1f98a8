from cxrdet.models.backbones.attention_resnet import (
    AttentionResNet,
    ResNet18BoT,
    ResNet18BoTLinear,
    ResNet18CA,
    ResNet18ECA,
    ResNet18Hybrid,
    add_attention,
    with_attention,
)
from cxrdet.models.backbones.efficientnet_lite import EfficientNetLite, SameConv2d
from cxrdet.models.backbones.multi_level_densenet import MultiLevelDenseNet
from cxrdet.models.backbones.plain_cnn import PlainCNN
from cxrdet.models.backbones.swin_transformer import SwinTransformer

__all__ = ['AttentionResNet', 'EfficientNetLite', 'MultiLevelDenseNet', 'PlainCNN', 'ResNet18BoT', 'ResNet18BoTLinear',
           'ResNet18CA', 'ResNet18ECA', 'ResNet18Hybrid', 'SameConv2d', 'SwinTransformer', 'add_attention',
           'with_attention']
