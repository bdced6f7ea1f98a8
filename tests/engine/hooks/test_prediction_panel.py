"""Panels in the event file and in the folder of the local backend: which, how large, at which steps, after a resume."""
import copy
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from cxrdet.core.errors import ConfigError
from cxrdet.engine.hooks.prediction_panel import PredictionPanelHook

pytestmark = pytest.mark.long

TAGS = [f'prediction_panel_{number}' for number in (1, 2, 3, 4)]
PLAIN = ['num_workers=0', 'persistent_workers=False']
LOADERS = [f'{split}_dataloader.{option}' for split in ('train', 'val') for option in PLAIN]
DETECTOR = 'configs/faster_rcnn_bifpn_cell_tiny.py', [
    *LOADERS, 'model.neck.out_channels=16', 'model.neck.num_layers=1', 'model.rpn_head.in_channels=16',
    'model.rpn_head.feat_channels=16', 'model.roi_head.bbox_roi_extractor.out_channels=16',
    'model.roi_head.bbox_head.in_channels=16', 'model.roi_head.bbox_head.fc_out_channels=16',
    'model.backbone.base_channels=16', 'model.backbone.stem_channels=16', 'model.neck.in_channels=[16,32,64,128]',
    'val_cfg.fp16=False']
CLASSIFIER = 'configs/resnet18_chest_phantom.py', [
    *LOADERS, 'model.backbone.base_channels=16', 'model.backbone.stem_channels=16', 'model.head.in_channels=128',
    'train_dataloader.dataset.pipeline.1.scale=64', 'val_dataloader.dataset.pipeline.1.scale=64']


@pytest.fixture(scope='module')
def chest(tmp_path_factory):
    from cxrdet.datasets.phantoms import write_chest_phantoms
    folder = tmp_path_factory.mktemp('chest') / 'data'
    write_chest_phantoms(folder, num_images=40, size=64)
    return folder


def run(tool, config, options, data, work_dir, *, epochs, resume=False, interval=2):
    tool('train')  # as if the process had just begun
    from cxrdet.apis import load_config, train
    cfg = load_config(config, data_root=data, work_dir=work_dir, train_limit=4, cfg_options=[
        *options, f'train_cfg.max_epochs={epochs}', 'train_cfg.val_interval=1', 'param_scheduler=[]',
        'train_dataloader.batch_size=4'])
    cfg.visualizer.vis_backends = [dict(type='LocalVisBackend'), dict(type='TensorboardVisBackend')]
    cfg.default_hooks.panel = dict(type='cxrdet.PredictionPanelHook', interval=interval, size=160)
    return train(cfg, resume=resume)


def events(work_dir):
    """{tag: {step: image}} of all event files."""
    accumulator = pytest.importorskip('tensorboard.backend.event_processing.event_accumulator')
    found = {}
    for folder in sorted(work_dir.glob('*/vis_data')):
        reader = accumulator.EventAccumulator(str(folder), size_guidance={'images': 0}).Reload()
        for tag in reader.Tags()['images']:
            for event in reader.Images(tag):
                picture = cv2.imdecode(np.frombuffer(event.encoded_image_string, np.uint8), cv2.IMREAD_COLOR)
                found.setdefault(tag, {})[event.step] = picture
    return found


def files(work_dir):
    """{(tag, step): image} of the local backend."""
    found = {}
    for path in work_dir.glob('*/vis_data/vis_image/*.png'):
        tag, _, step = path.stem.rpartition('_')
        found[tag, int(step)] = cv2.imread(str(path))
    return found


@pytest.mark.parametrize('config, options, data', [(*DETECTOR, 'cell_phantoms'), (*CLASSIFIER, 'chest')],
                         ids=['detector', 'classifier'])
def test_panels_reach_both_backends_and_go_on_after_a_resume(config, options, data, tool, tmp_path, request):
    folder = request.getfixturevalue(data)
    run(tool, config, options, folder, tmp_path, epochs=3)
    found, saved = events(tmp_path), files(tmp_path)
    assert sorted(found) == TAGS and {step for tag in TAGS for step in found[tag]} == {2}
    assert sorted(saved) == [(tag, 2) for tag in TAGS]
    shapes = {picture.shape for picture in saved.values()}
    assert len(shapes) == 1 and next(iter(shapes))[:2] >= (160, 320)
    for tag in TAGS:
        np.testing.assert_array_equal(found[tag][2], saved[tag, 2])
        assert len(np.unique(saved[tag, 2])) > 20
    assert not np.array_equal(saved[TAGS[0], 2], saved[TAGS[1], 2])
    run(tool, config, options, folder, tmp_path, epochs=4, resume=True)
    found, saved = events(tmp_path), files(tmp_path)
    assert sorted(saved) == [(tag, step) for tag in TAGS for step in (2, 4)]
    for tag in TAGS:
        assert sorted(found[tag]) == [2, 4] and found[tag][2].shape == found[tag][4].shape
        left = (slice(10, 150), slice(10, 150))  # the same image, with its ground truth, whatever is predicted
        np.testing.assert_array_equal(saved[tag, 2][left], saved[tag, 4][left])


def runner_at(epoch, *, val_interval=1, iterations=None, images=9):
    """As much of a runner as tells whether a panel is due."""
    from mmengine.runner import IterBasedTrainLoop
    loop = SimpleNamespace(val_interval=val_interval) if iterations is None else object.__new__(IterBasedTrainLoop)
    loop.val_interval = val_interval
    dataset = list(range(images))
    return SimpleNamespace(epoch=epoch, iter=iterations, train_loop=loop, _train_loop=loop,
                           val_loop=SimpleNamespace(dataloader=SimpleNamespace(dataset=dataset)))


@pytest.mark.parametrize('every, expected', [(1, [5, 10, 15, 20]), (2, [6, 10, 16, 20]), (5, [5, 10, 15, 20]),
                                             (7, [7, 14])])
def test_every_five_epochs_or_the_validation_after(every, expected):
    hook = PredictionPanelHook()
    due = [epoch for epoch in range(every, 21, every) if hook._is_due(runner_at(epoch, val_interval=every))]
    assert due == expected


def test_every_five_validations_of_a_run_by_iterations():
    hook = PredictionPanelHook()
    due = [step for step in range(100, 1600, 100) if hook._is_due(runner_at(0, val_interval=100, iterations=step))]
    assert due == [500, 1000, 1500]


@pytest.mark.parametrize('images, expected', [(9, [0, 2, 5, 8]), (3, [0, 1, 2]), (1, [0])])
def test_the_same_images_evenly_spaced(images, expected):
    hook = PredictionPanelHook()
    for _ in range(2):
        hook.before_train(runner_at(0, images=images))
        assert hook._chosen == expected


def test_panels_are_of_the_averaged_weights():
    """EMAHook puts the trained weights back after a validation: the panels come before it."""
    from mmengine.hooks import EMAHook
    from mmengine.runner.priority import get_priority
    assert get_priority(PredictionPanelHook.priority) < get_priority(EMAHook.priority)


def test_errors():
    with pytest.raises(ConfigError, match=r'interval must lie in \[1, .* got 0'):
        PredictionPanelHook(0)
    runner = runner_at(0)
    runner.val_loop = None
    with pytest.raises(ConfigError, match='the config has no val_dataloader'):
        PredictionPanelHook().before_train(runner)


def test_nothing_is_drawn_outside_of_training():
    PredictionPanelHook().after_val_epoch(copy.copy(runner_at(5)))  # no visualizer is asked for
