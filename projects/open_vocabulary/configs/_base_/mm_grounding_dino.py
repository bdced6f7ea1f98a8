"""MMDetection's MM-Grounding-DINO, Swin-T, to be fine-tuned on a COCO-format cell set at 800 px.

Weights and text model come from local files: load_from, model.language_model.name. The classes of the set are the
prompt, in training and in testing.
"""
_base_ = 'mmdet::mm_grounding_dino/grounding_dino_swin-t_pretrain_obj365.py'
custom_imports = dict(
    imports=['cxrdet', 'projects.open_vocabulary.open_vocabulary'], allow_failed_imports=False)
load_from = 'weights/grounding_dino_swin-t_pretrain_obj365_goldg_grit9m_v3det.pth'
lang_model_name = 'weights/bert-base-uncased'
data_root = 'data/cell/'
model = dict(
    type='cxrdet.PromptedGroundingDINO',
    language_model=dict(type='cxrdet.LocalBert', name=lang_model_name),
    backbone=dict(init_cfg=None, with_cp=False),
    encoder=dict(num_cp=0),
    test_cfg=dict(max_per_img=100))
meta_keys = ('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor', 'instances', 'text', 'custom_entities')
load = [
    dict(type='cxrdet.LoadImage'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='Resize', scale=(800, 800), keep_ratio=True),
]
flip = dict(type='RandomFlip', prob=[0.25, 0.25, 0.25], direction=['horizontal', 'vertical', 'diagonal'])
pack = dict(type='PackDetInputs', meta_keys=meta_keys)
train_dataloader = dict(
    _delete_=True, batch_size=2, num_workers=2, persistent_workers=True,
    worker_init_fn=dict(type='cxrdet.worker_init_fn'), sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='cxrdet.CellDataset', data_root=data_root, ann_file='annotations/train.json',
        data_prefix=dict(img='images/'), return_classes=True, pipeline=[*load, flip, pack]))
val_dataloader = dict(
    _delete_=True, batch_size=1, num_workers=2, persistent_workers=True, drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False), dataset=dict(
        type='cxrdet.CellDataset', data_root=data_root, ann_file='annotations/val.json',
        data_prefix=dict(img='images/'), return_classes=True, test_mode=True, pipeline=[*load, pack]))
test_dataloader = val_dataloader
val_evaluator = dict(_delete_=True, type='cxrdet.DetectionMetric')
test_evaluator = dict(_delete_=True, type='cxrdet.DetectionMetric')
train_cfg = dict(_delete_=True, type='EpochBasedTrainLoop', max_epochs=10, val_interval=1)
optim_wrapper = dict(
    _delete_=True, type='cxrdet.MixedPrecisionOptimWrapper', optimizer=dict(type='AdamW', lr=1e-4, weight_decay=1e-4),
    clip_grad=dict(max_norm=0.1, norm_type=2), paramwise_cfg=dict(custom_keys=dict(
        absolute_pos_embed=dict(decay_mult=0.), backbone=dict(lr_mult=0.1), language_model=dict(lr_mult=0.))))
param_scheduler = [dict(type='OneCycleLR', eta_max=1e-4, pct_start=0.1, total_steps=10, by_epoch=True,
                        convert_to_iter_based=True)]
default_hooks = dict(
    checkpoint=dict(
        type='cxrdet.CheckpointHook', interval=1, max_keep_ckpts=2, rule='greater', save_best='coco/bbox_mAP'),
    reproducible=dict(type='cxrdet.ReproducibleHook'),
    history=dict(type='cxrdet.HistoryHook'),
    non_finite_loss=dict(type='cxrdet.NonFiniteLossHook'),
    early_stopping=dict(type='cxrdet.EarlyStoppingHook', patience=15, enabled=True),
    restore_best=dict(type='cxrdet.RestoreBestHook', enabled=True))
randomness = dict(seed=0)
