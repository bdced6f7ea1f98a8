"""Ensembles from trained models: a config, or a folder with config and checkpoint that every tool takes."""
import copy
import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from mmengine.config import Config, ConfigDict
from mmengine.logging import print_log
from mmengine.registry import MODELS, DefaultScope

from cxrdet.checkpoints.checkpoint import Checkpoint, install_safe_loader, packed, reading_ahead
from cxrdet.core.config_tree import innermost, walk
from cxrdet.core.errors import ConfigError
from cxrdet.core.files import write_atomic
from cxrdet.core.folders import OutputFolder
from cxrdet.datasets.transforms.loading import unfold_loading
from cxrdet.models.ensemble_members import class_orders, inner_pipeline
from cxrdet.preflight.check import Examined, check_config, examine, named_classes, set_classes
from cxrdet.preflight.config import drop_helpers, load_config

MEANS = ('probs', 'logits')


class Fusion(NamedTuple):
    """How predictions are brought together.

    Attributes:
        method: for boxes one of :data:`cxrdet.core.detection.fusion.FUSIONS`, for class scores 'probs' or 'logits';
            ``None`` stands for 'wbf' and 'probs'.
        options: the method's arguments (:mod:`cxrdet.core.detection.fusion`).
        weights: of the members; ``None``: equal.
        allow_missing: whether members may lack classes or have others.
    """
    method: str | None = None
    options: dict | None = None
    weights: Sequence[float] | None = None
    allow_missing: bool = False


def ensemble_config(members: Sequence[str], *, config: Config | None = None, fusion: Fusion = Fusion(),  # noqa: B008
                    trust: bool = False, work_dir: str | Path | None = None, **options) -> Config:
    """Config of an ensemble of trained models.

    Data, evaluators and hooks are those of ``config``, or of the first member's config. The test pipeline only loads
    and packs; the steps between are done for each member.

    Args:
        members: ``CONFIG:CHECKPOINT`` each.
        config: where the data stands; already loaded, with all options applied.
        fusion: how to bring the predictions together.
        trust: read checkpoints that can only be read by executing code in them.
        work_dir, **options: of :func:`load_config`, where there is no ``config``; ``cfg_options`` go to each member.

    Raises: ConfigError, CheckpointError for what is wrong with a member, or with all of them together.
    """
    pairs = []
    for member in members:
        found = re.fullmatch(r'(.+?\.(?:py|json|ya?ml)):(.+)', member)  # either may hold colons
        if not (found := found or re.fullmatch(r'([\w.+-]+):(.+)', member)):  # the name of a recipe
            raise ConfigError(f'--ensemble {member}: expected CONFIG:CHECKPOINT, e.g. '
                              'configs/a.py:work_dirs/a/epoch_24.pth')
        pairs.append((found[1], found[2]))
    if not pairs:
        raise ConfigError('--ensemble: no members given')
    install_safe_loader(trust=trust)
    configs = [load_config(path, cfg_options=options.get('cfg_options')) for path, _ in pairs]
    specs = [_spec(cfg, checkpoint, trust) for cfg, (_, checkpoint) in zip(configs, pairs)]
    whole = copy.deepcopy(config) if config is not None else load_config(
        pairs[0][0], work_dir=work_dir or 'work_dirs/ensemble', **options)
    boxes = whole.get('default_scope', 'mmdet') == 'mmdet'
    scopes = {cfg.get('default_scope') for cfg in [whole, *configs]}
    if len(scopes) > 1:
        raise ConfigError(f'--ensemble: detectors and classifiers do not go together ({", ".join(map(str, scopes))})')
    classes = classes_of_data(specs[0]['classes'], data_classes(whole), allow_missing=fusion.allow_missing)
    class_orders(classes, [spec['classes'] for spec in specs], allow_missing=fusion.allow_missing,
                 names=[checkpoint for _, checkpoint in pairs])
    # MMEngine merges dicts key by key; a model of another kind replaces the old one
    whole.pop('data_preprocessor', None)
    whole.pop('model')
    if boxes and (fusion.method or 'wbf') in ('wbf', 'wbf_confident'):
        _tell_of_soft_nms(configs, pairs)
    whole['model'] = ConfigDict(_boxes_model(fusion) if boxes else _classes_model(fusion), members=specs,
                                weights=fusion.weights, classes=classes)
    _strip(whole)
    drop_helpers(whole)
    return whole


def _tell_of_soft_nms(configs: Sequence[Config], pairs: Sequence[tuple[str, str]]) -> None:
    """Warn where members leave many lowered boxes of one object, which draw the scores of fused boxes down."""
    names = [path for cfg, (path, _) in zip(configs, pairs)
             if any(node.get('type') == 'soft_nms' for node in walk(cfg.model))]
    if names:
        print_log(f'{", ".join(dict.fromkeys(names))}: soft-NMS leaves lowered boxes beside each object, whose scores '
                  'weighted boxes fusion takes into the mean: all scores fall. --fusion wbf_one_per_model takes one '
                  'box of each member into a fused box.', logger='current', level=logging.WARNING)


def _boxes_model(fusion: Fusion) -> dict:
    return dict(type='cxrdet.DetectorEnsemble', fusion=fusion.method or 'wbf', fusion_cfg=dict(fusion.options or {}),
                allow_missing=fusion.allow_missing)


