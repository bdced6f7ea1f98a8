"""The class loss of the box head over the hardest 0.7 of the sampled regions. Two-stage detectors."""
ohem_loss = dict(
    needs='model.roi_head',
    model=dict(roi_head=dict(bbox_head=dict(loss_cls=dict(
        _delete_=True, type='cxrdet.OHEMLoss', keep=0.7,
        loss=dict(type='CrossEntropyLoss', use_sigmoid=False))))))
