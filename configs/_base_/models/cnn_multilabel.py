"""The plain CNN: conv 32, conv 64, dense 512; 95,579,087 parameters at 224 px with 15 classes."""
_base_ = './multilabel_classifier.py'
model = dict(
    backbone=dict(type='cxrdet.PlainCNN', channels=(32, 64)),
    neck=None,
    head=dict(in_channels=64 * 54 * 54, hidden=(512, ), dropout=0.5))
