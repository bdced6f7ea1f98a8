"""Every row of the rules, held to the real thing: MMEngine, MMCV, MMDetection, MMPretrain or torch is made to do it."""
import importlib.util
import inspect
import itertools
import pkgutil
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine import registry as root
from mmengine.logging import MMLogger
from mmengine.registry import DefaultScope, Registry
from mmengine.runner import BaseLoop, Runner
from torch import nn

from cxrdet.preflight.config import misfit
from cxrdet.preflight.rules import RULES

NO, NUMBERS = 'NoSuchThing', itertools.count()
KINDS = {'registry', 'default type', 'takes off', 'keys', 'value', 'needs', 'must have', 'all or none', 'function'}


def of(*kinds):
    return pytest.mark.parametrize('rule', [rule for rule in RULES if rule.kind in kinds],
                                   ids=lambda rule: rule.where[:70])


@pytest.mark.parametrize('rule', RULES, ids=lambda rule: f'{rule.kind} {rule.where}'[:60])
def test_what_a_rule_mirrors_is_there(rule):
    assert rule.kind in KINDS
    re.compile(rule.where)
    try:
        assert callable(pkgutil.resolve_name(rule.mirrors))
    except (ImportError, KeyError):  # it needs a package that is not there: its file is read
        assert source_of(rule.mirrors)


def source_of(name):
    """The text of the file of ``module.Class.function``, which is not imported."""
    module, kind, function = name.rsplit('.', 2)
    top, *rest = module.split('.')
    text = Path(importlib.util.find_spec(top).origin).parent.joinpath(*rest).with_suffix('.py').read_text()
    return text if f'class {kind}(' in text and f'def {function}(' in text else ''


class ToySet(torch.utils.data.Dataset):

    def __init__(self, **kwargs):
        pass

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return torch.zeros(2)


class ToyModel(nn.Module):

    def __init__(self, **kwargs):
        super().__init__()
        self.layer = nn.Linear(2, 1)

    def train_step(self, data, optim_wrapper):
        return {}


def loader(**changes):
    return dict(dict(dataset=dict(type=ToySet), sampler=dict(type='DefaultSampler'), batch_size=2), **changes)


def arguments(folder, **changes):
    return dict(dict(
        model=ToyModel(), work_dir=str(folder), train_dataloader=loader(), train_cfg=dict(by_epoch=True, max_epochs=2),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)), default_scope='mmengine'), **changes)


@pytest.fixture
def runner(tmp_path):
    """MMEngine's Runner over a toy, to whose methods a part of a config can be given."""
    made = []

    def build(**changes):
        made.append(Runner(**arguments(tmp_path, experiment_name=f'rule{next(NUMBERS)}', **changes)))
        return made[-1]
    scope = DefaultScope.get_current_instance()
    yield build
    if scope is None:
        DefaultScope._instance_dict.clear()
    for one in made:  # a closed log that stayed MMEngine's current one would be opened again, its folder gone
        for handler in one.logger.handlers:
            handler.close()
        MMLogger._instance_dict.pop(one.logger.instance_name, None)


def built(runner, section, value):
    """What the Runner does with a section of a config."""
    run = runner()
    run._val_dataloader, run._test_dataloader, run._val_evaluator, run._test_evaluator = loader(), loader(), [], []
    if section in ('param_scheduler', 'train_cfg'):
        run.optim_wrapper = run.build_optim_wrapper(run.optim_wrapper)
        run._train_loop = run.build_train_loop(value if section == 'train_cfg' else dict(by_epoch=True, max_epochs=9))
    return {
        'model': run.build_model, 'tta_model': run.build_model, 'train_dataloader': run.build_dataloader,
        'val_dataloader': run.build_dataloader, 'test_dataloader': run.build_dataloader,
        'train_cfg': lambda _: run._train_loop, 'val_cfg': run.build_val_loop, 'test_cfg': run.build_test_loop,
        'optim_wrapper': run.build_optim_wrapper, 'param_scheduler': run.build_param_scheduler,
        'val_evaluator': run.build_evaluator, 'test_evaluator': run.build_evaluator,
        'default_hooks': run.register_default_hooks, 'custom_hooks': run.register_custom_hooks,
        'log_processor': run.build_log_processor, 'visualizer': run.build_visualizer, 'env_cfg': run.setup_env,
        'randomness': lambda value: run.set_randomness(**value),
    }[section](value)


