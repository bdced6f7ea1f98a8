"""DenseNet-121 for labels that are often wrong, as those read from reports: each is taken to be wrong once in twenty.
Run: cxrdet train densenet121_nih_label_smoothing --data-root data/nih
"""
_base_ = '../../densenet121_nih.py'
model = dict(head=dict(loss=dict(type='cxrdet.MaskedBCELoss', smoothing=0.1)))
