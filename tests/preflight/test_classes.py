"""Classes follow the data: what is written where, and what the built models then look like."""
import json
from copy import deepcopy
from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.registry import init_default_scope

from cxrdet.core.errors import ConfigError, DataError
from cxrdet.preflight.check import class_places, examine
from cxrdet.preflight.data import follow_classes

CONFIG = Path(__file__).parents[2] / 'configs' / 'faster_rcnn_bifpn_cell_tiny.py'
LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
NAMES = ('debris', 'round', 'spindle', 'star', 'twin')


def write_coco(file: Path, names: tuple[str, ...]) -> None:
    categories = [dict(id=i, name=name) for i, name in enumerate(names, 1)]
    image = dict(id=1, file_name='a.png', height=32, width=32)
    boxes = [dict(id=i, image_id=1, category_id=i, bbox=[1, 1, 9, 9], area=81) for i in range(1, len(names) + 1)]
    file.write_text(json.dumps(dict(images=[image], categories=categories, annotations=boxes)))


@pytest.fixture(scope='module')
def data(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp('data')
    for name, classes in (('train', NAMES), ('val', NAMES[::-1]), ('few', NAMES[:2])):
        write_coco(root / f'{name}.json', classes)
    return root


def cell(root: Path, name: str = 'train', **other) -> dict:
    return dict(type='cxrdet.CellDataset', data_root=str(root), ann_file=f'{name}.json', pipeline=[], **other)


def config(model: dict, train: dict, val: dict, scope: str = 'mmdet', **other) -> Config:
    loaders = {key: dict(dataset=deepcopy(train if key.startswith('train') else val)) for key in LOADERS}
    return Config(dict(default_scope=scope, model=model, **loaders, **other))


@pytest.fixture(scope='module')
def stock_model():
    """A stock model of mmdet by its config, without pretrained weights; parsed once."""
    import mmdet
    folder = Path(mmdet.__file__).parent / '.mim' / 'configs'
    parsed: dict[str, dict] = {}

    def load(path: str) -> dict:
        if path not in parsed:
            model = Config.fromfile(folder / f'{path}.py').model.to_dict()
            model['backbone']['init_cfg'] = None
            parsed[path] = model
        return deepcopy(parsed[path])
    return load


def build(cfg: Config):
    from mmdet.registry import MODELS
    init_default_scope('mmdet')
    return MODELS.build(cfg.model)


# path, how many outputs the class layers have for n classes (written from the papers: softmax heads have a background)
MODELS_AND_LAYERS = {
    'faster_rcnn/faster-rcnn_r50_fpn_1x_coco': lambda m: {m.roi_head.bbox_head.fc_cls.out_features: 'n+1'},
    'cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco':
        lambda m: {head.fc_cls.out_features: 'n+1' for head in m.roi_head.bbox_head},
    'mask_rcnn/mask-rcnn_r50_fpn_1x_coco': lambda m: {m.roi_head.bbox_head.fc_cls.out_features: 'n+1',
                                                      m.roi_head.mask_head.conv_logits.out_channels: 'n'},
    'retinanet/retinanet_r50_fpn_1x_coco': lambda m: {m.bbox_head.retina_cls.out_channels: '9n'},
    'rtmdet/rtmdet_tiny_8xb32-300e_coco': lambda m: {layer.out_channels: 'n' for layer in m.bbox_head.rtm_cls},
    'deformable_detr/deformable-detr_r50_16xb2-50e_coco':
        lambda m: {layer.out_features: 'n' for layer in m.bbox_head.cls_branches},
    'mask2former/mask2former_r50_8xb2-lsj-50e_coco': lambda m: {m.panoptic_head.cls_embed.out_features: 'n+1'},
}


@pytest.mark.parametrize('path', MODELS_AND_LAYERS)
def test_class_layers_of_stock_models(path, stock_model, data):
    cfg = config(stock_model(path), cell(data), cell(data, 'val'))
    assert follow_classes(cfg) == NAMES
    sizes = {'n': 5, 'n+1': 6, '9n': 45}
    model = build(cfg)
    assert all(outputs == sizes[rule] for outputs, rule in MODELS_AND_LAYERS[path](model).items())
    if hasattr(model, 'rpn_head'):
        assert model.rpn_head.num_classes == 1


def test_every_data_set_gets_the_classes_of_the_training_set(data):
    """Also through wrappers; the validation file numbers its categories in another order."""
    coloured = cell(data, metainfo=dict(palette=[(1, 2, 3)]))
    wrapped = dict(type='RepeatDataset', times=2, dataset=dict(type='ConcatDataset', datasets=[cell(data), coloured]))
    cfg = config(dict(type='RetinaNet', bbox_head=dict(type='RetinaHead', in_channels=8)), wrapped, cell(data, 'val'))
    assert follow_classes(cfg) == NAMES
    leaves = [*cfg.train_dataloader.dataset.dataset.datasets, cfg.val_dataloader.dataset, cfg.test_dataloader.dataset]
    assert all(leaf.metainfo == dict(classes=NAMES, palette=[(1, 2, 3)]) for leaf in leaves)
    assert cfg.model.bbox_head.num_classes == 5


def test_the_built_data_sets_share_one_numbering(data):
    from cxrdet.datasets.cell import CellDataset
    cfg = config(dict(type='RetinaNet'), cell(data), cell(data, 'val'))
    follow_classes(cfg)
    for key in ('train_dataloader', 'val_dataloader'):
        arguments = {k: v for k, v in cfg[key].dataset.items() if k != 'type'}
        dataset = CellDataset(**arguments)
        by_category = {NAMES.index(name): name for name in dataset.metainfo['classes']}
        assert by_category == dict(enumerate(NAMES))
    order = [box['bbox_label'] for box in dataset.get_data_info(0)['instances']]
    assert order == [4, 3, 2, 1, 0]  # the validation file lists the categories backwards


def test_classes_named_in_the_config_are_held_to_the_file(data):
    named = dict(metainfo=dict(classes=('star', 'round')))
    head = dict(type='RetinaHead', num_classes=80)
    cfg = config(dict(type='RetinaNet', bbox_head=head), cell(data, **named), cell(data))
    assert follow_classes(cfg) == ('star', 'round')
    assert cfg.model.bbox_head.num_classes == 2
    cfg.train_dataloader.dataset.metainfo.classes = ('star', 'roud')
    with pytest.raises(DataError, match='no class "roud".* Did you mean "round"'):
        follow_classes(cfg)


def test_training_sets_that_disagree(data):
    both = dict(type='ConcatDataset', datasets=[cell(data), cell(data, 'few')])
    with pytest.raises(DataError, match=r'different classes .*debris, round\)\. Name the classes'):
        follow_classes(config(dict(type='RetinaNet'), both, cell(data)))


def test_classes_of_a_checkpoint(data):
    """They win over the file: the order is that of the weights."""
    head = dict(type='Shared2FCBBoxHead', num_classes=80)
    cfg = config(dict(type='FasterRCNN', roi_head=dict(bbox_head=[head, head])), cell(data), cell(data))
    assert follow_classes(cfg, classes=['twin', 'round', 'star']) == ('twin', 'round', 'star')
    assert [head.num_classes for head in cfg.model.roi_head.bbox_head] == [3, 3]
    assert cfg.test_dataloader.dataset.metainfo.classes == ('twin', 'round', 'star')


def test_classes_of_a_checkpoint_without_any_data_set():
    cfg = Config(dict(default_scope='mmdet', model=dict(type='RetinaNet', bbox_head=dict(type='RetinaHead'))))
    assert follow_classes(cfg, classes=('a', 'b')) == ('a', 'b')
    assert cfg.model.bbox_head.num_classes == 2
    assert follow_classes(cfg) is None


def test_stock_data_sets_are_left_alone(data):
    cfg = config(dict(type='RetinaNet', bbox_head=dict(type='RetinaHead', num_classes=80)),
                 dict(type='CocoDataset', data_root=str(data), ann_file='train.json'), dict(type='CocoDataset'))
    before = deepcopy(cfg.to_dict())
    assert follow_classes(cfg) is None
    assert follow_classes(cfg, classes=('a', )) is None
    assert cfg.to_dict() == before


MODEL = dict(
    type='FasterRCNN', backbone=dict(type='mmpretrain.VGG', depth=11, num_classes=-1),
    rpn_head=dict(type='RPNHead', num_classes=1, in_channels=8),
    roi_head=dict(
        type='StandardRoIHead', semantic_head=dict(type='FusedSemanticHead', num_classes=183),
        bbox_head=dict(type='Shared2FCBBoxHead', loss_cls=dict(type='SeesawLoss', num_classes=1203)),
        mask_head=dict(type='FCNMaskHead'), mask_iou_head=dict(type='MaskIoUHead', num_classes=80)))


def test_which_numbers_are_those_of_the_classes():
    cfg = Config(dict(default_scope='mmdet', model=deepcopy(MODEL)))
    assert [path for path, _, _ in class_places(examine(cfg))] == [
        'model.roi_head.bbox_head', 'model.roi_head.bbox_head.loss_cls', 'model.roi_head.mask_head',
        'model.roi_head.mask_iou_head']
    follow_classes(cfg, classes=('a', 'b'))
    assert cfg.model.rpn_head.num_classes == 1
    assert cfg.model.backbone.num_classes == -1
    assert cfg.model.roi_head.semantic_head.num_classes == 183
    assert cfg.model.roi_head.bbox_head.loss_cls.num_classes == 2


def test_classification():
    head = dict(type='LinearClsHead', num_classes=1000, in_channels=8,
                loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1, num_classes=1000))
    model = dict(type='ImageClassifier', backbone=dict(type='VisionTransformer'), head=head)
    cfg = Config(dict(default_scope='mmpretrain', model=model, data_preprocessor=dict(num_classes=1000, to_rgb=True)))
    follow_classes(cfg, classes=[f'finding {i}' for i in range(14)])
    assert cfg.model.head.num_classes == cfg.model.head.loss.num_classes == cfg.data_preprocessor.num_classes == 14
    assert cfg.model.backbone == dict(type='VisionTransformer')


