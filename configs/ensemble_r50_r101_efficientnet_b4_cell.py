"""Detectors with ResNet-50, ResNet-101 and EfficientNet-B4 as one, their boxes merged by weighted boxes fusion.

Each is trained with its own config. Other mergings: --cfg-options fusion=voting, nms or wbf_confident.
Run: cxrdet test ensemble_r50_r101_efficientnet_b4_cell --data-root data/cell --cfg-options \
    resnet50=r50.pth resnet101=r101.pth efficientnet_b4=b4.pth
"""
_base_ = './faster_rcnn_fpn_cell.py'
names = ('faster_rcnn_bifpn_cell', 'faster_rcnn_fpn_r101_cell', 'faster_rcnn_bifpn_efficientnet_b4_cell')
model = dict(
    _delete_=True,
    type='cxrdet.DetectorEnsemble',
    fusion='wbf',
    members=[dict(config=name, checkpoint=None) for name in names])
# each member resizes the image itself
test_dataloader = dict(dataset=dict(pipeline=[*_base_.val_pipeline[:2], _base_.val_pipeline[-1]]))
ensemble_shortcuts = dict(
    resnet50=['model.members.0.checkpoint'], resnet101=['model.members.1.checkpoint'],
    efficientnet_b4=['model.members.2.checkpoint'], fusion=['model.fusion'])
