"""The baseline of faster_rcnn_fpn_cell.py with averaged weights (EMA), which are what is validated and kept.
Run: python tools/train.py configs/ablations/cell/faster_rcnn_fpn_cell_ema.py --data-root data/cell
"""
_base_ = '../../faster_rcnn_fpn_cell.py'
default_hooks = dict(
    ema=dict(type='EMAHook', ema_type='ExpMomentumEMA', momentum=0.0002, gamma=2000, update_buffers=True))
