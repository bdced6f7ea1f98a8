"""Faster R-CNN, ResNet-18, FPN on BCCD, taught by a trained BiFPN detector; its checkpoints are those of the FPN twin.
Run: cxrdet train faster_rcnn_r18_distilled_bccd --data-root data/bccd
with the teacher's weights: --cfg-options teacher_checkpoint=work_dirs/faster_rcnn_bifpn_bccd/epoch_24.pth
"""
_base_ = '../../faster_rcnn_fpn_bccd.py'
model = dict(
    _delete_=True,
    type='cxrdet.DistilledDetector',
    student={{_base_.model}},
    teacher=dict(config='faster_rcnn_bifpn_bccd', checkpoint=None),
    alpha=0.7,
    temperature=3.0)
teacher_shortcuts = dict(teacher_checkpoint=['model.teacher.checkpoint'])
