"""Images after CLAHE, denoising, sharpening and a z-score each, in training and testing. Any recipe with LoadImage."""
preprocessing = dict(
    needs_step='LoadImage',
    load_image=dict(transforms=[dict(type='cxrdet.CLAHE'), dict(type='cxrdet.Denoise'), dict(type='cxrdet.Sharpen')]),
    steps=[dict(before='pack', put=[dict(type='cxrdet.ZScore')], everywhere=True)],
    data_preprocessor=dict(mean=[0, 0, 0], std=[1, 1, 1]))
