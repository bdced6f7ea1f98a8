"""The open-vocabulary detector on BCCD, prompted by classes and their synonyms, 100 queries, on two CPU cores.
Run: python tools/train.py projects/open_vocabulary/configs/open_vocabulary_bccd.py --data-root data/bccd
Other prompts: python tools/test.py … CHECKPOINT --prompt "erythrocyte . leukocyte . thrombocyte"
"""
_base_ = ['./_base_/model_lite0.py', './_base_/bccd_prompts.py', './_base_/schedule_full.py', './_base_/runtime.py']
model = dict(prompt='RBC . WBC . Platelets')
train_cfg = dict(max_epochs=40, val_interval=4)
optim_wrapper = dict(paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.3))))
param_scheduler = [dict(type='OneCycleLR', eta_max=5e-4, pct_start=0.1, total_steps=40, by_epoch=True,
                        convert_to_iter_based=True)]
default_hooks = dict(checkpoint=dict(save_best='coco/bbox_mAP'), channels_last=dict(type='cxrdet.ChannelsLastHook'))
