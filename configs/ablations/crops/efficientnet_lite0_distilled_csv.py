"""efficientnet_lite0_csv.py, taught by a trained EfficientNet-Lite2.
Run: cxrdet train efficientnet_lite0_distilled_csv --data-root data/crops
with the teacher's weights: --cfg-options teacher_checkpoint=work_dirs/efficientnet_lite2_csv/best_….pth
"""
_base_ = '../../efficientnet_lite0_csv.py'
model = dict(
    _delete_=True,
    type='cxrdet.DistilledClassifier',
    student={{_base_.model}},
    teacher=dict(config='efficientnet_lite2_csv', checkpoint=None),
    alpha=0.7,
    temperature=3.0)
model_shortcuts = dict(dropout=['model.student.head.dropout'])
teacher_shortcuts = dict(teacher_checkpoint=['model.teacher.checkpoint'])
