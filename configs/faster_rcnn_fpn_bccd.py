"""Faster R-CNN, ResNet-18, FPN on BCCD from random weights, on two CPU cores: the baseline, without BiFPN.
Run: cxrdet train faster_rcnn_fpn_bccd --data-root data/bccd
"""
_base_ = [
    './_base_/models/faster_rcnn_r18_fpn.py', './_base_/datasets/bccd_voc.py',
    './_base_/schedules/cpu_24e.py', './_base_/scratch_runtime.py'
]
# One shape for all batches: on a CPU, oneDNN compiles its kernels anew for every shape it meets.
model = dict(data_preprocessor=dict(batch_augments=[dict(type='BatchFixedSizePad', size=(320, 416))]))
optim_wrapper = dict(optimizer=dict(lr=7e-4))  # the schedule's 1e-3 is for batches of 4
auto_scale_lr = dict(base_batch_size=2)
