"""A tiny ViT (patch 16, 192 dimensions, 6 layers) from random weights at 128 px on NIH ChestX-ray14, for CPUs.
Run: cxrdet train vit_tiny_nih_128 --data-root data/nih
"""
_base_ = [
    '../../_base_/models/multilabel_classifier.py', '../../_base_/datasets/nih_128.py',
    '../../_base_/schedules/nih_cpu_25e.py', '../../_base_/nih_cpu_runtime.py'
]
model = dict(
    backbone=dict(
        type='VisionTransformer',
        arch=dict(embed_dims=192, num_layers=6, num_heads=3, feedforward_channels=768),
        img_size=128),
    neck=None,
    head=dict(in_channels=192))
