"""Run settings of detectors that stop after 15 validations without a better mAP and end with the best weights."""
_base_ = './default_runtime.py'

default_hooks = dict(
    early_stopping=dict(type='cxrdet.EarlyStoppingHook', monitor='coco/bbox_mAP', patience=15),
    restore_best=dict(type='cxrdet.RestoreBestHook'))
