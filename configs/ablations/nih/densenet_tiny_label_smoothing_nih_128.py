"""densenet_tiny_nih_128.py with smoothed labels: 0.05 and 0.95 in place of 0 and 1.
Run: cxrdet train densenet_tiny_label_smoothing_nih_128 --data-root data/nih
"""
_base_ = './densenet_tiny_nih_128.py'
model = dict(head=dict(loss=dict(type='cxrdet.MaskedBCELoss', smoothing=0.1)))
