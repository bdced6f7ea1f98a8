"""The data sets of a config: classes that the model follows, patients and images on both sides, what metrics read."""
import copy
import json
import re
import shutil
from copy import deepcopy
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from mmengine.registry import init_default_scope

from cxrdet.core.errors import ConfigError, DataError
from cxrdet.datasets.csv_labels import CSVImageDataset
from cxrdet.preflight.check import Examined, Part, class_places, examine
from cxrdet.preflight.config import load_config
from cxrdet.preflight.data import check_run, copy_problems, follow_classes, group_problems, pack_for_metrics

# --- Classes follow the data: what is written where, and what the built models then look like.


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


# --- No patient on both sides: an error before training, whatever the data set class.


class Grouped:
    """A data set class that tells its groups: a list of those of images 0, 1 …, or image -> group."""
    SPLIT_HINT = 'Split by patient.'

    def __init__(self, groups=(), pipeline=()):
        pass

    @classmethod
    def read_groups(cls, cfg):
        if cfg['groups'] == 'broken':
            raise DataError('cannot be read')
        return cfg['groups'] if isinstance(cfg['groups'], dict) else dict(enumerate(cfg['groups']))


class Other(Grouped):
    """Has patients of its own, and no word on how to split."""
    SPLIT_HINT = ''


def parts(found=Grouped, **groups):
    return [Part(path=f'{name}_dataloader.dataset', place=f'{name}_dataloader.dataset', scope='mmengine', places=(),
                 cfg=dict(type='x', groups=values), found=found, unknown=False) for name, values in groups.items()]


def shared(found):
    return group_problems(Examined(Config(), found))


def test_apart():
    assert shared(parts(train=[1, 1, 2], val=[3], test=[4, 5])) == []
    assert shared(parts(train=[], val=[])) == []
    assert shared([]) == []


def test_shared():
    found = parts(train=range(10), val=[7, 8, 8, 20], test=[0, 1, 2, 3, 4, 5, 11])
    assert shared(found) == [
        'val_dataloader: 2 of its 3 patients (groups) are in the training set as well: 7, 8. Its scores would be too '
        'good: give it images of other patients. Split by patient.',
        'test_dataloader: 6 of its 7 patients (groups) are in the training set as well: 0, 1, 2, 3, 4, …. Its scores '
        'would be too good: give it images of other patients. Split by patient.']


def test_validation_and_test():
    """The very same images are allowed, also twice; a part of them, or other films of their patients, are not."""
    assert shared(parts(train=[1], val=[2, 3], test=[2, 3])) == []
    assert shared(parts(train=[1], val=[2, 3]) + parts(test=[2, 3]) + parts(test=[2, 3])) == []
    assert shared(parts(train=[1], val=[2, 3], test={'a': None, 'b': 4})) == []
    text = ('test_dataloader: 1 of its {} patients (groups) are in the validation set as well: {}. The best checkpoint '
            'and its thresholds are chosen there, so that its scores would be too good: give it images of other '
            'patients. Split by patient.')
    assert shared(parts(train=[1], val=[2, 3], test=[2])) == [text.format(1, 2)]
    assert shared(parts(train=[1], val=[2, 3], test=[3, 4])) == [text.format(2, 3)]


def test_unknown_patients_and_other_classes_and_broken_sets_are_left_out():
    assert shared(parts(train={'a': None, 'b': 1}, val={'c': None})) == []
    assert shared(parts(train=[1]) + parts(Other, val=[1])) == []
    assert shared(parts(train=[1], val=[2], test='broken')) == []
    assert shared(parts(train=[1]) + parts(object, val=[1])) == []


def test_images_of_unknown_patients():
    found = parts(Other, train={'a': None, 'b': None, 'c': 1}, val={'a': None, 'c': None, 'd': None}, test={'e': None})
    assert shared(found) == [
        'val_dataloader: 2 of its 3 images are in the training set as well: a, c. Its scores would be too good: give '
        'it images of other patients.']
    found = parts(train={'a': None}, val={'b': None}, test={'b': None, 'c': None})
    assert shared(found) == [
        'test_dataloader: 1 of its 2 images are in the validation set as well: b. The best checkpoint and its '
        'thresholds are chosen there, so that its scores would be too good: give it images of other patients. '
        'Split by patient.']
    found = parts(train={'a': None, 'b': 1}, val={'a': None, 'c': 1})
    assert 'val_dataloader: 1 of its 1 patients (groups)' in shared(found)[0]


@pytest.fixture
def listed(tmp_path):
    """24 listed images of two classes without split and group column."""
    for k in range(24):
        cv2.imwrite(str(tmp_path / f'{k}.png'), np.full((8, 8), k, np.uint8))
    (tmp_path / 'metadata.csv').write_text('\n'.join(['file,label', *(f'{k}.png,{"ab"[k % 2]}' for k in range(24))]))
    (tmp_path / 'label2id.json').write_text(json.dumps(dict(a=0, b=1)))

    def load(*options):
        return load_config('configs/ablations/crops/resnet18_crops_64.py', data_root=tmp_path,
                           cfg_options=['columns.path=file', *options])
    return load


