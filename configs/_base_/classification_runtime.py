"""Run settings of classifiers; the data set's piece names the metric by which the best checkpoint is chosen."""
_base_ = './runtime.py'
default_scope = 'mmpretrain'
default_hooks = dict(operating_points=dict(type='cxrdet.OperatingPointHook'))
visualizer = dict(type='UniversalVisualizer', vis_backends=[dict(type='LocalVisBackend')], name='visualizer')