@pytest.mark.parametrize(('weights', 'expected'), [([1.0] * 80 + [0.1], [1.0, 1.0, 0.1]), ([2.0] * 80, [2.0, 2.0]),
                                               (0.5, 0.5), (None, None)])
def test_class_weights_follow(weights, expected):
    head = dict(type='Mask2FormerHead', num_things_classes=80, num_stuff_classes=0,
                loss_cls=dict(type='CrossEntropyLoss', class_weight=weights))
    cfg = Config(dict(default_scope='mmdet', model=dict(type='Mask2Former', panoptic_head=head)))
    follow_classes(cfg, classes=('a', 'b'))
    assert cfg.model.panoptic_head.num_things_classes == 2
    assert cfg.model.panoptic_head.num_stuff_classes == 0
    assert cfg.model.panoptic_head.loss_cls.class_weight == expected


def test_class_weights_of_their_own_cannot_follow():
    loss = dict(type='CrossEntropyLoss', class_weight=[1.0, 2.0, 3.0])
    head = dict(type='Shared2FCBBoxHead', num_classes=3, loss_cls=loss)
    cfg = Config(dict(default_scope='mmdet', model=dict(type='FasterRCNN', roi_head=dict(bbox_head=head))))
    with pytest.raises(ConfigError, match=r'loss_cls\.class_weight: 3 weights for 3 classes, but the data has 2'):
        follow_classes(cfg, classes=('a', 'b'))
    follow_classes(cfg, classes=('a', 'b', 'c'))
    assert cfg.model.roi_head.bbox_head.loss_cls.class_weight == [1.0, 2.0, 3.0]


def test_the_tiny_config(cell_phantoms):
    cfg = Config.fromfile(CONFIG)
    for key in LOADERS:
        cfg[key].dataset.data_root = str(cell_phantoms)
    written = json.loads((cell_phantoms / 'annotations' / 'train.json').read_text())['categories']
    names = follow_classes(cfg)
    assert list(names) == [category['name'] for category in sorted(written, key=lambda category: category['id'])]
    assert cfg.model.roi_head.bbox_head.num_classes == len(names)
