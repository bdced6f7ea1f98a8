"""Faster R-CNN, ResNet-50, FPN on a COCO-format cell set, taught by a trained ResNet-101 (scores and pyramid).
Run: cxrdet train faster_rcnn_r50_distilled_cell --data-root data/cell
with the teacher's weights: --cfg-options teacher_checkpoint=work_dirs/faster_rcnn_fpn_r101_cell/epoch_100.pth
"""
_base_ = './faster_rcnn_fpn_cell.py'
model = dict(
    _delete_=True,
    type='cxrdet.DistilledDetector',
    student={{_base_.model}},
    teacher=dict(config='faster_rcnn_fpn_r101_cell', checkpoint=None),
    alpha=0.7,
    temperature=3.0,
    imitation=dict(weight=1.0))  # teachers with other channels: adapter=(256, CHANNELS)
default_hooks = dict(distillation=dict(type='cxrdet.DistillationHook'))
teacher_shortcuts = dict(teacher_checkpoint=['model.teacher.checkpoint'])
