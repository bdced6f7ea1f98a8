"""The flagship on the TFRecord files of the Comparison detector, as they are: no conversion, no TensorFlow.
Run: cxrdet train faster_rcnn_bifpn_cdetector_tfrecord --data-root data/tfrecord

DATA_ROOT/train.tfrecord and test.tfrecord; another name, or a folder of such files, by
--cfg-options train_dataloader.dataset.ann_file=NAME
"""
_base_ = './ablations/cell/faster_rcnn_bifpn_cdetector.py'
data_root = 'data/tfrecord/'
_records = dict(_delete_=True, type='cxrdet.CellTFRecordDataset', data_root=data_root, metainfo={{_base_.metainfo}})
train_dataloader = dict(dataset=dict(_records, ann_file='train.tfrecord', pipeline={{_base_.train_pipeline}}))
val_dataloader = dict(
    dataset=dict(_records, ann_file='test.tfrecord', test_mode=True, pipeline={{_base_.val_pipeline}}))
test_dataloader = val_dataloader
