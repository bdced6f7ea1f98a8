"""Images with rare classes repeated: the light way, without copies on the disk. Any recipe.

An image is repeated by sqrt(oversample_thr / f) for its rarest class, which stands in a share f of the images (A. Gupta
et al., "LVIS", CVPR 2019). Augmented copies up to a number of boxes a class are made by cxrdet balance-data.
"""
balanced = dict(wrap=dict(type='ClassBalancedDataset', oversample_thr=0.3))
