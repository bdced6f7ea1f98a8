"""The two readers of cell sets: labels by name, dropped boxes counted, empty images kept, defects named."""
import json
import logging
from collections import Counter

import cv2
import numpy as np
import pytest

from cxrdet.core.errors import ConfigError, DataError
from cxrdet.datasets.cell import CELL_PALETTE, CellDataset, CellVOCDataset, match_classes
from cxrdet.datasets.formats.tfrecord import CDETECTOR_CLASSES
from cxrdet.registry import DATASETS

HEIGHT, WIDTH = 40, 60
BOXES = [  # image, category, x, y, w, h, further keys
    (1, 20, 1, 2, 10, 10, {}), (1, 10, 20, 5, 8.5, 9, {}), (1, 30, 5, 5, 6, 6, {}),
    (1, 10, 50, 30, 20, 20, {}),                # partly outside
    (1, 10, 5, 5, 0.5, 9, {}),                  # degenerate
    (1, 10, 9, 9, -4, 9, {}),                   # degenerate, inverted
    (1, 10, float('nan'), 9, 4, 9, {}),         # degenerate
    (1, 20, 60, 0, 10, 10, {}),                 # outside
    (2, 20, 3, 3, 9, 9, {'iscrowd': 1}), (2, 20, 0, 0, 9, 9, {'ignore': 1}),
    (4, 10, 0, 0, 0, 0, {}),                    # degenerate; image 4 is left without boxes
]


def coco_set(folder, boxes=BOXES, categories=((10, 'WBC'), (20, 'RBC'), (30, 'Platelets')), images=(3, 1, 4, 2)):
    content = {
        'images': [{'id': key, 'file_name': f'{key}.png', 'height': HEIGHT, 'width': WIDTH} for key in images],
        'annotations': [{'id': key, 'image_id': image, 'category_id': category, 'bbox': [x, y, w, h], **more}
                        for key, (image, category, x, y, w, h, more) in enumerate(boxes)],
        'categories': [{'id': key, 'name': name} for key, name in categories]}
    (folder / 'images').mkdir(exist_ok=True)
    (folder / 'annotations').mkdir(exist_ok=True)
    (folder / 'annotations' / 'train.json').write_text(json.dumps(content))
    return {'type': 'cxrdet.CellDataset', 'data_root': str(folder), 'ann_file': 'annotations/train.json'}


@pytest.fixture(scope='module')
def coco(tmp_path_factory):
    return coco_set(tmp_path_factory.mktemp('coco'))


def build(cfg, **changed):
    return DATASETS.build({**cfg, **changed})


def named_boxes(dataset):
    names = dataset.metainfo['classes']
    infos = [dataset.get_data_info(index) for index in range(len(dataset))]
    return {info['img_id']: [(names[box['bbox_label']], *box['bbox']) for box in info['instances']] for info in infos}


EXPECTED = {3: [], 1: [('RBC', 1, 2, 11, 12), ('WBC', 20, 5, 28.5, 14), ('Platelets', 5, 5, 11, 11),
                       ('WBC', 50, 30, 70, 50)], 4: [], 2: [('RBC', 3, 3, 12, 12)]}
DROPPED = {'degenerate': 4, 'outside': 1, 'marked_ignore': 1}


def test_classes_and_boxes_follow_the_file(coco):
    dataset = build(coco)
    assert isinstance(dataset, CellDataset)
    assert dataset.metainfo['classes'] == ('WBC', 'RBC', 'Platelets')  # in the order of the ids
    assert named_boxes(dataset) == EXPECTED
    assert dataset.dropped == DROPPED
    assert [box['ignore_flag'] for box in dataset.get_data_info(3)['instances']] == [1]
    assert dataset.get_cat_ids(1) == [1, 0, 2, 0]
    info = dataset.get_data_info(1)
    assert (info['height'], info['width'], info['img_id']) == (HEIGHT, WIDTH, 1)
    assert info['img_path'].endswith('images/1.png')


@pytest.mark.parametrize('classes', [('Platelets', 'WBC', 'RBC'), ['RBC', 'Platelets', 'WBC']])
def test_labels_go_by_name_whatever_the_order(coco, classes):
    dataset = build(coco, metainfo={'classes': classes})
    assert dataset.metainfo['classes'] == tuple(classes)
    assert named_boxes(dataset) == EXPECTED


