"""What MMEngine and its relatives do with a config, as data: one row a rule, with the function that it mirrors.

:mod:`cxrdet.preflight.check` applies the rows; ``tests/preflight/test_rules.py`` builds the real thing for each, so
that a new release that behaves otherwise is seen.
"""
import math
import os
from typing import NamedTuple

from mmengine import registry as root


class Rule(NamedTuple):
    """One row: at the places that ``where`` finds, as the function or class ``mirrors`` has it,

    - 'registry': types below it are looked up in these registries, or among the names of this module
    - 'default type': the Runner takes this type where none is named
    - 'takes off': the builder takes these arguments off before the class sees them
    - 'keys': the section knows these keys, and the arguments of the class that is mirrored
    - 'value': what is there must be as :class:`Expected` says
    - 'needs': the first key of the dict needs a number above 0 in the second
    - 'must have': the dict must have these keys, or one of those with a | between
    - 'all or none': of these top-level keys all are given, or none
    - 'function': a function of this name in :mod:`cxrdet.preflight.check`, for what is no single value

    ``where`` is a regular expression, searched in the dotted place without the indices of lists.
    """

    kind: str
    where: str
    what: object
    mirrors: str


class Expected(NamedTuple):
    """What a value must be.

    Attributes:
        kind: 'integer', 'number', 'whole number' (24.0 is one), 'text', 'dict', 'list', 'dict or list', or with an 's'
            a list of them; '' if only ``also`` will do.
        low, high, below, above: Bounds of a number; the last two are not allowed themselves.
        also: Values that are allowed as well.
        hint: What to do, where that is not plain.
    """

    kind: str
    low: float | None = None
    high: float | None = None
    below: float | None = None
    above: float | None = None
    also: tuple = (None, )
    hint: str = ''


SCOPES = ('cxrdet', 'mmdet', 'mmpretrain', 'mmengine')
MODEL = (root.MODELS, root.TASK_UTILS)
METRIC = (root.METRICS, root.EVALUATOR, root.TASK_UTILS)
_RUNNER = 'mmengine.runner.Runner.'
_IN_MODEL = r'^(model|tta_model|data_preprocessor)\.(?!.*\bprototype\.)'  # a retriever has a dataloader in its model
_NOT_HOOKS = r'^(?!default_hooks\.)'
_OPTIMIZER = r'^optim_wrapper\.(\w+\.)?optimizer\.(inner\.)?'
_AT_LEAST_1 = Expected('integer', 1, also=())
_ABOVE_0 = Expected('number', above=0, also=())
_RATE = Expected('number', 0, below=math.inf)

# Keys that something else than the Runner's own arguments reads: mmdet's and mmpretrain's inferencers, cxrdet's tools.
RUNNER_KEYS = ('custom_imports', 'vis_backends', 'tta_model', 'tta_pipeline', 'test_pipeline', 'model_wrapper_cfg',
               'sync_bn', 'find_unused_parameters', 'activation_checkpointing', 'efficient_conv_bn_eval', 'compile',
               'runner_type', 'strategy', 'device', 'precision', 'allow_partial_weights', 'allow_shared_images')
# Helpers of the stock configs that may stand unused, so that a name near a real key is not taken for a misspelling.
HELPERS = ('train_pipeline', 'val_pipeline', 'data_root', 'dataset_type', 'backend_args', 'num_classes', 'img_scale',
           'load_pipeline', 'backbone', 'backbone_channels', 'backbone_strides', 'backbone_preprocessor',
           'classifier_backbone')
# Places whose type is certainly looked up, so that a name in lower case is judged, too. Elsewhere a lower-case type
# may be a word of the part itself (``clip_grad=dict(type='norm')``) and is left alone.
SURE = (r'^(model|detector|backbone|neck|\w*head|\w*loss\w*|\w*norm_cfg|act_cfg|conv_cfg|upsample_cfg|\w*_extractor|'
        r'data_preprocessor|init_cfg|datasets?|\w*pipeline|transforms|\w*sampler|assigner|bbox_coder|\w*_generator|'
        r'optimizer|optim_wrapper|param_scheduler|\w*evaluator|metrics|default_hooks|custom_hooks|visualizer|'
        r'vis_backends|train_cfg|val_cfg|test_cfg|nms|roi_layer|augments|collate_fn)$')

