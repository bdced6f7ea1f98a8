"""The baseline of faster_rcnn_fpn_cell.py with the class loss over the hardest 0.7 of the sampled regions.
Run: python tools/train.py configs/ablations/cell/faster_rcnn_fpn_cell_ohem_loss.py --data-root data/cell
"""
_base_ = '../../faster_rcnn_fpn_cell.py'
model = dict(
    roi_head=dict(
        bbox_head=dict(
            loss_cls=dict(
                _delete_=True, type='cxrdet.OHEMLoss', keep=0.7,
                loss=dict(type='CrossEntropyLoss', use_sigmoid=False)))))
