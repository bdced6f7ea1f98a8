"""Names of weights: from the checkpoints of torchvision, timm and CheXNet to the models of MMPretrain.

A checkpoint is told apart by the names in it, so one table serves ResNets, DenseNets and plain Vision Transformers of
any depth. Every name must be known to the table: an unknown one means another architecture, and is an error.
"""
import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from cxrdet.core.errors import CheckpointError, ConfigError, did_you_mean

# Order of the outputs of CheXNet's published re-implementation (14 findings, no No Finding).
CHEXNET_CLASSES = ('Atelectasis', 'Cardiomegaly', 'Effusion', 'Infiltration', 'Mass', 'Nodule', 'Pneumonia',
                   'Pneumothorax', 'Consolidation', 'Edema', 'Emphysema', 'Fibrosis', 'Pleural_Thickening', 'Hernia')
SOURCES = ('torchvision', 'timm', 'chexnet')


class Family(NamedTuple):
    """How the names of one architecture change.

    Attributes:
        name: For people.
        sources: Who publishes it under these names.
        marker: Pattern of a name that only this family has.
        head: Pattern of the classifier's names.
        rules: (pattern of a whole name, replacement); the first that fits is taken.
    """
    name: str
    sources: tuple[str, ...]
    marker: str
    head: str
    rules: tuple[tuple[str, str], ...]


_NORM_OR_CONV = r'\.(weight|bias|running_mean|running_var|num_batches_tracked)'


def _less_one(pattern: str, template: str) -> tuple[tuple[str, str], ...]:
    """Rules for blocks that are numbered from 1 there and from 0 here; ``{}`` is the number."""
    return tuple((pattern.format(i), template.format(i - 1)) for i in range(1, 5))


def _dense_rules() -> tuple[tuple[str, str], ...]:
    layer = r'features\.denseblock{}\.denselayer(\d+)\.(norm|conv)\.?([12])' + _NORM_OR_CONV
    return ((rf'features\.conv0{_NORM_OR_CONV}', r'stem.0.\1'),
            (rf'features\.norm0{_NORM_OR_CONV}', r'stem.1.\1'),
            (rf'features\.norm5{_NORM_OR_CONV}', r'transitions.3.0.\1'),
            *_less_one(layer, r'stages.{}.block.<\1>.\2\3.\4'),
            *_less_one(r'features\.transition{}\.(norm|conv)' + _NORM_OR_CONV, r'transitions.{}.\1.\2'))


_LAYER = r'\.(weight|bias)'
FAMILIES = (
    Family('ResNet', ('torchvision', 'timm'), r'layer1\.0\.conv1\.weight', r'fc\.', (
        (rf'(conv1|bn1|layer[1-4]\.\d+\.(?:conv\d|bn\d|downsample\.[01])){_NORM_OR_CONV}', r'\1.\2'),)),
    Family('DenseNet', ('torchvision', 'timm', 'chexnet'), r'features\.denseblock1\.denselayer1\.norm\.?1\.weight',
           r'classifier\.', _dense_rules()),
    Family('Vision Transformer', ('torchvision',), r'encoder\.pos_embedding', r'heads\.', (
        (r'class_token', 'cls_token'),
        (r'encoder\.pos_embedding', 'pos_embed'),
        (rf'conv_proj{_LAYER}', r'patch_embed.projection.\1'),
        (rf'encoder\.ln{_LAYER}', r'ln1.\1'),
        (rf'encoder\.layers\.encoder_layer_(\d+)\.ln_([12]){_LAYER}', r'layers.\1.ln\2.\3'),
        (r'encoder\.layers\.encoder_layer_(\d+)\.self_attention\.in_proj_(weight|bias)', r'layers.\1.attn.qkv.\2'),
        (rf'encoder\.layers\.encoder_layer_(\d+)\.self_attention\.out_proj{_LAYER}', r'layers.\1.attn.proj.\2'),
        (rf'encoder\.layers\.encoder_layer_(\d+)\.mlp\.(?:linear_1|0){_LAYER}', r'layers.\1.ffn.layers.0.0.\2'),
        (rf'encoder\.layers\.encoder_layer_(\d+)\.mlp\.(?:linear_2|3){_LAYER}', r'layers.\1.ffn.layers.1.\2'))),
    Family('Vision Transformer', ('timm',), r'blocks\.0\.attn\.qkv\.weight', r'head\.', (
        (r'(cls_token|pos_embed)', r'\1'),
        (rf'patch_embed\.proj{_LAYER}', r'patch_embed.projection.\1'),
        (rf'norm{_LAYER}', r'ln1.\1'),
        (rf'blocks\.(\d+)\.norm([12]){_LAYER}', r'layers.\1.ln\2.\3'),
        (rf'blocks\.(\d+)\.attn\.(qkv|proj){_LAYER}', r'layers.\1.attn.\2.\3'),
        (rf'blocks\.(\d+)\.mlp\.fc1{_LAYER}', r'layers.\1.ffn.layers.0.0.\2'),
        (rf'blocks\.(\d+)\.mlp\.fc2{_LAYER}', r'layers.\1.ffn.layers.1.\2'))),
)


