"""OperatingPointHook in whole runs: the thresholds of a file are those that its own weights ask for."""
import numpy as np
import pytest
import torch
from mmengine.model import BaseModel
from mmengine.runner import Runner
from mmpretrain.structures import DataSample
from torch import nn

import cxrdet  # noqa: F401
from cxrdet.checkpoints.checkpoint import Checkpoint, install_safe_loader
from cxrdet.core.classification.operating_points import choose_points
from cxrdet.engine.hooks.operating_points import OperatingPointHook, hand_over
from cxrdet.registry import HOOKS

CLASSES = ('Mass', 'Edema')
POINTS = {'youden': 'youden', 'low': 0.3}


class Data(torch.utils.data.Dataset):
    metainfo = dict(classes=CLASSES)

    def __init__(self, seed, count=24):
        rng = np.random.default_rng(seed)
        self.labels = (rng.random((count, 2)) < 0.4).astype(np.float32)
        self.values = (rng.normal(size=(count, 4)) + self.labels[:, [0, 1, 0, 1]]).astype(np.float32)

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        sample = DataSample().set_gt_score(torch.tensor(self.labels[index]))
        return dict(inputs=torch.tensor(self.values[index]), data_samples=sample)


class Model(BaseModel):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.linear = nn.Linear(4, 2)

    def forward(self, inputs, data_samples=None, mode='tensor'):
        logits = self.linear(torch.stack(list(inputs)))
        if mode == 'loss':
            target = torch.stack([sample.gt_score for sample in data_samples])
            return dict(loss=nn.functional.binary_cross_entropy_with_logits(logits, target))
        return [sample.set_pred_score(score) for sample, score in zip(data_samples, logits.sigmoid())]


@pytest.fixture(scope='module')
def make_runner():
    install_safe_loader()
    threads = torch.get_num_threads()

    def make(work_dir, *, ema=False, hook=True, epochs=3, load_from=None, test_seed=2):
        def loader(seed, shuffle):
            return dict(dataset=Data(seed), batch_size=8, num_workers=0,
                        sampler=dict(type='DefaultSampler', shuffle=shuffle), collate_fn=dict(type='pseudo_collate'))
        metric = dict(type='cxrdet.MultiLabelMetric', operating_points=POINTS, resamples=0)
        return Runner(
            model=dict(type=Model), work_dir=str(work_dir), log_level='ERROR', train_dataloader=loader(0, True),
            val_dataloader=loader(1, False), test_dataloader=loader(test_seed, False), train_cfg=dict(
                by_epoch=True, max_epochs=epochs), val_cfg=dict(), test_cfg=dict(), val_evaluator=metric,
            test_evaluator=metric, optim_wrapper=dict(optimizer=dict(type='SGD', lr=1.0)), load_from=load_from,
            default_hooks=dict(
                checkpoint=dict(type='cxrdet.CheckpointHook', interval=1, save_best='multi-label/AUROC_mean',
                                rule='greater'),
                **(dict(operating_points=dict(type='cxrdet.OperatingPointHook')) if hook else {})),
            custom_hooks=[dict(type='EMAHook', momentum=0.1)] if ema else [], default_scope='mmengine',
            experiment_name=work_dir.name, randomness=dict(seed=0))
    yield make
    torch.set_num_threads(threads)


def scores_of(path, seed=1):
    """Labels and scores of the weights in a file, without Runner, metric and hook."""
    model, data = Model(), Data(seed)
    model.load_state_dict(Checkpoint.read(path).content['state_dict'])
    with torch.no_grad():
        return data.labels.astype(float), model.linear(torch.tensor(data.values)).sigmoid().double().numpy()


@pytest.fixture(scope='module', params=[False, True], ids=['plain', 'ema'])
def trained(request, make_runner, tmp_path_factory):
    folder = tmp_path_factory.mktemp('ema' if request.param else 'plain')
    make_runner(folder, ema=request.param).train()
    return folder


def test_thresholds_belong_to_the_weights(trained):
    best, = trained.glob('best_*.pth')
    content = Checkpoint.read(best).content['meta']['operating_points']
    expected = choose_points(POINTS, *scores_of(best), CLASSES)
    np.testing.assert_allclose(content['thresholds']['youden'], expected.thresholds['youden'], rtol=1e-5)
    assert content['temperature'] == pytest.approx(expected.temperature, rel=1e-4)
    assert (content['classes'], content['rules'], content['images']) == (list(CLASSES), {'youden': 'youden',
                                                                                         'low': '0.3'}, 24)
    others = [choose_points(POINTS, *scores_of(path), CLASSES).thresholds['youden'] for path in trained.glob('epoch_*')
              if not np.array_equal(scores_of(path)[1], scores_of(best)[1])]
    assert others and all((other != content['thresholds']['youden']).any() for other in others)  # so the test can fail


def test_checkpoints_from_before_the_validation_have_none(trained):
    files = list(trained.glob('epoch_*.pth'))
    assert len(files) == 3 and not any('operating_points' in Checkpoint.read(path).content['meta'] for path in files)


def test_a_test_set_gets_those_of_the_loaded_file(trained, make_runner, tmp_path):
    best, = trained.glob('best_*.pth')
    runner = make_runner(tmp_path, load_from=str(best))
    found = runner.test()
    labels, scores = scores_of(best, seed=2)
    called = scores >= np.array(Checkpoint.read(best).content['meta']['operating_points']['thresholds']['youden'])
    assert found['multi-label/accuracy_micro@youden'] == pytest.approx((called == labels).mean())
    own = scores >= choose_points(POINTS, labels, scores, CLASSES).thresholds['youden']
    assert (own != called).any()
    assert runner.test_evaluator.metrics[0].chosen is None


def test_none_are_chosen_on_a_test_set(trained, make_runner, tmp_path):
    found = make_runner(tmp_path, load_from=str(trained / 'epoch_1.pth')).test()
    assert 'multi-label/accuracy_micro@low' in found and 'multi-label/accuracy_micro@youden' not in found


def test_after_training_the_test_set_gets_those_of_the_last_validation(make_runner, tmp_path):
    runner = make_runner(tmp_path, epochs=1)
    runner.train()
    runner.test()
    content, source = runner.test_evaluator.metrics[0]._stored
    assert source == 'the last validation of this run' and content == runner.val_evaluator.metrics[0].chosen.to_dict()


def test_other_metrics_are_left_alone():
    from types import SimpleNamespace
    other = SimpleNamespace()
    runner = SimpleNamespace(test_loop=SimpleNamespace(evaluator=SimpleNamespace(metrics=[other])),
                             val_evaluator=SimpleNamespace(metrics=[other]))
    hand_over(runner, None, 'x.pth')
    hook, checkpoint = HOOKS.build(dict(type='cxrdet.OperatingPointHook')), dict(meta={})
    assert isinstance(hook, OperatingPointHook)
    hook.after_val_epoch(runner, {})
    hook.before_save_checkpoint(runner, checkpoint)
    assert checkpoint == dict(meta={}) and vars(other) == {}
