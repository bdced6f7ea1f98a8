"""Faster R-CNN, EfficientNet-Lite0 with ImageNet weights from pip, BiFPN, on BCCD, on two CPU cores.
Run: cxrdet train faster_rcnn_bifpn_lite0_bccd --data-root data/bccd
"""
_base_ = [
    './_base_/models/faster_rcnn_bifpn_lite0.py', './_base_/datasets/bccd_voc.py',
    './_base_/schedules/cpu_finetune_12e.py', './_base_/scratch_runtime.py'
]
# One shape for all batches: on a CPU, oneDNN compiles its kernels anew for every shape it meets.
model = dict(data_preprocessor=dict(batch_augments=[dict(type='BatchFixedSizePad', size=(320, 416))]))
