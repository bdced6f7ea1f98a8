"""The augmentation preset of cells by albumentations, in place of mirroring. Detectors.

For recipes that set their own crop and holes: cell_albu and cell_boxes; cell_holes are one to eight of 32 px, black,
for images of 640 px.

Boxes turn as ellipses, which cells are nearer to than to rectangles. What comes in from outside the image has the mean
colour, as the padding of batches has: a mirrored border would show cells twice, grown together. A box of which a
transform leaves less than 0.3 goes, with its label and its flag; an image that loses all of them stays, as background.
That is tested after each transform, against what the one before has left: a crop and then a shift may leave 0.3 of 0.3
of a cell, and its box stays.

albumentations takes colours for RGB and Albu hands it BGR: the hue moves both ways alike, so that only CLAHE, whose
lightness then weighs blue as red, differs a little. Noise of variance 10 to 50 is a deviation of 3.2 to 7.1 of 255.
"""
cell_boxes = dict(
    type='BboxParams', format='pascal_voc', label_fields=['gt_bboxes_labels', 'gt_ignore_flags'], min_visibility=0.3,
    clip=True)
cell_albu = dict(
    type='Sequential',
    p=1.0,
    transforms=[
        dict(type='Affine', translate_percent=dict(x=(-0.1, 0.1), y=(-0.1, 0.1)), scale=(0.8, 1.2), keep_ratio=True,
             rotate=(-15, 15), rotate_method='ellipse', border_mode=0, fill=(104, 116, 124), p=0.5),
        dict(type='HorizontalFlip', p=0.5),
        dict(type='VerticalFlip', p=0.3),
        dict(type='RandomBrightnessContrast', brightness_limit=0.2, contrast_limit=0.2, p=0.5),
        dict(type='HueSaturationValue', hue_shift_limit=10, sat_shift_limit=20, val_shift_limit=20, p=0.3),
        dict(type='CLAHE', clip_limit=4.0, tile_grid_size=(8, 8), p=0.5),
        dict(type='OneOf', p=0.3, transforms=[
            dict(type='GaussianBlur', blur_limit=(3, 3), p=1.0),
            dict(type='MedianBlur', blur_limit=(3, 3), p=1.0),
            dict(type='MotionBlur', blur_limit=(3, 3), p=1.0)]),
        dict(type='OneOf', p=0.2, transforms=[
            dict(type='GaussNoise', std_range=(0.0124, 0.0277), p=1.0),
            dict(type='ISONoise', color_shift=(0.01, 0.05), intensity=(0.1, 0.5), p=1.0)]),
        dict(type='RandomGamma', gamma_limit=(80, 120), p=0.3),
        dict(type='Sharpen', alpha=(0.2, 0.5), lightness=(0.5, 1.0), p=0.3),
    ])
cell_holes = dict(
    type='CoarseDropout', num_holes_range=(1, 8), hole_height_range=(32, 32), hole_width_range=(32, 32), fill=0, p=0.3)
albumentations = dict(needs_step='PackDetInputs', steps=[dict(instead_of='flip', put=[dict(
    type='Albu',
    transforms=[
        dict(type='RandomResizedCrop', size=('{height}', '{width}'), scale=(0.8, 1.0), p=0.5),
        cell_albu,
        dict(type='CoarseDropout', num_holes_range=(1, 8), hole_height_range=(0.05, 0.05),
             hole_width_range=(0.05, 0.05), fill=0, p=0.3),
    ],
    bbox_params=cell_boxes)])])