# --- in which registry a name is looked up: MMEngine's own error names it


def dataset(**changes):
    from mmengine.dataset import BaseDataset
    return BaseDataset(lazy_init=True, **changes)


def rpn(**changes):
    from mmdet.models.dense_heads import RPNHead
    return RPNHead(**dict(dict(in_channels=8, feat_channels=8), **changes))


def preprocessor(value):
    from mmengine.model import BaseModel

    class Model(BaseModel):
        forward = None
    return Model(data_preprocessor=value)


def initialised(value):
    from mmengine.model.weight_init import initialize
    initialize(ToyModel(), value)


def extracted(value):
    from mmdet.models.roi_heads.roi_extractors import SingleRoIExtractor
    return SingleRoIExtractor(value, 8, [4])


def augmented(value):
    from mmpretrain.models.utils.batch_augments import RandomBatchAugment
    return RandomBatchAugment([value])


def suppressed(value):
    from mmcv.ops.nms import batched_nms
    return batched_nms(torch.rand(3, 4), torch.rand(3), torch.zeros(3), value)


def visualised(value):
    from mmengine.visualization import Visualizer
    return Visualizer(vis_backends=[value], save_dir='x')


def detector(**parts):
    return root.MODELS.build(dict(type='mmdet.RetinaNet', neck=None, bbox_head=None, **parts))


LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
UNKNOWN = {  # the end of a row's place -> what is done with a dict of a type that is not there, and the kind of error
    'data_preprocessor$': (preprocessor, None), '_pipeline$': (lambda v: dataset(pipeline=[v]), None),
    '^vis_backends$': (visualised, None), r'\w*pipeline$': (lambda v: dataset(pipeline=[v]), None),
    r'datasets?$': (lambda v: root.DATASETS.build(dict(type='ConcatDataset', datasets=[v])), None),
    r'\.vis_backends$': (visualised, None),
    r'metrics$': (lambda v: root.EVALUATOR.build(dict(type='Evaluator', metrics=[v])), None),
    r'nms$': (lambda v: suppressed(dict(v, iou_threshold=0.5)), 'NoSuchThing'),
    r'roi_layer$': (lambda v: extracted(dict(v, output_size=7)), ''), r'augments$': (augmented, None),
    r'(init_cfg|override)$': (initialised, None), r'prior_generator)$': (lambda v: rpn(anchor_generator=v), None),
    r'bprototype\.)': (lambda v: detector(backbone=v), None),
    r'tokenizer$': (lambda v: pkgutil.resolve_name('mmpretrain.registry.TOKENIZER').build(v), None)}
BUILT = {
    r'\.optimizer$': (lambda run, v: run.build_optim_wrapper(dict(optimizer=dict(v, lr=1))), 'None'),
    r'sampler$': (lambda run, v: run.build_dataloader(loader(sampler=v)), None),
    r'worker_init_fn)$': (lambda run, v: run.build_dataloader(loader(collate_fn=v)), 'must be callable'),
    '^optim_wrapper$': (lambda run, v: run.build_optim_wrapper(dict(v, optimizer=dict(type='SGD', lr=1))), None),
    '^model_wrapper_cfg$': (lambda run, v: run.wrap_model(v, run.model), 'issubclass')}


