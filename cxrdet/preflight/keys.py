"""Keys that nothing reads: at the top of a config, and in the sections that the Runner unpacks itself.

MMEngine's Runner takes the top-level keys it knows and ignores the others, so a misspelt one changes nothing and says
nothing. Yet configs hold helper variables of any name there (``data_root``, ``max_epochs``). A key is taken for a
helper if a line of the config or of its bases uses it, or if its value stands elsewhere in the config.
"""
import inspect
import logging
import re
from difflib import SequenceMatcher

from mmengine.config import Config
from mmengine.logging import print_log

from cxrdet.core.errors import did_you_mean

# What the Runner, mmdet's and mmpretrain's inferencers and cxrdet's tools read beside the Runner's own arguments.
OTHER_KEYS = ('custom_imports', 'vis_backends', 'tta_model', 'tta_pipeline', 'test_pipeline', 'model_wrapper_cfg',
              'sync_bn', 'find_unused_parameters', 'activation_checkpointing', 'efficient_conv_bn_eval', 'compile',
              'runner_type', 'strategy', 'device', 'precision', 'allow_partial_weights', 'allow_shared_images')
# Helpers of the stock configs that may stand unused, so that a name near a real key is not taken for a misspelling.
HELPERS = ('train_pipeline', 'val_pipeline', 'data_root', 'dataset_type', 'backend_args', 'num_classes', 'img_scale',
           'load_pipeline', 'backbone', 'backbone_channels', 'backbone_strides')
SECTIONS = {
    'env_cfg': ('cudnn_benchmark', 'mp_cfg', 'dist_cfg', 'resource_limit'),
    'auto_scale_lr': ('enable', 'base_batch_size'),
    'randomness': ('seed', 'diff_rank_seed', 'deterministic'),
}
_LOADER_KEYS = ('dataset', 'sampler', 'batch_sampler', 'collate_fn', 'worker_init_fn', 'num_batch_per_epoch',
                'disable_subprocess_warning', '_scope_')


def runner_keys() -> set[str]:
    """All top-level keys that something reads."""
    from mmengine.runner import Runner
    return (set(inspect.signature(Runner.__init__).parameters) - {'self', 'cfg'}) | set(OTHER_KEYS)


def offered_shortcuts(cfg: Config) -> dict[str, list[str]]:
    """The names that ``cfg`` offers for ``--cfg-options`` in its dicts ``*_shortcuts``, each with its places."""
    return {name: places for key in cfg if key.endswith('_shortcuts') for name, places in cfg[key].items()}


def key_problems(cfg: Config) -> list[str]:
    """One line for every top-level key that nothing reads, and for every unknown key of a section."""
    known = runner_keys() | set(offered_shortcuts(cfg))
    text = _without_comments(cfg.text or '')
    problems, unused = [], []
    for key, value in cfg.items():
        if key in known or key in HELPERS or key.endswith('_shortcuts') or _is_used(key, value, cfg, text):
            continue
        if _near(key, known) or _has_dicts(value):
            problems.append(f'{key}: nothing reads this top-level key.{did_you_mean(key, known)}')
        else:
            unused.append(key)
    if unused:
        print_log(f'config: nothing reads the top-level key(s) {", ".join(unused)}', logger='current',
                  level=logging.WARNING)
    return problems + _section_problems(cfg)


def drop_helpers(cfg: Config) -> None:
    """Take out of ``cfg`` the variables of its files, such as a pipeline's beginning, that nothing reads any more.

    A config that is saved has its parts written out, and there such a variable could not be told from a mistake.
    """
    known = runner_keys()
    for key in [key for key, value in cfg.items() if _has_dicts(value) and key not in known and key not in HELPERS
                and not key.endswith('_shortcuts')]:
        cfg.pop(key)


def _section_problems(cfg: Config) -> list[str]:
    from torch.utils.data import DataLoader
    loader = (set(inspect.signature(DataLoader.__init__).parameters) - {'self'}) | set(_LOADER_KEYS)
    sections = SECTIONS | {f'{mode}_dataloader': loader for mode in ('train', 'val', 'test')}
    return [f'{section}.{key}: unknown key.{did_you_mean(key, known)}' for section, known in sections.items()
            if isinstance(cfg.get(section), dict) for key in cfg[section] if key not in known]


def _without_comments(text: str) -> str:
    return re.sub(r'#.*', '', text)


def _is_used(key: str, value: object, cfg: Config, text: str) -> bool:
    """Whether a line of the config files uses the variable, or its value stands elsewhere in the config."""
    if re.search(rf'(?<![\w\'"]){re.escape(key)}\b(?!\s*=[^=])', text):
        return True
    return _has_dicts(value) and any(_holds(other, value) for name, other in cfg.items() if name != key)


def _holds(node: object, value: object) -> bool:
    if node == value:
        return True
    if isinstance(node, dict):
        node = list(node.values())
    return isinstance(node, (list, tuple)) and any(_holds(item, value) for item in node)


def _has_dicts(value: object) -> bool:
    return isinstance(value, dict) or (isinstance(value, (list, tuple)) and any(isinstance(v, dict) for v in value))


def _near(key: str, known: set[str]) -> bool:
    return any(SequenceMatcher(None, key.lower(), other).ratio() >= 0.8 for other in known)