def _classes_model(fusion: Fusion) -> dict:
    if (fusion.method or 'probs') not in MEANS or fusion.options:
        raise ConfigError(f'The scores of classifiers have a mean of {" or ".join(MEANS)} without options, got '
                          f'{fusion.method} {fusion.options or ""}')
    return dict(type='cxrdet.ClassifierEnsemble', mean=fusion.method or 'probs')


def _spec(cfg: Config, checkpoint: str, trust: bool) -> dict:
    """A member with everything in it that its config says, and its number of classes as in its checkpoint."""
    found = check_config(cfg)
    classes = _classes_of(checkpoint, trust)
    set_classes(found, classes)
    model = cfg.model
    if cfg.get('data_preprocessor') is not None:
        model.setdefault('data_preprocessor', cfg.data_preprocessor)
    for node in walk(model):
        node.pop('init_cfg', None)
    return dict(model=model, checkpoint=str(Path(checkpoint).absolute()), classes=classes, scope=cfg.default_scope,
                pipeline=inner_pipeline(_test_dataset(cfg)['pipeline']), tta_model=cfg.get('tta_model'))


def _classes_of(checkpoint: str, trust: bool) -> list[str]:
    with reading_ahead():  # for the member, which is built later
        return list(Checkpoint.read(checkpoint, trust=trust).needed_classes)


def _test_dataset(cfg: Config) -> ConfigDict:
    dataset = innermost((cfg.get('test_dataloader') or cfg.get('val_dataloader') or {}).get('dataset'))
    if not dataset.get('pipeline'):
        raise ConfigError(f'{cfg.filename or "config"}: it has no test pipeline (test_dataloader.dataset.pipeline)')
    return dataset


def _strip(cfg: Config) -> None:
    """Leave loading and packing in the test pipelines; images of any size come in lists."""
    for node in walk(cfg.get('test_dataloader')):
        if node.get('pipeline'):
            inner = inner_pipeline(node['pipeline'])
            node['pipeline'] = [step for step in unfold_loading(node['pipeline']) if step not in inner] + inner[-1:]
    cfg.test_dataloader['collate_fn'] = dict(type='pseudo_collate')


def data_classes(cfg: Config | Examined) -> list[str] | None:
    """The classes of a test set that keeps to its own, in the order of its labels; ``None`` for sets that follow
    those of the model, and where the config does not name them."""
    found = examine(cfg)
    sets = found.data_sets('test_dataloader')
    if not sets or any(hasattr(part.found, 'read_classes') for part in found.data_sets()):
        return None
    classes = named_classes(sets[0]) or (getattr(sets[0].found, 'METAINFO', None) or {}).get('classes')
    return list(classes) if classes else None


def classes_of_data(classes: Sequence[str], of_data: Sequence[str] | None, *, allow_missing: bool) -> list[str]:
    """The classes of an ensemble in the order in which the data set, ``None`` if it has none, numbers its labels.

    Raises: ConfigError if they are not the same classes, unless ``allow_missing``.
    """
    if of_data and not allow_missing and set(of_data) != set(classes):
        raise ConfigError(f'The test set has the classes {", ".join(of_data)}, the ensemble {", ".join(classes)}: name '
                          'the same in the data set (test_dataloader.dataset.metainfo.classes), or set '
                          'allow_missing=True if that is meant')
    return list(of_data or classes)


def ensemble_classes(cfg: Config, trust: bool = False) -> list[str]:
    """The classes of an ensemble whose members bring their own weights; raises ConfigError if it is no such one."""
    model = cfg.get('model') or {}
    members = model.get('members') or []
    lacking = [f'model.members.{i}.checkpoint' for i, member in enumerate(members) if not member.get('checkpoint')]
    if not members or lacking:
        raise ConfigError('A checkpoint is needed: only an ensemble whose members all name theirs does without'
                          + (f'; here {", ".join(lacking)} would be needed' if lacking else ''))
    return list(model.get('classes') or members[0].get('classes') or _classes_of(members[0]['checkpoint'], trust))


def bundle(cfg: Config, out_dir: str | Path, *, trust: bool = False) -> tuple[Path, Path]:
    """Write an ensemble as one model: ``ensemble.py`` and ``ensemble.pth`` in ``out_dir``, which need no other file.

    Args:
        cfg: from :func:`ensemble_config`.
        out_dir: made if need be; an earlier bundle in it is replaced, files of others are not.
        trust: read checkpoints that can only be read by executing code in them.

    Returns: config and checkpoint, for every tool that takes such a pair.
    Raises: ConfigError, CheckpointError if the ensemble cannot be built; DataError if other files are in the way.
    """
    out_dir = Path(out_dir)
    results = OutputFolder(out_dir, 'ensemble', names=('ensemble.py', 'ensemble.pth'))
    install_safe_loader(trust=trust)
    classes = ensemble_classes(cfg, trust)
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmdet')):
        model = MODELS.build(cfg.model)
    alone = copy.deepcopy(cfg)
    alone.model.classes = classes
    for member in alone.model.members:
        member.pop('checkpoint')
    head = f'"""{type(model).__name__} of {len(model.members)}; its weights are in ensemble.pth beside it."""\n'
    content = {'meta': {'dataset_meta': {'classes': tuple(classes)}}, 'state_dict': model.state_dict()}
    with results as folder:
        write_atomic(folder / 'ensemble.pth', packed(content))
        write_atomic(folder / 'ensemble.py', head + alone.pretty_text)
    return out_dir / 'ensemble.py', out_dir / 'ensemble.pth'
