"""DenseNet-121 with ImageNet weights of torchvision on PatchCamelyon: is there tumour in the middle of a patch?
Run: cxrdet train densenet121_pcam --data-root data/pcam

A detector of cells goes on from it: faster_rcnn_bifpn_densenet121_pcam_cell.py.
"""
_base_ = [
    './_base_/models/multilabel_classifier.py', './_base_/datasets/pcam_96.py', './_base_/schedules/pcam_adamw_5e.py',
    './_base_/nih_runtime.py'
]
model = dict(
    backbone=dict(type='DenseNet', arch='121'),
    head=dict(num_classes=1, in_channels=1024),
    init_cfg=dict(type='cxrdet.ConvertedPretrained', checkpoint='torchvision://densenet121', source='torchvision'))
