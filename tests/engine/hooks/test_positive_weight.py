"""PositiveWeightHook: the weights of the training set arrive in the loss."""
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.hooks import EMAHook
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


def run(hook, model, labels=LABELS, hooks=()):
    said = []
    hook.before_train(SimpleNamespace(model=model, logger=SimpleNamespace(info=said.append), hooks=hooks,
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


@pytest.mark.parametrize('update_buffers', [False, True])
@pytest.mark.parametrize('units', [3, 4])  # as many as there are classes, or not
def test_beside_averaged_weights(units, update_buffers):
    """Buffers behind the loss are those of the average while it is validated, and come back."""
    model = nn.ModuleDict(dict(loss=Loss(as_buffer=True), norm=nn.BatchNorm1d(units)))
    average = EMAHook(momentum=0.5, update_buffers=update_buffers)
    average.before_run(SimpleNamespace(model=model))
    run(PositiveWeightHook(), model, hooks=[average])
    held = average.ema_model.module['loss'].pos_weight
    assert held.tolist() == [3, 3, 2] and held is not model['loss'].pos_weight
    average.ema_model.update_parameters(model)  # the first is a copy
    model['norm'].running_mean.fill_(2)
    average.ema_model.update_parameters(model)
    average.before_val_epoch(None)
    assert model['norm'].running_mean.tolist() == [1 if update_buffers else 2] * units
    assert model['loss'].pos_weight.tolist() == [3, 3, 2]
    average.after_val_epoch(None)
    assert model['norm'].running_mean.tolist() == [2] * units and model['norm'].num_batches_tracked == 0


def test_errors():
    with pytest.raises(ConfigError, match='no part of the model has a pos_weight. Use a loss that has one'):
        run(PositiveWeightHook(), nn.Linear(2, 2))
    with pytest.raises(ConfigError, match='cap must lie in .*, got 0'):
        PositiveWeightHook(cap=0)
