"""Run settings of detectors: 15 validations without a better mAP end a training."""
_base_ = './runtime.py'
default_scope = 'mmdet'

default_hooks = dict(
    checkpoint=dict(save_best='coco/bbox_mAP'),
    early_stopping=dict(patience=15),
    visualization=dict(type='DetVisualizationHook'))
visualizer = dict(type='DetLocalVisualizer', vis_backends=[dict(type='LocalVisBackend')], name='visualizer')
