"""Which images of a detection set are used, and is there a box in them to learn from, or to be judged by?"""
import logging
from collections import Counter
from itertools import chain, islice

import numpy as np
from mmengine.logging import print_log

from cxrdet.core.detection.box_layout import likely_cause, no_boxes_text
from cxrdet.core.detection.boxes import xyxy_to_xywh
from cxrdet.core.errors import DataError
from cxrdet.core.issues import counts

_LOOKED_AT = 20_000  # boxes, for the likely cause of a mistake


class BoxCheck:
    """A part of the readers of :mod:`cxrdet.datasets.cell`.

    Attributes:
        allow_no_boxes: accept a set in which no box can be used.
        dropped, filtered: numbers of the boxes and of the images that are not used, by reason.
    """

    _HOLDS_CORNERS = False  # what the numbers of a box are in the file: two corners, or x, y, width, height
    allow_no_boxes: bool
    dropped: Counter
    filtered: Counter
    _unusable: list[tuple]  # boxes that their geometry forbids, as corners, each with the size of its image

    @classmethod
    def check_contents(cls, cfg: dict) -> None:
        """Read the set that a dataset config describes, to see whether there is something in it to go by.

        Raises:
            DataError: no box of it can be used, and ``allow_no_boxes`` is not set.
        """
        dataset = cls.described(cfg)
        dataset.data_list = dataset._entries()
        dataset._check_boxes(dataset._kept())

    def filter_data(self) -> list[dict]:
        """Take out images as ``filter_cfg`` asks (``filter_empty_gt``, ``min_size``); counted, and not in test mode.

        Raises:
            DataError: no image is left, or no box of those that are left can be used.
        """
        kept = self._kept()
        self._check_boxes(kept)
        if self.filtered:
            text = f'{self._source()}: filter_cfg={dict(self.filter_cfg)} took out {sum(self.filtered.values())} of ' \
                   f'{len(self.data_list)} images: {counts(self.filtered)}.'
            if not kept:
                raise DataError(f'{text} No image is left.')
            print_log(text, 'current', logging.WARNING)
        return kept

    def _kept(self) -> list[dict]:
        """What ``filter_cfg`` leaves of the data list."""
        asked = {} if self.test_mode or not self.filter_cfg else self.filter_cfg
        kept = []
        for image in self.data_list:
            if asked.get('filter_empty_gt', False) and not image['instances']:
                self.filtered['without_boxes'] += 1
            elif min(image['height'], image['width']) < asked.get('min_size', 0):
                self.filtered['too_small'] += 1
            else:
                kept.append(image)
        return kept

    def _check_boxes(self, kept: list[dict]) -> None:
        """Raise DataError if no box of those images that ``indices`` takes from ``kept`` can be used."""
        if self.allow_no_boxes:
            return
        cause, wrong = self._likely_cause(self.data_list)
        usable = sum(map(_usable, self.data_list))
        if usable and not wrong:
            shown = self._chosen(kept)
            if not kept or any(map(_usable, shown)):
                return
            text = (f'{len(shown)} of {len(self.data_list)} images are used (by indices, as --train-limit and '
                    f'--valid-limit set them, or filter_cfg), and none of these has a box; {usable} images have some.')
        else:
            others = {'wrong in the same way' if usable else 'iscrowd or difficult': sum(
                len(image['instances']) for image in self.data_list)}
            if not cause and self.dropped['unknown_class']:
                found = [name for name in self._found_classes() if name not in self._metainfo['classes']]
                cause = (f'metainfo["classes"] names {", ".join(self._metainfo["classes"])}; the annotations also have '
                         f'{", ".join(found)}.')
            text = no_boxes_text(len(self.data_list), +(self.dropped + Counter(others)), cause,
                                 training=not self.test_mode)
        raise DataError(f'{self._source()}: {text} If images without objects are meant, set allow_no_boxes=True in the '
                        'data set.')

    def _chosen(self, kept: list[dict]) -> list[dict]:
        """What ``indices`` will take: the first N (the last, if negative), or those listed."""
        if self._indices is None or not kept:
            return kept
        if isinstance(self._indices, int):
            return kept[:self._indices] if self._indices >= 0 else kept[self._indices:]
        return [kept[index] for index in self._indices]

    def _likely_cause(self, data_list: list[dict]) -> tuple[str, bool]:
        within = ((box['bbox'], (image['height'], image['width'])) for image in data_list
                  for box in image['instances'])
        looked_at = list(islice(chain(self._unusable, within), _LOOKED_AT))
        if not looked_at:
            return '', False
        boxes, sizes = zip(*looked_at)
        boxes = np.array(boxes, np.float64)
        return likely_cause(boxes if self._HOLDS_CORNERS else xyxy_to_xywh(boxes), sizes, corners=self._HOLDS_CORNERS)


def _usable(image: dict) -> bool:
    return any(not box['ignore_flag'] for box in image['instances'])
