"""The flagship with all its scalars, those of each class too, in TensorBoard, and every five epochs the predictions for
four validation images beside the ground truth; the same two lines suit every config.
Run: cxrdet train faster_rcnn_bifpn_cell_tensorboard --data-root data/cell
With histograms of the weights every five epochs: --cfg-options weight_histograms=True
Then: tensorboard --logdir work_dirs/faster_rcnn_bifpn_cell_tensorboard
"""
_base_ = './faster_rcnn_bifpn_cell.py'
visualizer = dict(vis_backends=[dict(type='LocalVisBackend'), dict(type='TensorboardVisBackend')])
default_hooks = dict(
    prediction_panel=dict(type='cxrdet.PredictionPanelHook'),
    weight_histogram=dict(type='cxrdet.WeightHistogramHook', enabled=False))
hook_shortcuts = dict(weight_histograms=['default_hooks.weight_histogram.enabled'])
