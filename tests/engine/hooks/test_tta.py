"""TTAHook on a training of one epoch of a classifier that sees nothing but where the image is bright."""
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import BaseDataset, Compose
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from mmengine.runner import Runner

from cxrdet.core.errors import ConfigError
from cxrdet.engine.hooks import TTAHook
from cxrdet.engine.tta import tta_pipeline

pytestmark = pytest.mark.long


class Bright(BaseDataset):
    """Three images, dark on the left and bright on the right."""

    def load_data_list(self):
        image = np.zeros((4, 8, 3), np.uint8)
        image[:, 4:] = 255
        return [dict(img=image, gt_label=1) for _ in range(3)]


class Side(BaseModel):
    """Scores: the share of light on the left and on the right, with a parameter to train."""

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(1))

    def forward(self, inputs, data_samples=None, mode='tensor'):
        if mode == 'loss':
            return dict(loss=self.scale.sum())
        for image, sample in zip(inputs, data_samples):
            halves = image.float()[0].mean(0).reshape(2, 4).mean(1) / 255
            sample.set_pred_score(halves)
        return data_samples


class Seen(BaseMetric):
    """Notes the scores of all images."""
    default_prefix = 'seen'
    scores: list = []

    def process(self, data_batch, data_samples):
        self.results += [sample['pred_score'].tolist() for sample in data_samples]

    def compute_metrics(self, results):
        Seen.scores.append(results)
        return dict(right=sum(right for _, right in results) / len(results))


@pytest.fixture
def runner(tmp_path):
    """Build a run with one TTAHook of the given arguments."""
    Seen.scores.clear()

    def build(pipeline=None, **arguments):
        steps = [dict(type='mmdet.LoadImageFromNDArray'), dict(type='mmpretrain.PackInputs')]
        loader = dict(batch_size=2, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False),
                      collate_fn=dict(type='default_collate'), dataset=dict(type=Bright, pipeline=steps))
        cfg = dict(model=dict(type=Side), work_dir=str(tmp_path), default_scope='mmpretrain', train_dataloader=loader,
                   val_dataloader=loader, test_dataloader=loader, val_evaluator=dict(type=Seen),
                   test_evaluator=dict(type=Seen), train_cfg=dict(by_epoch=True, max_epochs=1), val_cfg=dict(),
                   test_cfg=dict(), optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.0)),
                   custom_hooks=[dict(type='cxrdet.TTAHook', **arguments)], experiment_name=f'tta_{id(arguments)}')
        return Runner.from_cfg(Config(cfg | (dict(tta_pipeline=pipeline) if pipeline else {})))
    return build


ONE_VIEW, TWO_VIEWS = [[0.0, 1.0]] * 3, [[0.5, 0.5]] * 3


def test_test_has_views_and_everything_is_put_back(runner):
    run = runner()
    plain, model = run.test_loop.dataloader.dataset.pipeline, run.model
    run.test()
    assert Seen.scores == [TWO_VIEWS]
    assert run.model is model
    assert run.test_loop.dataloader.dataset.pipeline is plain
    assert isinstance(plain, Compose)


def test_validations_of_a_training_are_left_alone(runner):
    run = runner(when='test')
    run.train()
    assert Seen.scores == [ONE_VIEW]


def test_final_validation(runner):
    """One more validation, with views, behind those of the training; a test then has none."""
    run = runner(when='final_val')
    run.train()
    assert Seen.scores == [ONE_VIEW, TWO_VIEWS]
    assert isinstance(run.model, Side)
    run.val()
    run.test()
    assert Seen.scores[2:] == [ONE_VIEW, ONE_VIEW]


def test_views_as_asked(runner):
    run = runner(when='both', flips=['vertical'])
    run.test()
    assert Seen.scores == [ONE_VIEW]  # upside down, right stays right
    run = runner(flips=['horizontal', 'vertical', 'diagonal'], scales=[1.0])
    run.test()
    assert Seen.scores[1] == TWO_VIEWS


@pytest.mark.parametrize(('given', 'told'), [
    (dict(scales=[1.1]), r'scales=\[1.1\]'), (dict(flips=[], combine=True), r'flips=\[\], combine=True')])
def test_views_in_two_places(runner, given, told):
    pipeline = tta_pipeline([dict(type='mmdet.LoadImageFromNDArray'), dict(type='mmpretrain.PackInputs')])
    runner(pipeline).test()
    assert Seen.scores == [TWO_VIEWS]
    for start in ('test', 'train'):
        with pytest.raises(ConfigError, match=f'TTAHook has {told}, and the config has a tta_pipeline'):
            getattr(runner(pipeline, when='both', **given), start)()
    assert Seen.scores == [TWO_VIEWS]


def test_unknown_occasion():
    with pytest.raises(ConfigError, match='when must be one of test, final_val, both, got "train"'):
        TTAHook('train')