@pytest.mark.parametrize('options', [(), ('split_seed=1', ), ('shares.val=1', ), ('shares.test=0.2', ),
                                     ('shares.val=1', 'val_dataloader.dataset.split_seed=0')])
def test_listed_images_that_are_dealt_out_alike(listed, options):
    cfg = listed(*options)
    check_run(cfg, mode='train')
    train, val = (CSVImageDataset.read_groups(cfg[f'{name}_dataloader'].dataset) for name in ('train', 'val'))
    assert not set(train) & set(val)
    assert len(train) + len(val) == 24 or 'shares.test=0.2' in options
    share = 1 / 1.8 if 'shares.val=1' in options else 0.2
    assert len(val) == pytest.approx(share * 24, abs=1.5)


@pytest.mark.parametrize('option', ['train_dataloader.dataset.split_seed=1', 'train_dataloader.dataset.shares.val=1'])
def test_listed_images_that_are_dealt_out_differently(listed, option, tmp_path):
    with pytest.raises(ConfigError) as caught:
        check_run(listed('split_seed=3', option), mode='train')
    assert re.search(rf'val_dataloader: \d of its \d images are in the training set as well: {tmp_path}/\d+\.png',
                     str(caught.value))
    assert 'need the same split_seed, shares and columns: --cfg-options split_seed=1 reaches all' in str(caught.value)
    assert 'prepare_data.py nih' not in str(caught.value)


@pytest.fixture
def cfg(tmp_path):
    """A classifier on six films of three patients; the config takes one list for training and one for validation."""
    rows = ['Image Index,Finding Labels,Patient ID']
    (tmp_path / 'images').mkdir()
    for k in range(6):
        rows.append(f'{k}.png,{"Mass" if k % 2 else "No Finding"},{k // 2}')
        cv2.imwrite(str(tmp_path / 'images' / f'{k}.png'), np.full((8, 8), k, np.uint8))
    (tmp_path / 'Data_Entry_2017.csv').write_text('\n'.join(rows) + '\n')
    (tmp_path / 'train.txt').write_text('0.png\n1.png\n2.png\n')
    (tmp_path / 'val.txt').write_text('4.png\n5.png\n')
    (tmp_path / 'leak.txt').write_text('3.png\n5.png\n')
    (tmp_path / 'test.txt').write_text('0.png\n')

    def loader(name):
        return dict(batch_size=1, sampler=dict(type='DefaultSampler'), dataset=dict(
            type='cxrdet.NIHChestXray14', data_root=str(tmp_path), split_file=name,
            pipeline=[dict(type='cxrdet.LoadImage'), dict(type='PackInputs')]))
    head = dict(type='MultiLabelLinearClsHead', num_classes=15, in_channels=512)
    return Config(dict(
        default_scope='mmpretrain', custom_imports=dict(imports=['cxrdet']), val_cfg=dict(),
        model=dict(type='ImageClassifier', backbone=dict(type='ResNet', depth=18), neck=dict(
            type='GlobalAveragePooling'), head=head),
        train_dataloader=loader('train.txt'), val_dataloader=loader('val.txt'),
        train_cfg=dict(by_epoch=True, max_epochs=1),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)), val_evaluator=dict(type='cxrdet.MultiLabelMetric')))


def test_before_a_training_run(cfg):
    check_run(cfg, mode='train')
    cfg.val_dataloader.dataset.split_file = 'leak.txt'
    with pytest.raises(ConfigError, match=r'1 problem\n  val_dataloader: 1 of its 2 patients .*: 1\.'):
        check_run(cfg, mode='train')
    cfg.train_dataloader.dataset = dict(type='RepeatDataset', times=2, dataset=cfg.train_dataloader.dataset)
    with pytest.raises(ConfigError, match='val_dataloader: 1 of its 2 patients'):
        check_run(cfg, mode='train')


def test_a_test_set_beside_the_validation_set(cfg):
    cfg.test_cfg, cfg.test_dataloader = dict(), copy.deepcopy(cfg.val_dataloader)
    cfg.test_evaluator = cfg.val_evaluator
    check_run(cfg, mode='train')
    cfg.train_dataloader.dataset.split_file, cfg.val_dataloader.dataset.split_file = 'test.txt', 'leak.txt'
    with pytest.raises(ConfigError, match=r'1 problem\n  test_dataloader: 1 of its 1 patients .* validation'):
        check_run(cfg, mode='train')
    check_run(cfg, mode='test')  # which has one side


def test_a_missing_list_is_told_once(cfg):
    cfg.val_dataloader.dataset.split_file = 'none.txt'
    with pytest.raises(ConfigError) as caught:
        check_run(cfg, mode='train')
    assert str(caught.value).count('\n') == 1
    assert 'val_dataloader.dataset: ' in str(caught.value) and 'none.txt: no such list of images' in str(caught.value)


# --- No image file on both sides of a split, under whatever name.


