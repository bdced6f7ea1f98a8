"""The narrow DenseNet at 128 px on NIH ChestX-ray14 without augmentation, to see what that changes.
Run: python tools/train.py configs/ablations/nih/densenet_tiny_unaugmented_nih_128.py --data-root data/nih
"""
_base_ = './densenet_tiny_nih_128.py'
train_dataloader = dict(dataset=dict(pipeline={{_base_.val_pipeline}}))
