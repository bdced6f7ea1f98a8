"""Cell detection sets: COCO JSON (:class:`CellDataset`) and Pascal VOC XML (:class:`CellVOCDataset`).

They differ from MMDetection's readers in what they refuse to do in silence:

- **Labels go by name**, whatever the ids and the order in the file: the label of a box is the index
  of its class in ``metainfo['classes']``, by default those of the annotations. A given name that
  these lack is an error. (MMDetection numbers the categories that it finds, so that one misspelt name
  shifts all labels after it.)
- **Nothing is dropped uncounted.** ``dataset.dropped`` counts boxes by reason, also in the log:
  ``unknown_class`` (not in the list of classes), ``degenerate`` (a side under 1 px, inverted, not
  finite), ``outside`` (shares no area with the image), ``marked_ignore`` (COCO ``ignore: 1``). Boxes
  partly outside stay, unclipped, as in MMDetection. Structural defects, such as a missing
  ``category_id``, are errors unless ``on_bad_annotation='drop'``.
- **Images without boxes stay** unless ``filter_cfg=dict(filter_empty_gt=True)``; what ``filter_cfg``
  takes out, nothing in test mode, is in ``dataset.filtered``. A set without any box to use is an
  error that names the likely cause (normalised numbers, exchanged corners …), unless
  ``allow_no_boxes=True``.

Files are read from the local disk only.
"""
import logging
import os
from collections import Counter
from collections.abc import Hashable, Sequence
from itertools import chain, islice
from pathlib import Path

import numpy as np
from mmdet.datasets import BaseDetDataset, CocoDataset
from mmengine.logging import print_log

from cxrdet.core.detection.box_layout import likely_cause, no_boxes_text
from cxrdet.core.detection.boxes import box_faults, xyxy_to_xywh
from cxrdet.core.errors import ConfigError, DataError, did_you_mean
from cxrdet.core.garbage import no_collection
from cxrdet.core.issues import DataTable, counts
from cxrdet.core.terminal import visible
from cxrdet.datasets.described import Described, of_indices
from cxrdet.datasets.formats import coco, voc
from cxrdet.datasets.formats.files import tell_outside
from cxrdet.datasets.formats.images import read_image_size
from cxrdet.datasets.formats.table_builder import tell_other_sizes
from cxrdet.datasets.transforms.loading import ImageNamed
from cxrdet.registry import DATASETS

CELL_PALETTE = ((230, 57, 70), (29, 125, 190), (46, 160, 67), (255, 159, 28), (142, 68, 173), (0, 168, 150),
                (214, 40, 140), (121, 85, 72), (180, 190, 0), (64, 75, 200), (90, 100, 110))
"""RGB colours of the first 11 classes of any cell set that brings none of its own."""

_LOOKED_AT = 20_000  # boxes, for the likely cause of a mistake


def match_classes(given: Sequence[str] | None, found: Sequence[str], source: str) -> tuple[str, ...]:
    """The classes of a set: ``given`` if there are any, each of which must be in ``found``, else ``found``.

    Raises:
        ConfigError: ``given`` is a string, empty, or names a class twice.
        DataError: ``given`` holds a name that ``found`` lacks, or both are empty.
    """
    if given is None:
        if not found:
            raise DataError(f'{source}: no class is named, so there is nothing to learn. '
                            'Label some boxes, or name the classes in metainfo=dict(classes=(...)).')
        return tuple(found)
    if isinstance(given, str) or not all(isinstance(name, str) for name in given):
        raise ConfigError(f'metainfo["classes"] must be a sequence of names, got {given!r:.80}. '
                          'A single class is written classes=("name", ), with the comma.')
    if not given or len(set(given)) != len(given):
        raise ConfigError(f'metainfo["classes"] must name at least one class and none twice, got {tuple(given)}.')
    for name in given:
        if name not in found:
            unused = [other for other in found if other not in given]
            raise DataError(f'{source}: no class "{name}", which metainfo["classes"] names.'
                            f'{did_you_mean(name, unused)} The file has: {", ".join(found)}.')
    return tuple(given)