@of('registry')
def test_registry(rule, runner):
    """A name that is not there ends in an error that names the registry of the row."""
    section, value = rule.where[1:-1], dict(type=NO)
    names = [(place if isinstance(place, Registry) else pkgutil.resolve_name(place)) for place in rule.what]
    make, error = next((case for end, case in UNKNOWN.items() if rule.where.endswith(end)), (None, None))
    if make is None:
        with_runner, error = next((case for end, case in BUILT.items() if rule.where.endswith(end)), (None, None))
        run = runner()
        run._distributed = True  # by which it wraps a model
        value = dict(dataset=value, sampler=value) if section in LOADERS else value
        value = dict(a=value) if section == 'default_hooks' else [value] if section == 'custom_hooks' else value

        def make(value):
            return with_runner(run, value) if with_runner else built(lambda: run, section, value)
    known = '|'.join(getattr(name, 'name', '') for name in names)
    kinds = (KeyError, AssertionError, NameError, TypeError)
    scope = 'mmpretrain' if known in ('batch augment', 'tokenizer') else 'mmdet'
    with DefaultScope.overwrite_default_scope(scope), pytest.raises(kinds, match=(
            f'{NO} is not in the \\w+::({known}) registry' if error is None else error)):
        make(value)


@pytest.mark.parametrize(('place', 'name'), [('nms', 'soft_nms'), ('roi_layer', 'RoIAlign')])
def test_names_of_modules(place, name):
    rule, = (rule for rule in RULES if rule.kind == 'registry' and rule.where.endswith(f'{place}$'))
    assert hasattr(pkgutil.resolve_name(rule.what[0]), name)
    suppressed(dict(type=name, iou_threshold=0.5)) if place == 'nms' else extracted(dict(type=name, output_size=7))


@of('default type')
def test_default_type(rule, runner):
    section, run = rule.where[1:-1], runner(val_dataloader=loader(), val_cfg=dict(), val_evaluator=[], test_cfg=dict(),
                                            test_dataloader=loader(), test_evaluator=[])
    value = {'train_cfg': dict(by_epoch=True, max_epochs=1),
             'optim_wrapper': dict(optimizer=dict(type='SGD', lr=1))}.get(section, {})
    assert type(built(lambda: run, section, value)).__name__ == rule.what
    if section == 'train_cfg':
        assert type(built(lambda: run, section, dict(by_epoch=False, max_iters=1))).__name__ == 'IterBasedTrainLoop'


# --- arguments that a builder takes off


def bottleneck(value):
    from mmdet.models.backbones.resnet import Bottleneck
    return Bottleneck(8, 4, dcn=dict(value, type='DCN'), conv_cfg=None, norm_cfg=dict(type='BN'))


def detr(value):
    from mmdet.models.dense_heads import DETRHead
    return DETRHead(2, loss_cls=dict(type='CrossEntropyLoss', class_weight=1.0, **value), train_cfg=None)


def rand_augment(value):
    from mmpretrain.datasets.transforms import RandAugment
    return RandAugment([dict(type='Rotate', **value)], num_policies=1, magnitude_level=1)


def albu(value):
    from mmdet.datasets.transforms import Albu
    return Albu([], bbox_params=dict(type='BboxParams', format='pascal_voc', label_fields=['x'], **value))


def normed(value):
    from mmcv.cnn import build_norm_layer
    return build_norm_layer(dict(type='BN', **value), 4)


def upsampled(value):
    from mmcv.cnn import build_upsample_layer
    kind = 'pixel_shuffle' if 'upsample_kernel' in value else 'bilinear'
    return build_upsample_layer(dict(dict(type=kind, scale_factor=2), **value), *([4, 4] if kind[0] == 'p' else []))


def plugged(value):
    from mmdet.models.backbones.resnet import Bottleneck
    plugin = dict(type='ContextBlock', ratio=0.25, **value)
    return Bottleneck(8, 4, plugins=[dict(cfg=plugin, position='after_conv1')], norm_cfg=dict(type='BN'))


def scheduled(run, value):
    return built(lambda: run, 'param_scheduler', dict(type='StepLR', step_size=1, **value))


def read(name, *words):
    assert all(word in source_of(name) for word in words)


