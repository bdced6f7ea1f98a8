"""The narrow DenseNet at 128 px on NIH ChestX-ray14, films drawn by their number of labels + 0.04.
Run: cxrdet train densenet_tiny_label_count_nih_128 --data-root data/nih
"""
_base_ = './densenet_tiny_nih_128.py'
train_dataloader = dict(sampler=dict(_delete_=True, type='cxrdet.LabelCountSampler'))
