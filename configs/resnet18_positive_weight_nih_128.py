"""ResNet-18 at 128 px on NIH ChestX-ray14, positives weighted by negatives / positives of the training set.
Run: python tools/train.py configs/resnet18_positive_weight_nih_128.py --data-root data/nih
"""
_base_ = './resnet18_nih_128.py'
custom_hooks = [dict(type='cxrdet.PositiveWeightHook', cap=100)]
