"""Find everything that is wrong with a config before a run starts."""
from typing import Literal

from mmengine.config import Config

from cxrdet.core.errors import ConfigError
from cxrdet.preflight.arguments import argument_problems
from cxrdet.preflight.classes import class_count_problems
from cxrdet.preflight.copies import copy_problems
from cxrdet.preflight.data import data_problems
from cxrdet.preflight.groups import group_problems
from cxrdet.preflight.keys import key_problems
from cxrdet.preflight.losses import loss_problems
from cxrdet.preflight.optimizer import optimizer_problems
from cxrdet.preflight.types import parts, type_problems


def check_config(cfg: Config, *, mode: Literal['train', 'test', 'predict']) -> None:
    """Check keys, type names, arguments, files, classes, images and patients, without building anything.

    Args:
        cfg: As read from the file, command line options applied.
        mode: What the run does; it decides which data sets must be there: training and validation for ``train``, the
            test set for ``test``, none for ``predict``.

    Raises:
        ConfigError: One line for every problem, each with its place in the config, what was expected and, for a
            misspelt name, the nearest known one.
    """
    if mode not in ('train', 'test', 'predict'):
        raise ValueError(f"mode: expected 'train', 'test' or 'predict', got {mode!r}")
    problems = config_problems(cfg)
    if isinstance(cfg.get('model'), dict):
        found = list(parts(cfg))
        problems += data_problems(found, cfg, mode) + (group_problems(found, mode) or copy_problems(found, cfg, mode))
    if problems:
        count = f'{len(problems)} problem{"s" if len(problems) > 1 else ""}'
        raise ConfigError('\n'.join([f'{cfg.filename or "config"}: {count}', *(f'  {line}' for line in problems)]))


def config_problems(cfg: Config) -> list[str]:
    """What is wrong with the keys, types, arguments and numbers of a config; no file that it names is looked at."""
    problems = key_problems(cfg)
    if not isinstance(cfg.get('model'), dict):
        return [*problems, 'model: the config has no model = dict(type=...).']
    found = list(parts(cfg))
    return [*problems, *type_problems(found), *argument_problems(found), *class_count_problems(found, cfg),
            *loss_problems(found), *optimizer_problems(cfg)]
