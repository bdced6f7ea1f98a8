"""The hybrid from ImageNet weights of torchvision, at 224 px: backbone 1e-4, head 1e-3, early stop after 5 epochs.
Run: python tools/train.py configs/resnet18_hybrid_csv_finetune.py --data-root data/crops --cfg-options img_size=224
"""
_base_ = [
    './_base_/models/resnet18_csv.py', './_base_/datasets/csv_images.py',
    './_base_/schedules/csv_finetune.py', './_base_/csv_cpu_runtime.py'
]
num_heads, reduction = 4, 32
model = dict(
    backbone=dict(_delete_=True, type='cxrdet.ResNet18Hybrid', num_heads=num_heads, reduction=reduction,
                  init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet18')))
# what torchvision's weights have seen
data_preprocessor = dict(
    type='ClsDataPreprocessor', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)
