"""Every config parses, is short, and builds a model that runs forward without any download."""
import ast
import copy
import functools
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope

from cxrdet.core.recipes import recipes

pytestmark = pytest.mark.long

REPOSITORY = Path(__file__).parents[1]
VARIANTS = [*recipes().values(), *sorted((REPOSITORY / 'projects').glob('*/configs/*.py'))]
# A config that needs local files to be built, and the test that makes them.
BUILT_ELSEWHERE = {'mm_grounding_dino_tiny_cell': 'tests/projects/open_vocabulary/test_grounding_dino.py'}
PIECES = sorted((REPOSITORY / 'configs' / '_base_').rglob('*.py'))


def code_lines(path: Path) -> int:
    """Lines without the docstring, blank lines and comments."""
    text = path.read_text()
    tree = ast.parse(text)
    head = tree.body[0].end_lineno if ast.get_docstring(tree) else 0
    return sum(bool(line.strip()) and not line.strip().startswith('#') for line in text.splitlines()[head:])


@functools.cache
def _parsed(path: Path) -> Config:
    return Config.fromfile(str(path))


def parsed(path: Path) -> Config:
    """The config of a file, which a test may change."""
    return copy.deepcopy(_parsed(path))


def test_configs_are_found():
    assert {'faster_rcnn_bifpn_cell', 'faster_rcnn_fpn_bccd_ohem'} <= {path.stem for path in VARIANTS}
    assert len(VARIANTS) == len({path.stem for path in VARIANTS}), 'a name stands for one config'
    assert len(list((REPOSITORY / 'configs').glob('*.py'))) < 30  # what users start from; the others are ablations
    assert {path.parent.name for path in VARIANTS} >= {'bccd', 'nih', 'crops', 'cell'}
    assert {path.parent.name for path in PIECES} >= {'models', 'datasets', 'schedules'}


@pytest.mark.parametrize('path', VARIANTS, ids=lambda path: path.stem)
def test_variant_is_short_and_says_how_to_run(path):
    doc = ast.get_docstring(ast.parse(path.read_text())) or ''
    tool = 'test' if path.stem.startswith('ensemble_') else 'train'
    assert (f'python tools/{tool}.py {path.relative_to(REPOSITORY)}' in doc) or f'cxrdet {tool} {path.stem}' in doc
    assert code_lines(path) <= 15


@pytest.mark.parametrize('path', PIECES, ids=lambda path: path.stem)
def test_piece_says_what_it_is(path):
    assert ast.get_docstring(ast.parse(path.read_text()))


@pytest.mark.parametrize('path', VARIANTS, ids=lambda path: path.stem)
def test_config_as_a_run_saves_it_can_be_used_again(path, tmp_path):
    from cxrdet.preflight.config import drop_helpers, key_problems
    cfg = parsed(path)
    assert key_problems(cfg) == []
    drop_helpers(cfg)
    cfg.dump(tmp_path / 'saved.py')
    saved = Config.fromfile(tmp_path / 'saved.py')
    assert key_problems(saved) == []
    assert saved.model == cfg.model


@pytest.mark.parametrize('path', VARIANTS, ids=lambda path: path.stem)
def test_recipe_stops_early_and_ends_with_the_best_weights(path):
    from cxrdet.preflight.config import load_config
    hooks = load_config(path).default_hooks
    assert hooks.early_stopping.enabled
    assert hooks.restore_best.enabled
    assert hooks.early_stopping.type == 'cxrdet.EarlyStoppingHook'
    assert hooks.restore_best.type == 'cxrdet.RestoreBestHook'
    assert hooks.checkpoint.save_best
    detector = parsed(path).default_scope == 'mmdet'
    assert hooks.early_stopping.patience in ([15] if detector else range(3, 8))


@pytest.mark.parametrize('name', ['faster_rcnn_bifpn_cell', 'resnet18_csv', 'densenet121_nih_unfreeze'])
def test_one_switch_turns_the_early_stop_off(name):
    from cxrdet.preflight.config import load_config
    hooks = load_config(REPOSITORY / f'configs/{name}.py', cfg_options=['early_stop=False', 'patience=4']).default_hooks
    assert not (hooks.early_stopping.enabled or hooks.restore_best.enabled)
    assert hooks.early_stopping.patience == 4


