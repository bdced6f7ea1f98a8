"""Stages of a backbone, told from the names of its parameters, and parts of a model by short names.

So that "head and the top two stages" means the same in a ResNet, a DenseNet and a ViT. Names are those of MMPretrain's
and MMDetection's classes; a class that inherits from one of them has its stages.
"""
import re
from collections.abc import Sequence
from dataclasses import dataclass

from cxrdet.core.errors import ConfigError, did_you_mean


@dataclass(frozen=True)
class Layout:
    """Where the stages of a family of backbones are.

    Attributes:
        numbered: pattern at the start of a parameter's name; its group is the number of the stage.
        last: pattern of what belongs to the last stage, as a final norm does; all else is the stem.
        groups: join the numbered parts (the blocks of a transformer) to so many stages of equal length.
    """
    numbered: str
    last: str = r'(?!)'
    groups: int | None = None


LAYOUTS = {
    'ResNet': Layout(r'layer(\d+)\.'),
    'DenseNet': Layout(r'(?:stages|transitions)\.(\d+)\.'),
    'EfficientNet': Layout(r'layers\.(\d+)\.'),
    'EfficientNetLite': Layout(r'layers\.([1-5])\.', last=r'layers\.6\.'),
    'ConvNeXt': Layout(r'(?:downsample_layers\.|stages\.|norm)(\d+)\.'),
    'SwinTransformer': Layout(r'(?:stages\.|norm)(\d+)\.'),
    'PlainCNN': Layout(r'stages\.(\d+)\.'),
    'VisionTransformer': Layout(r'layers\.(\d+)\.', last=r'(?:ln|norm)\d*\.', groups=4),
}


def backbone_stages(kinds: Sequence[str], names: Sequence[str]) -> list[list[str]]:
    """Sort the parameters of a backbone into stem and stages, bottom first.

    Args:
        kinds: name of the backbone's class, then those of its parents.
        names: of its parameters, without the prefix ``backbone.``.

    Returns: ``[stem, stage 1, …, stage n]``; ResNet, DenseNet, Swin and ConvNeXt have four stages, and so has a
        VisionTransformer, with a quarter of its blocks in each; EfficientNetLite has five; a PlainCNN has one per
        convolution and no stem.

    Raises: ConfigError if no class in ``kinds`` is in :data:`LAYOUTS`.
    """
    layout = next((LAYOUTS[kind] for kind in kinds if kind in LAYOUTS), None)
    if layout is None:
        raise ConfigError(f'The stages of {kinds[0] if kinds else "this backbone"} are not known; those of '
                          f'{", ".join(LAYOUTS)} are. Name the modules instead, e.g. "backbone.layer4".')
    matches = {name: re.match(layout.numbered, name) for name in names}
    numbers = sorted({int(match[1]) for match in matches.values() if match})
    place = {number: i for i, number in enumerate(numbers)}
    if layout.groups is not None:
        place = {number: i * layout.groups // len(numbers) for number, i in place.items()}
    stages: list[list[str]] = [[] for _ in range(max(place.values(), default=-1) + 2)]
    for name, match in matches.items():
        last = len(stages) - 1 if re.match(layout.last, name) else 0
        stages[place[int(match[1])] + 1 if match else last].append(name)
    return stages


def select_parts(names: Sequence[str], parts: Sequence[str], kinds: Sequence[str]) -> set[str]:
    """The parameters that belong to one of ``parts``.

    Args:
        names: of all parameters of a model.
        parts: each ``all``; ``backbone``; ``head``, all but the backbone (necks, too); ``top2``, the last two stages of
            the backbone (any number); ``stem``; or the path of a module or parameter (``backbone.layer4``).
        kinds: name of the class of the backbone, then those of its parents.

    Raises: ConfigError for a part without parameters, or for stages of a backbone whose layout is not known.
    """
    return {name for part in parts for name in _select(list(names), part, kinds)}


def _select(names: list[str], part: str, kinds: Sequence[str]) -> list[str]:
    backbone = [name for name in names if name.startswith('backbone.')]
    top = re.fullmatch(r'top(\d+)', part)
    if part in ('all', 'head', 'backbone'):
        inside = set(backbone)
        found = {'all': names, 'backbone': backbone, 'head': [name for name in names if name not in inside]}[part]
    elif part == 'stem' or top:
        stages = backbone_stages(kinds, [name.removeprefix('backbone.') for name in backbone])
        if top and not 1 <= int(top[1]) < len(stages):
            raise ConfigError(f'"{part}": the backbone {kinds[0]} has {len(stages) - 1} stages.')
        chosen = stages[-int(top[1]):] if top else stages[:1]
        found = [f'backbone.{name}' for stage in chosen for name in stage]
    else:
        found = [name for name in names if name == part or name.startswith(f'{part}.')]
    if not found:
        paths = {'.'.join(name.split('.')[:depth]) for name in names for depth in range(1, name.count('.') + 2)}
        raise ConfigError(f'"{part}" is no part of the model that has parameters.'
                          f'{did_you_mean(part, ["all", "backbone", "head", "stem", "top1", "top2", *sorted(paths)])} '
                          'Parts are: all, backbone, head, stem, top1, top2 …, or the path of a module.')
    return found
