"""The narrow DenseNet at 128 px on NIH ChestX-ray14, positives weighted by negatives / positives of the training set.
Run: cxrdet train densenet_tiny_positive_weight_nih_128 --data-root data/nih
"""
_base_ = './densenet_tiny_nih_128.py'
custom_hooks = [dict(type='cxrdet.PositiveWeightHook', cap=100)]
