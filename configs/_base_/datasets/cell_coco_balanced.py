"""A cell set in COCO format whose images with rare classes are repeated: the light way, without copies on the disk.

An image is repeated by sqrt(oversample_thr / f) for its rarest class, which stands in a share f of the images (A. Gupta
et al., "LVIS", CVPR 2019). Augmented copies up to a number of boxes a class are made by tools/balance_data.py.
"""
_base_ = './cell_coco.py'

train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='ClassBalancedDataset',
        oversample_thr=0.3,
        dataset=dict(
            type='cxrdet.CellDataset',
            data_root={{_base_.data_root}},
            ann_file='annotations/train.json',
            data_prefix=dict(img='images/'),
            pipeline={{_base_.train_pipeline}})))
