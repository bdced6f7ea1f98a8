"""Mods: what each changes in a recipe, worked out by hand, and that any recipe of its kind takes it."""
import pytest
from mmengine.config import Config

from cxrdet.core.config_tree import walk
from cxrdet.core.errors import ConfigError
from cxrdet.core.recipes import configs_folder
from cxrdet.preflight.config import key_problems, load_config
from cxrdet.preflight.mods import apply_mods

MODS = sorted(path.stem for path in (configs_folder() / '_base_' / 'mods').glob('*.py'))
DETECTORS = ['faster_rcnn_bifpn_cell', 'faster_rcnn_fpn_bccd', 'retinanet_bifpn_cell']
OF_TWO_STAGES = {'ohem', 'ohem_loss', 'regularized_head', 'focal_giou'}


def types(pipeline):
    return [step.type.rpartition('.')[2] for step in pipeline]


def train_set(name):
    return load_config(name).train_dataloader.dataset


@pytest.mark.parametrize('mod', MODS)
@pytest.mark.parametrize('recipe', DETECTORS)
def test_every_detector_takes_it(recipe, mod):
    if mod in OF_TWO_STAGES and recipe.startswith('retinanet'):
        with pytest.raises(ConfigError, match=rf'\+{mod}: the config has no model.roi_head'):
            load_config(f'{recipe}+{mod}')
        return
    plain, cfg = load_config(recipe), load_config(f'{recipe}+{mod}')
    assert key_problems(cfg) == []
    assert cfg.work_dir == f'work_dirs/{recipe}+{mod}'
    assert (cfg.model, cfg.train_dataloader, cfg.optim_wrapper, cfg.default_hooks) != (
        plain.model, plain.train_dataloader, plain.optim_wrapper, plain.default_hooks)
    assert not any(isinstance(value, str) and value.startswith('{') for node in walk(cfg.train_dataloader)
                   for value in node.values())


@pytest.mark.parametrize(('mod', 'steps'), [
    ('albumentations', ['LoadImage', 'LoadAnnotations', 'Resize', 'Albu', 'PackDetInputs']),
    ('multi_scale', ['LoadImage', 'LoadAnnotations', 'RandomChoiceResize', 'RandomFlip', 'PackDetInputs']),
    ('preprocessing', ['LoadImage', 'LoadAnnotations', 'Resize', 'RandomFlip', 'ZScore', 'PackDetInputs'])])
def test_steps(mod, steps):
    cfg = load_config(f'faster_rcnn_fpn_cell+{mod}')
    assert types(cfg.train_dataloader.dataset.pipeline) == steps
    tested = ['ZScore'] if mod == 'preprocessing' else []
    assert types(cfg.test_dataloader.dataset.pipeline) == ['LoadImage', 'LoadAnnotations', 'Resize', *tested,
                                                           'PackDetInputs']


def test_shortcuts_to_what_a_mod_replaces():
    """A place that a mod fills with something else is no longer that of the recipe's shortcut."""
    from mmengine.config import ConfigDict
    cfg = load_config('efficientnet_lite0_nih_160+iterations', cfg_options=['lr=5e-4', 'max_iters=70'])
    assert cfg.optim_wrapper.optimizer.lr == 5e-4
    assert [step.type for step in cfg.param_scheduler] == ['LinearLR', 'CosineAnnealingLR']
    assert (cfg.train_cfg.max_iters, cfg.param_scheduler[1].end) == (70, 70)
    with pytest.raises(ConfigError, match=r'max_epochs=5: a mod has replaced what "max_epochs" sets; .*lr.*max_iters'):
        load_config('faster_rcnn_bifpn_lite0_cell+iterations', cfg_options=['max_epochs=5'])
    one = load_config('efficientnet_lite0_nih_160', cfg_options=['lr=5e-4'])
    assert one.param_scheduler[0].eta_max == one.optim_wrapper.optimizer.lr == 5e-4
    assert isinstance(cfg.schedule_shortcuts, ConfigDict)


def test_sizes_are_the_recipes():
    step = train_set('faster_rcnn_fpn_bccd+multi_scale').pipeline[2]  # 384 x 288 px
    assert step.scales == [(288, 216), (307, 230), (326, 245), (346, 259), (365, 274), (384, 288)]
    mosaic, crop = train_set('faster_rcnn_fpn_bccd+mosaic').pipeline[:2]
    assert mosaic.img_scale == (384, 288)
    assert (crop.transforms[0].height, crop.transforms[0].width) == (288, 384)


@pytest.mark.parametrize('order', ['mosaic+copy_paste+balanced', 'balanced+mosaic+copy_paste'])
def test_mixing_is_outermost_and_mods_add_up(order):
    dataset = train_set(f'faster_rcnn_fpn_cell+{order}+albumentations')
    assert dataset.type == 'MultiImageMixDataset' and dataset.dataset.type == 'ClassBalancedDataset'
    assert types(dataset.pipeline) == ['Mosaic', 'Albu', 'BoxCopyPaste', 'Albu', 'PackDetInputs']
    inner = dataset.dataset.dataset
    assert inner.type == 'cxrdet.CellDataset' and types(inner.pipeline) == ['LoadImage', 'LoadAnnotations', 'Resize']


