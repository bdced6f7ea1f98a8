"""The flagship on the small training split of the Comparison detector: 762 images, annotations/train_small.json.
Run: cxrdet train faster_rcnn_bifpn_cdetector_small --data-root data/cdetector

The small list is part of the full one; make it with
cxrdet prepare-data cdetector SMALL_LIST data/cdetector --split train_small
"""
_base_ = './faster_rcnn_bifpn_cdetector.py'
train_dataloader = dict(dataset=dict(ann_file='annotations/train_small.json'))
