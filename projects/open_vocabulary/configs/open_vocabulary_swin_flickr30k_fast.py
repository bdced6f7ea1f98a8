"""The same in 15 epochs, validated on 30 % of the images, for a first look.
Run: python tools/train.py projects/open_vocabulary/configs/open_vocabulary_swin_flickr30k_fast.py
     --data-root data/flickr30k
"""
_base_ = './open_vocabulary_swin_flickr30k.py'
train_cfg = dict(max_epochs=15)
param_scheduler = [dict(type='OneCycleLR', eta_max=5e-4, pct_start=0.1, total_steps=15, by_epoch=True,
                        convert_to_iter_based=True)]
val_dataloader = dict(dataset=dict(share=0.3))