def test_boxes_of_other_classes_are_counted(coco):
    dataset = build(coco, metainfo={'classes': ('Platelets', 'WBC')})
    assert named_boxes(dataset)[1] == [box for box in EXPECTED[1] if box[0] != 'RBC']
    assert dataset.dropped == {'degenerate': 4, 'unknown_class': 3, 'marked_ignore': 1}


@pytest.mark.parametrize(('classes', 'error', 'text'), [
    (('WBC', 'RBC', 'Platelet'), DataError,
     r'train\.json: no class "Platelet".* Did you mean "Platelets"\? The file has: WBC, RBC, Platelets'),
    (('wbc', 'RBC', 'Platelets'), DataError, 'no class "wbc".* Did you mean "WBC"'),
    (('Blast',), DataError, r'no class "Blast", which metainfo\["classes"\] names\. The file has'),
    ('WBC', ConfigError, r'must be a sequence of names, got .WBC.\. A single class is written'),
    ((), ConfigError, 'at least one class'),
    (('WBC', 'WBC'), ConfigError, 'none twice'),
    ((1, 2), ConfigError, 'must be a sequence of names')])
def test_classes_of_the_config_are_held_to_the_file(coco, classes, error, text):
    with pytest.raises(error, match=text):
        build(coco, metainfo={'classes': classes})
    with pytest.raises(error, match=text):
        CellDataset.read_classes({**coco, 'metainfo': {'classes': classes}})


def test_read_classes_and_image_files_without_building(coco):
    assert CellDataset.read_classes({**coco, 'pipeline': [{'type': 'Nonsense'}]}) == ('WBC', 'RBC', 'Platelets')
    assert CellDataset.read_classes({**coco, 'metainfo': {'classes': ('RBC',)}}) == ('RBC',)
    assert [path.name for path in CellDataset.image_files(coco)] == ['3.png', '1.png', '4.png', '2.png']
    assert {path.parent.name for path in CellDataset.image_files(coco)} == {'images'}


def test_classes_are_known_before_a_lazy_set_is_read(coco):
    dataset = build(coco, lazy_init=True)
    assert dataset.metainfo['classes'] == ('WBC', 'RBC', 'Platelets')
    assert len(dataset) == 4


@pytest.mark.parametrize(('filter_cfg', 'test_mode', 'kept', 'filtered'), [
    (None, False, [3, 1, 4, 2], {}), ({'filter_empty_gt': False}, False, [3, 1, 4, 2], {}),
    ({'filter_empty_gt': True}, False, [1, 2], {'without_boxes': 2}),
    ({'filter_empty_gt': True}, True, [3, 1, 4, 2], {}), ({'min_size': 40}, False, [3, 1, 4, 2], {})])
def test_images_without_boxes_stay_unless_the_config_says_otherwise(coco, filter_cfg, test_mode, kept, filtered):
    dataset = build(coco, filter_cfg=filter_cfg, test_mode=test_mode)
    assert list(named_boxes(dataset)) == kept
    assert dataset.filtered == filtered


def test_a_filter_that_leaves_nothing(coco):
    with pytest.raises(DataError, match=r'took out 4 of 4 images: 4 too_small\. No image is left'):
        build(coco, filter_cfg={'min_size': 41})


@pytest.fixture
def logged():
    """Warnings of MMEngine's logger, also those that its own handler leaves out because it gave them before."""
    from mmengine.logging import MMLogger
    lines = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: lines.append(record.getMessage())
    logger = MMLogger.get_current_instance()
    logger.addHandler(handler)
    yield lines
    logger.removeHandler(handler)


def test_what_is_dropped_stands_in_the_log_once(coco, logged):
    dataset = build(coco, filter_cfg={'filter_empty_gt': True}, metainfo={'classes': ['Platelets', 'WBC']})
    dataset.full_init()
    path = dataset.ann_file
    assert logged == [
        f'CellDataset {path}: 4 images (3 without boxes), 3 boxes in 2 classes; dropped boxes: 4 degenerate, '
        '3 unknown_class, 1 marked_ignore.',
        f"{path}: filter_cfg={{'filter_empty_gt': True}} took out 3 of 4 images: 3 without_boxes."]


def test_a_class_without_any_box_is_named_in_the_log(tmp_path, logged):
    dataset = build(coco_set(tmp_path, boxes=BOXES[:2]))
    assert dataset.metainfo['classes'] == ('WBC', 'RBC', 'Platelets')
    assert [line.partition('train.json: ')[2] for line in logged] == [
        '4 images (3 without boxes), 2 boxes in 3 classes; no box has the class Platelets.']