def test_preprocessing_of_a_classifier():
    cfg = load_config('resnet18_chest_phantom+preprocessing')
    assert types(cfg.val_dataloader.dataset.pipeline)[-2:] == ['ZScore', 'PackInputs']
    assert [step.type for step in cfg.train_dataloader.dataset.pipeline[0].transforms] == [
        'cxrdet.CLAHE', 'cxrdet.Denoise', 'cxrdet.Sharpen']
    assert cfg.data_preprocessor.std == [1, 1, 1] if 'data_preprocessor' in cfg else True


def test_options_come_after_mods():
    cfg = load_config('faster_rcnn_fpn_cell+lookahead', cfg_options=['optim_wrapper.optimizer.k=9'])
    assert cfg.optim_wrapper.optimizer == dict(
        type='cxrdet.Lookahead', inner=dict(type='AdamW'), k=9, alpha=0.5, lr=1e-3, weight_decay=1e-4)


@pytest.mark.parametrize(('recipe', 'optimizer'), [
    ('resnet18_csv', dict(inner=dict(type='AdamW', fused=True), lr=1e-4, weight_decay=0.01)),
    ('faster_rcnn_cell_phase0', dict(inner=dict(type='Adam'), lr=1e-3)),
    ('vit_v2_nih', dict(inner=dict(type='SGD', momentum=0.9, nesterov=True, fused=True), lr=0.01, weight_decay=1e-4))])
def test_lookahead_keeps_the_optimizer_of_the_recipe(recipe, optimizer):
    plain = load_config(recipe).optim_wrapper
    wrapper = load_config(f'{recipe}+lookahead').optim_wrapper
    assert wrapper.optimizer.to_dict() == dict(type='cxrdet.Lookahead', k=6, alpha=0.5, **optimizer)
    assert wrapper.get('paramwise_cfg') == plain.get('paramwise_cfg')


def test_no_optimizer_to_put_another_around(tmp_path):
    with pytest.raises(ConfigError, match=r'\+lookahead: .*optim_wrapper.optimizer'):
        apply_mods(Config(dict(model=dict(type='A'))), ['lookahead'])


@pytest.mark.parametrize('order', ['', '+lookahead'])
def test_short_names_of_the_data_hold_behind_a_mod_that_moves_them(order):
    cfg = load_config(f'resnet18_csv+balanced{order}', cfg_options=['img_size=96', 'lr=0.5', 'batch_size=3'])
    outer = cfg.train_dataloader.dataset
    assert outer.type == 'ClassBalancedDataset' and cfg.train_dataloader.batch_size == 3
    assert outer.dataset.pipeline == load_config('resnet18_csv', cfg_options=['img_size=96']
                                                 ).train_dataloader.dataset.pipeline
    assert cfg.optim_wrapper.optimizer.lr == 0.5


def test_a_rate_given_goes_before_that_of_a_mod():
    assert load_config('resnet18_csv+lamb', cfg_options=['lr=0.5']).optim_wrapper.optimizer.lr == 0.5


def test_a_mod_of_ones_own(tmp_path):
    path = tmp_path / 'slow.py'
    path.write_text("slow = dict(optim_wrapper=dict(optimizer=dict(lr=1e-5)))\n")
    assert load_config(f'faster_rcnn_fpn_cell+{path}').optim_wrapper.optimizer.lr == 1e-5
    path.write_text("fast = 1\n")
    with pytest.raises(ConfigError, match='slow.py holds no dict "slow"'):
        load_config(f'faster_rcnn_fpn_cell+{path}')


@pytest.mark.parametrize(('name', 'message'), [
    ('faster_rcnn_fpn_cell+mosiac', r'\+mosiac: no such mod; there are .*Did you mean "mosaic"'),
    ('faster_rcnn_fpn_cell+', 'no such mod'),
    ('resnet18_csv+mosaic', r'\+mosaic: .* for detectors.*PackInputs'),
    ('densenet121_nih+copy_paste', r'\+copy_paste: .* for detectors'),
    ('densenet121_pcam+albumentations', r'\+albumentations: .* for detectors'),
    ('resnet34_nih+multi_scale', r'\+multi_scale: .* for detectors'),
    ('densenet121_pcam+preprocessing', r'\+preprocessing: .*LoadImage'),
    ('resnet18_csv+ohem', r'\+ohem: the config has no model.roi_head')])
def test_what_cannot_be(name, message):
    with pytest.raises(ConfigError, match=message):
        load_config(name)


def test_a_pipeline_without_the_step():
    pipeline = [dict(type='LoadImage'), dict(type='PackDetInputs')]
    cfg = Config(dict(train_dataloader=dict(dataset=dict(type='A', pipeline=pipeline))))
    with pytest.raises(ConfigError, match=r'\+albumentations: .*Resize .*LoadImage'):
        apply_mods(cfg, ['albumentations'])
