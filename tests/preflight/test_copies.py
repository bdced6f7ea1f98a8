"""No image file on both sides of a split, under whatever name."""
import json
import shutil
from pathlib import Path

import pytest

from cxrdet.core.errors import ConfigError
from cxrdet.preflight.check import examine
from cxrdet.preflight.config import load_config
from cxrdet.preflight.data import check_run, copy_problems

CONFIG = Path(__file__).parents[2] / 'configs' / 'faster_rcnn_bifpn_cell_tiny.py'


@pytest.fixture
def root(cell_phantoms, tmp_path):
    """A copy of the phantoms, whose validation set begins with an image of the training set, renamed."""
    root = tmp_path / 'cell'
    shutil.copytree(cell_phantoms, root)
    train, val = (json.loads((root / 'annotations' / f'{split}.json').read_text()) for split in ('train', 'val'))
    taken, given = val['images'][0]['file_name'], train['images'][3]['file_name']
    shutil.copy(root / 'images' / given, root / 'images' / taken)
    return root, given, taken


def config(root, **options):
    return load_config(CONFIG, data_root=root, cfg_options=[f'{key}={value}' for key, value in options.items()] or None)


def test_a_copy_under_another_name(root):
    root, given, taken = root
    with pytest.raises(ConfigError) as caught:
        check_run(config(root), mode='train')
    val, = str(caught.value).splitlines()[1:]
    assert f'val_dataloader: 1 of its 4 images are in the training set as well, byte by byte: {root}/images/{taken} ' \
           f'= {root}/images/{given}. Its scores would be too good' in val
    assert 'allow_shared_images=True' in val
    check_run(config(root, allow_shared_images=True), mode='train')
    check_run(config(root), mode='test')


def test_the_same_file_on_purpose(cell_phantoms):
    place = {f'{name}_dataloader.dataset.ann_file': 'annotations/train.json' for name in ('val', 'test')}
    with pytest.raises(ConfigError, match='8 of its 8 images .*--cfg-options allow_shared_images=True'):
        check_run(config(cell_phantoms, **place), mode='train')
    check_run(config(cell_phantoms, **place, allow_shared_images=True), mode='train')


def test_sides_that_are_not_there_or_not_read(root):
    cfg = config(root[0])
    cfg.val_cfg = cfg.test_dataloader = None
    assert copy_problems(examine(cfg)) == []
    cfg = config(root[0])
    cfg.val_cfg = None
    assert [line.split(':')[0] for line in copy_problems(examine(cfg))] == ['test_dataloader']
    cfg = config(root[0], **{'test_dataloader.dataset.ann_file': 'annotations/none.json'})
    assert [line.split(':')[0] for line in copy_problems(examine(cfg))] == ['val_dataloader']


def test_stock_set(root):
    cfg = config(root[0])
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
    cfg = config(root, **{'test_dataloader.dataset.ann_file': 'annotations/test.json'})
    assert ['2 of its 2 images are in the validation set' in line
            for line in copy_problems(examine(cfg))] == [False, True]
