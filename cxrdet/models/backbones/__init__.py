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
from cxrdet.models.backbones.plain_cnn import PlainCNN

__all__ = ['AttentionResNet', 'PlainCNN', 'ResNet18BoT', 'ResNet18BoTLinear', 'ResNet18CA', 'ResNet18ECA',
           'ResNet18Hybrid', 'add_attention', 'with_attention']