TAKEN = {  # the end of a row's place -> the arguments that are taken off there, as the real builder is given them
    r'norm_cfg$': lambda run, rule: normed(dict(requires_grad=False)),
    r'\.cfg$': lambda run, rule: (run.register_hook(dict(type='IterTimerHook', priority=10)), visualised(
        dict(type='LocalVisBackend', save_dir='x')), plugged(dict(postfix='_1'))),
    r'(train|val|test)_cfg$': lambda run, rule: built(lambda: run, 'train_cfg', dict(by_epoch=True, max_epochs=1)),
    r'^param_scheduler$': lambda run, rule: scheduled(run, dict(convert_to_iter_based=True)),
    r'\.init_cfg$': lambda run, rule: initialised(dict(
        type='Constant', val=1, layer='Linear', override=dict(type='Constant', name='layer', val=2))),
    r'^optim_wrapper$': lambda run, rule: run.build_optim_wrapper(dict(
        optimizer=dict(type='SGD', lr=1), constructor='DefaultOptimWrapperConstructor', paramwise_cfg={})),
    r'dcn_conv)(_cfg)?$': lambda run, rule: bottleneck(dict(fallback_on_stride=False, deformable_groups=1)),
    r'\.upsample_cfg$': lambda run, rule: (upsampled(dict(mode='bilinear', align_corners=False)),
                                           upsampled(dict(upsample_kernel=3))),
    r'(_|\.)nms$': lambda run, rule: suppressed(dict(type='nms', iou_threshold=0.5, class_agnostic=True, split_thr=9,
                                                     max_num=2)),
    r'\.loss_cls$': lambda run, rule: detr(dict(bg_cls_weight=0.1)),
    r'\.policies$': lambda run, rule: rand_augment(dict(magnitude_key='angle', magnitude_range=(0, 30))),
    r'\.bbox_params$': lambda run, rule: albu(dict(filter_lost_elements=True)),
    r'\.vision_encoder$': lambda run, rule: read(rule.mirrors, *rule.what)}


@of('takes off')
def test_takes_off(rule, runner):
    run = runner()
    with DefaultScope.overwrite_default_scope('mmpretrain' if 'policies' in rule.where else 'mmdet'):
        next(make for end, make in TAKEN.items() if rule.where.endswith(end))(run, rule)


@of('keys')
def test_keys(rule, runner):
    target = pkgutil.resolve_name(rule.mirrors)
    if 'dataloader' in rule.where:
        assert {'batch_size', 'num_workers', 'persistent_workers'} < set(inspect.signature(target).parameters)
        with pytest.raises(TypeError, match='nope'):
            runner().build_dataloader(loader(nope=1))
        target = Runner.build_dataloader
    for key in rule.what:
        assert key in inspect.getsource(target) or key == '_scope_'
    if rule.where == '^randomness$':
        assert set(inspect.signature(target).parameters) - {'self'} == set(rule.what)


# --- values


def section(name):
    return lambda run, value: built(lambda: run, name, value)


def loading(key):
    return lambda run, value: run.build_dataloader(loader(**{key: value}))


def optimizer(kind, key):
    return lambda run, value: run.build_optim_wrapper(dict(optimizer=dict(dict(type=kind, lr=0.1), **{key: value})))


class Quiet(BaseLoop):

    def __init__(self):
        pass

    def run(self):
        pass


def loop(run, key, value):
    run._train_loop = dict(dict(by_epoch=key != 'max_iters', **({} if key == 'max_iters' else dict(max_epochs=1))),
                           **{key: value})
    run._val_loop, run.optim_wrapper = Quiet(), None
    run._train_loop = run.build_train_loop(run._train_loop)
    run.call_hook = lambda *args, **kwargs: None
    run.train_loop.run()
    if run.train_loop._epoch < 1 and run.train_loop.iter < 1:
        raise ValueError('nothing was trained')


