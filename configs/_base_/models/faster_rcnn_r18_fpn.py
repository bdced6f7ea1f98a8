"""A Faster R-CNN that two CPU cores can train from random weights: ResNet-18 and 128 channels.

zero_init_residual is off: residual blocks that start as the identity hardly come on in a short training by Adam.
"""
_base_ = './faster_rcnn_r50_fpn.py'

model = dict(
    backbone=dict(depth=18, frozen_stages=-1, norm_eval=False, zero_init_residual=False, init_cfg=None),
    neck=dict(in_channels=[64, 128, 256, 512], out_channels=128, norm_cfg=dict(type='BN')),
    rpn_head=dict(in_channels=128, feat_channels=128),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=128, roi_layer=dict(sampling_ratio=2)),
        bbox_head=dict(in_channels=128, fc_out_channels=512)),
    train_cfg=dict(
        rpn_proposal=dict(nms_pre=600, max_per_img=300), rcnn=dict(sampler=dict(num=128))),
    test_cfg=dict(
        rpn=dict(nms_pre=500, max_per_img=300),
        rcnn=dict(score_thr=0.001, nms=dict(type='soft_nms', iou_threshold=0.5, min_score=0.001))))
tta_model = dict(type='cxrdet.WBFTTAModel', fusion='wbf_one_per_model')  # for what soft-NMS leaves beside a box
