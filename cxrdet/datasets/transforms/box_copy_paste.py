"""Objects of one image pasted into another, for sets that have boxes and no masks."""
import numpy as np
import torch

from cxrdet.core.detection.pasting import paste_patch, pasteable_boxes, turned_patch
from cxrdet.core.errors import ConfigError, check_numbers
from cxrdet.datasets.transforms.base import Transform
from cxrdet.registry import TRANSFORMS


@TRANSFORMS.register_module()
class BoxCopyPaste(Transform):
    """Paste some objects of a second image at random places of this one, each turned and mirrored by chance.

    What is pasted is the ellipse inscribed in the box, which suits cells, with a rim that fades into
    the ground. The classes of the second image are equally likely, whatever the number of their
    boxes. Not taken are objects that are flagged to be ignored, touch the border of their image, are
    covered by another box by more than ``max_cover``, have a side under 2 px, or do not fit in. At
    its place it may cover no box by more than ``max_cover``; an object that finds none in 20 tries is
    left out. For sets with masks there is MMDetection's ``CopyPaste``.

    Use it in the pipeline of MMDetection's ``MultiImageMixDataset``, which brings the second image;
    both should be resized alike before. Source: D. Dwibedi, I. Misra, M. Hebert, "Cut, paste and
    learn", ICCV 2017 (arXiv 1708.01642), and G. Ghiasi et al., "Simple copy-paste", CVPR 2021 (arXiv
    2012.07177), with ellipses for masks.

    Required keys: ``img`` (H, W, 3) uint8, ``gt_bboxes`` (N boxes, xyxy in pixels),
    ``gt_bboxes_labels`` (N,), ``gt_ignore_flags`` (N,) and ``mix_results``, a list with the like of
    one other image; all but the last are changed.

    Args:
        prob: Share of the images that anything is pasted into.
        max_objects: Objects that are pasted into an image: 1 to so many, equally likely.
        max_cover: Largest share of a box that may be covered, within 0 .. 1.
        soft: Width of the fading rim as a share of the radius, within 0 .. 1; 0 cuts sharply.

    Raises: ConfigError if an argument is out of range, there are masks, or there is no second image.
    """

    def __init__(self, prob: float = 0.5, max_objects: int = 3, *, max_cover: float = 0.3, soft: float = 0.2) -> None:
        check_numbers('BoxCopyPaste', prob=(prob, '[0, 1]'), max_objects=(max_objects, '[1, inf)'),
                      max_cover=(max_cover, '[0, 1]'), soft=(soft, '[0, 1]'))
        self.prob, self.max_objects, self.max_cover, self.soft = prob, max_objects, max_cover, soft
        self._rng = np.random.default_rng()

    def get_indexes(self, dataset) -> int:
        """Which image of ``dataset`` the objects are taken from."""
        return int(self._rng.integers(len(dataset)))

    def transform(self, results: dict) -> dict:
        """Return ``results`` with objects pasted into a copy of ``img``, their boxes behind those that were there."""
        if 'gt_masks' in results:
            raise ConfigError('BoxCopyPaste moves no masks. Load boxes only, or use MMDetection\'s CopyPaste.')
        if len(results.get('mix_results') or ()) != 1:
            raise ConfigError('BoxCopyPaste needs a second image: put it into the pipeline of a MultiImageMixDataset '
                              'around the data set, not into that of the data set itself.')
        source = results['mix_results'][0]
        objects = self._objects(source) if self._rng.random() < self.prob else []
        if not objects:
            return results
        image, boxes, labels = results['img'].copy(), results['gt_bboxes'].numpy().astype(np.float64), []
        for _ in range(self._rng.integers(1, self.max_objects + 1)):
            box, label = self._choose(objects)
            place = paste_patch(image, turned_patch(source['img'], box, self._rng), boxes, self._rng,
                                max_cover=self.max_cover, soft=self.soft)
            if place is not None:
                boxes, labels = np.concatenate([boxes, [place]]), [*labels, label]
        kind, flags = type(results['gt_bboxes']), results['gt_ignore_flags']
        results['img'] = image
        results['gt_bboxes'] = kind(torch.as_tensor(boxes, dtype=torch.float32))
        results['gt_bboxes_labels'] = np.concatenate([results['gt_bboxes_labels'], np.array(labels, np.int64)])
        results['gt_ignore_flags'] = np.concatenate([flags, np.zeros(len(labels), flags.dtype)])
        return results

    def _objects(self, source: dict) -> list[tuple[np.ndarray, int]]:
        boxes = source['gt_bboxes'].numpy().astype(np.float64)
        rows = pasteable_boxes(boxes, source['gt_ignore_flags'], source['img'].shape[:2], max_cover=self.max_cover)
        return [(np.rint(boxes[row]).astype(int), int(source['gt_bboxes_labels'][row])) for row in rows]

    def _choose(self, objects: list[tuple[np.ndarray, int]]) -> tuple[np.ndarray, int]:
        label = self._rng.choice(sorted({label for _, label in objects}))
        of_class = [entry for entry in objects if entry[1] == label]
        return of_class[self._rng.integers(len(of_class))]