def saves(run, value):
    from mmengine.hooks import CheckpointHook
    if not CheckpointHook(interval=value).every_n_epochs(SimpleNamespace(epoch=11), value):
        raise ValueError('it never saves')


def keeps(run, value):
    from mmengine.hooks import CheckpointHook
    run._train_loop = SimpleNamespace()
    CheckpointHook(max_keep_ckpts=value).before_train(run)


def logs(run, value):
    from mmengine.hooks import LoggerHook
    LoggerHook(interval=value)


def stepped(run, scheduler):
    made, = built(lambda: run, 'param_scheduler', dict(scheduler))
    made.step()


def imported(run, value):
    from mmengine.utils import import_modules_from_strings
    import_modules_from_strings(**value)


def loads(run, value):
    run._load_from = value
    run.load_or_resume() if value is None else run.load_checkpoint(value)


def launched(run, value):
    from mmengine.dist import init_dist
    init_dist(value) if value != 'none' else None  # as the Runner does


def resumes(run, value):
    """Any text is taken for a yes."""
    resumed = []
    run._resume, run._load_from, run.resume = value, 'x', resumed.append
    run.load_checkpoint = lambda *args, **kwargs: None
    run.load_or_resume()
    if resumed and value != True:  # noqa: E712
        raise ValueError('it is resumed')


def clipped(run, value):
    weight = nn.Parameter(torch.ones(1))
    weight.grad = torch.ones(1)
    nn.utils.clip_grad_norm_([weight], value)
    if weight.grad <= 0:
        raise ValueError('the step goes the other way')


def head_of_width(run, value):
    from mmdet.models.roi_heads.bbox_heads import Shared2FCBBoxHead
    with DefaultScope.overwrite_default_scope('mmdet'):
        head = Shared2FCBBoxHead(num_classes=1, in_channels=1, fc_out_channels=value, roi_feat_size=1)
    if not head.shared_fcs[0].weight.numel():
        raise ValueError('nothing reaches its end')


def padded(run, value):
    from mmdet.models import DetDataPreprocessor
    DetDataPreprocessor(pad_size_divisor=value)(dict(inputs=[torch.zeros(3, 4, 4)], data_samples=None))


def anchors(run, value):
    from mmdet.models.task_modules import AnchorGenerator
    boxes = AnchorGenerator([4], [1.0], value).base_anchors[0]
    if (boxes[:, 2:] <= boxes[:, :2]).any():
        raise ValueError('boxes without an area')


def kept(run, value):
    from mmdet.models.dense_heads.base_dense_head import BaseDenseHead
    from mmengine.config import ConfigDict
    from mmengine.structures import InstanceData
    found = InstanceData(bboxes=torch.arange(9.)[:, None] * 9 + torch.tensor([0., 0, 1, 1]), scores=torch.rand(9),
                         labels=torch.zeros(9, dtype=torch.long))
    cfg = ConfigDict(nms=dict(type='nms', iou_threshold=0.5), max_per_img=value)
    if len(BaseDenseHead._bbox_post_process(None, found, cfg, False, True, {})) != value:
        raise ValueError('another number')


def scored(run, value):
    from mmdet.models.layers import multiclass_nms
    multiclass_nms(torch.rand(4, 4), torch.rand(4, 3), value, dict(type='nms', iou_threshold=0.5), 9)


def history(run, value):
    from cxrdet.engine.hooks.history import HistoryHook
    HistoryHook(plot_every=value)


def method(run, value):
    from mmengine.utils.dl_utils import set_multi_processing
    set_multi_processing(value)


def multiplied(run, factor):
    """The loss after a step of MMEngine's optimizer with that factor; one that grows is an error here."""
    from mmengine.optim import build_optim_wrapper
    layer = torch.nn.Linear(1, 1, bias=False)
    wrapper = build_optim_wrapper(layer, dict(optimizer=dict(type='SGD', lr=0.1), paramwise_cfg=dict(
        custom_keys=dict(weight=dict(lr_mult=factor)))))
    before = layer.weight.square().sum()
    wrapper.update_params(before)
    if not layer.weight.square().sum() < before:
        raise ValueError('the loss grows')


