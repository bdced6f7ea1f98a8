"""Made-up chest films at 128 px, as `cxrdet prepare-data chest-phantom` writes them, with their eight findings.

Each fifth patient is in their test list, which serves as validation set.
"""
_base_ = './nih_128.py'

data_root = 'data/chest/'
phantom_set = dict(
    data_root=data_root,
    split_file='test_list.txt',
    metainfo=dict(
        classes=('Atelectasis', 'Cardiomegaly', 'Consolidation', 'Effusion', 'Infiltration', 'Mass', 'Nodule',
                 'Pneumothorax', 'No Finding')))
train_dataloader = dict(dataset=phantom_set | dict(split_file='train_val_list.txt'))
val_dataloader = dict(dataset=phantom_set)
test_dataloader = dict(dataset=phantom_set)
