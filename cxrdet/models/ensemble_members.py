"""The members of an ensemble: each a whole model with its own weights, classes, test pipeline and preprocessing."""
import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from mmengine.registry import MODELS, DefaultScope
from torch import nn

from cxrdet.checkpoints.checkpoint import Checkpoint
from cxrdet.core.config_tree import COUNT_KEYS, OTHER_COUNTS, innermost
from cxrdet.core.errors import ConfigError, check_choice, did_you_mean
from cxrdet.core.recipes import find_config, make_projects_importable
from cxrdet.datasets.transforms.loading import unfold_loading
from cxrdet.engine.tta import tta_model as usual_tta_model
from cxrdet.engine.tta import tta_pipeline

MAX_PER_IMG = 300  # boxes that an ensemble keeps of an image
KEYS = ('config', 'model', 'checkpoint', 'classes', 'pipeline', 'scope', 'tta_model')


class OnlyPredicts:
    """What the ensembles share: a batch is predicted, and nothing else."""

    def test_step(self, data: dict) -> list:
        return self.predict(data['inputs'], data['data_samples'])

    val_step = test_step

    def loss(self, *args, **kwargs):
        raise ConfigError('An ensemble is not trained: train its members, each with its own config')

    _forward = extract_feat = loss


class Member(nn.Module):
    """A model behind its own pipeline.

    Args:
        model: it predicts by ``test_step``.
        pipeline: configs of the steps between loading and the model, the last one packs. ``None``: the model takes the
            batch as it comes.
        classes: their names, in the order of the model's labels.
        tta: test-time augmentation: ``True``, or arguments of :func:`cxrdet.engine.tta.tta_pipeline` and, as
            ``model``, the config of the merging model.
        tta_model: the config of the merging model where ``tta`` names none.
    """

    def __init__(self, model: nn.Module, pipeline: Sequence[dict] | None = None, *, classes: Sequence[str],
                 tta: bool | dict | None = None, tta_model: dict | None = None) -> None:
        super().__init__()
        self.model, self.classes = model, tuple(classes)
        self._runs: Sequence[Any] = (model, )  # in a tuple, so that a wrapper does not double the model's weights
        if tta:
            if pipeline is None:
                raise ConfigError('A member without a pipeline cannot have test-time augmentation: give it one '
                                  '(pipeline=[...], or config=)')
            options = {} if tta is True else dict(tta)
            merge = options.pop('model', None) or tta_model or usual_tta_model(pipeline)
            self._runs = (MODELS.build(dict(merge, module=model)), )
            pipeline = tta_pipeline(pipeline, **options)
        self.pipeline = None if pipeline is None else Compose(copy.deepcopy(list(pipeline)))

    def test_step(self, inputs: Sequence, data_samples: Sequence) -> list:
        """Predictions for images (C, H, W), boxes in the pixels to which the given samples' boxes belong."""
        return self._runs[0].test_step(self._packed(inputs, data_samples))

    def logits(self, inputs: Sequence, data_samples: Sequence):
        """What the model gives in mode 'tensor'."""
        data = self.model.data_preprocessor(self._packed(inputs, data_samples), False)
        return self.model(data['inputs'], mode='tensor')

    def _packed(self, inputs: Sequence, data_samples: Sequence) -> dict:
        if self.pipeline is None:
            return copy.deepcopy(dict(inputs=list(inputs), data_samples=list(data_samples)))
        return pseudo_collate([self.pipeline(_loaded(*pair)) for pair in zip(inputs, data_samples)])


def _loaded(image, sample) -> dict:
    """What the loading of the image would have given the member's own pipeline."""
    array = np.ascontiguousarray(image.detach().cpu().numpy().transpose(1, 2, 0))
    named = {key: value for key, value in sample.metainfo.items() if key in ('img_id', 'img_path', 'sample_idx')}
    return dict(named, img=array, img_shape=array.shape[:2], ori_shape=array.shape[:2])


def inner_pipeline(pipeline: Sequence[dict]) -> list[dict]:
    """The steps of a test pipeline after the loading of image and annotations."""
    return [step for step in unfold_loading(pipeline)[1:] if not str(step['type']).endswith('LoadAnnotations')]


def build_members(specs: Sequence[dict], *, tta: bool | dict | None = None) -> nn.ModuleList:
    """Build the members from what a config says of them; see :class:`cxrdet.DetectorEnsemble`.

    Raises:
        ConfigError: no members, unknown or missing keys, or a member that does not tell its classes.
        CheckpointError: a checkpoint that cannot be read, or is of another model.
    """
    if not specs:
        raise ConfigError('An ensemble needs members: members=[dict(config=..., checkpoint=...), ...]')
    return nn.ModuleList(build_member(spec, f'members.{i}', tta=tta) for i, spec in enumerate(specs))