_IMAGENET = ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
_HALF = ((127.5, ), (127.5, ))
# Mean and standard deviation, of R, G, B or of all, by which pretrained weights expect pixels of 0 to 255; where a
# source has several, any one of them. GREY: sources that were trained on grey images alone.
PIXELS = {'torchvision': (_IMAGENET, ), 'chexnet': (_IMAGENET, ), 'timm': (_IMAGENET, _HALF),
          'efficientnet_lite': (((127., ), (128., )), ), 'radimagenet': (_HALF, ),
          'torchxrayvision': (((127.5, ), (255 / 2048, )), )}  # -1024 to 1024
GREY = ('radimagenet', 'torchxrayvision')

_DICT, _ONLY_DICT, _DICT_OR_LIST = Expected('dict'), Expected('dict', also=()), Expected('dict or list')
_SECTIONS = (  # the top-level keys that a run is built from, in the order in which they are read here: keys; registries
    # below; what each must be, where that is judged; the type where none is named; what builds it
    ('model', MODEL, _ONLY_DICT, None, _RUNNER + 'build_model'),
    ('tta_model', MODEL, None, None, _RUNNER + 'build_model'),
    ('data_preprocessor', MODEL, None, None, 'mmengine.model.BaseModel'),
    ('model_wrapper_cfg', (root.MODEL_WRAPPERS, ), None, None, _RUNNER + 'wrap_model'),
    ('train_dataloader val_dataloader test_dataloader', (root.DATASETS, ), _DICT, None, _RUNNER + 'build_dataloader'),
    ('test_pipeline tta_pipeline', (root.TRANSFORMS, ), None, None, 'mmengine.dataset.Compose'),
    ('train_cfg', (root.LOOPS, ), _DICT, 'EpochBasedTrainLoop', _RUNNER + 'build_train_loop'),
    ('val_cfg', (root.LOOPS, ), _DICT, 'ValLoop', _RUNNER + 'build_val_loop'),
    ('test_cfg', (root.LOOPS, ), _DICT, 'TestLoop', _RUNNER + 'build_test_loop'),
    ('optim_wrapper', (root.OPTIM_WRAPPERS, ), _DICT, 'OptimWrapper', _RUNNER + 'build_optim_wrapper'),
    ('param_scheduler', (root.PARAM_SCHEDULERS, ), _DICT_OR_LIST, None, _RUNNER + 'build_param_scheduler'),
    ('val_evaluator test_evaluator', METRIC, _DICT_OR_LIST, None, _RUNNER + 'build_evaluator'),
    ('default_hooks', (root.HOOKS, ), _DICT, None, _RUNNER + 'register_default_hooks'),
    ('custom_hooks', (root.HOOKS, ), Expected('dicts'), None, _RUNNER + 'register_custom_hooks'),
    ('log_processor', (root.LOG_PROCESSORS, ), _DICT, 'LogProcessor', _RUNNER + 'build_log_processor'),
    ('visualizer', (root.VISUALIZERS, ), _DICT, None, _RUNNER + 'build_visualizer'),
    ('vis_backends', (root.VISBACKENDS, ), None, None, 'mmengine.visualization.Visualizer'),
)

