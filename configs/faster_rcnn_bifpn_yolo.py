"""The flagship on a YOLO set as it lies: data.yaml, images/ and labels/, no conversion.
Run: cxrdet train faster_rcnn_bifpn_yolo --data-root data/yolo
"""
_base_ = './faster_rcnn_bifpn_detection_folder.py'
data_root = 'data/yolo/'
_set = dict(type='cxrdet.YOLODataset', data_root=data_root)
train_dataloader = dict(dataset=_set)
val_dataloader = dict(dataset=_set)
test_dataloader = val_dataloader
