"""What a training leaves in its work folder, and how it ends when its loss is no number."""
import json

import pytest

CONFIG = 'configs/faster_rcnn_bifpn_cell_tiny.py'
SMALL = ['model.neck.out_channels=16', 'model.neck.num_layers=1', 'model.rpn_head.in_channels=16',
         'model.rpn_head.feat_channels=16', 'model.roi_head.bbox_roi_extractor.out_channels=16',
         'model.roi_head.bbox_head.in_channels=16', 'model.roi_head.bbox_head.fc_out_channels=16',
         'model.backbone.base_channels=16', 'model.backbone.stem_channels=16', 'model.neck.in_channels=[16,32,64,128]',
         'train_dataloader.num_workers=0', 'train_dataloader.persistent_workers=False', 'train_dataloader.batch_size=2',
         'val_dataloader.num_workers=0', 'val_dataloader.persistent_workers=False', 'val_cfg.fp16=False',
         'train_cfg.max_epochs=2', 'train_cfg.val_interval=1', 'default_hooks.logger.interval=1']


def train(tool, data, work_dir, *options):
    return tool('train').main([CONFIG, '--data-root', str(data), '--work-dir', str(work_dir), '--seed', '3',
                               '--train-limit', '4', '--valid-limit', '2', '--cfg-options', *SMALL, *options])


@pytest.fixture(scope='module')
def run(tool, cell_phantoms, tmp_path_factory):
    work_dir = tmp_path_factory.mktemp('run')
    assert train(tool, cell_phantoms, work_dir, 'visualizer.vis_backends.0.type=TensorboardVisBackend') == 0
    return work_dir


def test_history_of_a_detector(run):
    records = json.loads((run / 'history.json').read_text())
    assert [(record['epoch'], record['iter']) for record in records] == [(1, 2), (2, 4)]
    for record in records:
        assert {'loss', 'loss_cls', 'loss_bbox', 'loss_rpn_cls'} <= set(record['train'])
        assert {'val/loss', 'coco/bbox_mAP', 'coco/AP_RBC', 'coco/F1'} <= set(record['val'])
        assert set(record['lr']) == {'all'}
        assert set(record['time']) == {'train', 'val'}
    best = json.loads((run / 'metrics.json').read_text())['best']
    assert best['metric'] == 'coco/bbox_mAP'
    assert (run / f'best_coco_bbox_mAP_epoch_{best["epoch"]}.pth').is_file()
    assert (run / 'training_plot.png').read_bytes().startswith(b'\x89PNG')


def test_tensorboard_has_the_values_of_each_class(run):
    accumulator = pytest.importorskip('tensorboard.backend.event_processing.event_accumulator')
    folder, = run.glob('*/vis_data')
    events = accumulator.EventAccumulator(str(folder)).Reload()
    records = json.loads((run / 'history.json').read_text())
    for name in ('coco/bbox_mAP', 'val/loss', *(f'coco/{value}_{kind}' for value in ('AP', 'recall')
                                                for kind in ('RBC', 'WBC', 'Platelets'))):
        found = {event.step: event.value for event in events.Scalars(name)}
        for record in records:
            expected = record['val'][name]
            value = found[record['epoch']]
            assert value == pytest.approx(expected, rel=1e-5) if expected is not None else value != value, name
    assert len(events.Scalars('loss')) == 4
    assert events.Scalars('lr')


def test_a_loss_that_is_no_number_ends_the_run_with_one_message(tool, cell_phantoms, tmp_path, capsys):
    code = train(tool, cell_phantoms, tmp_path, 'optim_wrapper.optimizer.lr=1e12', 'param_scheduler=[]')
    text = capsys.readouterr().err
    assert code == 2
    assert 'error: The loss is not finite at iteration ' in text
    assert text.count('/images/') == 2
    assert 'the 2 images of the batch' in text
    assert 'Traceback' not in text