HOOKS = dict(timer=dict(type='IterTimerHook'))
TOP = {'model': (None, dict(type=ToyModel)), 'train_dataloader': (3, loader()), 'train_cfg': ([1], dict(
    by_epoch=True, max_epochs=1)), 'val_evaluator': (5, []), 'optim_wrapper': (1, dict(optimizer=dict(
        type='SGD', lr=1))), 'param_scheduler': ('x', dict(type='ConstantLR')), 'default_hooks': (5, HOOKS),
       'val_cfg': ([1], {}), 'test_cfg': ([1], {}),
       'custom_hooks': (dict(a=1), []), 'env_cfg': ([], {}), 'randomness': (3, dict(seed=1)), 'log_processor': (1, {}),
       'visualizer': (1, dict(type='Visualizer'))}
CASES = [(name, bad, good, section(name)) for name, (bad, good) in TOP.items()] + [
    ('train_dataloader.dataset', None, dict(type=ToySet), loading('dataset')),
    ('custom_imports', 3, dict(imports=[]), imported), ('load_from', 5, None, loads),
    ('work_dir', 5, 'x', lambda run, v: Path(v)),
    ('log_level', 'LOUD', 'INFO', lambda run, v: MMLogger(f'rule{next(NUMBERS)}', log_level=v)),
    ('train_dataloader.batch_size', 0, 1, loading('batch_size')),
    ('train_dataloader.num_workers', -1, 0, loading('num_workers')),
    ('train_dataloader.timeout', -1, 0, loading('timeout')),
    ('randomness.seed', -1, 0, lambda run, v: run.set_randomness(seed=v)),
    ('randomness.seed', 2**32, 2**32 - 1, lambda run, v: run.set_randomness(seed=v)),
    *((f'train_cfg.{key}', bad, 1, lambda run, v, key=key: loop(run, key, v)) for key, bad in (
        ('max_epochs', 0), ('max_epochs', 'ten'), ('max_epochs', 1.5), ('max_iters', 0), ('val_interval', 0))),
    ('default_hooks.checkpoint.interval', 0, 1, saves), ('default_hooks.checkpoint.max_keep_ckpts', 'x', 1, keeps),
    ('default_hooks.logger.interval', 0, 1, logs),
    ('optim_wrapper.accumulative_counts', 0, 1, lambda run, v: run.build_optim_wrapper(dict(
        optimizer=dict(type='SGD', lr=1), accumulative_counts=v))),
    ('optim_wrapper.optimizer.lr', -1.0, 0, optimizer('AdamW', 'lr')),
    ('optim_wrapper.optimizer.weight_decay', -1, 0, optimizer('AdamW', 'weight_decay')),
    ('optim_wrapper.optimizer.momentum', -0.1, 0.9, optimizer('SGD', 'momentum')),
    ('optim_wrapper.optimizer.betas', (0.9, 2), (0.9, 0.99), optimizer('AdamW', 'betas')),
    ('param_scheduler.milestones', 8, [8], lambda run, v: stepped(run, dict(type='MultiStepLR', milestones=v))),
    ('launcher', 'ponies', 'none', launched), ('resume', 'no', False, resumes),
    ('env_cfg.mp_cfg.mp_start_method', 'threads', 'fork', method), ('optim_wrapper.clip_grad.max_norm', -1, 1, clipped),
    ('custom_hooks', ['x'], [], section('custom_hooks')),
    ('param_scheduler.start_factor', 0, 0.1, lambda run, v: stepped(run, dict(type='LinearLR', start_factor=v))),
    ('model.roi_head.bbox_head.fc_out_channels', 0, 1, head_of_width),
    ('model.data_preprocessor.pad_size_divisor', 0, 1, padded), ('model.anchor_generator.scales', [-8], [8], anchors),
    ('model.test_cfg.rcnn.score_thr', 'x', 0.5, scored),
    ('model.test_cfg.max_per_img', -5, 5, kept), ('custom_hooks.plot_every', 'x', 9, history),
    ('optim_wrapper.paramwise_cfg.custom_keys.weight.lr_mult', -1, 0.1, multiplied),
    ('param_scheduler.step_size', 0, 1, lambda run, v: stepped(run, dict(type='StepLR', step_size=v)))]


