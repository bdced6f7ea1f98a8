"""The flagship on boxes in any format that check_data reads (CVAT, labelme, Label Studio, Roboflow, labelImg …).
Run: cxrdet train faster_rcnn_bifpn_detection_folder --data-root data/export

The set names its splits train and val; one that lies in other places: ann_file, data_prefix=dict(img=...).
"""
_base_ = './faster_rcnn_bifpn_cell.py'
data_root = 'data/export/'
_set = dict(_delete_=True, type='cxrdet.DetectionFolder', data_root=data_root)
train_dataloader = dict(dataset=dict(_set, split='train', pipeline={{_base_.train_pipeline}}))
val_dataloader = dict(dataset=dict(_set, split='val', test_mode=True, pipeline={{_base_.val_pipeline}}))
test_dataloader = val_dataloader
