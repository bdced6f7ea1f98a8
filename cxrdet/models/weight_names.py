"""Names of weights: from the checkpoints of torchvision, timm, CheXNet and others, and of trainings here, to
MMPretrain's and MMDetection's backbones.

A checkpoint is told apart by the names in it, so one table serves the networks of a family of any depth. Every name
must be known to the table: an unknown one means another architecture, and is an error.
"""
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from cxrdet.core.errors import CheckpointError, ConfigError, check_choice

# Order of the outputs of CheXNet's published re-implementation (14 findings, no No Finding).
CHEXNET_CLASSES = ('Atelectasis', 'Cardiomegaly', 'Effusion', 'Infiltration', 'Mass', 'Nodule', 'Pneumonia',
                   'Pneumothorax', 'Consolidation', 'Edema', 'Emphysema', 'Fibrosis', 'Pleural_Thickening', 'Hernia')
SOURCES = ('torchvision', 'timm', 'chexnet', 'torchxrayvision', 'radimagenet', 'efficientnet_lite', 'cxrdet')


class Family(NamedTuple):
    """How the names of one architecture change.

    Attributes:
        name: For people.
        sources: Who publishes it under these names.
        marker: Pattern of a name that only this family has.
        head: Pattern of the classifier's names.
        rules: (pattern of a whole name, replacement); the first that fits is taken.
        spare: Pattern of our names in layers that a backbone may lack, as one for detection lacks the last.
        fresh: Pattern of our names that no source has.
        values: (pattern of our name, function of the value), where the numbers stand in another order.
        numbered: A step before the rules, for blocks that are counted otherwise: names to names.
    """
    name: str
    sources: tuple[str, ...]
    marker: str
    head: str
    rules: tuple[tuple[str, str], ...]
    spare: str = '(?!)'
    fresh: str = '(?!)'
    values: tuple[tuple[str, Callable[[Any], Any]], ...] = ()
    numbered: Callable[[dict[str, str]], dict[str, str]] = dict

    def value(self, name: str, given: Any) -> Any:
        """The source's array or tensor for our ``name``, as ours has it."""
        return next((change(given) for pattern, change in self.values if re.fullmatch(pattern, name)), given)


_LAYER = r'\.(weight|bias)'
_NORM_OR_CONV = r'\.(weight|bias|running_mean|running_var|num_batches_tracked)'


def _less_one(pattern: str, template: str) -> tuple[tuple[str, str], ...]:
    """Rules for blocks that are numbered from 1 there and from 0 here; ``{}`` is the number."""
    return tuple((pattern.format(i), template.format(i - 1)) for i in range(1, 5))


def _dense_rules(start: str = r'features\.') -> tuple[tuple[str, str], ...]:
    layer = start + r'denseblock{}\.denselayer(\d+)\.(norm|conv)\.?([12])' + _NORM_OR_CONV
    return ((rf'{start}conv0{_NORM_OR_CONV}', r'stem.0.\1'),
            (rf'{start}norm0{_NORM_OR_CONV}', r'stem.1.\1'),
            (rf'{start}norm5{_NORM_OR_CONV}', r'transitions.3.0.\1'),
            *_less_one(layer, r'stages.{}.block.<\1>.\2\3.\4'),
            *_less_one(start + r'transition{}\.(norm|conv)' + _NORM_OR_CONV, r'transitions.{}.\1.\2'))


def _efficientnet_blocks(names: dict[str, str]) -> dict[str, str]:
    """Stages 4 and 5, and 6 and 7, of torchvision are one here, and all blocks count their steps as those that expand.

    ``features.5.1.block.2.fc1.bias`` becomes ``blocks.4.9.2.fc1.bias`` where stage 4 has eight blocks.
    """
    pattern = re.compile(r'features\.([1-7])\.(\d+)\.block\.(\d)\.(.+)')
    found = {name: match for name, bare in names.items() if (match := pattern.fullmatch(bare))}
    depths = {stage: max((int(match[2]) + 1 for match in found.values() if match[1] == stage), default=0)
              for stage in ('4', '6')}

    def renumbered(match: re.Match) -> str:
        stage = int(match[1])
        layer, before = min(stage, 4) if stage < 6 else 5, {5: depths['4'], 7: depths['6']}.get(stage, 0)
        return f'blocks.{layer}.{int(match[2]) + before}.{int(match[3]) + (stage == 1)}.{match[4]}'
    return names | {name: renumbered(match) for name, match in found.items()}


