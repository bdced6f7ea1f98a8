"""efficientnet_lite0_nih_160.py, taught by a trained EfficientNet-Lite2.
Run: cxrdet train efficientnet_lite0_distilled_nih_160 --data-root data/nih
with the teacher's weights: --cfg-options teacher_checkpoint=work_dirs/efficientnet_lite2_nih_160/best_….pth
"""
_base_ = '../../efficientnet_lite0_nih_160.py'
model = dict(
    _delete_=True,
    type='cxrdet.DistilledClassifier',
    student={{_base_.model}},
    teacher=dict(config='efficientnet_lite2_nih_160', checkpoint=None),
    alpha=0.7,
    temperature=3.0)
teacher_shortcuts = dict(teacher_checkpoint=['model.teacher.checkpoint'])
