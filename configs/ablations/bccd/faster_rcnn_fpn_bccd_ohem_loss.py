"""The baseline on BCCD with the class loss of the box head over the hardest 0.7 of the sampled regions.
Run: python tools/train.py configs/ablations/bccd/faster_rcnn_fpn_bccd_ohem_loss.py --data-root data/bccd
"""
_base_ = '../../faster_rcnn_fpn_bccd.py'
model = dict(
    roi_head=dict(
        bbox_head=dict(
            loss_cls=dict(
                _delete_=True, type='cxrdet.OHEMLoss', keep=0.7,
                loss=dict(type='CrossEntropyLoss', use_sigmoid=False)))))
