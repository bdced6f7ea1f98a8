"""A classifier of several findings in one image: backbone (the variant's), average pooling, one linear layer."""
model = dict(
    type='ImageClassifier',
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='cxrdet.MultiLabelHead', num_classes=15))
