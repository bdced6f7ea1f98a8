"""ResNet-18 at 128 px on NIH ChestX-ray14 with its scalars in TensorBoard, and every five epochs four validation films
with their labels and the most probable findings.
Run: cxrdet train resnet18_nih_128_tensorboard --data-root data/nih
Then: tensorboard --logdir work_dirs/resnet18_nih_128_tensorboard
"""
_base_ = './resnet18_nih_128.py'
visualizer = dict(vis_backends=[dict(type='LocalVisBackend'), dict(type='TensorboardVisBackend')])
default_hooks = dict(prediction_panel=dict(type='cxrdet.PredictionPanelHook'))
