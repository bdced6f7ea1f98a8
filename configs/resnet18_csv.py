"""Plain ResNet-18 on images listed in a CSV file, 224 px, from ImageNet weights: backbone 1e-4, head 1e-3.
Run: cxrdet train resnet18_csv --data-root data/crops
without a network: --cfg-options pretrained=resnet18.pth, or from random weights: --from-scratch
"""
_base_ = [
    './_base_/models/resnet18_csv.py', './_base_/datasets/csv_images.py',
    './_base_/schedules/csv_finetune.py', './_base_/csv_runtime.py'
]
