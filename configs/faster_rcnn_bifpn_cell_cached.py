"""The flagship for images that are much larger than 640 px: decoded and resized once, then read from image_cache/.
Run: cxrdet train faster_rcnn_bifpn_cell_cached --data-root data/cell

The folder takes 1.2 MB an image, at most 20 GB; delete it when the training is over.
"""
_base_ = './faster_rcnn_bifpn_cell.py'
_resize = dict(type='Resize', scale=(640, 640), keep_ratio=True)
train_pipeline = [
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='cxrdet.CachedResize', folder='image_cache', resize=_resize), {{_base_.flip}},
    dict(type='PackDetInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
