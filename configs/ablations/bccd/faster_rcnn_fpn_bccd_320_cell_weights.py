"""faster_rcnn_fpn_bccd_320.py whose ResNet-18 comes from a classifier of cervical cells (configs/resnet18_csv.py).
Run: cxrdet train faster_rcnn_fpn_bccd_320_cell_weights --data-root data/bccd
with the weights of another run: --cfg-options model.backbone.init_cfg.checkpoint=FILE
"""
_base_ = './faster_rcnn_fpn_bccd_320.py'
weights = dict(type='Pretrained', checkpoint='work_dirs/resnet18_csv/epoch_30.pth', prefix='backbone.')
model = dict(backbone=dict(init_cfg=dict(_delete_=True, **weights)))
