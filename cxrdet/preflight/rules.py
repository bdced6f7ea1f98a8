"""What MMEngine and its relatives do with a config, as data: one row a rule, with the function that it mirrors.

They look a name or a number up when they need it, deep in a run. The check of a config goes by these rows instead;
``tests/preflight/test_rules.py`` builds the real thing for each, so that a new release that behaves otherwise is seen.
No function is in here; the rows are applied by :mod:`cxrdet.preflight.check`.
"""
from typing import NamedTuple

from mmengine import registry as root

__all__ = ['HELPERS', 'RULES', 'RUNNER_KEYS', 'SCOPES', 'SURE', 'Expected', 'Rule']


class Rule(NamedTuple):
    """One row.

    Attributes:
        kind: What the row says of the places that ``where`` finds:

            - 'registry': below it, types are looked up in these registries, or among the names of this module
            - 'default type': the Runner takes this type where none is named
            - 'takes off': the builder of the place takes these arguments off before the class sees them
            - 'keys': the section knows these keys only; its own arguments and those of the function that is mirrored
            - 'value': what is there must be as :class:`Expected` says
            - 'needs': the first key of the dict needs a number above 0 in the second
            - 'must have': the dict must have these keys, or one of those with a | between
            - 'all or none': of these top-level keys all are given, or none
            - 'function': a function of this name in :mod:`cxrdet.preflight.check`, for what is no single value

        where: A regular expression, searched in the dotted place, which is written without the indices of lists.
        what: Of the kinds 'registry', 'takes off' … above.
        mirrors: The function or class that behaves so.
    """

    kind: str
    where: str
    what: object
    mirrors: str


class Expected(NamedTuple):
    """What a value must be.

    Attributes:
        kind: 'integer', 'number', 'whole number' (24.0 is one), 'text', 'dict', 'list', 'dict or list', or the same
            with an 's': a list of them; '' if only ``also`` will do.
        low, high: Bounds of a number, both allowed; ``below``: a bound that is not.
        also: Values that are allowed as well.
        hint: What to do, where that is not plain.
    """

    kind: str
    low: float | None = None
    high: float | None = None
    below: float | None = None
    also: tuple = (None, )
    hint: str = ''


SCOPES = ('cxrdet', 'mmdet', 'mmpretrain', 'mmengine')
MODEL = (root.MODELS, root.TASK_UTILS)
METRIC = (root.METRICS, root.EVALUATOR, root.TASK_UTILS)
_RUNNER = 'mmengine.runner.Runner.'
_IN_MODEL = r'^(model|tta_model|data_preprocessor)\.(?!.*\bprototype\.)'  # a retriever has a dataloader in its model
_NOT_HOOKS = r'^(?!default_hooks\.)'
_OPTIMIZER = r'^optim_wrapper\.(\w+\.)?optimizer\.(inner\.)?'
_AT_LEAST_1, _WHOLE = Expected('integer', 1, also=()), Expected('whole number', 1, also=())

# Keys that something else than the Runner's own arguments reads: mmdet's and mmpretrain's inferencers, cxrdet's tools.
RUNNER_KEYS = ('custom_imports', 'vis_backends', 'tta_model', 'tta_pipeline', 'test_pipeline', 'model_wrapper_cfg',
               'sync_bn', 'find_unused_parameters', 'activation_checkpointing', 'efficient_conv_bn_eval', 'compile',
               'runner_type', 'strategy', 'device', 'precision', 'allow_partial_weights', 'allow_shared_images')
# Helpers of the stock configs that may stand unused, so that a name near a real key is not taken for a misspelling.
HELPERS = ('train_pipeline', 'val_pipeline', 'data_root', 'dataset_type', 'backend_args', 'num_classes', 'img_scale',
           'load_pipeline', 'backbone', 'backbone_channels', 'backbone_strides')
# Places whose type is certainly looked up, so that a name in lower case is judged, too. Elsewhere a lower-case type
# may be a word of the part itself (``clip_grad=dict(type='norm')``) and is left alone.
SURE = (r'^(model|detector|backbone|neck|\w*head|\w*loss\w*|\w*norm_cfg|act_cfg|conv_cfg|upsample_cfg|\w*_extractor|'
        r'data_preprocessor|init_cfg|datasets?|\w*pipeline|transforms|\w*sampler|assigner|bbox_coder|\w*_generator|'
        r'optimizer|optim_wrapper|param_scheduler|\w*evaluator|metrics|default_hooks|custom_hooks|visualizer|'
        r'vis_backends|train_cfg|val_cfg|test_cfg|nms|roi_layer|augments|collate_fn)$')

