"""DenseNet-121 that starts from a published CheXNet checkpoint (14 findings, trained on NIH ChestX-ray14).
Run: cxrdet train densenet121_chexnet_nih --data-root data/nih

Its published training images may be among yours: keep to the split it was trained with. To take its classifier over,
too, drop No Finding from the data and name the classes: model.init_cfg.classifier="[Cardiomegaly,Emphysema,…]".
"""
_base_ = './densenet121_nih.py'
model = dict(init_cfg=dict(checkpoint='data/chexnet.pth.tar', source='chexnet'))
