"""The small Vision Transformer by an old project's second recipe: SGD with a schedule, L2 0.01 on the MLPs, patience 3.
Run: cxrdet train vit_v2_nih_old --data-root data/nih

L2 as Keras has it: 0.01 times the sum of the squared weights in the loss is a decay of 0.02 for SGD, on the matrices of
the MLPs (in the layers and before the classifier) alone. Rate, momentum and cosine are ours: only "SGD" is known.
"""
_base_ = './vit_v1_nih_old.py'
l2, none = dict(decay_mult=1.0), dict(decay_mult=0.0)
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='SGD', lr=0.01, momentum=0.9, weight_decay=0.02),
    paramwise_cfg=dict(custom_keys={
        'ffn.layers.0.0.weight': l2, 'ffn.layers.1.weight': l2, 'head.hidden.0.weight': l2, 'head.hidden.3.weight': l2,
        'backbone': none, 'head': none}))
param_scheduler = [dict(type='CosineAnnealingLR', by_epoch=True, begin=0, end=10, convert_to_iter_based=True)]
default_hooks = dict(early_stopping=dict(patience=3))
