"""Phase 1 of the plan: albumentations, focal and GIoU loss, warm-up and cosine, AdamW, batches of 8, 100 epochs.
Run: python tools/train.py configs/faster_rcnn_cell_phase1.py --data-root data/cell
"""
_base_ = [
    './_base_/models/faster_rcnn_r50_fpn.py', './_base_/datasets/cell_coco_albu.py',
    './_base_/schedules/adamw_1e-3_cosine_100e.py', './_base_/default_runtime.py'
]
model = dict(
    rpn_head=dict(loss_cls=dict(loss_weight=0.5)),
    roi_head=dict(
        bbox_head=dict(
            reg_decoded_bbox=True,
            cls_predictor_cfg=dict(type='cxrdet.PriorLinear', prior=0.01),
            loss_cls=dict(_delete_=True, type='cxrdet.RoIFocalLoss', gamma=2.0, alpha=0.25, loss_weight=1.0),
            loss_bbox=dict(_delete_=True, type='GIoULoss', loss_weight=1.5))))
