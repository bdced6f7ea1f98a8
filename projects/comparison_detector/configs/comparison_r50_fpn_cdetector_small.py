"""The Comparison detector as published, on its small training split: 762 images, 11 classes, 1024 px, 60 epochs.
Run: python tools/train.py projects/comparison_detector/configs/comparison_r50_fpn_cdetector_small.py

DATA_ROOT/annotations/{train_small,test}.json and images/, made by "cxrdet prepare-data cdetector"; reference images by
"cxrdet prepare-data references DATA_ROOT data/references --split train_small". Not trained here.
"""
_base_ = [
    './_base_/comparison_r50_fpn.py', './_base_/cdetector_small_1024.py', './_base_/sgd_1e-3_60e.py',
    '../../../configs/_base_/default_runtime.py'
]
custom_imports = dict(imports=['cxrdet', 'projects.comparison_detector.comparison_detector'])
custom_hooks = [dict(type='cxrdet.PrototypeHook')]
