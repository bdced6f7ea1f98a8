"""Rates that MMEngine's constructors of optimizers would not find."""
from mmengine.config import Config

from cxrdet.core.config_tree import walk

__all__ = ['optimizer_problems']


def optimizer_problems(cfg: Config) -> list[str]:
    """One line for each rate or decay that ``paramwise_cfg`` would have to multiply and cannot find."""
    wrapper = cfg.get('optim_wrapper') or {}
    optimizer, paramwise = wrapper.get('optimizer'), wrapper.get('paramwise_cfg')
    if not paramwise or not isinstance(optimizer, dict):
        return []
    inner = optimizer['inner'] if isinstance(optimizer.get('inner'), dict) else {}
    multiplied = sorted({key for node in walk(paramwise) for key in node if key.endswith(('lr_mult', 'decay_mult'))})
    lines = []
    for name, ending in (('lr', 'lr_mult'), ('weight_decay', 'decay_mult')):
        factors = [key for key in multiplied if key.endswith(ending)]
        if name in inner:
            lines.append(f'optim_wrapper.optimizer.inner.{name}: with paramwise_cfg it stands one level up, beside '
                         f'inner: optim_wrapper.optimizer.{name} = {inner[name]}.')
        elif factors and name not in optimizer:
            lines.append(f'optim_wrapper.optimizer.{name}: missing, and paramwise_cfg has {", ".join(factors)} to '
                         'multiply it by. Give it.')
    return lines
