"""Run settings: the vocabulary from the training set, the best checkpoint and the early stop by mAP over phrases."""
_base_ = '../../../../configs/_base_/default_runtime.py'
custom_imports = dict(
    imports=['cxrdet', 'projects.open_vocabulary.open_vocabulary'], allow_failed_imports=False)
default_hooks = dict(
    checkpoint=dict(save_best='grounding/mAP'),
    vocabulary=dict(type='cxrdet.VocabularyHook'))
