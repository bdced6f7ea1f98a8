"""Lookahead around any optimizer.

M. Zhang, J. Lucas, G. Hinton, J. Ba, "Lookahead Optimizer: k steps forward, 1 step back", NeurIPS 2019
(https://arxiv.org/abs/1907.08610), Algorithm 1.
"""
from collections.abc import Callable, Iterator

import torch
from mmengine.registry import OPTIMIZERS as ALL_OPTIMIZERS
from torch.optim import Optimizer

from cxrdet.core.errors import CheckpointError, ConfigError
from cxrdet.registry import OPTIMIZERS


@OPTIMIZERS.register_module()
class Lookahead(Optimizer):
    """Every ``k`` steps of the inner optimizer, go back to a share ``alpha`` of the way that the weights have made::

        optim_wrapper = dict(optimizer=dict(
            type='cxrdet.Lookahead', inner=dict(type='AdamW'), lr=1e-4, weight_decay=0.05))

    Fast weights w are what the model holds and the inner optimizer moves; slow weights s start where training starts.
    After every k-th step ``s <- s + alpha (w - s)``, then ``w <- s``; the inner optimizer's moments go on. Validation
    and checkpoints in between see the fast weights.

    Only real steps count, not those that accumulate a gradient or that a scaler skips. A frozen weight is never moved;
    its slow weight starts when it can train. The slow weights are saved and resumed with the optimizer.

    Args:
        params: as for every optimizer.
        inner: config of the inner optimizer (``dict(type='mmpretrain.Lamb', lr=0.01)``); one that steps by itself,
            without a closure that is called more than once.
        k: inner steps between two meetings, >= 1.
        alpha: in (0, 1]; 1 is the inner optimizer alone.
        lr, weight_decay: of the inner optimizer. Beside ``inner`` they are where MMEngine's ``paramwise_cfg`` and
            ``--cfg-options optim_wrapper.optimizer.lr=...`` look for them.

    Raises: ConfigError if k or alpha is out of range, or ``lr`` or ``weight_decay`` stands in both places.
    """

    def __init__(self, params, inner: dict, *, k: int = 6, alpha: float = 0.5, lr: float | None = None,
                 weight_decay: float | None = None) -> None:
        if not isinstance(k, int) or k < 1 or not 0 < alpha <= 1:
            raise ConfigError(f'Lookahead: expected an integer k >= 1 and alpha in (0, 1], got {k} and {alpha}.')
        own = {name: value for name, value in (('lr', lr), ('weight_decay', weight_decay)) if value is not None}
        for name in own.keys() & inner.keys():
            raise ConfigError(f'Lookahead: {name} is given twice, beside inner ({own[name]}) and in it '
                              f'({inner[name]}). Leave one of them out.')
        self.inner: Optimizer = ALL_OPTIMIZERS.build({**inner, **own, 'params': params})
        super().__init__(self.inner.param_groups, self.inner.defaults)
        self.k, self.alpha, self.steps = k, alpha, 0
        self._slow: dict[torch.Tensor, torch.Tensor] = {}
        self._share()

    def _share(self) -> None:
        self.param_groups, self.state = self.inner.param_groups, self.inner.state

    @torch.no_grad()
    def step(self, closure: Callable | None = None):
        """Step the inner optimizer; every ``k``-th time let fast and slow weights meet. Returns the closure's loss."""
        for weight in self._weights():
            if weight.requires_grad and weight not in self._slow:
                self._slow[weight] = weight.detach().clone()
        loss = self.inner.step(closure)
        self.steps += 1
        if self.steps % self.k == 0:
            for weight, slow in self._slow.items():
                if weight.requires_grad:
                    weight.copy_(slow.add_(weight - slow, alpha=self.alpha))
        return loss

    def _weights(self) -> Iterator[torch.Tensor]:
        return (weight for group in self.param_groups for weight in group['params'])

    def state_dict(self) -> dict:
        """The inner optimizer's state and, under ``lookahead``, the steps done and the slow weights by their index."""
        slow = {i: self._slow[weight] for i, weight in enumerate(self._weights()) if weight in self._slow}
        return {**self.inner.state_dict(), 'lookahead': dict(steps=self.steps, slow=slow)}

    @torch.no_grad()
    def load_state_dict(self, state_dict: dict) -> None:
        """Raises CheckpointError if the state is that of another optimizer."""
        if 'lookahead' not in state_dict:
            raise CheckpointError('The checkpoint was written without Lookahead: it has no slow weights to go on with. '
                                  'Resume with the optimizer that it was written with, or start from its weights alone '
                                  '(--cfg-options load_from=CHECKPOINT).')
        self.inner.load_state_dict({key: value for key, value in state_dict.items() if key != 'lookahead'})
        self._share()
        weights, own = list(self._weights()), state_dict['lookahead']
        self.steps = own['steps']
        self._slow = {weights[i]: torch.empty_like(weights[i]).copy_(slow) for i, slow in own['slow'].items()}
