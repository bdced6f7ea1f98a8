"""RetinaNet, ResNet-50 (ImageNet weights of torchvision), FPN from stride 8 on."""
_base_ = 'mmdet::_base_/models/retinanet_r50_fpn.py'