_DICT, _MODEL_DICT, _DICT_OR_LIST = Expected('dict'), Expected('dict', also=()), Expected('dict or list')
_SECTIONS = (  # the top-level keys that a run is built from, in the order in which they are read here: keys; registries
    # below; what each must be, where that is judged; the type where none is named; what builds it
    ('model', MODEL, _MODEL_DICT, None, _RUNNER + 'build_model'),
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
    ('custom_hooks', (root.HOOKS, ), Expected('list'), None, _RUNNER + 'register_custom_hooks'),
    ('log_processor', (root.LOG_PROCESSORS, ), _DICT, 'LogProcessor', _RUNNER + 'build_log_processor'),
    ('visualizer', (root.VISUALIZERS, ), _DICT, None, _RUNNER + 'build_visualizer'),
    ('vis_backends', (root.VISBACKENDS, ), None, None, 'mmengine.visualization.Visualizer'),
)

RULES = (
    *(Rule('registry', f'^{key}$', places, by) for keys, places, _, _, by in _SECTIONS for key in keys.split()),
    *(Rule('default type', f'^{key}$', default, by) for key, _, _, default, by in _SECTIONS if default),
    *(Rule('value', f'^({keys.replace(" ", "|")})$', what, by) for keys, _, what, _, by in _SECTIONS if what),

    # Keys that change the registry for what stands below them; the first row that fits holds.
    Rule('registry', _NOT_HOOKS + r'.*\.\w*pipeline$', (root.TRANSFORMS, ), 'mmengine.dataset.Compose'),
    Rule('registry', _NOT_HOOKS + r'.*\.datasets?$', (root.DATASETS, ), 'mmengine.dataset.ConcatDataset'),
    Rule('registry', _NOT_HOOKS + r'.*\.optimizer$', (root.OPTIMIZERS, ),
         'mmengine.optim.DefaultOptimWrapperConstructor.__call__'),
    Rule('registry', _NOT_HOOKS + r'.*\.vis_backends$', (root.VISBACKENDS, ), 'mmengine.visualization.Visualizer'),
    Rule('registry', _NOT_HOOKS + r'.*\.(collate_fn|worker_init_fn)$', (root.FUNCTIONS, ),
         _RUNNER + 'build_dataloader'),
    Rule('registry', _NOT_HOOKS + r'.*\.metrics$', (root.METRICS, ), 'mmengine.evaluator.Evaluator'),
    Rule('registry', r'(^\w+_dataloader|\.prototype)\.(.*\.)?(batch_)?sampler$', (root.DATA_SAMPLERS, ),
         _RUNNER + 'build_dataloader'),
    Rule('registry', _IN_MODEL + r'(.*[._])?nms$', ('mmcv.ops.nms', ), 'mmcv.ops.nms.batched_nms'),
    Rule('registry', _IN_MODEL + r'(.*\.)?roi_layer$', ('mmcv.ops', ),
         'mmdet.models.roi_heads.BaseRoIExtractor.build_roi_layers'),
    Rule('registry', _IN_MODEL + r'(.*\.)?augments$', ('mmpretrain.registry.BATCH_AUGMENTS', ),
         'mmpretrain.models.utils.batch_augments.RandomBatchAugment'),
    Rule('registry', _IN_MODEL + r'(.*\.)?tokenizer$', ('mmpretrain.registry.TOKENIZER', ),
         'mmpretrain.models.multimodal.blip.blip_caption.BlipCaption.__init__'),
    Rule('registry', _IN_MODEL + r'(.*\.)?(init_cfg|override)$', (root.WEIGHT_INITIALIZERS, ),
         'mmengine.model.initialize'),
    Rule('registry', _IN_MODEL + r'(.*[._])?(assigner|sampler|coder|match_costs?|iou_calculator|anchor_generator|'
         r'prior_generator)$', (root.TASK_UTILS, root.MODELS),
         'mmdet.models.dense_heads.AnchorHead'),
    Rule('registry', _IN_MODEL, MODEL, 'mmengine.registry.build_model_from_cfg'),

    Rule('takes off', r'norm_cfg$', {'requires_grad'}, 'mmcv.cnn.build_norm_layer'),
    Rule('takes off', r'(^|[._])(hooks|backends)$|\.plugins$|\.cfg$', {'priority', 'name', 'postfix'},
         _RUNNER + 'register_hook'),
    Rule('takes off', r'(^|\.)(train|val|test)_cfg$', {'by_epoch'}, _RUNNER + 'build_train_loop'),
    Rule('takes off', r'^param_scheduler$', {'convert_to_iter_based'}, 'mmengine.registry.build_scheduler_from_cfg'),
    Rule('takes off', r'\.init_cfg$', {'layer', 'override'}, 'mmengine.model.initialize'),
    Rule('takes off', r'^optim_wrapper$', {'constructor', 'paramwise_cfg'}, 'mmengine.optim.build_optim_wrapper'),
    Rule('takes off', r'\.(dcn|conv|dcn_conv)(_cfg)?$', {'fallback_on_stride', 'deformable_groups'},
         'mmdet.models.backbones.resnet.Bottleneck'),
    Rule('takes off', r'\.upsample_cfg$', {'scale_factor', 'upsample_kernel', 'mode', 'align_corners'},
         'mmcv.cnn.build_upsample_layer'),
    Rule('takes off', r'(_|\.)nms$', {'class_agnostic', 'split_thr', 'max_num', 'min_score', 'method', 'sigma'},
         'mmcv.ops.nms.batched_nms'),
    Rule('takes off', r'\.loss_cls$', {'bg_cls_weight'}, 'mmdet.models.dense_heads.DETRHead'),
    Rule('takes off', r'\.policies$', {'magnitude_key', 'magnitude_range'},
         'mmpretrain.datasets.transforms.RandAugment'),
    Rule('takes off', r'\.bbox_params$', {'filter_lost_elements'}, 'mmdet.datasets.transforms.Albu'),
    Rule('takes off', r'\.vision_encoder$', {'pretrained'},
         'mmpretrain.models.multimodal.flamingo.flamingo.Flamingo.__init__'),

    Rule('keys', '^env_cfg$', ('cudnn_benchmark', 'mp_cfg', 'dist_cfg', 'resource_limit'), _RUNNER + 'setup_env'),
    Rule('keys', '^auto_scale_lr$', ('enable', 'base_batch_size'), _RUNNER + 'scale_lr'),
    Rule('keys', '^randomness$', ('seed', 'diff_rank_seed', 'deterministic'), _RUNNER + 'set_randomness'),
    Rule('keys', r'^(train|val|test)_dataloader$',
         ('dataset', 'sampler', 'batch_sampler', 'collate_fn', 'worker_init_fn', 'num_batch_per_epoch',
          'disable_subprocess_warning', '_scope_'), 'torch.utils.data.DataLoader'),

    # Values. What a config leaves out is never judged.
    Rule('value', r'^(train|val|test)_dataloader\.dataset$', Expected('dict', also=()), _RUNNER + 'build_dataloader'),
    Rule('value', '^env_cfg$', _MODEL_DICT, _RUNNER + 'setup_env'),
    Rule('value', '^randomness$', Expected('dict', also=()), _RUNNER + 'set_randomness'),
    Rule('value', '^custom_imports$', Expected('dict'), 'mmengine.utils.import_modules_from_strings'),
    Rule('value', '^work_dir$', Expected('text'), 'mmengine.runner.Runner'),
    Rule('value', '^load_from$', Expected('text', hint='Give the path of a checkpoint.'), _RUNNER + 'load_checkpoint'),
    Rule('value', '^log_level$',
         Expected('', also=('DEBUG', 'INFO', 'WARNING', 'ERROR', 'CRITICAL', 10, 20, 30, 40, 50)),
         'mmengine.logging.MMLogger'),
    Rule('value', r'^\w+_dataloader\.batch_size$', _AT_LEAST_1, 'torch.utils.data.BatchSampler'),
    Rule('value', r'^\w+_dataloader\.num_workers$',
         Expected('integer', 0, also=(), hint='0 loads in the process itself.'),
         'torch.utils.data.DataLoader'),
    Rule('value', r'^\w+_dataloader\.timeout$', Expected('number', 0, also=()), 'torch.utils.data.DataLoader'),
    Rule('value', r'^randomness\.seed$', Expected('integer', 0, 2**32 - 1), 'mmengine.runner.set_random_seed'),
    Rule('value', r'^train_cfg\.max_epochs$', _WHOLE, 'mmengine.runner.EpochBasedTrainLoop'),
    Rule('value', r'^train_cfg\.max_iters$', _WHOLE, 'mmengine.runner.IterBasedTrainLoop'),
    Rule('value', r'^train_cfg\.val_interval$', _WHOLE, 'mmengine.runner.EpochBasedTrainLoop.run'),
    Rule('value', r'^default_hooks\.checkpoint\.interval$', Expected('integer', 1, also=(-1, ), hint='-1 saves none.'),
         'mmengine.hooks.CheckpointHook.after_train_epoch'),
    Rule('value', r'^default_hooks\.checkpoint\.max_keep_ckpts$',
         Expected('integer', 1, also=(-1, ), hint='-1 keeps all.'),
         'mmengine.hooks.CheckpointHook.before_train'),
    Rule('value', r'^default_hooks\.logger\.interval$', _AT_LEAST_1, 'mmengine.hooks.LoggerHook'),
    Rule('value', r'^optim_wrapper\.accumulative_counts$', _AT_LEAST_1, 'mmengine.optim.OptimWrapper'),
    Rule('value', _OPTIMIZER + 'lr$', Expected('number', 0), 'torch.optim.AdamW'),
    Rule('value', _OPTIMIZER + 'weight_decay$', Expected('number', 0, also=()), 'torch.optim.AdamW'),
    Rule('value', _OPTIMIZER + 'momentum$',
         Expected('number', 0, below=1, also=(), hint='With 1, a step would never fade.'), 'torch.optim.SGD'),
    Rule('value', _OPTIMIZER + 'betas$', Expected('numbers', 0, 1), 'torch.optim.AdamW'),
    Rule('value', r'^param_scheduler\.milestones$', Expected('integers', 0, also=()),
         'mmengine.optim.scheduler.MultiStepParamScheduler'),
    Rule('value', r'^param_scheduler\.step_size$', _AT_LEAST_1, 'mmengine.optim.scheduler.StepParamScheduler'),

    Rule('needs', r'^\w+_dataloader$', ('persistent_workers', 'num_workers'), 'torch.utils.data.DataLoader'),
    Rule('needs', r'^\w+_dataloader$', ('prefetch_factor', 'num_workers'), 'torch.utils.data.DataLoader'),
    Rule('must have', r'^\w+_dataloader$', ('dataset', 'sampler'), _RUNNER + 'build_dataloader'),
    Rule('must have', r'^(model|\w+_dataloader\.dataset)$', ('type', ), 'mmengine.registry.build_from_cfg'),
    Rule('must have', '^train_cfg$', ('type|by_epoch', ), _RUNNER + 'build_train_loop'),
    Rule('all or none', '^train', ('train_dataloader', 'train_cfg', 'optim_wrapper'), 'mmengine.runner.Runner'),
    Rule('all or none', '^val', ('val_dataloader', 'val_cfg', 'val_evaluator'), 'mmengine.runner.Runner'),
    Rule('all or none', '^test', ('test_dataloader', 'test_cfg', 'test_evaluator'), 'mmengine.runner.Runner'),

    Rule('function', r'\.pipeline$', '_sizes', 'mmcv.transforms.Resize.transform'),
    Rule('function', r'\.pipeline$', '_empty_pipelines', 'mmengine.dataset.pseudo_collate'),
    Rule('function', '^param_scheduler$', '_scheduler_ends', 'mmengine.optim._ParamScheduler'),
    Rule('function', '^optim_wrapper$', '_multiplied_rates', 'mmengine.optim.DefaultOptimWrapperConstructor'),
    Rule('function', r'\.loss_cls$', '_untold_sigmoids', 'mmdet.models.dense_heads.AnchorHead'),
    Rule('function', r'\.loss_bbox$', '_losses_of_deltas', 'mmdet.models.roi_heads.BBoxHead.loss'),
)
