"""The switch --tta: what it sets, and that the check of configs knows what stands there."""

import pytest
from mmengine.config import Config

from cxrdet.cli.commands.test import BOX_FUSIONS
from cxrdet.core.detection.fusion import FUSIONS
from cxrdet.core.errors import ConfigError
from cxrdet.core.recipes import find_config
from cxrdet.engine.tta import tta_pipeline
from cxrdet.inference.ensemble import Fusion
from cxrdet.inference.tta import enable_tta
from cxrdet.preflight.check import config_problems


@pytest.fixture(params=['faster_rcnn_bifpn_cell_tiny', 'faster_rcnn_bifpn_bccd', 'resnet18_crops_64'])
def cfg(request):
    return Config.fromfile(find_config(request.param))


def test_hook_is_set_once(cfg):
    before = [dict(hook) for hook in cfg.get('custom_hooks') or []]
    enable_tta(cfg)
    enable_tta(cfg)
    assert cfg.custom_hooks == [*before, dict(type='cxrdet.TTAHook')]
    assert config_problems(cfg) == []
    cfg.custom_hooks = [dict(type='cxrdet.TTAHook', when='final_val', scales=[1.1])]
    enable_tta(cfg)
    assert cfg.custom_hooks == [dict(type='cxrdet.TTAHook', when='both', scales=[1.1])]
    cfg.custom_hooks[0].flip = ['horizontal']
    assert config_problems(cfg) == ['custom_hooks.0.flip: cxrdet.TTAHook takes no argument "flip". Did you mean '
                                    '"flips"?']


def test_sizes_of_views():
    """Every flip at every size, of whatever size the test has."""
    cfg = Config.fromfile(find_config('resnet18_crops_64'))
    cfg.pop('tta_pipeline', None)
    size = next(step.scale for step in cfg.test_dataloader.dataset.pipeline if step.type == 'Resize')
    enable_tta(cfg, scales=[0.5])
    hook = cfg.custom_hooks[-1]
    assert hook == dict(type='cxrdet.TTAHook', scales=[0.5], combine=True)
    views, = tta_pipeline(cfg.test_dataloader.dataset.pipeline, scales=hook.scales, combine=True)[-1]['transforms']
    assert len(views) == 4
    steps = [{step['type']: step for step in view['transforms']} for view in views]
    assert [(step['Resize']['scale'], 'RandomFlip' in step) for step in steps] == [
        (size, False), (size // 2, False), (size, True), (size // 2, True)]
    enable_tta(cfg, scales=[0.8])
    assert cfg.custom_hooks[-1].scales == [0.8]
    with pytest.raises(ConfigError, match='scales from 0.1 to 10'):
        enable_tta(cfg, scales=[0.])
    cfg.tta_pipeline = tta_pipeline(cfg.test_dataloader.dataset.pipeline)
    with pytest.raises(ConfigError, match='--tta-scales is for views that are derived'):
        enable_tta(cfg, scales=[0.9])


def test_model_and_pipeline_of_the_config_are_checked():
    cfg = Config.fromfile(find_config('faster_rcnn_bifpn_bccd'))
    cfg.tta_model = dict(type='cxrdet.WBFTTAModel', fusion='nmw', fusion_cfg=dict(iou_thr=0.6))
    cfg.tta_pipeline = tta_pipeline(cfg.test_dataloader.dataset.pipeline)
    enable_tta(cfg)
    assert config_problems(cfg) == []
    cfg.tta_model.fusin = 'wbf'
    cfg.tta_pipeline[-1]['transforms'][0][0]['transforms'][0]['type'] = 'Resiz'
    assert config_problems(cfg) == [
        'tta_pipeline.2.transforms.0.0.transforms.0.type: "Resiz" is no known transform. Did you mean "Resize"?',
        'tta_model.fusin: cxrdet.WBFTTAModel takes no argument "fusin". Did you mean "fusion"?']


def test_pipelines_without_views_are_refused():
    cfg = Config.fromfile(find_config('faster_rcnn_bifpn_bccd'))
    cfg.tta_pipeline = [dict(type='cxrdet.LoadImage')]
    with pytest.raises(ConfigError, match='tta_pipeline must have a TestTimeAug step'):
        enable_tta(cfg)
    cfg.pop('tta_pipeline')
    cfg.test_dataloader.dataset.pipeline = cfg.test_dataloader.dataset.pipeline[:-1]
    with pytest.raises(ConfigError, match='ends in PackDetInputs or PackInputs'):
        enable_tta(cfg)


def test_members_of_an_ensemble_have_the_views():
    cfg = Config(dict(model=dict(type='cxrdet.DetectorEnsemble', members=[])))
    enable_tta(cfg)
    assert cfg.model.tta is True
    enable_tta(cfg, scales=[0.9])
    assert cfg.model.tta == dict(scales=[0.9], combine=True)
    assert 'custom_hooks' not in cfg


def test_fusion_of_the_views_is_written_into_tta_model():
    """Only what is said is changed; another method does not inherit the options of the one before."""
    cfg = Config.fromfile(find_config('faster_rcnn_bifpn_bccd'))
    enable_tta(cfg, Fusion(weights=[2, 1, 1, 1, 1]))
    assert cfg.tta_model == dict(type='cxrdet.WBFTTAModel', fusion='wbf_one_per_model', weights=[2, 1, 1, 1, 1])
    cfg.tta_model = dict(type='cxrdet.WBFTTAModel', fusion='wbf', fusion_cfg=dict(conf_type='max'), max_per_img=50)
    enable_tta(cfg, Fusion('soft_nms', dict(sigma=0.4)))
    assert cfg.tta_model == dict(type='cxrdet.WBFTTAModel', fusion='soft_nms', fusion_cfg=dict(sigma=0.4),
                                 max_per_img=50)
    enable_tta(cfg, Fusion('nms'))
    assert cfg.tta_model == dict(type='cxrdet.WBFTTAModel', fusion='nms', fusion_cfg={}, max_per_img=50)
    assert config_problems(cfg) == []


def test_the_command_offers_every_fusion():
    assert set(BOX_FUSIONS) == set(FUSIONS)


@pytest.mark.parametrize(('change', 'fusion', 'message'), [
    ({}, Fusion('probs'), '--tta: .*probs'),
    ({}, Fusion('nms', dict(iou_tr=0.5)), '--tta: .*"iou_tr".*Did you mean "iou_thr"'),
    ({}, Fusion(options=dict(iou_thr=2)), '--tta: .*iou_thr'),
    ({}, Fusion(allow_missing=True), 'allow-missing is for the members of an ensemble'),
    (dict(model=dict(type='cxrdet.DetectorEnsemble')), Fusion('nms'), 'model.fusion, model.fusion_cfg, model.weights'),
    (dict(default_scope='mmpretrain'), Fusion('nms'), 'a classifier takes the mean over the views'),
    (dict(tta_model=dict(type='DetTTAModel')), Fusion('nms'), 'tta_model of the config is DetTTAModel'),
])
def test_fusion_that_cannot_be_had_is_refused(change, fusion, message):
    cfg = Config.fromfile(find_config('faster_rcnn_bifpn_bccd'))
    cfg.update(change)
    with pytest.raises(ConfigError, match=message):
        enable_tta(cfg, fusion)
