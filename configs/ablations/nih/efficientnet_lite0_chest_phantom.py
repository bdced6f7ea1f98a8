"""EfficientNet-Lite0 at 128 px on made-up chest films, from ImageNet weights that come with pip.
Run: cxrdet train efficientnet_lite0_chest_phantom --data-root data/chest
"""
_base_ = [
    '../../_base_/models/multilabel_classifier.py', '../../_base_/datasets/chest_phantom_128.py',
    '../../_base_/schedules/nih_cpu_finetune.py', '../../_base_/nih_cpu_runtime.py',
    '../../_base_/backbones/efficientnet_lite0.py'
]
data_preprocessor = {{_base_.backbone_preprocessor}}
model = dict(backbone={{_base_.classifier_backbone}}, head=dict(in_channels=1280))
train_dataloader = dict(batch_size=16)
