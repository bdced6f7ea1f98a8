"""Weights of rare classes, computed from the films that a run trains on."""
import numpy as np
import torch
from mmengine.hooks import EMAHook, Hook
from torch import nn

from cxrdet.core.classification.labels import positive_weights
from cxrdet.core.errors import ConfigError, check_numbers
from cxrdet.datasets.label_matrix import label_matrix
from cxrdet.engine.process import unwrap
from cxrdet.registry import HOOKS


@HOOKS.register_module()
class PositiveWeightHook(Hook):
    """Set ``pos_weight`` of the model's losses to negatives / positives of each class in the training set.

    Before the first iteration, in every module that has this attribute (MMPretrain's ``CrossEntropyLoss`` with
    ``use_sigmoid``, the multi-label losses of cxrdet), and in the averaged copy of an ``EMAHook``; the weights are
    logged. Labels count as they stand in the set, so that together with a balancing sampler they correct twice.

    Args:
        cap: Upper limit of a weight, see :func:`cxrdet.core.classification.labels.positive_weights`.

    Raises:
        ConfigError: If ``cap`` is not above 0, or no module of the model has a ``pos_weight``.
    """

    def __init__(self, cap: float | None = 100.0) -> None:
        if cap is not None:
            check_numbers('PositiveWeightHook', cap=(cap, '(0, inf]'))
        self.cap = cap

    def before_train(self, runner) -> None:
        model = unwrap(runner.model)
        losses = {name: module for name, module in model.named_modules() if hasattr(module, 'pos_weight')}
        if not losses:
            raise ConfigError('PositiveWeightHook: no part of the model has a pos_weight. Use a loss that has one, '
                              'such as dict(type="CrossEntropyLoss", use_sigmoid=True), or take the hook out.')
        dataset = runner.train_dataloader.dataset
        weights = positive_weights(label_matrix(dataset), cap=self.cap)
        averages = [hook.ema_model.module for hook in runner.hooks if isinstance(hook, EMAHook)]
        for holder in (model, *averages):
            for name in losses:
                _set(holder, name, weights)
        names = (dataset.metainfo or {}).get('classes') or range(len(weights))
        listed = ', '.join(f'{name} {weight:.3g}' for name, weight in zip(names, weights))
        runner.logger.info(f'pos_weight of {", ".join(losses)}: {listed}')


def _set(model: nn.Module, name: str, weights: np.ndarray) -> None:
    """Give ``weights`` to the loss ``name`` of a model, as a tensor on the model's device where that is a buffer."""
    loss = model.get_submodule(name)
    if 'pos_weight' in loss._buffers:
        loss.pos_weight = torch.tensor(weights, dtype=torch.float32, device=next(model.parameters()).device)
    else:
        loss.pos_weight = weights.tolist()
