"""Five stages of convolution and batch norm, global average pooling, dropout: a plain CNN of 1.6 M parameters.
Run: cxrdet train cnn_bn_nih --data-root data/nih

What an old project planned; it named no widths. Trained as in cnn_nih_old.py.
"""
_base_ = './cnn_nih_old.py'
model = dict(
    backbone=dict(channels=(32, 64, 128, 256, 512), norm_cfg=dict(type='BN')),
    neck=dict(_delete_=True, type='GlobalAveragePooling'),
    head=dict(in_channels=512, hidden=()))
