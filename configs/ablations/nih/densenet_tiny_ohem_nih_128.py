"""densenet_tiny_nih_128.py, trained by the hardest 70 % of the labels of each batch.
Run: cxrdet train densenet_tiny_ohem_nih_128 --data-root data/nih
"""
_base_ = './densenet_tiny_nih_128.py'
model = dict(head=dict(loss=dict(type='cxrdet.OHEMLoss', loss=dict(type='cxrdet.MaskedBCELoss'), keep=0.7)))