@pytest.fixture
def root(cell_phantoms, tmp_path):
    """A copy of the phantoms, whose validation set begins with an image of the training set, renamed."""
    root = tmp_path / 'cell'
    shutil.copytree(cell_phantoms, root)
    train, val = (json.loads((root / 'annotations' / f'{split}.json').read_text()) for split in ('train', 'val'))
    taken, given = val['images'][0]['file_name'], train['images'][3]['file_name']
    shutil.copy(root / 'images' / given, root / 'images' / taken)
    return root, given, taken


def tiny(root, **options):
    return load_config(CONFIG, data_root=root, cfg_options=[f'{key}={value}' for key, value in options.items()] or None)


def test_a_copy_under_another_name(root):
    root, given, taken = root
    with pytest.raises(ConfigError) as caught:
        check_run(tiny(root), mode='train')
    val, = str(caught.value).splitlines()[1:]
    assert f'val_dataloader: 1 of its 4 images are in the training set as well, byte by byte: {root}/images/{taken} ' \
           f'= {root}/images/{given}. Its scores would be too good' in val
    assert 'allow_shared_images=True' in val
    check_run(tiny(root, allow_shared_images=True), mode='train')
    check_run(tiny(root), mode='test')


def test_the_same_file_on_purpose(cell_phantoms):
    place = {f'{name}_dataloader.dataset.ann_file': 'annotations/train.json' for name in ('val', 'test')}
    with pytest.raises(ConfigError, match='8 of its 8 images .*--cfg-options allow_shared_images=True'):
        check_run(tiny(cell_phantoms, **place), mode='train')
    check_run(tiny(cell_phantoms, **place, allow_shared_images=True), mode='train')


def test_sides_that_are_not_there_or_not_read(root):
    cfg = tiny(root[0])
    cfg.val_cfg = cfg.test_dataloader = None
    assert copy_problems(examine(cfg)) == []
    cfg = tiny(root[0])
    cfg.val_cfg = None
    assert [line.split(':')[0] for line in copy_problems(examine(cfg))] == ['test_dataloader']
    cfg = tiny(root[0], **{'test_dataloader.dataset.ann_file': 'annotations/none.json'})
    assert [line.split(':')[0] for line in copy_problems(examine(cfg))] == ['val_dataloader']


def test_stock_set(root):
    cfg = tiny(root[0])
    for name in ('train', 'val', 'test'):
        cfg[f'{name}_dataloader'].dataset.type = 'CocoDataset'
    assert len(copy_problems(examine(cfg))) == 1


def test_a_part_of_the_validation_set_for_testing(root):
    root, given, taken = root
    content = json.loads((root / 'annotations' / 'val.json').read_text())
    content['images'] = content['images'][1:3]
    content['annotations'] = [entry for entry in content['annotations']
                              if entry['image_id'] in {image['id'] for image in content['images']}]
    (root / 'annotations' / 'test.json').write_text(json.dumps(content))
    cfg = tiny(root, **{'test_dataloader.dataset.ann_file': 'annotations/test.json'})
    assert ['2 of its 2 images are in the validation set' in line
            for line in copy_problems(examine(cfg))] == [False, True]


# --- Metrics find in the samples of stock pipelines what they read there.


def packing(metric, **packer):
    loader = dict(dataset=dict(type='RepeatDataset', dataset=dict(type='CocoDataset', pipeline=[
        dict(type='LoadImageFromFile'), dict(type='PackDetInputs', **packer)])))
    return Config(dict(default_scope='mmdet', train_dataloader=loader, val_dataloader=loader, test_dataloader=loader,
                       val_evaluator=metric, test_evaluator=dict(type='CocoMetric')))


def meta_keys(cfg, split):
    return cfg[f'{split}_dataloader'].dataset.dataset.pipeline[1].get('meta_keys')


@pytest.mark.parametrize('metric', [
    dict(type='cxrdet.DetectionMetric'), [dict(type='CocoMetric'), dict(type='cxrdet.FROCMetric')]])
def test_ground_truth_is_added_where_a_metric_reads_it(metric):
    cfg = packing(metric, meta_keys=('img_id', 'ori_shape'))
    pack_for_metrics(cfg)
    assert meta_keys(cfg, 'val') == ('img_id', 'ori_shape', 'instances')
    assert meta_keys(cfg, 'train') == meta_keys(cfg, 'test') == ('img_id', 'ori_shape')
    pack_for_metrics(cfg)
    assert meta_keys(cfg, 'val') == ('img_id', 'ori_shape', 'instances')


def test_beside_the_keys_of_mmdetection():
    cfg = packing(dict(type='cxrdet.DetectionMetric'))
    pack_for_metrics(cfg)
    assert meta_keys(cfg, 'val')[0] == 'img_id'
    assert meta_keys(cfg, 'val')[-1] == 'instances'


def test_stock_metrics_change_nothing():
    cfg = packing(dict(type='CocoMetric'))
    pack_for_metrics(cfg)
    assert meta_keys(cfg, 'val') is None
