"""The flagship with focal loss (0.25, 2), GIoU loss, and weights 1 / 1.5 / 0.5 for class, box and objectness.
Run: python tools/train.py configs/faster_rcnn_bifpn_focal_giou_cell.py --data-root data/cell
"""
_base_ = './faster_rcnn_bifpn_cell.py'
model = dict(
    rpn_head=dict(loss_cls=dict(loss_weight=0.5)),
    roi_head=dict(
        bbox_head=dict(
            reg_decoded_bbox=True,
            cls_predictor_cfg=dict(type='cxrdet.PriorLinear', prior=0.01),
            loss_cls=dict(_delete_=True, type='cxrdet.RoIFocalLoss', gamma=2.0, alpha=0.25, loss_weight=1.0),
            loss_bbox=dict(_delete_=True, type='GIoULoss', loss_weight=1.5))))
