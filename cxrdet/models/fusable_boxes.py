"""The boxes of a model that can be fused."""
import logging

from mmengine.logging import print_log
from mmengine.structures import InstanceData

from cxrdet.core.detection.fusion import fusable


class FusableBoxes:
    """Leaves out inverted and non-finite boxes, which an untrained or diverging model sometimes predicts.

    Warns once: one box must not stop a test of many images.

    Args:
        owner: the name at the beginning of the warning.
    """

    def __init__(self, owner: str) -> None:
        self.owner, self._told = owner, False

    def __call__(self, found: InstanceData, where: str) -> InstanceData:
        """``found`` (bboxes (N, 4) and scores (N,)) without such boxes; ``where`` names model and image."""
        kept = fusable(found.bboxes, found.scores)
        if bool(kept.all()):
            return found
        if not self._told:
            print_log(f'{self.owner}: {int((~kept).sum())} of the {len(kept)} boxes of {where} are inverted or not '
                      'finite and are left out, like all further ones', logger='current', level=logging.WARNING)
        self._told = True
        return found[kept]
