"""A two-stage detector that looks at reference images of each class."""
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from os import PathLike

import torch
from mmdet.models.detectors import FasterRCNN
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _BatchNorm

from cxrdet.core.errors import ConfigError, check_choice
from cxrdet.registry import MODELS

from .head import ComparisonBBoxHead, is_whole
from .prototypes import class_prototypes, pool_levels
from .references import ReferenceImages, ReferenceList, draw_references, find_references, read_references

_DEFAULTS = dict(root=None, per_class=3, size=224, redraw=False, seed=0, pipeline=None)


@MODELS.register_module()
class ComparisonDetector(FasterRCNN):
    """A Faster R-CNN whose box heads are :class:`ComparisonBBoxHead` and compare with prototypes of reference images.

    Reference images go through the same backbone and neck as others, batch norm in inference mode, and gradients flow
    back through both. Prototypes are computed anew at each training step. For validation and into each checkpoint
    :class:`PrototypeHook` puts those of the weights that are validated or saved; predicting takes them from the
    checkpoint, and needs no reference image. Source: see :mod:`.prototypes`.

    Args:
        references: ``root``: the folder (:func:`find_references`); ``per_class``: images a step of each class (3);
            ``size``: their side in pixels (224); ``redraw``: draw them anew at each step from all that are there, and
            take all for the stored prototypes (False); ``seed``: of the choice without ``redraw`` (0); ``pipeline``:
            see :func:`read_references`. Read when training begins.
        **kwargs: Of ``FasterRCNN``.

    Raises:
        ConfigError: ``references`` has an unknown key or an impossible value, or no box head compares.
    """

    def __init__(self, *, references: dict | None = None, **kwargs) -> None:
        super().__init__(**kwargs)
        self.references = _checked({} if references is None else references)
        self.heads = [part for part in self.roi_head.modules() if isinstance(part, ComparisonBBoxHead)]
        if not self.heads:
            raise ConfigError('ComparisonDetector: roi_head.bbox_head must be a cxrdet.ComparisonBBoxHead.')
        for head in self.heads:
            if isinstance(head.fc_cls.prototypes, nn.Parameter):
                raise ConfigError('ComparisonDetector: bbox_head.learned=True needs no references: take FasterRCNN.')
            if head.fc_cls.per_image not in (0, self.references['per_class']):
                raise ConfigError(f'ComparisonDetector: bbox_head.per_image is {head.fc_cls.per_image}; give 0, or '
                                  f'references.per_class, {self.references["per_class"]}.')
        self.listed: ReferenceList | None = None
        self._images: ReferenceImages | None = None

    # --- references

    def load_references(self, classes: Sequence[str]) -> None:
        """Read the reference images of these classes, in the order of the labels.

        Raises:
            ConfigError: ``references.root`` is not given, or the model has another number of classes.
            DataError: see :func:`find_references`, :func:`read_references`.
        """
        asked = self.references
        if asked['root'] is None:
            raise ConfigError('model.references.root: a folder of reference images is needed for training: '
                              '--cfg-options model.references.root=DIR, made by "cxrdet prepare-data references".')
        if len(classes) != self.heads[0].num_classes:
            raise ConfigError(f'model.roi_head.bbox_head.num_classes is {self.heads[0].num_classes}, the data has '
                              f'{len(classes)} classes: {", ".join(classes)}.')
        self.take_references(find_references(asked['root'], classes, per_class=asked['per_class'],
                                             every=asked['redraw'], seed=asked['seed']))

    def take_references(self, listed: ReferenceList) -> None:
        """Read the images of a list; its classes are those of the labels. Raises DataError where one is no image."""
        self._images = read_references(listed, size=self.references['size'], pipeline=self.references['pipeline'])
        self.listed = listed

    @property
    def has_references(self) -> bool:
        """Whether reference images have been read."""
        return self._images is not None

    def prototypes_of(self, images: Tensor, labels: Tensor) -> list[Tensor]:
        """Prototypes (C, S, D, h, w) for each comparing head, with gradients.

        Args:
            images: (M, 3, H, W) uint8 as loaded.
            labels: (M,).
        """
        device = next(self.parameters()).device
        # a list, and not in training: neither augmented nor padded to a batch's size
        inputs = self.data_preprocessor({'inputs': list(images.to(device))}, False)['inputs']
        with _batch_norm_frozen(self):
            levels = self.extract_feat(inputs)
        # (FPN gives a coarser level more than regions are taken from)
        extractor = next(part for name, part in self.roi_head.named_modules() if hasattr(part, 'num_inputs'))
        levels, labels = levels[:extractor.num_inputs], labels.to(device)
        number = int(labels.max()) + 1
        pooled = {size: pool_levels(levels, size) for size in {tuple(head.roi_feat_size) for head in self.heads}}
        return [class_prototypes(pooled[tuple(head.roi_feat_size)], labels, number, per_image=head.fc_cls.per_image)
                for head in self.heads]

    @torch.no_grad()
    def computed_prototypes(self, weights: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
        """The prototypes that belong to weights, as they stand in the state dict, from the references read.

        Args:
            weights: A state dict of this detector; None: its own weights.
        """
        images, labels = self._images
        if self.references['redraw'] and any(head.fc_cls.per_image for head in self.heads):
            first = [torch.nonzero(labels == label)[:self.references['per_class'], 0]
                     for label in range(int(labels.max()) + 1)]
            images, labels = images[torch.cat(first)], labels[torch.cat(first)]
        if weights is None:
            found = self.prototypes_of(images, labels)
        else:
            device = next(self.parameters()).device
            own = {name for name, _ in (*self.named_parameters(), *self.named_buffers())}
            given = {name: value.to(device) for name, value in weights.items() if name in own}
            found = functional_call(self, given, (images, labels), {'mode': 'prototypes'})
        names = {id(part): name for name, part in self.named_modules()}
        return {f'{names[id(head.fc_cls)]}.prototypes': value.flatten(0, 1)
                for head, value in zip(self.heads, found)}

    @torch.no_grad()
    def refresh_prototypes(self) -> None:
        """Store the prototypes that belong to the present weights."""
        for head, value in zip(self.heads, self.computed_prototypes().values()):
            head.fc_cls.prototypes.copy_(value)

    # --- MMDetection's methods

    def forward(self, inputs, data_samples=None, mode: str = 'tensor'):
        """MMDetection's; mode 'prototypes': those of reference images and labels."""
        if mode == 'prototypes':
            return self.prototypes_of(inputs, data_samples)
        return super().forward(inputs, data_samples, mode)

    def loss(self, batch_inputs: Tensor, batch_data_samples: Sequence) -> dict:
        """The losses of a batch, compared with prototypes of the present weights."""
        if self._images is None:
            raise ConfigError('ComparisonDetector: no reference images have been read. Give the config '
                              'custom_hooks=[dict(type="cxrdet.PrototypeHook")], which reads them before training.')
        images, labels = self._images
        if self.references['redraw']:
            rows = draw_references(labels, self.references['per_class'])
            images, labels = images[rows], labels[rows]
        with ExitStack() as held:
            for head, prototypes in zip(self.heads, self.prototypes_of(images, labels)):
                held.enter_context(head.fc_cls.using(prototypes))
            return super().loss(batch_inputs, batch_data_samples)


def _checked(given: dict) -> dict:
    """The option ``references``, whole; ConfigError names the key at fault."""
    if not isinstance(given, Mapping):
        raise ConfigError(f'ComparisonDetector: references must be a dict, as dict(root="DIR"), got {given!r:.80}.')
    for key in given:
        check_choice('ComparisonDetector: a key of references', key, _DEFAULTS)
    asked = _DEFAULTS | dict(given)
    steps = asked['pipeline']
    for key, expected, fits in (
            ('root', 'the name of a folder', asked['root'] is None or isinstance(asked['root'], (str, PathLike))),
            ('per_class', 'a whole number from 1 on', is_whole(asked['per_class'], 1)),
            ('size', 'a whole number of pixels from 1 on', is_whole(asked['size'], 1)),
            ('redraw', 'True or False', isinstance(asked['redraw'], bool)),
            ('seed', 'a whole number from 0 on', is_whole(asked['seed'], 0)),
            ('pipeline', 'a list of steps, each a dict with "type"', steps is None or isinstance(steps, (list, tuple))
             and all(isinstance(step, Mapping) and 'type' in step for step in steps))):
        if not fits:
            raise ConfigError(f'ComparisonDetector: references.{key} must be {expected}, got {asked[key]!r:.80}.')
    return asked


@contextmanager
def _batch_norm_frozen(model: nn.Module) -> Iterator[None]:
    """Batch norms use and keep their running statistics in this block."""
    active = [part for part in model.modules() if isinstance(part, _BatchNorm) and part.training]
    for part in active:
        part.training = False
    try:
        yield
    finally:
        for part in active:
            part.training = True
