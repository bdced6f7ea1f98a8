"""Rates that MMEngine's constructors of optimizers would not find."""
from mmengine.config import Config

__all__ = ['optimizer_problems']


def optimizer_problems(cfg: Config) -> list[str]:
    """One line for a rate or decay of a wrapped optimizer that ``paramwise_cfg`` would have to multiply."""
    wrapper = cfg.get('optim_wrapper') or {}
    optimizer = wrapper.get('optimizer')
    inner = optimizer.get('inner') if isinstance(optimizer, dict) else None
    if not wrapper.get('paramwise_cfg') or not isinstance(inner, dict):
        return []
    return [f'optim_wrapper.optimizer.inner.{name}: with paramwise_cfg it stands one level up, beside inner: '
            f'optim_wrapper.optimizer.{name} = {inner[name]}.' for name in ('lr', 'weight_decay') if name in inner]
