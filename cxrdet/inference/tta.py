"""Test-time augmentation as a switch of the tools."""
from collections.abc import Sequence

from mmengine.config import Config

from cxrdet.core.config_tree import innermost
from cxrdet.core.detection.fusion import check_fusion
from cxrdet.core.errors import ConfigError
from cxrdet.engine.tta import check_views, tta_pipeline
from cxrdet.inference.ensemble import Fusion


def enable_tta(cfg: Config, fusion: Fusion = Fusion(), *, of_members: str | None = None,  # noqa: B008
               scales: Sequence[float] | None = None) -> None:
    """Make the test of ``cfg`` use test-time augmentation: of an ensemble in each member, else by ``cxrdet.TTAHook``.

    Args:
        cfg: it is changed.
        fusion: how the boxes of the views are brought together; what it does not say stays as ``tta_model`` has it.
        of_members: the same for the views of each member of an ensemble of detectors: a name that
            :func:`cxrdet.core.detection.fusion.fuse` takes.
        scales: sizes of further views, as factors of the size of the test; every flip at every size.

    Raises: ConfigError if ``tta_pipeline`` cannot be used or derived, ``scales`` are given where it stands in the
        config or are not from 0.1 to 10, ``fusion`` is given for anything but the views
        of a single detector, or ``of_members`` for anything but an ensemble of detectors.
    """
    if of_members is not None:
        _fuse_views_of_members(cfg, of_members)
    if fusion != Fusion():
        _fuse_views(cfg, fusion)
    views = dict(scales=list(scales), combine=True) if scales else {}
    if _is_ensemble(cfg):
        given = cfg.model.get('tta') or True
        cfg.model.tta = (given if isinstance(given, dict) else {}) | views or given
        return
    if views and cfg.get('tta_pipeline'):
        raise ConfigError('--tta-scales is for views that are derived from the test pipeline; here they stand in '
                          'tta_pipeline of the config. Give the sizes there.')
    hooks = list(cfg.get('custom_hooks') or [])
    given = next((hook for hook in hooks if str(hook.get('type')).rpartition('.')[2] == 'TTAHook'), None)
    if given is None:
        cfg.custom_hooks = [*hooks, dict(type='cxrdet.TTAHook', **views)]
    else:
        given.update(views)
        if given.get('when', 'test') == 'final_val':
            given.when = 'both'
    check_tta(cfg, **views)


def _is_ensemble(cfg: Config) -> bool:
    return str(cfg.model.get('type')).rpartition('.')[2] in ('DetectorEnsemble', 'ClassifierEnsemble')


def _fuse_views(cfg: Config, fusion: Fusion) -> None:
    """Write into ``tta_model`` how the boxes of the views are brought together."""
    merge = dict(cfg.get('tta_model') or dict(type='cxrdet.WBFTTAModel'))
    if fusion.allow_missing:
        raise ConfigError('--allow-missing is for the members of an ensemble; all views have the classes of one model')
    if _is_ensemble(cfg):
        raise ConfigError('--fusion, --fusion-options and --weights of a config that is an ensemble stand in it: '
                          'model.fusion, model.fusion_cfg, model.weights; for the views there is --tta-fusion')
    if cfg.get('default_scope') == 'mmpretrain':
        raise ConfigError('--fusion, --fusion-options and --weights with --tta are for the boxes of a detector; a '
                          'classifier takes the mean over the views')
    if str(merge['type']).rpartition('.')[2] != 'WBFTTAModel':
        raise ConfigError(f'--fusion, --fusion-options and --weights are for cxrdet.WBFTTAModel, but tta_model of the '
                          f'config is {merge["type"]}')
    if fusion.method or fusion.options:
        merge['fusion_cfg'] = dict(fusion.options or {})
    merge |= {key: value for key, value in (('fusion', fusion.method), ('weights', fusion.weights)) if value}
    cfg.tta_model = merge
    check_fusion(merge.get('fusion', 'wbf'), merge.get('fusion_cfg') or {}, where='--tta')


def _fuse_views_of_members(cfg: Config, fusion: str) -> None:
    if not str(cfg.model.get('type')).endswith('DetectorEnsemble'):
        raise ConfigError('--tta-fusion is for the views of the members of an ensemble of detectors; those of a single '
                          'detector take --fusion')
    given = cfg.model.get('tta')
    tta = dict(given) if isinstance(given, dict) else {}
    cfg.model.tta = tta | dict(model=dict(type='cxrdet.WBFTTAModel', fusion=fusion))


def check_tta(cfg: Config, **views) -> None:
    """Raise ConfigError if the test of ``cfg`` cannot have views, those of :func:`cxrdet.engine.tta.tta_pipeline`."""
    if cfg.get('tta_pipeline'):
        check_views(cfg.tta_pipeline)
        return
    dataset = innermost((cfg.get('test_dataloader') or {}).get('dataset'))
    if not dataset:
        raise ConfigError('--tta: the config has no test_dataloader')
    tta_pipeline(dataset.get('pipeline') or [], **views)
