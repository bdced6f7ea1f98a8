"""Parameters that no weight decay may pull, whatever the config of the optimizer says."""
from mmengine.logging import print_log
from torch import nn
from torch.optim import Optimizer

from cxrdet.engine.process import unwrap


def exempt_from_decay(model: nn.Module, optim_wrapper):
    """Set the weight decay of those parameters to 0 whose modules ask for it by timm's ``no_weight_decay()``.

    The method returns names of a module's parameters, e.g. ``{'fusion_weight'}`` of BiFPN's nodes. MMEngine's
    constructors know nothing of it. A group of parameters that holds others, too, is divided; rates, and what else the
    groups hold, stay.

    Args:
        model: the model, wrapped or not.
        optim_wrapper: an optimizer wrapper, or a dict of them, that has taken no step.

    Returns: ``optim_wrapper``.
    """
    exempt = {}
    for module in unwrap(model).modules():
        if callable(getattr(module, 'no_weight_decay', None)):
            wanted = module.no_weight_decay()
            exempt.update({id(value): name for name, value in module.named_parameters() if name in wanted})
    wrappers = optim_wrapper.values() if isinstance(optim_wrapper.param_groups, dict) else [optim_wrapper]
    for wrapper in wrappers:
        _divide(wrapper.optimizer, set(exempt))
    if exempt:
        print_log(f'No weight decay for {len(exempt)} parameters whose modules ask for that: '
                  f'{", ".join(sorted(set(exempt.values())))}', logger='current')
    return optim_wrapper


def _divide(optimizer: Optimizer, exempt: set[int]) -> None:
    for group in [group for group in optimizer.param_groups if group.get('weight_decay')]:
        freed = [value for value in group['params'] if id(value) in exempt]
        if len(freed) == len(group['params']):
            group['weight_decay'] = 0.0
        elif freed:
            group['params'] = [value for value in group['params'] if id(value) not in exempt]
            optimizer.param_groups.append({**group, 'params': freed, 'weight_decay': 0.0})