def test_every_row_of_values_has_a_case():
    rows = [rule.where for rule in RULES if rule.kind == 'value']
    assert [where for where in rows if not any(re.search(where, place) for place, *_ in CASES)] == []


@pytest.mark.parametrize(('place', 'bad', 'good', 'make'), CASES,
                         ids=[f'{place}-{bad}'[:60] for place, bad, *_ in CASES])
def test_value(place, bad, good, make, runner):
    """What the row refuses, the real thing refuses (or does nothing with it, which the case says); and the reverse."""
    rule, = (rule for rule in RULES if rule.kind == 'value' and re.search(rule.where, place))
    assert misfit(bad, rule.what).startswith('expected ')
    assert misfit(good, rule.what) is None
    make(runner(), good)
    with pytest.raises((TypeError, ValueError, AttributeError, AssertionError, ZeroDivisionError, KeyError)):
        make(runner(), bad)


@of('needs', 'must have', 'all or none')
def test_what_belongs_together(rule, runner):
    if rule.kind == 'needs':
        runner().build_dataloader(loader(num_workers=1, **{rule.what[0]: 2}))
        with pytest.raises(ValueError, match=f'{rule.what[0]}.*num_workers'):
            runner().build_dataloader(loader(num_workers=0, **{rule.what[0]: 2}))
    elif rule.kind == 'all or none':
        whole = dict(dict(arguments('x'), val_dataloader=loader(), val_cfg={}, val_evaluator=[], test_cfg={},
                          test_dataloader=loader(), test_evaluator=[]))
        runner(**{name: whole[name] for name in rule.what})
        for name in rule.what:
            with pytest.raises(ValueError, match='either all None or not None'):
                runner(**{other: whole[other] for other in rule.what} | {name: None})
    elif rule.where == '^train_cfg$':
        with pytest.raises(KeyError, match='by_epoch'):
            built(runner, 'train_cfg', dict(max_epochs=1))
    else:
        for key in rule.what:
            make = loader(**({'dataset': {}} if key == 'type' else {}))
            if key != 'type':
                make.pop(key)
            with pytest.raises(KeyError, match=key):
                runner().build_dataloader(make)


# --- what is no single value


def test_sizes():
    from mmcv.transforms import Resize
    image = dict(img=np.zeros((4, 4, 3), np.uint8))
    Resize(scale=(2, 2))(dict(image))
    with pytest.raises(Exception, match='resize'):
        Resize(scale=(0, 0))(dict(image))


def test_empty_pipelines():
    from mmdet.models import DetDataPreprocessor
    from mmengine.dataset import pseudo_collate
    batch = pseudo_collate([dataset(pipeline=[]).pipeline(dict(img_path='a.png', instances=[]))])
    with pytest.raises(KeyError, match='inputs'):
        DetDataPreprocessor()(batch)


def test_packed_too_early(tmp_path):
    from mmengine.dataset import Compose
    from PIL import Image
    Image.new('RGB', (4, 4)).save(tmp_path / 'a.png')
    both = [dict(type='LoadImageFromFile'), dict(type='PackDetInputs', meta_keys=())]
    with DefaultScope.overwrite_default_scope('mmdet'):
        good, bad = Compose(both), Compose(both[::-1])
    assert good(dict(img_path=str(tmp_path / 'a.png')))['inputs'].shape == (3, 4, 4)
    with pytest.raises(KeyError, match='img_path'):
        bad(dict(img_path=str(tmp_path / 'a.png')))