# Arguments of MMEngine's BaseDataset that choose from what is read, or use it.
_NOT_READ = ('metainfo', 'pipeline', 'indices', 'filter_cfg', 'test_mode', 'lazy_init', 'serialize_data', 'max_refetch')


class _CellReader(Described, ImageNamed):
    """What the readers share; stands before a ``BaseDetDataset`` in the list of bases.

    Attributes:
        allow_no_boxes: Accept a set in which no box can be used.
        dropped, filtered: Numbers of the boxes and of the images that are not used, by reason.
    """

    METAINFO: dict = {}
    _HOLDS_CORNERS = False  # what the numbers of a box are in the file: two corners, or x, y, width, height
    _given: str  # the arguments that decide on what is read: all but those of _NOT_READ

    def __new__(cls, *args, **kwargs):
        dataset = super().__new__(cls)
        dataset._given = repr((args, sorted((key, value) for key, value in kwargs.items() if key not in _NOT_READ)))
        return dataset

    def __init__(self, ann_file: str, metainfo: dict | None, data_prefix: dict | None, default_prefix: dict, *,
                 on_bad_annotation: str = 'error', allow_no_boxes: bool = False, allow_outside: bool = False,
                 **kwargs) -> None:
        if on_bad_annotation not in ('error', 'drop'):
            raise ConfigError(f'on_bad_annotation must be "error" or "drop", got {on_bad_annotation!r}.')
        self.allow_no_boxes, self.allow_outside = allow_no_boxes, allow_outside
        if kwargs.get('backend_args') is not None:
            raise ConfigError(f'{type(self).__name__} reads local files only; remove backend_args.')
        data_prefix = dict(default_prefix if data_prefix is None else data_prefix)
        for key in default_prefix:
            if key not in data_prefix:
                raise ConfigError(f'data_prefix needs the key "{key}", got {data_prefix}.'
                                  f' Expected for example {default_prefix}.')
        self.on_bad_annotation = on_bad_annotation
        self.dropped: Counter = Counter()
        self.filtered: Counter = Counter()
        self._unusable: list[tuple] = []  # boxes that their geometry forbids, with the sizes of their images
        self._settled = False  # whether the classes have been held to the annotations
        super().__init__(ann_file=ann_file, metainfo=metainfo, data_prefix=data_prefix, **kwargs)

    def read_table(self) -> DataTable:
        """The set as its format's reader gives it, with all that is wrong in its list."""
        raise NotImplementedError

    def _checked(self) -> tuple[DataTable, dict[int, str]]:
        """The set, and the boxes that ``on_bad_annotation`` leaves out with the reason of each; other errors raise."""
        table = self._once('table', self.read_table)
        return table, self._once('bad', lambda: table.raise_errors(on_bad=self.on_bad_annotation))

    def _identity(self) -> Hashable | None:
        status = os.stat(self.ann_file) if os.path.isfile(self.ann_file) else None
        return type(self), self._given, status and (status.st_mtime_ns, status.st_size)

    def _found_classes(self) -> list[str]:
        return list(self._checked()[0].classes)

    def _image_paths(self) -> list[str]:
        return self._checked()[0].files

    def _entries(self) -> list[dict]:
        table, bad = self._checked()
        own = self._set_classes(table.classes)
        self._set_labels(table, own)
        entries, self.dropped, self._unusable = self._once(f'entries of {own}', lambda: self._read(table, bad, own))
        return entries

    @no_collection()
    def _read(self, table: DataTable, bad: dict[int, str], own: dict[str, int]) -> tuple[list[dict], Counter, list]:
        """Entries of the images; the boxes left out, by reason; those that their geometry forbids."""
        labels = [own.get(name) for name in table.classes]
        dropped, unusable = Counter(bad.values()), []
        sizes = [tuple(map(_whole, size)) for size in table.sizes.tolist()]
        entries = [{'img_path': file, 'img_id': row + 1, 'height': size[0], 'width': size[1], 'seg_map_path': None}
                   for row, (file, size) in enumerate(zip(table.files, sizes))]
        for entry in entries:
            if None in (entry['height'], entry['width']):
                entry['height'], entry['width'] = read_image_size(entry['img_path'])
            entry['instances'] = []
        raw = table.box_entries or [{}] * len(table.boxes)
        limits = np.array([(entry['height'], entry['width']) for entry in entries])[table.box_image]
        columns = (table.boxes.tolist(), table.box_image.tolist(), table.box_label.tolist(), table.crowd.tolist(),
                   box_faults(table.boxes, limits), raw)
        for number, (box, image, label, crowd, fault, said) in enumerate(zip(*columns)):
            if number in bad:
                continue
            label = labels[label]
            reason = 'marked_ignore' if said.get('ignore') else 'unknown_class' if label is None else fault
            if reason:
                dropped[reason] += 1
                if reason == fault:
                    unusable.append((box, tuple(limits[number].tolist())))
                continue
            entries[image]['instances'].append({'bbox': box, 'bbox_label': label, 'ignore_flag': int(crowd)})
            if said.get('segmentation'):
                entries[image]['instances'][-1]['mask'] = said['segmentation']
        for row, entry in enumerate(entries):
            self._complete(entry, table, row)
        return entries, dropped, unusable

    def _set_labels(self, table: DataTable, own: dict[str, int]) -> None:
        self.cat2label = own

    def _complete(self, entry: dict, table: DataTable, row: int) -> None:
        """Add to the entry of an image what only this kind of set has."""

    @property
    def metainfo(self) -> dict:
        """Meta information; the classes are read from the annotations if need be, also before ``full_init``."""
        if not self._settled:
            self._set_classes(self._found_classes())
        return super().metainfo

    def _set_classes(self, found: Sequence[str]) -> dict[str, int]:
        """Settle the classes, give them colours, and return name -> label."""
        classes = match_classes(self._metainfo.get('classes'), found, self._source())
        self._metainfo['classes'] = classes
        self._settled = True
        if len(classes) <= len(CELL_PALETTE):
            self._metainfo.setdefault('palette', list(CELL_PALETTE[:len(classes)]))
        return {name: label for label, name in enumerate(classes)}

    def load_data_list(self) -> list[dict]:
        """Read the annotations. Returns one dict per image, in their order."""
        data_list = self._entries()
        self._log_contents(data_list)
        return data_list

    def _source(self) -> str:
        return str(self.ann_file or self.data_prefix['ann'])

    def _log_contents(self, data_list: list[dict]) -> None:
        per_label = Counter(box['bbox_label'] for image in data_list for box in image['instances'])
        classes = self._metainfo['classes']
        empty = sum(not image['instances'] for image in data_list)
        text = f'{type(self).__name__} {self._source()}: {len(data_list)} images ({empty} ' \
               f'without boxes), {sum(per_label.values())} boxes in {len(classes)} classes'
        idle = [name for label, name in enumerate(classes) if not per_label[label]]
        if idle:
            text += f'; no box has the class {", ".join(idle)}'
        if self.dropped:
            text += f'; dropped boxes: {counts(self.dropped)}'
            cause, _ = self._likely_cause(data_list)
            text += f'. {cause.rstrip(".")}' if cause else ''
        print_log(visible(f'{text}.', one_line=True), 'current',
                  logging.WARNING if idle or self.dropped else logging.INFO)

    @classmethod
    def check_contents(cls, cfg: dict) -> None:
        """Raise DataError if no box of the set can be used, and ``allow_no_boxes`` is not set; or if images have other
        sizes, by their headers, than the annotations say."""
        dataset = cls.described(cfg)
        dataset.data_list = dataset._entries()
        dataset._check_boxes(dataset._kept())
        table, _ = dataset._checked()
        tell_other_sizes(table, range(len(table.names)))
        table.raise_errors(on_bad=dataset.on_bad_annotation)

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
        if self.allow_no_boxes:
            return
        cause, wrong = self._likely_cause(self.data_list)
        usable = sum(map(_usable, self.data_list))
        if usable and not wrong:
            shown = of_indices(kept, self._indices) if kept else []
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
        raise DataError(f'{self._source()}: {text} If images without objects are intended, set allow_no_boxes=True in '
                        'the data set.')

    def _likely_cause(self, data_list: list[dict]) -> tuple[str, bool]:
        within = ((box['bbox'], (image['height'], image['width'])) for image in data_list
                  for box in image['instances'])
        looked_at = list(islice(chain(self._unusable, within), _LOOKED_AT))
        if not looked_at:
            return '', False
        boxes, sizes = zip(*looked_at)
        boxes = np.array(boxes, np.float64)
        return likely_cause(boxes if self._HOLDS_CORNERS else xyxy_to_xywh(boxes), sizes, corners=self._HOLDS_CORNERS)


