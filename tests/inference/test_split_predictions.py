"""Predictions beside the ground truth: those of predict(), of every split, of wrapped data sets, and what can fail."""
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from cxrdet.core.errors import ConfigError, DataError

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[2]
TINY = ROOT / 'configs' / 'faster_rcnn_bifpn_cell_tiny.py'


@pytest.fixture(scope='module')
def config(cell_phantoms):
    from cxrdet.preflight.config import load_config
    return load_config(TINY, data_root=cell_phantoms, cfg_options=[
        'model.backbone.init_cfg=None', 'model.test_cfg.rcnn.max_per_img=20', 'model.test_cfg.rcnn.score_thr=0.0'])


@pytest.fixture(scope='module')
def loaded(config, tmp_path_factory):
    """An untrained model behind a checkpoint as training would write it."""
    import copy

    from mmengine.registry import MODELS, DefaultScope

    from cxrdet.inference.split_predictions import load_model
    from cxrdet.preflight.data import follow_classes
    cfg = copy.deepcopy(config)
    classes = follow_classes(cfg)
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = MODELS.build(cfg.model)
    model.init_weights()
    path = tmp_path_factory.mktemp('checkpoint') / 'epoch_1.pth'
    torch.save({'meta': {'dataset_meta': {'classes': classes}}, 'state_dict': model.state_dict()}, path)
    before = config.to_dict()
    loaded = load_model(config, path, splits=('train', 'val'), device='cpu')
    assert config.to_dict() == before
    return loaded


def coco(cell_phantoms, split):
    return json.loads((cell_phantoms / 'annotations' / f'{split}.json').read_text())


def test_predictions_are_those_of_predict(config, loaded, cell_phantoms, tmp_path):
    from cxrdet.inference.predict import predict
    from cxrdet.inference.split_predictions import collect
    steps = []
    found = collect(loaded, 'val', progress=lambda *args: steps.append(args))
    assert (found.task, found.split, found.total, len(found.records)) == ('detection', 'val', 4, 4)
    assert steps[-1] == (4, 4) and found.classes == tuple(item['name'] for item in coco(cell_phantoms, 'val')[
        'categories'])
    expected = {record['file']: record for record in predict(
        config, loaded.checkpoint, Path(found.records[0]['image']).parent, out_dir=tmp_path, score_thr=0,
        batch_size=4, pictures=False, device='cpu')}
    for record in found.records:
        other = expected[Path(record['image']).name]
        assert len(record['scores']) == 20 and (np.diff(record['scores']) <= 0).all()
        np.testing.assert_allclose(record['scores'], other['scores'], atol=2e-3)  # other images in the batch
        np.testing.assert_allclose(np.sort(record['boxes'].sum(1)), np.sort(np.sum(other['boxes'], axis=1)), rtol=0.02)
        assert (record['width'], record['height']) == (other['width'], other['height'])
    assert found.pairing.images == 4 and found.pairing is found.pairing
    np.testing.assert_array_equal(found.pairing.score[:20], found.records[0]['scores'])


@pytest.mark.parametrize('split', ['train', 'val'])
def test_ground_truth_is_that_of_the_file(loaded, cell_phantoms, split):
    from cxrdet.inference.split_predictions import collect
    content, found = coco(cell_phantoms, split), collect(loaded, split, images=2)
    assert found.total == len(content['images']) and len(found.records) == 2
    assert found.counts.tolist() == [sum(box['category_id'] == item['id'] for box in content['annotations'])
                                     for item in content['categories']]
    ids = {image['file_name']: image['id'] for image in content['images']}
    for record in found.records:
        image_id = next(number for name, number in ids.items() if record['image'].endswith(name))
        boxes = [box['bbox'] for box in content['annotations'] if box['image_id'] == image_id]
        np.testing.assert_allclose(record['gt_boxes'], [[x, y, x + w, y + h] for x, y, w, h in boxes])
        assert record['facts']['img_id'] == image_id and not record['gt_ignore'].any()


def test_samples_are_drawn_by_the_seed(loaded):
    from cxrdet.inference.split_predictions import collect
    drawn = [[record['image'] for record in collect(loaded, 'train', images=3, seed=seed).records]
             for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2] and drawn[0] == sorted(drawn[0])
    spaced = collect(loaded, 'train', images=3, seed=None)
    everything = [record['image'] for record in collect(loaded, 'train').records]
    assert [record['image'] for record in spaced.records] == [everything[0], everything[3], everything[7]]
    assert spaced.inputs == {(3, 3, 256, 256): 1}  # one batch


def test_wrappers_are_taken_off(loaded, cell_phantoms):
    """A training set whose images are repeated, and two sets in one: every image once, without augmentation."""
    import copy

    from cxrdet.inference.split_predictions import collect
    cfg = copy.deepcopy(loaded.cfg)
    inner, val = cfg.train_dataloader.dataset, copy.deepcopy(cfg.val_dataloader.dataset)
    val['pipeline'] = [dict(type='RandomFlip', prob=1.0)]
    cfg.train_dataloader.dataset = dict(type='RepeatDataset', times=3, dataset=dict(
        type='ConcatDataset', datasets=[inner, val]))
    found = collect(loaded._replace(cfg=cfg), 'train')
    assert found.total == len(found.records) == len({record['image'] for record in found.records}) == 12
    plain = collect(loaded, 'val')
    np.testing.assert_allclose(found.records[-1]['gt_boxes'], plain.records[-1]['gt_boxes'])


def test_errors(config, loaded, cell_phantoms, tmp_path):
    from cxrdet.inference.split_predictions import collect, judge, load_model
    from cxrdet.preflight.config import load_config
    with pytest.raises(ConfigError, match='split must be one of train, val, test, got "vall"'):
        load_model(config, loaded.checkpoint, splits=('vall',))
    with pytest.raises(ConfigError, match=r'(?s)problem.*no such folder: .*nowhere'):
        judge(load_config(TINY, data_root=tmp_path / 'nowhere'), loaded.checkpoint)
    assert config.val_dataloader.dataset.data_root == str(cell_phantoms)
    cfg = loaded.cfg.copy()
    cfg.pop('train_dataloader')
    with pytest.raises(ConfigError, match='train_dataloader: the config has no data of this split'):
        load_model(cfg, loaded.checkpoint, splits=('train',))
    with pytest.raises(ConfigError, match='expected a train_dataloader and a test pipeline'):
        collect(loaded._replace(cfg=cfg), 'train')


@pytest.mark.parametrize('workers', [0, 1])
def test_broken_images_are_named(config, loaded, cell_phantoms, tmp_path, workers):
    import shutil

    from cxrdet.inference.split_predictions import judge
    from cxrdet.preflight.config import load_config
    data = shutil.copytree(cell_phantoms, tmp_path / 'data')
    broken = data / 'images' / coco(cell_phantoms, 'val')['images'][1]['file_name']
    broken.write_bytes(b'no image')
    with pytest.raises(DataError, match=broken.name):
        judge(load_config(TINY, data_root=data, cfg_options=['model.backbone.init_cfg=None']), loaded.checkpoint,
              train_images=0, workers=workers)
