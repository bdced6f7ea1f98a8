"""Loading images strictly, see :mod:`cxrdet.datasets.formats.images`."""
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np

from cxrdet.core.errors import ConfigError, DataError, check_numbers
from cxrdet.datasets.formats.images import THIN, read_image, read_image_size
from cxrdet.datasets.formats.tfrecord import read_record_image, split_record_path
from cxrdet.datasets.transforms.base import Transform
from cxrdet.registry import TRANSFORMS


def unfold_loading(pipeline: Sequence[dict]) -> list[dict]:
    """The same steps with those in ``transforms`` of a first :class:`LoadImage` behind it: the first one only loads."""
    first, *rest = pipeline or [{}]
    if str(first.get('type')).rpartition('.')[2] != 'LoadImage' or not first.get('transforms'):
        return list(pipeline)
    return [{key: value for key, value in first.items() if key != 'transforms'}, *first['transforms'], *rest]


def image_reader(dataset) -> Callable[[str], np.ndarray]:
    """How a data set reads its image files, for pictures of what a model saw: as the :class:`LoadImage` that stands
    first in its pipeline, with its ``page`` and ``ignore_orientation``, without its ``transforms``."""
    first = next(iter(getattr(getattr(dataset, 'pipeline', None), 'transforms', ())), None)
    return first.read if isinstance(first, LoadImage) else read_image


def refused(path: str | Path, error: Exception, size: tuple[int, int] | None) -> DataError:
    """The error of a step behind the loading, as one that names the image; ``size`` is its height and width."""
    height, width = size or (0, 0)
    reason = f"OpenCV's {error.func} refuses it ({error.err})" if getattr(error, 'func', None) \
        else f'{type(error).__name__}: {error}'
    hint = ' It is so thin that a side may become 0 px when it is resized: leave it out, or crop it.' \
        if max(height, width) >= THIN * min(height, width) else ''
    return DataError(f'{path}: the image of {width} x {height} px (width x height) cannot be prepared for the model: '
                     f'{reason}.{hint}')


class ImageNamed:
    """Stands before a data set of MMEngine in the list of bases: an error of OpenCV names the image it came from."""

    def prepare_data(self, idx: int):
        """What the pipeline makes of the sample ``idx``; raises DataError for an image that a step cannot work on."""
        info = self.get_data_info(idx)
        path = info.get('img_path')
        try:
            return self.pipeline(info)
        except cv2.error as error:
            raise refused(path, error, info.get('ori_shape')) from error


@TRANSFORMS.register_module()
class LoadImage(Transform):
    """Load an image file strictly, see :func:`cxrdet.datasets.formats.images.read_image`.

    Required keys: ``img_path``; ``height`` and ``width`` where the annotations give them. Added keys:
    ``img`` (an (H, W, 3) uint8 array, BGR), ``img_shape`` and ``ori_shape`` (both (H, W)). It never
    gives ``None``: a data set of MMEngine would put a random other sample in place of it.

    Args:
        ignore_orientation: do not apply the orientation of EXIF or of a TIFF.
        page: number of the image in files that hold several (pages, frames), from 0; None: such files
            are refused.
        check_size: hold the image to the height and width of its annotations, without which their
            boxes are worth nothing.
        cache: keep decoded images in memory, for small sets and many epochs. With workers, every
            worker fills its own, and it lasts only with ``persistent_workers=True``.
        cache_mb: megabytes (2^20 bytes) of the cache; what comes later is read from the file every
            time.
        transforms: steps for the image as it comes from the file, of which the cache keeps the
            result, as ``[dict(type='cxrdet.CLAHE'), dict(type='cxrdet.Denoise')]``. They change its
            values only, and give the same in every epoch; what draws at random belongs behind this
            step.

    Raises:
        DataError: as :func:`read_image` does; or the image has another size than its annotations say.
        ConfigError: ``cache_mb`` is not positive, ``page`` is negative, or one of ``transforms``
            changes more than values.
    """

    def __init__(self, ignore_orientation: bool = False, *, page: int | None = None, check_size: bool = True,
                 cache: bool = False, cache_mb: float = 512, transforms: Sequence[dict] = ()) -> None:
        check_numbers(type(self).__name__, cache_mb=(cache_mb, '(0, inf)'))
        if page is not None and page < 0:
            raise ConfigError(f'page is the number of an image in its file, from 0, or None; got {page}.')
        self.transforms = [TRANSFORMS.build(dict(transform)) for transform in transforms]
        self.ignore_orientation = ignore_orientation
        self.page = page
        self.check_size = check_size
        self.cache = cache
        self.cache_mb = cache_mb
        self._kept: dict[str, np.ndarray] = {}
        self._room = int(cache_mb * 2 ** 20) if cache else 0

    def transform(self, results: dict) -> dict:
        """Read ``results['img_path']`` and add the image and its shapes."""
        image = self._load(str(results['img_path']))
        if self.check_size:
            self._check_size(results, image.shape[:2])
        results['img'] = image
        results['img_shape'] = results['ori_shape'] = image.shape[:2]
        return results

    def read(self, path: str | Path) -> np.ndarray:
        """The image as it comes from the file or from a TFRecord (``FILE@BYTE/NAME``), (H, W, 3) uint8, BGR."""
        if split_record_path(path) is not None:
            return read_record_image(path)
        return read_image(path, ignore_orientation=self.ignore_orientation, page=self.page)

    def _load(self, path: str) -> np.ndarray:
        if path in self._kept:
            return self._kept[path].copy()  # later transforms may write into it
        image = self._prepare(self.read(path))
        if image.nbytes <= self._room:
            self._room -= image.nbytes
            self._kept[path] = image.copy()
        return image

    def _prepare(self, image: np.ndarray) -> np.ndarray:
        results = {'img': image}
        for transform in self.transforms:
            results = transform(results)
            if not results or results.keys() != {'img'} or results['img'].shape[:2] != image.shape[:2]:
                raise ConfigError(f'LoadImage: {type(transform).__name__} changes more than the values of the image. '
                                  'Place it behind LoadImage instead of in its transforms.')
        return np.ascontiguousarray(results['img'])

    def _check_size(self, results: dict, shape: tuple[int, int]) -> None:
        declared = results.get('height') or shape[0], results.get('width') or shape[1]
        if tuple(declared) == shape:
            return
        hint = ' The image carries an EXIF orientation: if the boxes were drawn on the image as stored, set ' \
               'ignore_orientation=True.' if self._is_turned(results['img_path']) else ''
        raise DataError(
            f'{results["img_path"]}: the image is {shape[1]} x {shape[0]} (width x height), its annotations say '
            f'{declared[1]} x {declared[0]}, so their boxes do not fit it.{hint} Bring both to one size, or set '
            'check_size=False in LoadImage.')

    def _is_turned(self, path: str) -> bool:
        return not self.ignore_orientation and read_image_size(path) != read_image_size(path, ignore_orientation=True)

    def __getstate__(self) -> dict:
        return {**self.__dict__, '_kept': {}, '_room': int(self.cache_mb * 2 ** 20) if self.cache else 0}
