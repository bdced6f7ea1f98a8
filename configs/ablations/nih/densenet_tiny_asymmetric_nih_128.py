"""densenet_tiny_nih_128.py, trained by the asymmetric loss.
Run: cxrdet train densenet_tiny_asymmetric_nih_128 --data-root data/nih
"""
_base_ = './densenet_tiny_nih_128.py'
model = dict(head=dict(loss=dict(type='cxrdet.MaskedAsymmetricLoss', gamma_pos=0.0, gamma_neg=4.0)))
