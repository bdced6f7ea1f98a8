"""ResNet-18 at 128 px on NIH ChestX-ray14, every class drawn equally often.
Run: python tools/train.py configs/resnet18_class_balanced_nih_128.py --data-root data/nih
"""
_base_ = './resnet18_nih_128.py'
train_dataloader = dict(sampler=dict(_delete_=True, type='cxrdet.ClassBalancedSampler'))