def test_sizes_that_the_file_lacks_come_from_the_images(tmp_path):
    cfg = coco_set(tmp_path, images=(1, 2))
    path = tmp_path / 'annotations' / 'train.json'
    content = json.loads(path.read_text())
    content['annotations'] = content['annotations'][:1]
    del content['images'][0]['height']
    content['images'][1]['width'] = 0
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=r'1\.png: cannot read the image file: No such file'):
        build(cfg)
    for name in ('1.png', '2.png'):
        cv2.imwrite(str(tmp_path / 'images' / name), np.zeros((HEIGHT, WIDTH + 1), np.uint8))
    infos = [build(cfg).get_data_info(index) for index in range(2)]
    assert [(info['height'], info['width']) for info in infos] == [(HEIGHT, WIDTH + 1)] * 2


def test_structural_defects_are_errors_unless_asked_to_drop(tmp_path):
    cfg = coco_set(tmp_path, boxes=[*BOXES, (1, None, 1, 1, 5, 5, {}), (9, 10, 1, 1, 5, 5, {})])
    with pytest.raises(DataError, match=r'train\.json: annotations\[11\] \(id 11\): .*"category_id".* 2 errors'):
        build(cfg)
    dataset = build(cfg, on_bad_annotation='drop')
    assert dataset.dropped == {**DROPPED, 'no_category': 1, 'unknown_image': 1}
    assert named_boxes(dataset) == EXPECTED


@pytest.mark.parametrize(('changed', 'text'), [
    ({'on_bad_annotation': 'skip'}, 'on_bad_annotation must be "error" or "drop"'),
    ({'data_prefix': {'img_path': 'images'}}, r'data_prefix needs the key "img", got .*Expected for example'),
    ({'ann_file': ''}, 'CellDataset needs ann_file'),
    ({'backend_args': {'backend': 'petrel'}}, 'reads local files only')])
def test_arguments_that_cannot_be_meant(coco, changed, text):
    with pytest.raises(ConfigError, match=text):
        CellDataset(**{key: value for key, value in {**coco, **changed}.items() if key != 'type'})


def test_a_config_of_the_host_may_name_it(coco):
    import mmdet.registry
    dataset = mmdet.registry.DATASETS.build({**coco, 'filter_cfg': {'filter_empty_gt': False, 'min_size': 32},
                                             'backend_args': None, 'indices': 2})
    assert len(dataset) == 2


def test_loading_costs_in_proportion_to_the_boxes(tmp_path, calls):
    rng, counts, built = np.random.default_rng(0), [], []
    for images in (50, 500):
        boxes = [(int(image), 10, *(int(value) for value in box), {}) for image, box in
                 zip(rng.integers(1, images + 1, 10 * images), rng.integers(1, 20, (10 * images, 4)))]
        folder = tmp_path / str(images)
        folder.mkdir()
        cfg = coco_set(folder, boxes=boxes, images=range(1, images + 1))
        counts.append(calls(lambda cfg=cfg: built.append(build(cfg))))
    assert counts[1] < 11 * counts[0]
    assert len(built[1]) == 500
    assert sum(map(len, named_boxes(built[1]).values())) == 5000


def test_the_pipeline_of_the_host_takes_an_image_without_boxes(coco, tmp_path):
    pipeline = [{'type': 'cxrdet.LoadImage'}, {'type': 'mmdet.LoadAnnotations', 'with_bbox': True},
                {'type': 'mmdet.Resize', 'scale': (120, 80)}, {'type': 'mmdet.RandomFlip', 'prob': 1.0},
                {'type': 'mmdet.PackDetInputs'}]
    cfg = coco_set(tmp_path)
    for key in range(1, 5):
        cv2.imwrite(str(tmp_path / 'images' / f'{key}.png'), np.zeros((HEIGHT, WIDTH), np.uint8))
    dataset = build(cfg, pipeline=pipeline)
    sizes = [tuple(dataset[index]['data_samples'].gt_instances.bboxes.shape) for index in range(4)]
    assert sizes == [(0, 4), (4, 4), (0, 4), (0, 4)]  # the crowd box of the last is set apart


def test_cdetector_metainfo():
    assert CDETECTOR_CLASSES == ('ascus', 'asch', 'lsil', 'hsil', 'scc', 'agc', 'trichomonas', 'candida', 'flora',
                                 'herps', 'actinomyces')
    assert len(set(CELL_PALETTE)) == 11


