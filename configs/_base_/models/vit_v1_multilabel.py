"""A small Vision Transformer: patches of 32 px, 64 dimensions, 8 layers of 4 heads, MLP 128/64, head 2048/1024.

After the example of the Keras documentation ("Image classification with Vision Transformer"): no class token; all 7 x 7
patch features, flattened, go into the head. 9.0 M parameters, nearly all of them in the head. Unlike there, where each
head has 64 dimensions, the four heads share the 64.
"""
_base_ = './multilabel_classifier.py'
model = dict(
    backbone=dict(
        type='VisionTransformer',
        arch=dict(embed_dims=64, num_layers=8, num_heads=4, feedforward_channels=128),
        img_size=224,
        patch_size=32,
        layer_cfgs=dict(drop_rate=0.1, attn_drop_rate=0.1),  # MLP and output of the attention; its weights
        with_cls_token=False,
        out_type='featmap'),
    neck=None,
    head=dict(in_channels=64 * 7 * 7, hidden=(2048, 1024), dropout=0.5, act_cfg=dict(type='GELU')))
