"""The narrow DenseNet at 128 px on NIH ChestX-ray14 without augmentation, to see what that changes.
Run: cxrdet train densenet_tiny_unaugmented_nih_128 --data-root data/nih
"""
_base_ = './densenet_tiny_nih_128.py'
train_dataloader = dict(dataset=dict(pipeline={{_base_.val_pipeline}}))
