"""ResNet-18 at 128 px on NIH ChestX-ray14, films with many findings drawn more often (number of labels + 0.04).
Run: python tools/train.py configs/resnet18_label_count_nih_128.py --data-root data/nih
"""
_base_ = './resnet18_nih_128.py'
train_dataloader = dict(sampler=dict(_delete_=True, type='cxrdet.LabelCountSampler'))