def test_nothing_found_and_nothing_given():
    with pytest.raises(DataError, match=r'a\.xml: no class is named, so there is nothing to learn'):
        match_classes(None, [], 'a.xml')


# ---------------------------------------------------------------------------------------------------- Pascal VOC


def voc_file(folder, name, objects, size=(WIDTH, HEIGHT), filename=''):
    body = ''.join(
        f'<object><name>{label}</name><difficult>{int(difficult)}</difficult><bndbox><xmin>{x1}</xmin><ymin>{y1}</ymin>'
        f'<xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object>' for label, x1, y1, x2, y2, difficult in objects)
    sides = f'<size><width>{size[0]}</width><height>{size[1]}</height></size>' if size else ''
    path = folder / 'Annotations' / f'{name}.xml'
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text(f'<annotation><filename>{filename}</filename>{sides}{body}</annotation>')
    return path


def voc_set(folder):
    voc_file(folder, 'c', [('WBC', 1, 1, 11, 21, 0), ('RBC', 5, 5, 5, 5, 0)])
    voc_file(folder, 'a', [('RBC', 50, 30, 70, 50, 1), ('RBC', 60, 0, 70, 9, 0)])
    voc_file(folder, 'b', [])
    voc_file(folder, 'v', [('Platelets', 1, 1, 9, 9, 0)])
    (folder / 'train.txt').write_text('c\na\nb\n')
    (folder / 'JPEGImages').mkdir()
    for name in ('c.JPG', 'a.png', 'a.txt', 'b.jpg', 'b.png'):
        (folder / 'JPEGImages' / name).touch()
    return {'type': 'cxrdet.CellVOCDataset', 'data_root': str(folder), 'ann_file': 'train.txt'}


@pytest.fixture(scope='module')
def voc(tmp_path_factory):
    return voc_set(tmp_path_factory.mktemp('voc'))


def test_voc_contents(voc):
    dataset = build(voc)
    assert isinstance(dataset, CellVOCDataset)
    assert dataset.metainfo['classes'] == ('RBC', 'WBC')
    assert named_boxes(dataset) == {1: [('WBC', 1, 1, 11, 21)], 2: [('RBC', 50, 30, 70, 50)], 3: []}
    assert dataset.dropped == {'degenerate': 1, 'outside': 1}
    infos = [dataset.get_data_info(index) for index in range(3)]
    assert [info['img_path'].rpartition('/')[2] for info in infos] == ['c.JPG', 'a.png', 'b.jpg']
    assert [(info['height'], info['width']) for info in infos] == [(HEIGHT, WIDTH)] * 3
    assert infos[1]['instances'][0]['ignore_flag'] == 1
    assert build(voc, ignore_difficult=False).get_data_info(1)['instances'][0]['ignore_flag'] == 0


def test_voc_corners(voc):
    dataset = build(voc, corners='inclusive')
    assert named_boxes(dataset)[1] == [('WBC', 0, 0, 11, 21), ('RBC', 4, 4, 5, 5)]  # one pixel is a pixel
    with pytest.raises(ConfigError, match='corners must be "exclusive" or "inclusive", got \'legacy\''):
        CellVOCDataset('train.txt', data_root=voc['data_root'], corners='legacy')


def test_voc_without_a_list_takes_the_folder(voc):
    dataset = build(voc, ann_file='')
    assert [info.rpartition('/')[2] for info in (dataset.get_data_info(i)['xml_path'] for i in range(4))] == [
        'a.xml', 'b.xml', 'c.xml', 'v.xml']
    assert dataset.metainfo['classes'] == ('Platelets', 'RBC', 'WBC')


def test_voc_read_classes_and_image_files(voc):
    assert CellVOCDataset.read_classes(voc) == ('RBC', 'WBC')
    assert CellVOCDataset.read_classes({**voc, 'metainfo': {'classes': ('WBC', 'RBC')}}) == ('WBC', 'RBC')
    assert [path.name for path in CellVOCDataset.image_files(voc)] == ['c.JPG', 'a.png', 'b.jpg']
    assert [path.name for path in CellVOCDataset.image_files({**voc, 'ann_file': ''})] == [
        'a.png', 'b.jpg', 'c.JPG', 'v.jpg']  # v.jpg is not there, and that is for the caller to find


