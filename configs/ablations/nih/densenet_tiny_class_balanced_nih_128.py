"""The narrow DenseNet at 128 px on NIH ChestX-ray14, every class drawn equally often.
Run: cxrdet train densenet_tiny_class_balanced_nih_128 --data-root data/nih
"""
_base_ = './densenet_tiny_nih_128.py'
train_dataloader = dict(sampler=dict(_delete_=True, type='cxrdet.ClassBalancedSampler'))
