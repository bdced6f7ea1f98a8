"""ViT-B/16 whose rate falls by a quarter from layer to layer, from 1e-4 in the head downwards.
Run: cxrdet train vit_b16_nih_layer_decay --data-root data/nih
"""
_base_ = '../../vit_b16_nih.py'
optim_wrapper = dict(
    constructor='LearningRateDecayOptimWrapperConstructor',
    paramwise_cfg=dict(layer_decay_rate=0.75))
