"""The baseline on BCCD trained by Lookahead (6 steps, half the way) around AdamW.
Run: cxrdet train faster_rcnn_fpn_bccd_lookahead --data-root data/bccd
"""
_base_ = '../../faster_rcnn_fpn_bccd.py'
optim_wrapper = dict(
    optimizer=dict(
        _delete_=True, type='cxrdet.Lookahead', inner=dict(type='AdamW'), k=6, alpha=0.5, lr=7e-4, weight_decay=0.05))
