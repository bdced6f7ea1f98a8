"""Faster R-CNN, BiFPN, on a DenseNet-121 trained on PatchCamelyon by densenet121_pcam.py: ImageNet, patches, cells.
Run: cxrdet train faster_rcnn_bifpn_densenet121_pcam_cell --data-root data/cell \\
    --cfg-options pretrained="$(ls work_dirs/densenet121_pcam/best_*.pth)"

The whole backbone is taken from that checkpoint, or the run stops.
"""
_base_ = './faster_rcnn_bifpn_densenet121_chexnet_cell.py'
model = dict(backbone=dict(init_cfg=dict(checkpoint='work_dirs/densenet121_pcam/best.pth', source='cxrdet')))
