"""ResNet-34 with ImageNet weights that stay as they are: only the classifier learns, NIH ChestX-ray14.
Run: cxrdet train resnet34_nih_frozen --data-root data/nih
Without a network: --cfg-options model.init_cfg.checkpoint=resnet34-b627a593.pth
"""
_base_ = [
    '../../_base_/models/multilabel_classifier.py', '../../_base_/datasets/nih_224.py',
    '../../_base_/schedules/nih_adamw_30e.py', '../../_base_/nih_runtime.py'
]
model = dict(
    backbone=dict(type='ResNet', depth=34, frozen_stages=4, norm_eval=True),
    head=dict(in_channels=512),
    init_cfg=dict(type='cxrdet.ConvertedPretrained', checkpoint='torchvision://resnet34', source='torchvision'))
optim_wrapper = dict(optimizer=dict(lr=1e-3))
