"""Plain ResNet-18 on images listed in a CSV file, taught by a trained ResNet-18 with coordinate and self-attention.
Run: cxrdet train resnet18_distilled_csv --data-root data/crops
with the teacher's weights: --cfg-options teacher_checkpoint=work_dirs/resnet18_hybrid_csv/best_….pth
"""
_base_ = '../../resnet18_csv.py'
model = dict(
    _delete_=True,
    type='cxrdet.DistilledClassifier',
    student={{_base_.model}},
    teacher=dict(config='resnet18_hybrid_csv', checkpoint=None),
    alpha=0.7,
    temperature=3.0)
model_shortcuts = dict(dropout=['model.student.head.dropout'], pretrained=['model.student.backbone.init_cfg'])
teacher_shortcuts = dict(teacher_checkpoint=['model.teacher.checkpoint'])