@pytest.mark.parametrize('path', VARIANTS, ids=lambda path: path.stem)
def test_model_is_built_and_runs(path):
    import cxrdet  # noqa: F401
    if path.stem in BUILT_ELSEWHERE:
        assert path.stem in (REPOSITORY / BUILT_ELSEWHERE[path.stem]).read_text()
        return
    cfg = parsed(path)
    init_default_scope(cfg.default_scope)
    for member in cfg.model.get('members', ()):
        member.classes = ['a', 'b']  # which a checkpoint would name
    if cfg.default_scope == 'mmpretrain':
        check_classifier(cfg)
    else:
        check_detector(cfg)


def check_classifier(cfg):
    from mmpretrain.registry import MODELS
    from mmpretrain.structures import DataSample
    model = MODELS.build(cfg.model)
    classes = 2 if 'members' in cfg.model else cfg.model.get('student', cfg.model).head.num_classes
    model.eval()  # returns None for some backbones of the host
    data = dict(inputs=[torch.zeros(3, 224, 224, dtype=torch.uint8)], data_samples=[DataSample()])
    with torch.no_grad():
        result, = model.test_step(data)
    assert result.pred_score.shape == (classes,)
    assert torch.isfinite(result.pred_score).all()


def check_detector(cfg):
    from mmdet.registry import MODELS
    from mmdet.structures import DetDataSample
    model = MODELS.build(cfg.model).eval()
    # The RPN of random weights proposes all it may; two dozen are enough to run every layer.
    for part in [member.model for member in getattr(model, 'members', ())] or [model]:
        if hasattr(part, 'rpn_head'):
            part.rpn_head.test_cfg.update(nms_pre=24, max_per_img=24)
    data = dict(inputs=[torch.zeros(3, 64, 96, dtype=torch.uint8)], data_samples=[DetDataSample(metainfo=dict(
        img_shape=(64, 96), ori_shape=(64, 96), pad_shape=(64, 96), scale_factor=(1.0, 1.0)))])
    with torch.no_grad():
        result, = model.test_step(data)
    boxes = result.pred_instances.bboxes
    assert boxes.ndim == 2
    assert boxes.shape[1] == 4
    assert torch.isfinite(boxes).all()


@pytest.mark.parametrize('path', VARIANTS, ids=lambda path: path.stem)
def test_every_run_piece_is_there(path):
    cfg = parsed(path)
    assert cfg.default_scope in ('mmdet', 'mmpretrain')
    ours, *others = cfg.custom_imports.imports
    assert ours == 'cxrdet'
    assert all(name.startswith(f'projects.{path.parts[-3]}.') for name in others)
    for key in ('train_dataloader', 'val_dataloader', 'test_dataloader', 'optim_wrapper', 'param_scheduler',
                'train_cfg', 'val_cfg', 'test_cfg', 'val_evaluator', 'test_evaluator', 'default_hooks', 'randomness'):
        assert cfg.get(key), key


@pytest.mark.parametrize('path', VARIANTS, ids=lambda path: path.stem)
def test_hooks_and_metrics_are_built(path, tmp_path):
    from mmengine.registry import HOOKS, METRICS, VISUALIZERS

    import cxrdet  # noqa: F401
    cfg = parsed(path)
    init_default_scope(cfg.default_scope)
    VISUALIZERS.build(dict(cfg.visualizer, name=str(tmp_path), save_dir=str(tmp_path)))  # some hooks ask for it
    for hook in [*cfg.default_hooks.values(), *cfg.get('custom_hooks', [])]:
        assert HOOKS.build(hook)
    for evaluator in (cfg.val_evaluator, cfg.test_evaluator):
        for metric in evaluator if isinstance(evaluator, (list, tuple)) else [evaluator]:
            assert METRICS.build(metric)