def rename(names: Iterable[str], source: str) -> tuple[dict[str, str], dict[str, str]]:
    """Map the names of a checkpoint to those of MMPretrain's backbone of the same architecture.

    Args:
        names: Of the entries of the state dict; a leading ``module.`` (DataParallel), and for CheXNet
            ``densenet121.``, is taken off. DenseNets may have the names of torch before 0.4 (``norm.1``).
        source: 'torchvision', 'timm' or 'chexnet'.

    Returns:
        Two dicts by the checkpoint's name: that in the backbone, and for the classifier the bare name.

    Raises:
        ConfigError: If the source is unknown.
        CheckpointError: If the architecture, or a name in it, is not in the table.
    """
    if source not in SOURCES:
        raise ConfigError(f'Pretrained weights: source "{source}" is unknown; expected one of {", ".join(SOURCES)}.'
                          f'{did_you_mean(source, SOURCES)}')
    bare = {name: re.sub(r'^(?:module\.)?(?:densenet121\.)?' if source == 'chexnet' else r'^module\.', '', name)
            for name in names}
    family = _family(bare.values(), source)
    renamed, head, unknown = {}, {}, []
    for name, plain in bare.items():
        if re.match(family.head, plain):
            head[name] = plain
        elif (new := _renamed(plain, family.rules)) is not None:
            renamed[name] = new
        else:
            unknown.append(name)
    if unknown:
        raise CheckpointError(f'{len(unknown)} of {len(bare)} weights belong to no {family.name} of {source}: '
                              f'{", ".join(unknown[:3])}{" …" if len(unknown) > 3 else ""}.')
    return renamed, head


def _family(names: Iterable[str], source: str) -> Family:
    names = list(names)
    fitting = [family for family in FAMILIES if any(re.fullmatch(family.marker, name) for name in names)]
    if not fitting:
        known = ', '.join(sorted({family.name for family in FAMILIES if source in family.sources}))
        raise CheckpointError(f'These are not weights of a model of {source} that can be read here ({known}): the '
                              f'names begin with {", ".join(names[:3]) or "(none)"}.')
    for family in fitting:
        if source in family.sources:
            return family
    raise CheckpointError(f'These are weights of a {fitting[0].name} as {" or ".join(fitting[0].sources)} names them; '
                          f'the config says source="{source}".')


def _renamed(name: str, rules: tuple[tuple[str, str], ...]) -> str | None:
    for pattern, template in rules:
        if match := re.fullmatch(pattern, name):
            # <12> in a template is a number counted from 1 there and from 0 here
            return re.sub(r'<(\d+)>', lambda found: str(int(found[1]) - 1), match.expand(template))
    return None


def rows_by_name(classes: Iterable[str], known: tuple[str, ...] = CHEXNET_CLASSES) -> list[int]:
    """Positions in ``known`` of each of ``classes``: the rows of a published classifier in the order of another set.

    Raises:
        ConfigError: If a class is not in ``known``, or is named twice.
    """
    classes = list(classes)
    for name in classes:
        if name not in known:
            raise ConfigError(f'The published classifier knows no class "{name}".{did_you_mean(name, known)} It knows '
                              f'{", ".join(known)}.')
    if len(set(classes)) < len(classes):
        raise ConfigError(f'A class is named twice: {", ".join(classes)}.')
    return [known.index(name) for name in classes]


def rows(weights: Mapping[str, object], wanted: list[int]) -> dict[str, object]:
    """Weight and bias of a classifier reduced to the rows ``wanted``; names end in ``weight`` and ``bias``."""
    return {name.rpartition('.')[2]: value[wanted] for name, value in weights.items()}
