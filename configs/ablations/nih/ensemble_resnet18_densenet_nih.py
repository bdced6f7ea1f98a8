"""Two small classifiers of chest films as one, the mean of their probabilities: ResNet-18 and DenseNet.

Each is trained with its own config.
Run: cxrdet test ensemble_resnet18_densenet_nih --data-root data/nih --cfg-options \
    resnet18=r18.pth densenet=densenet.pth
"""
_base_ = './densenet_tiny_nih_128.py'
names = ('resnet18_half_clahe_nih_160', 'densenet_tiny_nih_128')
model = dict(
    _delete_=True,
    type='cxrdet.ClassifierEnsemble',
    mean='probs',
    members=[dict(config=name, checkpoint=None) for name in names])
# each member prepares and resizes the film itself, to 160 and to 128 px
test_dataloader = dict(dataset=dict(pipeline=[_base_.val_pipeline[0], _base_.val_pipeline[-1]]))
data_shortcuts = dict(_delete_=True)
ensemble_shortcuts = dict(resnet18=['model.members.0.checkpoint'], densenet=['model.members.1.checkpoint'])