@pytest.mark.parametrize('wrong', [dict(ann_file=['a.json']), dict(data_prefix='images')])
def test_file_problems(wrong):
    from mmengine.dataset import BaseDataset
    BaseDataset(data_root='x', ann_file='a.json', data_prefix=dict(img='images'), lazy_init=True)
    with pytest.raises((TypeError, AttributeError)):
        BaseDataset(**dict(dict(data_root='x', ann_file='a.json', lazy_init=True), **wrong))


@pytest.mark.parametrize('end', [5, 3, None])
def test_scheduler_ends(end, runner):
    """Of a scheduler without an end, it is the last epoch, here the ninth."""
    made = dict(type='ConstantLR', begin=5) | ({} if end is None else dict(end=end))
    if end is None:
        built(runner, 'param_scheduler', made)
        made['begin'] = 9
    with pytest.raises(ValueError, match='end should be larger than begin'):
        built(runner, 'param_scheduler', made)


def test_multiplied_rates(runner):
    given = dict(optimizer=dict(type='SGD', lr=0.1), paramwise_cfg=dict(bias_decay_mult=0.0))
    with pytest.raises(ValueError, match='base_wd should not be None'):
        runner().build_optim_wrapper(given)


@pytest.mark.parametrize('prefix', [None, 'confusion'])
def test_equal_metric_names(prefix):
    """Both metrics of one class an image have a top1, which the evaluator refuses once they have judged."""
    from mmengine.evaluator import Evaluator
    from mmpretrain.evaluation import Accuracy
    from mmpretrain.structures import DataSample

    from cxrdet.evaluation.metrics import ConfusionMatrixMetric
    evaluator = Evaluator([Accuracy(), ConfusionMatrixMetric(picture=False, prefix=prefix)])
    evaluator.dataset_meta = dict(classes=('a', 'b'))
    evaluator.process([DataSample().set_gt_label(0).set_pred_label(0).set_pred_score(torch.tensor([0.9, 0.1]))])
    if prefix:
        assert {'accuracy/top1', 'confusion/top1'} <= evaluator.evaluate(1).keys()
    else:
        with pytest.raises(ValueError, match='accuracy/top1'):
            evaluator.evaluate(1)


@pytest.mark.parametrize(('use_sigmoid', 'scores'), [(True, 2), (None, 3)])
def test_untold_sigmoids(use_sigmoid, scores):
    """Without use_sigmoid in the config of its loss, a dense head predicts one score more, for the background."""
    from mmdet.models.dense_heads import RetinaHead

    import cxrdet.models  # noqa: F401
    loss = dict(type='cxrdet.OHEMLoss', loss=dict(type='FocalLoss', use_sigmoid=True))
    with DefaultScope.overwrite_default_scope('mmdet'):
        head = RetinaHead(2, 8, loss_cls=loss if use_sigmoid is None else dict(loss, use_sigmoid=use_sigmoid))
    assert head.cls_out_channels == scores


@pytest.mark.parametrize('decoded', [False, True])
def test_losses_of_deltas(decoded):
    """The loss of a head's boxes is given deltas, as the head predicts them, unless reg_decoded_bbox is set."""
    from mmdet.models.roi_heads.bbox_heads import Shared2FCBBoxHead
    seen = []
    with DefaultScope.overwrite_default_scope('mmdet'):
        head = Shared2FCBBoxHead(num_classes=1, in_channels=1, fc_out_channels=1, roi_feat_size=1,
                                 reg_class_agnostic=True, reg_decoded_bbox=decoded)
    head.loss_bbox.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    deltas, box = torch.zeros(1, 4), torch.tensor([[0., 10., 10., 30., 30.]])
    head.loss(torch.zeros(1, 2), deltas, box, torch.zeros(1, dtype=torch.long), torch.ones(1), box[:, 1:],
              torch.ones(1, 4))
    assert torch.allclose(seen[0], box[:, 1:] if decoded else deltas)
