"""Plain ResNet-18 on images listed in a CSV file: what the attention variants are measured against.
Run: python tools/train.py configs/resnet18_csv.py --data-root data/crops
"""
_base_ = [
    './_base_/models/resnet18_csv.py', './_base_/datasets/csv_images.py',
    './_base_/schedules/csv_cpu.py', './_base_/csv_cpu_runtime.py'
]
