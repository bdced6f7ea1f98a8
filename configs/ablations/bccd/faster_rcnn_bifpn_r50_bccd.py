"""The flagship's model on BCCD from random weights: ResNet-50, BiFPN of three layers, CBAM on P3-P5, at 384x288 px.
Run: cxrdet train faster_rcnn_bifpn_r50_bccd --data-root data/bccd --cfg-options max_epochs=48
"""
_base_ = [
    '../../_base_/models/faster_rcnn_r50_fpn_scratch.py', '../../_base_/datasets/bccd_voc.py',
    '../../_base_/schedules/cpu_24e.py', '../../_base_/scratch_runtime.py'
]
cbam = dict(type='cxrdet.CBAM', ratio=8, kernel_size=7)
model = dict(
    data_preprocessor=dict(batch_augments=[dict(type='BatchFixedSizePad', size=(320, 416))]),
    neck=dict(_delete_=True, type='cxrdet.BiFPN', in_channels=[256, 512, 1024, 2048], out_channels=256,
              num_layers=3, num_outs=5, attention=[None, cbam, cbam, cbam, None]))
optim_wrapper = dict(optimizer=dict(lr=7e-4))  # the schedule's 1e-3 is for batches of 4
auto_scale_lr = dict(base_batch_size=2)
