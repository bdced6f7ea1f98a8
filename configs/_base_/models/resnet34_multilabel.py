"""ResNet-34, 21.3 M parameters, from random weights."""
_base_ = './multilabel_classifier.py'
model = dict(backbone=dict(type='ResNet', depth=34, zero_init_residual=False), head=dict(in_channels=512))