@DATASETS.register_module()
class CellDataset(_CellReader, CocoDataset):
    """A detection set in a COCO JSON file, by default ``annotations/<split>.json`` beside ``images/``.

    Classes read from the file are in the order of the category ids. ``iscrowd`` boxes get
    ``ignore_flag`` 1, as in MMDetection; ``area`` is not used. An image entry without ``height`` or
    ``width`` is measured from the header of its file. Unit of split: whatever the file was split by;
    a COCO file knows no patients.

    Made for the cervical cell set of the Comparison detector (Liang et al., "Comparison detector for
    cervical cell/clumps detection in the limited data scenario", Neurocomputing 437, 2021; 7,410
    images, 48,587 boxes, :data:`~cxrdet.datasets.formats.tfrecord.CDETECTOR_CLASSES`; published by
    CVIU-CSU; ask the authors for the licence; its small training list is part of the full one), it
    serves any other COCO set.

    Args:
        ann_file: the JSON file, relative to ``data_root``.
        metainfo: ``dict(classes=(...))`` to hold the file to these classes, in this order; boxes of
            others are dropped.
        data_prefix: where images are, relative to ``data_root``; the default is
            ``dict(img='images/')``.
        on_bad_annotation: ``'error'``, or ``'drop'`` to leave out and count boxes that cannot be
            read.
        allow_no_boxes: accept a set in which no box can be used, for example of images without
            objects.
        **kwargs: ``allow_outside=True`` lets names lead out of ``data_root`` and the folder of images
            (else an error); of ``mmdet.CocoDataset``: ``data_root``, ``filter_cfg``, ``pipeline``,
            ``indices``, ``test_mode`` …

    Raises:
        DataError: the file is defective, lacks a class that ``metainfo`` names, or has no box to use.
        ConfigError: an argument has an impossible value.
    """

    def __init__(self, ann_file: str = '', metainfo: dict | None = None, *, data_prefix: dict | None = None,
                 **kwargs) -> None:
        if not ann_file:
            raise ConfigError('CellDataset needs ann_file, the COCO JSON file, for example "annotations/train.json".')
        super().__init__(ann_file, metainfo, data_prefix, {'img': 'images/'}, **kwargs)

    def read_table(self) -> DataTable:
        table = coco.read(Path(self.ann_file), Path(self.data_prefix['img']))
        tell_outside(table, [self.data_root, self.data_prefix['img']], allowed=self.allow_outside)
        return table

    def _set_labels(self, table: DataTable, own: dict[str, int]) -> None:
        content, = table.source.values()
        self.cat2label = {entry['id']: own[entry['name']] for entry in content['categories'] if entry['name'] in own}
        self.cat_ids = sorted(self.cat2label, key=self.cat2label.get)

    def _complete(self, entry: dict, table: DataTable, row: int) -> None:
        entry['img_id'] = table.places[row].id
        if self.data_prefix.get('seg'):
            stem = os.path.splitext(table.names[row])[0]
            entry['seg_map_path'] = os.path.join(self.data_prefix['seg'], stem + self.seg_map_suffix)
        if self.return_classes:
            entry.update(text=self._metainfo['classes'], caption_prompt=self.caption_prompt, custom_entities=True)


