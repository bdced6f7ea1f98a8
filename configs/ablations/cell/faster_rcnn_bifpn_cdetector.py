"""The flagship on the cervical cells of the Comparison detector: eleven classes, held to the annotation file.
Run: cxrdet train faster_rcnn_bifpn_cdetector --data-root data/cdetector
"""
_base_ = '../../faster_rcnn_bifpn_cell.py'
metainfo = dict(classes=('ascus', 'asch', 'lsil', 'hsil', 'scc', 'agc', 'trichomonas', 'candida', 'flora', 'herps',
                         'actinomyces'))
train_dataloader = dict(dataset=dict(data_root='data/cdetector/', metainfo=metainfo))
val_dataloader = dict(dataset=dict(data_root='data/cdetector/', metainfo=metainfo))
test_dataloader = dict(dataset=dict(data_root='data/cdetector/', metainfo=metainfo))
