"""faster_rcnn_fpn_bccd_320.py whose ResNet-18 has learnt to tell crops of cervical cells apart, in RGB.
Run: python tools/train.py configs/resnet18_csv.py --data-root data/crops --cfg-options data_preprocessor.to_rgb=True \\
    data_preprocessor.type=ClsDataPreprocessor data_preprocessor.mean=[123.675,116.28,103.53] data_preprocessor.std=[58.395,57.12,57.375]
Then: python tools/train.py configs/faster_rcnn_fpn_bccd_320_cell_weights.py --data-root data/bccd
"""
_base_ = './faster_rcnn_fpn_bccd_320.py'
weights = dict(type='Pretrained', checkpoint='work_dirs/resnet18_csv/epoch_160.pth', prefix='backbone.')
model = dict(backbone=dict(init_cfg=dict(_delete_=True, **weights)))