@DATASETS.register_module()
class CellVOCDataset(_CellReader, BaseDetDataset):
    """A detection set as Pascal VOC XML files, one per image; the layout and the corners of BCCD by default.

    BCCD (Shenggan/BCCD_Dataset, MIT licence; blood smears of 640 x 480 with RBC, WBC and Platelets;
    split by image, patients are unknown) was drawn with labelImg, which writes corners in
    *continuous* coordinates and raises 0 to 1: 192 of its boxes begin at x = 1, 183 end at x = 640,
    none begins at 0. Hence ``corners='exclusive'``: ``width = xmax - xmin``, as converters to COCO
    have it. Two objects with ``xmin = xmax`` are dropped as degenerate. Files that follow the VOC
    development kit to the letter, with pixel indices from 1, need ``corners='inclusive'``.
    MMDetection's own reader subtracts 1 from all four numbers.

    Images are found and XML is read as :func:`cxrdet.datasets.formats.voc.read` says; one without
    ``<size>`` is measured. ``img_id`` is the position in the list, from 1. Classes are all names
    found, sorted. VOC files have no list of categories, so of given classes one without any box must
    at least occur in another file of the folder of annotations, or, in test mode, every name found
    must be in the list.

    Args:
        ann_file: the list of names, relative to ``data_root``; empty: all XML files of the folder,
            sorted.
        metainfo, on_bad_annotation, allow_no_boxes: as for :class:`CellDataset`.
        data_prefix: the default is ``dict(img='JPEGImages/', ann='Annotations/')``.
        corners: ``'exclusive'`` or ``'inclusive'``, see above.
        ignore_difficult: give boxes marked ``difficult`` the ``ignore_flag`` 1, as MMDetection does.
        **kwargs: ``allow_outside`` as above; of ``mmdet.BaseDetDataset``: ``data_root``,
            ``filter_cfg``, ``pipeline`` …

    Raises: DataError and ConfigError as :class:`CellDataset`.
    """

    _HOLDS_CORNERS = True

    def __init__(self, ann_file: str = '', metainfo: dict | None = None, *, data_prefix: dict | None = None,
                 corners: str = 'exclusive', ignore_difficult: bool = True, **kwargs) -> None:
        voc.check_corners(corners)
        self.corners = corners
        self.ignore_difficult = ignore_difficult
        super().__init__(ann_file, metainfo, data_prefix, {'img': 'JPEGImages/', 'ann': 'Annotations/'}, **kwargs)

    def read_table(self) -> DataTable:
        folder, lists = Path(self.data_prefix['ann']), {Path(self.ann_file): ''} if self.ann_file else {}
        table = voc.read(folder.parent, Path(self.data_prefix['img']), annotations=folder, lists=lists,
                         corners=self.corners)
        for around, files in ((folder, [place.file for place in table.places]), (self.data_prefix['img'], None)):
            tell_outside(table, [self.data_root, around], allowed=self.allow_outside, files=files)
        if not self.ignore_difficult:
            table.crowd[:] = False
        return table

    def _found_classes(self) -> list[str]:
        return self._with_absent(self._checked()[0].classes)

    def _set_classes(self, found: Sequence[str]) -> dict[str, int]:
        return super()._set_classes(self._with_absent(found))

    def _with_absent(self, found: Sequence[str]) -> list[str]:
        """Names found in the files, sorted, and the given classes that may be missing."""
        found, given = set(found), set(self._metainfo.get('classes') or ())
        if given <= found or (self.test_mode and found <= given):
            return sorted(found | given)
        folder = Path(self.data_prefix['ann'])
        others = voc.read(folder.parent, Path(self.data_prefix['img']), annotations=folder, lists={})
        return sorted(found | given & set(others.classes))

    def _complete(self, entry: dict, table: DataTable, row: int) -> None:
        entry['xml_path'] = table.places[row].file


def _whole(side: float) -> int | float | None:
    """A side of an image in pixels as it is written in JSON; None for NaN, unknown."""
    return None if np.isnan(side) else int(side) if side == int(side) else side


def _usable(image: dict) -> bool:
    return any(not box['ignore_flag'] for box in image['instances'])