def test_voc_classes_are_held_to_the_files(voc):
    dataset = build(voc, metainfo={'classes': ('WBC', 'Platelets', 'RBC')})  # Platelets: in another file of the folder
    assert named_boxes(dataset)[1] == [('WBC', 1, 1, 11, 21)]
    assert build(voc, metainfo={'classes': ('WBC',)}).dropped == {'unknown_class': 3}
    for test_mode in (True, False):
        with pytest.raises(DataError, match=r'train\.txt: no class "Rbc".* mean "RBC"\? The file has: RBC, WBC'):
            build(voc, metainfo={'classes': ('WBC', 'Rbc')}, test_mode=test_mode)
    with pytest.raises(DataError, match='no class "Blast"'):
        build(voc, metainfo={'classes': ('WBC', 'RBC', 'Blast')})
    rare = build(voc, metainfo={'classes': ('WBC', 'RBC', 'Blast')}, test_mode=True)  # absent by chance
    assert rare.metainfo['classes'] == ('WBC', 'RBC', 'Blast')


def test_voc_images_without_boxes(voc):
    assert len(build(voc, filter_cfg={'filter_empty_gt': True})) == 2
    assert len(build(voc)) == 3


def test_voc_size_from_the_image_and_choice_by_filename(tmp_path):
    voc_file(tmp_path, 'sub/a', [('RBC', 0, 0, 30, 30, 0)], size=None, filename='a.png')
    (tmp_path / 'JPEGImages' / 'sub').mkdir(parents=True)
    for name, width in (('a.jpg', 20), ('a.png', 50)):
        cv2.imwrite(str(tmp_path / 'JPEGImages' / 'sub' / name), np.zeros((HEIGHT, width), np.uint8))
    (tmp_path / 'val.txt').write_text('sub/a')
    info = CellVOCDataset('val.txt', data_root=str(tmp_path)).get_data_info(0)
    assert (info['height'], info['width']) == (HEIGHT, 50)
    assert info['img_path'].endswith('JPEGImages/sub/a.png')


def test_voc_defects(tmp_path):
    cfg = voc_set(tmp_path)
    voc_file(tmp_path, 'a', [('RBC', 'x', 0, 5, 5, 0), ('', 1, 1, 9, 9, 0)])
    with pytest.raises(DataError, match=r'a\.xml: object 1: \("RBC"\) needs a <bndbox>'):
        build(cfg)
    assert build(cfg, on_bad_annotation='drop').dropped == {'bad_box': 1, 'no_category': 1, 'degenerate': 1}
    (tmp_path / 'train.txt').write_text('c\nz\n')
    with pytest.raises(DataError, match=r'train\.txt: line 2 \(z\): .* no file .*Annotations/z\.xml'):
        build(cfg)
    with pytest.raises(DataError, match=r'none: no such folder of annotations'):
        build(cfg, ann_file='', data_prefix={'img': 'JPEGImages', 'ann': 'none'})
    with pytest.raises(DataError, match=r'JPEGImages: there is no XML file in this folder'):
        build(cfg, ann_file='', data_prefix={'img': 'JPEGImages', 'ann': 'JPEGImages'})


# ------------------------------------------------------------------------------------------------------ real data


@pytest.mark.parametrize(('split', 'images', 'boxes'), [
    ('train', 205, {'RBC': 2381, 'WBC': 214, 'Platelets': 209}), ('val', 87, {'RBC': 967, 'WBC': 87, 'Platelets': 83})])
def test_bccd(real_data, split, images, boxes):
    dataset = CellVOCDataset(f'ImageSets/Main/{split}.txt', data_root=str(real_data / 'bccd'))
    assert len(dataset) == images
    assert dataset.metainfo['classes'] == ('Platelets', 'RBC', 'WBC')
    assert dataset.dropped == {'degenerate': 1}
    found = Counter(box[0] for items in named_boxes(dataset).values() for box in items)
    assert found == boxes
    assert sum(boxes.values()) == {'train': 2804, 'val': 1137}[split]
    edges = np.array([box[1:] for items in named_boxes(dataset).values() for box in items])
    assert edges[:, :2].min() == 1
    assert edges[:, 2:].max(0).tolist() == [640, 480]


def test_lungs(real_data):
    cfg = {'ann_file': 'annotations/train.json', 'data_root': str(real_data / 'cxr_lungs')}
    with pytest.raises(DataError, match=r'train\.json: annotations\[\d+\] \(id \d+\): .*"category_id"'):
        CellDataset(**cfg)
    dataset = CellDataset(**cfg, on_bad_annotation='drop')
    assert len(dataset) == 363
    assert dataset.metainfo['classes'] == ('Right Lung', 'Left Lung')
    assert dataset.dropped == {'no_category': 1}
    assert sum(map(len, named_boxes(dataset).values())) == 725
    assert all(path.is_file() for path in CellDataset.image_files(cfg | {'on_bad_annotation': 'drop'}))


