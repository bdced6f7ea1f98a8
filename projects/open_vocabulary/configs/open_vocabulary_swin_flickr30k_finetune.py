"""The same, fine-tuned from an own checkpoint in 8 epochs at a fifth of the rate.
Run: python tools/train.py projects/open_vocabulary/configs/open_vocabulary_swin_flickr30k_finetune.py
     --data-root data/mine --cfg-options load_from=CHECKPOINT
"""
_base_ = './open_vocabulary_swin_flickr30k.py'
train_cfg = dict(max_epochs=8)
param_scheduler = [dict(type='OneCycleLR', eta_max=1e-4, pct_start=0.1, total_steps=8, by_epoch=True,
                        convert_to_iter_based=True)]