def _efficientnet_rules() -> tuple[tuple[str, str], ...]:
    block, steps = r'blocks\.(\d+)\.(\d+)\.', {0: 'expand_conv', 1: 'depthwise_conv', 3: 'linear_conv'}
    return (*((rf'features\.{there}\.0\.weight', f'layers.{here}.conv.weight') for there, here in ((0, 0), (8, 6))),
            *((rf'features\.{there}\.1{_NORM_OR_CONV}', rf'layers.{here}.bn.\1') for there, here in ((0, 0), (8, 6))),
            *((rf'{block}{step}\.0\.weight', rf'layers.\1.\2.{name}.conv.weight') for step, name in steps.items()),
            *((rf'{block}{step}\.1{_NORM_OR_CONV}', rf'layers.\1.\2.{name}.bn.\3') for step, name in steps.items()),
            (rf'{block}2\.fc([12]){_LAYER}', r'layers.\1.\2.se.conv\3.conv.\4'))


_LITE_LAYERS = {16: (1, 2, 2, 6, 5), 21: (1, 3, 3, 8, 6)}  # blocks of the layers here, by their number there


def _lite_blocks(names: dict[str, str]) -> dict[str, str]:
    """Blocks that are counted through there stand in five layers here: ``_blocks.4.x`` of 16 is ``blocks.3.1.x``."""
    pattern = re.compile(r'_blocks\.(\d+)\.(.+)')
    found = {name: match for name, bare in names.items() if (match := pattern.fullmatch(bare))}
    sizes = _LITE_LAYERS.get(len({match[1] for match in found.values()}), ())
    places = [f'blocks.{layer}.{i}' for layer, size in enumerate(sizes, 1) for i in range(size)]
    return names | {name: f'{places[int(match[1])]}.{match[2]}' for name, match in found.items()
                    if int(match[1]) < len(places)}


def _lite_rules() -> tuple[tuple[str, str], ...]:
    steps = (('expand_conv', 'expand_conv', 'bn0'), ('depthwise_conv', 'depthwise_conv', 'bn1'),
             ('linear_conv', 'project_conv', 'bn2'))
    block, ends = r'blocks\.(\d+)\.(\d+)\._', ((0, 'conv_stem', 'bn0'), (6, 'conv_head', 'bn1'))
    return (*((rf'_{conv}\.weight', f'layers.{layer}.conv.weight') for layer, conv, _ in ends),
            *((rf'_{norm}{_NORM_OR_CONV}', rf'layers.{layer}.bn.\1') for layer, _, norm in ends),
            *((rf'{block}{conv}\.weight', rf'layers.\1.\2.{name}.conv.weight') for name, conv, _ in steps),
            *((rf'{block}{norm}{_NORM_OR_CONV}', rf'layers.\1.\2.{name}.bn.\3') for name, _, norm in steps))


def _unfolded(value: Any) -> Any:
    """Of four neighbours, in columns there, the channels (..., 4 C): here in rows, and channel by channel."""
    parts = value.reshape(*value.shape[:-1], 4, -1)[..., [0, 2, 1, 3], :]
    return parts.swapaxes(-1, -2).reshape(value.shape)


