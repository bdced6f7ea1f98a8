"""Every second image made of parts of four (mosaic). Detectors.

The four meet near the middle, and the middle is kept, at the size that cells have in whole images; images at least 0.7
as high as wide leave no gap. A box of which less than 0.3 is left goes.
"""
middle = dict(type='CenterCrop', height='{height}', width='{width}', pad_if_needed=True, fill=114, p=1.0)
mosaic = dict(needs_step='PackDetInputs', mix=[
    dict(type='Mosaic', img_scale='{scale}', center_ratio_range=(0.8, 1.2), prob=0.5),
    dict(type='Albu', transforms=[middle], bbox_params=dict(
        type='BboxParams', format='pascal_voc', label_fields=['gt_bboxes_labels', 'gt_ignore_flags'],
        min_visibility=0.3, clip=True)),
])
