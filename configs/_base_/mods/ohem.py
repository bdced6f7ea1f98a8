"""The hardest regions are chosen for the box head (OHEM). Two-stage detectors."""
ohem = dict(needs='model.roi_head', model=dict(train_cfg=dict(rcnn=dict(sampler=dict(type='OHEMSampler')))))