FAMILIES = (
    Family('ResNet', ('torchvision', 'timm'), r'layer1\.0\.conv1\.weight', r'fc\.', (
        (rf'(conv1|bn1|layer[1-4]\.\d+\.(?:conv\d|bn\d|downsample\.[01])){_NORM_OR_CONV}', r'\1.\2'),),
        fresh=r'layer[1-4]\.(?:\d+\.\w+\.)?attention\..+'),  # what cxrdet.AttentionResNet adds
    Family('DenseNet', ('torchvision', 'timm', 'chexnet', 'torchxrayvision'),
           r'features\.denseblock1\.denselayer1\.norm\.?1\.weight', r'classifier\.|op_threshs', _dense_rules()),
    # RadImageNet's are the children of torchvision's models, by their number.
    Family('ResNet', ('radimagenet',), r'backbone\.4\.0\.conv1\.weight', r'(?!)', (
        (rf'backbone\.0{_NORM_OR_CONV}', r'conv1.\1'),
        (rf'backbone\.1{_NORM_OR_CONV}', r'bn1.\1'),
        *((rf'backbone\.{i + 3}\.(\d+\.(?:conv\d|bn\d|downsample\.[01])){_NORM_OR_CONV}', rf'layer{i}.\1.\2')
          for i in range(1, 5))), fresh=r'layer[1-4]\.(?:\d+\.\w+\.)?attention\..+'),
    Family('DenseNet', ('radimagenet',), r'backbone\.0\.denseblock1\.denselayer1\.norm1\.weight', r'backbone\.1\.',
           _dense_rules(r'backbone\.0\.')),
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
    Family('EfficientNet', ('torchvision',), r'features\.1\.0\.block\.1\.fc1\.weight', r'classifier\.',
           _efficientnet_rules(), spare=r'layers\.[3-6]\..+', numbered=_efficientnet_blocks),
    Family('EfficientNet-Lite', ('efficientnet_lite',), r'_blocks\.0\._depthwise_conv\.weight', r'_fc\.', _lite_rules(),
           spare=r'layers\.[3-6]\..+', numbered=_lite_blocks),
    Family('ConvNeXt', ('torchvision',), r'features\.1\.0\.layer_scale', r'classifier\.2\.', (
        (rf'features\.0\.([01]){_LAYER}', r'downsample_layers.0.\1.\2'),
        *((rf'features\.{2 * i}\.([01]){_LAYER}', rf'downsample_layers.{i}.\1.\2') for i in range(1, 4)),
        *((rf'features\.{2 * i + 1}\.(\d+)\.block\.{step}{_LAYER}', rf'stages.{i}.\1.{name}.\2') for i in range(4)
          for step, name in ((0, 'depthwise_conv'), (2, 'norm'), (3, 'pointwise_conv1'), (5, 'pointwise_conv2'))),
        *((rf'features\.{2 * i + 1}\.(\d+)\.layer_scale', rf'stages.{i}.\1.gamma') for i in range(4)),
        (rf'classifier\.0{_LAYER}', r'norm3.\1')), spare=r'norm3\..+', fresh=r'norm[0-2]\..+',
        values=((r'.+\.gamma', lambda value: value.reshape(-1)),)),
    Family('Swin Transformer', ('torchvision',), r'features\.1\.0\.attn\.relative_position_bias_table',
           r'head\.|.*relative_position_index', (
        (rf'features\.0\.0{_LAYER}', r'patch_embed.projection.\1'),
        (rf'features\.0\.2{_LAYER}', r'patch_embed.norm.\1'),
        *((rf'features\.{2 * i + 1}\.(\d+)\.norm([12]){_LAYER}', rf'stages.{i}.blocks.\1.norm\2.\3')
          for i in range(4)),
        *((rf'features\.{2 * i + 1}\.(\d+)\.attn\.(relative_position_bias_table|(?:qkv|proj)\.(?:weight|bias))',
           rf'stages.{i}.blocks.\1.attn.w_msa.\2') for i in range(4)),
        *((rf'features\.{2 * i + 1}\.(\d+)\.mlp\.{step}{_LAYER}', rf'stages.{i}.blocks.\1.ffn.layers.{name}.\2')
          for i in range(4) for step, name in ((0, '0.0'), (3, '1'))),
        *((rf'features\.{2 * i}\.(reduction|norm){_LAYER}', rf'stages.{i - 1}.downsample.\1.\2') for i in range(1, 4)),
        (rf'norm{_LAYER}', r'norm3.\1')), spare=r'norm3\..+', fresh=r'norm[0-2]\..+|.+\.relative_position_index',
        values=((r'stages\.\d\.downsample\..+', _unfolded),)),
    # Any backbone of a classifier or detector; spare and fresh as above, for EfficientNet, ConvNeXt, Swin Transformer.
    Family('model with a backbone', ('cxrdet',), r'backbone\..+', r'(?!backbone\.)', ((r'backbone\.(.+)', r'\1'),),
           spare=r'layers\.6\.(conv|bn)\..+|norm3\..+', fresh=rf'norm[0-2]{_LAYER}'),
)


def rename(names: Iterable[str], source: str) -> tuple[dict[str, str], dict[str, str]]:
    """Map the names of a checkpoint to those of MMPretrain's backbone of the same architecture.

    Args:
        names: Of the entries of the state dict; a leading ``module.`` (DataParallel), and for CheXNet
            ``densenet121.``, is taken off. DenseNets may have the names of torch before 0.4 (``norm.1``).
        source: One of ``SOURCES``.

    Returns:
        Two dicts by the checkpoint's name: that in the backbone, and for the classifier the bare name.

    Raises:
        ConfigError: If the source is unknown.
        CheckpointError: If the architecture, or a name in it, is not in the table.
    """
    check_choice('Pretrained weights: source', source, SOURCES)
    bare = _bare(names, source)
    family = _family(bare.values(), source)
    bare = family.numbered(bare)
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


def family_of(names: Iterable[str], source: str) -> Family:
    """The family of a checkpoint with these names; raises as :func:`rename` does."""
    return _family(_bare(names, source).values(), source)


def _bare(names: Iterable[str], source: str) -> dict[str, str]:
    prefix = r'^(?:module\.)?(?:densenet121\.)?' if source == 'chexnet' else r'^module\.'
    return {name: re.sub(prefix, '', name) for name in names}


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
        check_choice('A class of the published classifier', name, known)
    if len(set(classes)) < len(classes):
        raise ConfigError(f'A class is named twice: {", ".join(classes)}.')
    return [known.index(name) for name in classes]


def rows(weights: Mapping[str, object], wanted: list[int]) -> dict[str, object]:
    """Weight and bias of a classifier reduced to the rows ``wanted``; names end in ``weight`` and ``bias``."""
    return {name.rpartition('.')[2]: value[wanted] for name, value in weights.items()}