def build_member(spec: dict, where: str, *, tta: bool | dict | None = None) -> Member:
    """One of them; errors call it ``where``. Raises as :func:`build_members` does."""
    spec = dict(spec)
    for key in spec:
        check_choice(f'{where}: a key', key, KEYS)
    if ('config' in spec) == ('model' in spec):
        raise ConfigError(f'{where}: give either a config (file) or a model (dict), got '
                          f'{", ".join(spec) or "nothing"}')
    checkpoint = None if spec.get('checkpoint') is None else Checkpoint.read(spec['checkpoint'])
    classes = spec.get('classes') or (checkpoint.classes if checkpoint is not None else None)
    if not classes:
        raise ConfigError(f'{where}: its classes are not known: give classes=[...], or a checkpoint as training writes '
                          'it, which names them')
    if 'config' in spec:
        spec = _read(where, spec, len(classes))
    model = copy.deepcopy(dict(spec['model']))
    for node in (model, model.get('backbone') or {}):
        node.pop('init_cfg', None)  # every weight comes from a checkpoint
    with DefaultScope.overwrite_default_scope(spec.get('scope')):
        member = Member(MODELS.build(model), spec.get('pipeline'), classes=classes, tta=tta,
                        tta_model=spec.get('tta_model'))
    if checkpoint is not None:
        checkpoint.load_into(member.model)
    return member


def _read(where: str, spec: dict, classes: int) -> dict:
    """What the config file that ``spec`` names says of a member; what ``spec`` gives itself, but the model, stays."""
    try:
        path = find_config(str(spec['config']))
        make_projects_importable(path)
        cfg = Config.fromfile(path)
    except ConfigError as error:
        raise ConfigError(f'{where}: {error}') from error
    model = cfg.model
    if cfg.get('data_preprocessor') is not None:
        model.setdefault('data_preprocessor', cfg.data_preprocessor)
    _set_classes(model, classes)
    dataset = innermost((cfg.get('test_dataloader') or {}).get('dataset'))
    steps = dataset.get('pipeline') or cfg.get('test_pipeline') or []
    return dict(pipeline=inner_pipeline(steps) or None, scope=cfg.get('default_scope'),
                tta_model=cfg.get('tta_model')) | spec | dict(model=model)


def _set_classes(node: Any, classes: int) -> None:
    if isinstance(node, dict):
        node.update({key: classes for key in COUNT_KEYS if key in node})
        for key, value in node.items():
            if key not in OTHER_COUNTS:
                _set_classes(value, classes)
    elif isinstance(node, (list, tuple)):
        for value in node:
            _set_classes(value, classes)


def checked_weights(weights: Sequence[float] | None, members: int) -> list[float] | None:
    """The weights as numbers, ``None`` where none are given; raises ConfigError if number or values do not fit."""
    if weights is None:
        return None
    weights = [float(weight) for weight in weights]
    if len(weights) != members or not all(0 <= weight < float('inf') for weight in weights) or not any(weights):
        raise ConfigError(f'expected {members} weights >= 0, one per member and not all 0, got {weights}')
    return weights


def class_orders(classes: Sequence[str], members: Sequence[Sequence[str]], *, allow_missing: bool = False,
                 names: Sequence[str] | None = None) -> list[list[int]]:
    """For each member, the label of each of its classes among ``classes``, matched by name; -1 for one not there.

    Args:
        classes: those of the ensemble.
        members: the classes of each member, in the order of its labels.
        allow_missing: a member may lack classes, or have others.
        names: how errors call the members.

    Raises: ConfigError for a class that a member lacks or has alone, unless allowed; for a name that stands twice.
    """
    orders = []
    for i, own in enumerate(members):
        where = names[i] if names else f'members.{i}'
        if len(set(own)) < len(own):
            raise ConfigError(f'{where}: a class is named twice: {", ".join(own)}')
        lacks, alone = [name for name in classes if name not in own], [name for name in own if name not in classes]
        if (lacks or alone) and not allow_missing:
            hints = did_you_mean(lacks[0], alone) if lacks else ''
            raise ConfigError(f'{where}: its classes are not those of the ensemble: it lacks '
                              f'{", ".join(lacks) or "none"} and has {", ".join(alone) or "none"} beside.{hints} Set '
                              'allow_missing=True if that is meant')
        if len(alone) == len(own):
            raise ConfigError(f'{where}: none of its classes ({", ".join(own)}) is one of the ensemble '
                              f'({", ".join(classes)})')
        orders.append([classes.index(name) if name in classes else -1 for name in own])
    return orders


def known_labels(classes: Sequence[str], orders: Sequence[Sequence[int]]) -> list[set[int]]:
    """The labels among ``classes`` that each member knows, from :func:`class_orders`.

    Raises: ConfigError for a class that no member knows.
    """
    known = [{label for label in order if label >= 0} for order in orders]
    unknown = [name for label, name in enumerate(classes) if not any(label in own for own in known)]
    if unknown:
        raise ConfigError(f'Ensemble: no member knows {", ".join(unknown)}')
    return known
