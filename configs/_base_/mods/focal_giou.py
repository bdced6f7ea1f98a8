"""Focal loss (0.25, 2) for classes, GIoU for boxes, weights 1, 1.5, 0.5 (objectness). Two-stage detectors."""
focal_giou = dict(
    needs='model.roi_head',
    model=dict(
        rpn_head=dict(loss_cls=dict(loss_weight=0.5)),
        roi_head=dict(bbox_head=dict(
            reg_decoded_bbox=True,
            cls_predictor_cfg=dict(type='cxrdet.PriorLinear', prior=0.01),
            loss_cls=dict(_delete_=True, type='cxrdet.RoIFocalLoss', gamma=2.0, alpha=0.25, loss_weight=1.0),
            loss_bbox=dict(_delete_=True, type='GIoULoss', loss_weight=1.5)))))
