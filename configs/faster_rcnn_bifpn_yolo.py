"""The flagship on a YOLO set as it lies: data.yaml, images/ and labels/, no conversion.
Run: python tools/train.py configs/faster_rcnn_bifpn_yolo.py --data-root data/yolo

Of CVAT, labelme, Label Studio, Roboflow or labelImg: type='cxrdet.DetectionFolder'.
"""
_base_ = './faster_rcnn_bifpn_cell.py'
data_root = 'data/yolo/'
_set = dict(_delete_=True, type='cxrdet.YOLODataset', data_root=data_root)
train_dataloader = dict(dataset=dict(_set, split='train', pipeline={{_base_.train_pipeline}}))
val_dataloader = dict(dataset=dict(_set, split='val', test_mode=True, pipeline={{_base_.val_pipeline}}))
test_dataloader = val_dataloader