_ROWS = {  # kind of rule -> its rows
    'registry': (  # keys that change it for what stands below them; the first row that fits holds
        (_NOT_HOOKS + r'.*\.\w*pipeline$', (root.TRANSFORMS, ), 'mmengine.dataset.Compose'),
        (_NOT_HOOKS + r'.*\.datasets?$', (root.DATASETS, ), 'mmengine.dataset.ConcatDataset'),
        (_NOT_HOOKS + r'.*\.optimizer$', (root.OPTIMIZERS, ),
         'mmengine.optim.DefaultOptimWrapperConstructor.__call__'),
        (_NOT_HOOKS + r'.*\.vis_backends$', (root.VISBACKENDS, ), 'mmengine.visualization.Visualizer'),
        (_NOT_HOOKS + r'.*\.(collate_fn|worker_init_fn)$', (root.FUNCTIONS, ), _RUNNER + 'build_dataloader'),
        (_NOT_HOOKS + r'.*\.metrics$', (root.METRICS, ), 'mmengine.evaluator.Evaluator'),
        (r'(^\w+_dataloader|\.prototype)\.(.*\.)?(batch_)?sampler$', (root.DATA_SAMPLERS, ),
         _RUNNER + 'build_dataloader'),
        (_IN_MODEL + r'(.*[._])?nms$', ('mmcv.ops.nms', ), 'mmcv.ops.nms.batched_nms'),
        (_IN_MODEL + r'(.*\.)?roi_layer$', ('mmcv.ops', ),
         'mmdet.models.roi_heads.BaseRoIExtractor.build_roi_layers'),
        (_IN_MODEL + r'(.*\.)?augments$', ('mmpretrain.registry.BATCH_AUGMENTS', ),
         'mmpretrain.models.utils.batch_augments.RandomBatchAugment'),
        (_IN_MODEL + r'(.*\.)?tokenizer$', ('mmpretrain.registry.TOKENIZER', ),
         'mmpretrain.models.multimodal.blip.blip_caption.BlipCaption.__init__'),
        (_IN_MODEL + r'(.*\.)?(init_cfg|override)$', (root.WEIGHT_INITIALIZERS, ), 'mmengine.model.initialize'),
        (_IN_MODEL + r'(.*[._])?(assigner|sampler|coder|match_costs?|iou_calculator|anchor_generator|prior_generator)$',
         (root.TASK_UTILS, root.MODELS), 'mmdet.models.dense_heads.AnchorHead'),
        (_IN_MODEL, MODEL, 'mmengine.registry.build_model_from_cfg'),
    ),
    'takes off': (
        (r'norm_cfg$', {'requires_grad'}, 'mmcv.cnn.build_norm_layer'),
        (r'(^|[._])(hooks|backends)$|\.plugins$|\.cfg$', {'priority', 'name', 'postfix'}, _RUNNER + 'register_hook'),
        (r'(^|\.)(train|val|test)_cfg$', {'by_epoch'}, _RUNNER + 'build_train_loop'),
        (r'^param_scheduler$', {'convert_to_iter_based'}, 'mmengine.registry.build_scheduler_from_cfg'),
        (r'\.init_cfg$', {'layer', 'override'}, 'mmengine.model.initialize'),
        (r'^optim_wrapper$', {'constructor', 'paramwise_cfg'}, 'mmengine.optim.build_optim_wrapper'),
        (r'\.(dcn|conv|dcn_conv)(_cfg)?$', {'fallback_on_stride', 'deformable_groups'},
         'mmdet.models.backbones.resnet.Bottleneck'),
        (r'\.upsample_cfg$', {'scale_factor', 'upsample_kernel', 'mode', 'align_corners'},
         'mmcv.cnn.build_upsample_layer'),
        (r'(_|\.)nms$', {'class_agnostic', 'split_thr', 'max_num', 'min_score', 'method', 'sigma'},
         'mmcv.ops.nms.batched_nms'),
        (r'\.loss_cls$', {'bg_cls_weight'}, 'mmdet.models.dense_heads.DETRHead'),
        (r'\.policies$', {'magnitude_key', 'magnitude_range'}, 'mmpretrain.datasets.transforms.RandAugment'),
        (r'\.bbox_params$', {'filter_lost_elements'}, 'mmdet.datasets.transforms.Albu'),
        (r'\.vision_encoder$', {'pretrained'}, 'mmpretrain.models.multimodal.flamingo.flamingo.Flamingo.__init__'),
    ),
    'keys': (
        ('^env_cfg$', ('cudnn_benchmark', 'mp_cfg', 'dist_cfg', 'resource_limit'), _RUNNER + 'setup_env'),
        ('^auto_scale_lr$', ('enable', 'base_batch_size'), _RUNNER + 'scale_lr'),
        ('^randomness$', ('seed', 'diff_rank_seed', 'deterministic'), _RUNNER + 'set_randomness'),
        (r'^(train|val|test)_dataloader$',
         ('dataset', 'sampler', 'batch_sampler', 'collate_fn', 'worker_init_fn', 'num_batch_per_epoch',
          'disable_subprocess_warning', '_scope_'), 'torch.utils.data.DataLoader'),
    ),
    'value': (  # what a config leaves out is never judged
        (r'^(train|val|test)_dataloader\.dataset$', _ONLY_DICT, _RUNNER + 'build_dataloader'),
        ('^env_cfg$', _ONLY_DICT, _RUNNER + 'setup_env'),
        ('^randomness$', _ONLY_DICT, _RUNNER + 'set_randomness'),
        ('^custom_imports$', Expected('dict'), 'mmengine.utils.import_modules_from_strings'),
        ('^work_dir$', Expected('text'), 'mmengine.runner.Runner'),
        ('^load_from$', Expected('text', hint='Give the path of a checkpoint.'), _RUNNER + 'load_checkpoint'),
        ('^log_level$', Expected('', also=('DEBUG', 'INFO', 'WARNING', 'ERROR', 'CRITICAL', 10, 20, 30, 40, 50)),
         'mmengine.logging.MMLogger'),
        (r'^\w+_dataloader\.batch_size$', _AT_LEAST_1, 'torch.utils.data.BatchSampler'),
        (r'^\w+_dataloader\.num_workers$', Expected('integer', 0, 64 * (os.cpu_count() or 1), also=(),
                                                     hint='0 loads in the process itself.'),
         'torch.utils.data.DataLoader'),
        ('^launcher$', Expected('', also=('none', 'pytorch', 'slurm', 'mpi')), _RUNNER + 'setup_env'),
        ('^resume$', Expected('', also=(True, False, None)), _RUNNER + 'load_or_resume'),
        (r'^env_cfg\.mp_cfg\.mp_start_method$', Expected('', also=('fork', 'spawn', 'forkserver')),
         'mmengine.utils.dl_utils.set_multi_processing'),
        (r'^\w+_dataloader\.timeout$', Expected('number', 0, also=()), 'torch.utils.data.DataLoader'),
        (r'^randomness\.seed$', Expected('integer', 0, 2**32 - 1), 'mmengine.runner.set_random_seed'),
        (r'^train_cfg\.(max_epochs|max_iters|val_interval)$', Expected('whole number', 1, also=()),
         'mmengine.runner.EpochBasedTrainLoop.run'),
        (r'^default_hooks\.checkpoint\.interval$', Expected('integer', 1, also=(-1, ), hint='-1 saves none.'),
         'mmengine.hooks.CheckpointHook.after_train_epoch'),
        (r'^default_hooks\.checkpoint\.max_keep_ckpts$', Expected('integer', 1, also=(-1, ), hint='-1 keeps all.'),
         'mmengine.hooks.CheckpointHook.before_train'),
        (r'^default_hooks\.logger\.interval$', _AT_LEAST_1, 'mmengine.hooks.LoggerHook'),
        (r'^optim_wrapper\.accumulative_counts$', _AT_LEAST_1, 'mmengine.optim.OptimWrapper'),
        (r'^optim_wrapper\.clip_grad\.max_norm$', _ABOVE_0, 'torch.nn.utils.clip_grad_norm_'),
        (_OPTIMIZER + 'lr$', _RATE, 'torch.optim.AdamW'),
        (r'^optim_wrapper\.paramwise_cfg\.(.+\.)?\w*(lr_mult|decay_mult|decay_rate)$', _RATE._replace(also=(None, )),
         'mmengine.optim.DefaultOptimWrapperConstructor.add_params'),
        (_OPTIMIZER + 'weight_decay$', _RATE._replace(also=()), 'torch.optim.AdamW'),
        (_OPTIMIZER + 'momentum$', Expected('number', 0, below=1, also=(), hint='With 1, a step would never fade.'),
         'torch.optim.SGD'),
        (_OPTIMIZER + 'betas$', Expected('numbers', 0, 1), 'torch.optim.AdamW'),
        (r'^param_scheduler\.milestones$', Expected('integers', 0, also=()),
         'mmengine.optim.scheduler.MultiStepParamScheduler'),
        (r'^param_scheduler\.step_size$', _AT_LEAST_1, 'mmengine.optim.scheduler.StepParamScheduler'),
        (r'^param_scheduler\.start_factor$', _ABOVE_0, 'mmengine.optim.scheduler.LinearParamScheduler'),
        (_IN_MODEL + r'.*(fc|conv)_out_channels$', _AT_LEAST_1,
         'mmdet.models.roi_heads.bbox_heads.ConvFCBBoxHead'),
        (r'data_preprocessor\.pad_size_divisor$', _AT_LEAST_1, 'mmengine.model.ImgDataPreprocessor.forward'),
        (_IN_MODEL + r'.*anchor_generator\.scales$', Expected('numbers', above=0),
         'mmdet.models.task_modules.prior_generators.AnchorGenerator'),
        (_IN_MODEL + r'.*\.max_per_img$', Expected('integer', 1, also=(-1, None)),
         'mmdet.models.dense_heads.base_dense_head.BaseDenseHead'),
        (_IN_MODEL + r'(.*\.)?test_cfg\.(.*\.)?(score_thr|iou_threshold)$', Expected('number', high=1),
         'mmdet.models.layers.multiclass_nms'),
        (r'_hooks\.(\w+\.)?plot_every$', Expected('number', 0, also=()), 'cxrdet.engine.hooks.history.HistoryHook'),
    ),
    'needs': (
        (r'^\w+_dataloader$', ('persistent_workers', 'num_workers'), 'torch.utils.data.DataLoader'),
        (r'^\w+_dataloader$', ('prefetch_factor', 'num_workers'), 'torch.utils.data.DataLoader'),
    ),
    'must have': (
        (r'^\w+_dataloader$', ('dataset', 'sampler'), _RUNNER + 'build_dataloader'),
        (r'^(model|\w+_dataloader\.dataset)$', ('type', ), 'mmengine.registry.build_from_cfg'),
        ('^train_cfg$', ('type|by_epoch', ), _RUNNER + 'build_train_loop'),
    ),
    'all or none': (
        ('^train', ('train_dataloader', 'train_cfg', 'optim_wrapper'), 'mmengine.runner.Runner'),
        ('^val', ('val_dataloader', 'val_cfg', 'val_evaluator'), 'mmengine.runner.Runner'),
        ('^test', ('test_dataloader', 'test_cfg', 'test_evaluator'), 'mmengine.runner.Runner'),
    ),
    'function': (
        (r'\.pipeline$', '_sizes', 'mmcv.transforms.Resize.transform'),
        (r'\.pipeline$', '_empty_pipelines', 'mmengine.dataset.pseudo_collate'),
        (r'\.pipeline$', '_packed_too_early', 'mmcv.transforms.LoadImageFromFile.transform'),
        (r'\.dataset$', 'file_problems', 'mmengine.dataset.BaseDataset'),
        ('^param_scheduler$', '_scheduler_ends', 'mmengine.optim._ParamScheduler'),
        ('^optim_wrapper$', '_multiplied_rates', 'mmengine.optim.DefaultOptimWrapperConstructor'),
        ('^(val|test)_evaluator$', '_equal_metric_names', 'mmengine.evaluator.Evaluator.evaluate'),
        ('^(default|custom)_hooks$', '_unfreezing_by_epochs', 'mmengine.runner.IterBasedTrainLoop.run'),
        (r'\.loss_cls$', '_untold_sigmoids', 'mmdet.models.dense_heads.AnchorHead'),
        (r'\.loss_bbox$', '_losses_of_deltas', 'mmdet.models.roi_heads.BBoxHead.loss'),
    ),
}

RULES = (
    *(Rule('registry', f'^{key}$', places, by) for keys, places, _, _, by in _SECTIONS for key in keys.split()),
    *(Rule('default type', f'^{key}$', default, by) for key, _, _, default, by in _SECTIONS if default),
    *(Rule('value', f'^({keys.replace(" ", "|")})$', what, by) for keys, _, what, _, by in _SECTIONS if what),
    *(Rule(kind, *row) for kind, rows in _ROWS.items() for row in rows),
)
