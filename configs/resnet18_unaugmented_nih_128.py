"""ResNet-18 at 128 px on NIH ChestX-ray14 without augmentation, to see what that changes.
Run: python tools/train.py configs/resnet18_unaugmented_nih_128.py --data-root data/nih
"""
_base_ = './resnet18_nih_128.py'
train_dataloader = dict(dataset=dict(pipeline={{_base_.val_pipeline}}))
