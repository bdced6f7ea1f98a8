"""densenet_tiny_nih_128.py, trained by the hardest 70 % of the labels of each batch.
Run: python tools/train.py configs/ablations/nih/densenet_tiny_ohem_nih_128.py --data-root data/nih
"""
_base_ = './densenet_tiny_nih_128.py'
model = dict(head=dict(loss=dict(type='cxrdet.OHEMLoss', loss=dict(type='cxrdet.MaskedBCELoss'), keep=0.7)))