def test_images_of_another_size_than_is_stated(tmp_path):
    """Looked at before a run, by their headers; those that cannot be read are told elsewhere."""
    cfg = coco_set(tmp_path, images=(1, 2, 4))
    for key, shape in ((1, (HEIGHT, WIDTH)), (2, (WIDTH, HEIGHT))):
        cv2.imwrite(str(tmp_path / 'images' / f'{key}.png'), np.zeros(shape, np.uint8))
    with pytest.raises(DataError, match=rf'images\[1\] \(id 2\): "2.png" has {HEIGHT} x {WIDTH} px, its'):
        CellDataset.check_contents(cfg)


GOOD = [(1, 10, 5, 5, 10, 10, {}), (2, 20, 30, 9, 12, 9, {})]
NOTHING_TO_USE = {
    'normalised': ([(1, 10, 0.1, 0.2, 0.3, 0.4, {}), (2, 20, 0, 0, 1, 1, {})], 'look normalised'),
    'exchanged': ([(1, 10, 15, 15, -10, -10, {})], 'corners look exchanged'),
    'outside': ([(1, 10, 500, 5, 10, 10, {})], 'lie outside'), 'none': ([], 'the annotations hold no box'),
    'corners': ([(1, 10, 20 + k, 15 + k, 35 + k, 30 + k, {}) for k in range(6)], 'look like two corners'),
    'crowd': ([(1, 10, 5, 5, 10, 10, {'iscrowd': 1})], '1 iscrowd or difficult'),
    'ignore': ([(1, 10, 5, 5, 10, 10, {'ignore': 1})], '1 marked_ignore'),
    'class': ([(1, 20, 5, 5, 10, 10, {})], 'names WBC; the annotations also have RBC, Platelets')}


@pytest.mark.parametrize('mistake', NOTHING_TO_USE)
@pytest.mark.parametrize('test_mode', [False, True])
def test_set_without_a_box_to_use(mistake, test_mode, tmp_path):
    boxes, words = NOTHING_TO_USE[mistake]
    cfg = coco_set(tmp_path, boxes) | {'test_mode': test_mode}
    if mistake == 'class':
        cfg['metainfo'] = {'classes': ('WBC',)}
    what = rf'train\.json: 4 images without a box to {"judge by" if test_mode else "learn from"}: .*{words}'
    for call in (build, CellDataset.check_contents):
        with pytest.raises(DataError, match=f'{what}.*allow_no_boxes=True'):
            call(cfg)
    assert len(build(cfg, allow_no_boxes=True)) == 4
    CellDataset.check_contents(cfg | {'allow_no_boxes': True})


@pytest.mark.parametrize('limits, enough', [
    ({'indices': 1}, False), ({'indices': 2}, True), ({'indices': -1}, True), ({'indices': [0, 2]}, False),
    ({'indices': [3, 0]}, True), ({'indices': 1, 'filter_cfg': {'filter_empty_gt': True}}, True)])
def test_limit_that_cuts_all_boxes_off(limits, enough, tmp_path):
    cfg = coco_set(tmp_path, GOOD) | limits  # in the order of the file: images 3, 1, 4, 2
    for call in (build, CellDataset.check_contents):
        if enough:
            call(cfg)
        else:
            with pytest.raises(DataError, match='of 4 images are used .*none of these has a box; 2 images have some'):
                call(cfg)


def test_voc_set_without_a_box_to_use(tmp_path):
    for folder in ('Annotations', 'JPEGImages'):
        (tmp_path / folder).mkdir()
    corners = {'xmin': 30, 'ymin': 20, 'xmax': 10, 'ymax': 12}
    box = ''.join(f'<{key}>{value}</{key}>' for key, value in corners.items())
    (tmp_path / 'Annotations' / 'a.xml').write_text(
        '<annotation><size><width>60</width><height>40</height></size>'
        f'<object><name>RBC</name><bndbox>{box}</bndbox></object></annotation>')
    cfg = {'type': 'cxrdet.CellVOCDataset', 'data_root': str(tmp_path)}
    for call in (build, CellVOCDataset.check_contents):
        with pytest.raises(DataError, match='1 of 1 boxes have an xmax below xmin'):
            call(cfg)
    assert len(build(cfg, allow_no_boxes=True)) == 1
