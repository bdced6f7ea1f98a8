"""Test-time augmentation as a switch of the tools."""
from mmengine.config import Config

from cxrdet.core.errors import ConfigError
from cxrdet.engine.tta import check_views, tta_pipeline


def enable_tta(cfg: Config) -> None:
    """Make the test of ``cfg`` use test-time augmentation: of an ensemble in each member, else by ``cxrdet.TTAHook``.

    Raises:
        ConfigError: The config's ``tta_pipeline`` cannot be used, or none can be derived.
    """
    if str(cfg.model.get('type')).rpartition('.')[2] in ('DetectorEnsemble', 'ClassifierEnsemble'):
        cfg.model.tta = cfg.model.get('tta') or True
        return
    hooks = list(cfg.get('custom_hooks') or [])
    given = next((hook for hook in hooks if str(hook.get('type')).rpartition('.')[2] == 'TTAHook'), None)
    if given is None:
        cfg.custom_hooks = [*hooks, dict(type='cxrdet.TTAHook')]
    elif given.get('when', 'test') == 'final_val':
        given.when = 'both'
    check_tta(cfg)


def check_tta(cfg: Config) -> None:
    """Raise ConfigError if the test of ``cfg`` cannot have views."""
    if cfg.get('tta_pipeline'):
        check_views(cfg.tta_pipeline)
        return
    dataset = (cfg.get('test_dataloader') or {}).get('dataset')
    while dataset and ('dataset' in dataset or 'datasets' in dataset):
        dataset = dataset.get('dataset') or dataset['datasets'][0]
    if not dataset:
        raise ConfigError('--tta: the config has no test_dataloader')
    tta_pipeline(dataset.get('pipeline') or [])
