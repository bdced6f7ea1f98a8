from cxrdet.datasets.transforms.box_copy_paste import BoxCopyPaste  # noqa: F401
from cxrdet.datasets.transforms.cached_resize import CachedResize  # noqa: F401
from cxrdet.datasets.transforms.chest_augment import ChestAugment  # noqa: F401
from cxrdet.datasets.transforms.loading import LoadImage  # noqa: F401
from cxrdet.datasets.transforms.preprocess import CLAHE, Denoise, Sharpen, ZScore  # noqa: F401
from cxrdet.datasets.transforms.size_frame import SizeFrame  # noqa: F401
