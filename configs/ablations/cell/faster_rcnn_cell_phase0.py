"""Phase 0, the old recipe: Faster R-CNN, ResNet-50, FPN, Adam at a fixed 1e-3, batches of 2, 20 epochs.
Run: cxrdet train faster_rcnn_cell_phase0 --data-root data/cell
"""
_base_ = [
    '../../_base_/models/faster_rcnn_r50_fpn.py', '../../_base_/datasets/cell_coco.py',
    '../../_base_/schedules/adam_fixed_20e.py', '../../_base_/default_runtime.py'
]
train_dataloader = dict(batch_size=2)
