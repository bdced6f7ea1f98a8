"""densenet_tiny_nih_128.py, trained by the focal loss.
Run: cxrdet train densenet_tiny_focal_nih_128 --data-root data/nih
"""
_base_ = './densenet_tiny_nih_128.py'
model = dict(head=dict(loss=dict(type='cxrdet.MaskedFocalLoss', alpha=0.25, gamma=2.0)))
