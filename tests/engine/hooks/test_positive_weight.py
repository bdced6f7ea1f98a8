"""PositiveWeightHook: the weights of the training set arrive in the loss."""
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from cxrdet.core.errors import ConfigError
from cxrdet.engine.hooks.positive_weight import PositiveWeightHook

LABELS = np.array([[1, 0, np.nan], [0, 0, 1], [0, 1, 0], [0, 0, 0]])


class Loss(nn.Module):
    """Has its weights as a plain attribute, or as a buffer."""

    def __init__(self, as_buffer):
        super().__init__()
        if as_buffer:
            self.register_buffer('pos_weight', None)
        else:
            self.pos_weight = None


class Films:
    """A data set of the rows of LABELS."""

    metainfo = {'classes': ('a', 'b', 'c')}

    def __init__(self, labels):
        self.labels = labels

    def __len__(self):
        return len(self.labels)

    def get_data_info(self, index):
        return {'gt_score': self.labels[index]}


def run(hook, model, labels=LABELS):
    said = []
    hook.before_train(SimpleNamespace(model=model, logger=SimpleNamespace(info=said.append),
                                      train_dataloader=SimpleNamespace(dataset=Films(labels))))
    return said


@pytest.mark.parametrize('as_buffer', [False, True])
def test_weights_of_the_training_set(as_buffer):
    model = nn.ModuleDict(dict(backbone=nn.Linear(2, 2), loss=Loss(as_buffer)))
    said = run(PositiveWeightHook(), model)
    assert list(model['loss'].pos_weight) == [3, 3, 2]
    assert isinstance(model['loss'].pos_weight, torch.Tensor if as_buffer else list)
    assert said == ['pos_weight of loss: a 3, b 3, c 2']
    run(PositiveWeightHook(cap=2.5), model)
    assert list(model['loss'].pos_weight) == [2.5, 2.5, 2]


@pytest.mark.parametrize('loss', ['mmpretrain.CrossEntropyLoss', 'cxrdet.MaskedBCELoss'])
def test_in_real_losses(loss):
    """Negatives and positives of a class pull alike at logit 0."""
    from mmengine.registry import MODELS
    known = np.nan_to_num(LABELS)
    options = dict(use_sigmoid=True) if loss.startswith('mmpretrain') else {}
    model = nn.ModuleDict(dict(body=nn.Linear(2, 2), loss=MODELS.build(dict(type=loss, **options))))
    run(PositiveWeightHook(), model, known)
    logits = torch.zeros(4, 3, requires_grad=True)
    model['loss'](logits, torch.tensor(known, dtype=torch.float32)).backward()
    assert logits.grad.sum(dim=0).abs().max() < 1e-7
    assert logits.grad.abs().max() > 1e-3


def test_errors():
    with pytest.raises(ConfigError, match='no part of the model has a pos_weight. Use a loss that has one'):
        run(PositiveWeightHook(), nn.Linear(2, 2))
    with pytest.raises(ConfigError, match='cap must be above 0, got 0'):
        PositiveWeightHook(cap=0)
