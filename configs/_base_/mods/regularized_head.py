"""Dropout 0.3, batch norm and L2 1e-4 in the box head. Two-stage detectors."""
regularized_head = dict(
    needs='model.roi_head',
    model=dict(roi_head=dict(bbox_head=dict(type='cxrdet.RegularizedBBoxHead', dropout=0.3, l2=1e-4))))
