"""Images with captions, phrases in them and the boxes of these phrases."""
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmdet.datasets import BaseDetDataset

from cxrdet.core.detection.boxes import box_faults
from cxrdet.core.errors import ConfigError, DataError, check_numbers
from cxrdet.datasets.formats.coco import load_json
from cxrdet.datasets.formats.images import read_image_size
from cxrdet.datasets.transforms.loading import ImageNamed
from cxrdet.registry import DATASETS

from .prompts import phrases_by_span
from .transforms import NegativePhrases


@DATASETS.register_module()
class GroundingDataset(ImageNamed, BaseDetDataset):
    """Phrase grounding from a JSON file in COCO's manner.

    ``images``: ``id``, ``file_name``, ``width`` and ``height`` (else read from the file), ``caption``, ``phrases``: a
    list of ``{"span": [start, end]}`` in characters of the caption, with any ``"group"`` that a metric should tell
    apart, and ``negatives``: phrases known to name nothing in the image. An image with several captions stands there
    several times. ``annotations``: ``image_id``, ``bbox`` [x, y, width, height] in pixels, and ``phrase``, its number
    in the image's list; a box of several phrases stands there several times. A phrase may have no box.

    Samples have ``phrases``, ``phrase_groups`` (None: no group) and ``instances``, whose label is the number of the
    phrase. The classes of the set are "phrase 1", "phrase 2" … .

    Citation, licence, unit of split: those of the set that the file was made from.

    Args:
        ann_file, data_root, data_prefix, pipeline …: as of MMDetection's data sets;
            ``data_prefix=dict(img='images/')``.
        max_phrases: of an image; the number of classes.
        exchange: give each phrase the boxes of the next one in its image, for a control: a model that reads the words
            must fail. Phrases without a box and images with less than two others are left out.
        share: of the images, evenly spaced over the file, that is used, with all their captions; in (0, 1].

    Raises: DataError with file and entry for what is missing, malformed or refers to nothing; ConfigError for numbers
        out of range.
    """

    METAINFO: dict[str, Any] = {}

    def __init__(self, *, max_phrases: int = 32, exchange: bool = False, share: float = 1.,
                 metainfo: dict | None = None, **kwargs) -> None:
        check_numbers('GroundingDataset', max_phrases=(max_phrases, '[1, inf)'), share=(share, '(0, 1]'))
        self.max_phrases, self.exchange, self.share = max_phrases, exchange, share
        classes = tuple(f'phrase {number}' for number in range(1, max_phrases + 1))
        super().__init__(metainfo={**(metainfo or {}), 'classes': classes}, **kwargs)

    def load_data_list(self) -> list[dict]:
        """One dict an entry of ``images``."""
        file = str(self.ann_file)
        content = load_json(self.ann_file)
        entries = [self._image(entry, number, file) for number, entry in enumerate(_list(content, 'images', file))]
        by_id = {entry['img_id']: entry for entry in entries}
        if len(by_id) < len(entries):
            raise DataError(f'{file}: the ids of the images are not unique')
        boxes = [_box(entry, f'{file}: annotations[{number}]', by_id)
                 for number, entry in enumerate(_list(content, 'annotations', file))]
        limits = np.array([(entry['height'], entry['width']) for entry, _, _ in boxes]).reshape(-1, 2)
        faults = box_faults(np.array([box for _, box, _ in boxes], np.float64).reshape(-1, 4), limits)
        for number, ((entry, box, phrase), fault) in enumerate(zip(boxes, faults)):
            if fault:
                raise DataError(f'{file}: annotations[{number}]: the box {box} (xyxy) in an image of '
                                f'{entry["width"]} x {entry["height"]} px is {fault}')
            entry['instances'].append({'bbox': box, 'bbox_label': phrase, 'ignore_flag': 0})
        if self.exchange:
            entries = [entry for entry in map(_exchanged, entries) if entry]
        files = list(dict.fromkeys(entry['img_path'] for entry in entries))
        if self.share < 1 and files:
            places = np.linspace(0, len(files) - 1, max(1, round(self.share * len(files)))).astype(int)
            chosen = {files[place] for place in places}
            entries = [entry for entry in entries if entry['img_path'] in chosen]
        pool = sorted({phrase for entry in entries for phrase in entry['phrases']})
        for step in self.pipeline.transforms:
            if isinstance(step, NegativePhrases):
                step.pool = pool
        return entries

    def _image(self, entry: Mapping, number: int, file: str) -> dict:
        where = f'{file}: images[{number}]'
        for key, kind in (('id', (int, str)), ('file_name', str), ('caption', str), ('phrases', list)):
            if not isinstance(entry.get(key), kind):
                raise DataError(f'{where}: expected "{key}", got {entry.get(key)!r:.80}')
        path = Path(self.data_prefix.get('img') or self.data_root or '') / entry['file_name']
        size = entry.get('height'), entry.get('width')
        if not all(isinstance(side, int) and side > 0 for side in size):
            size = read_image_size(path)
        for place, phrase in enumerate(entry['phrases']):
            if not isinstance(phrase, dict) or not isinstance(phrase.get('span'), (list, tuple)):
                raise DataError(f'{where}: phrases[{place}]: expected {{"span": [start, end]}}, got {phrase!r:.80}')
        negatives = entry.get('negatives') or []
        if not isinstance(negatives, list) or not all(isinstance(phrase, str) for phrase in negatives):
            raise DataError(f'{where}: "negatives" must be a list of phrases, got {negatives!r:.80}')
        spans = [phrase['span'] for phrase in entry['phrases']]
        phrases = phrases_by_span(entry['caption'], spans, where)
        if not 1 <= len(phrases) <= self.max_phrases:
            raise DataError(f'{where}: {len(phrases)} phrases, expected 1 to {self.max_phrases} (max_phrases)')
        return {'img_path': str(path), 'img_id': entry['id'], 'height': size[0], 'width': size[1], 'instances': [],
                'caption': entry['caption'], 'phrases': phrases, 'known_negatives': tuple(negatives),
                'phrase_groups': tuple(phrase.get('group') for phrase in entry['phrases'])}

    def phrases(self) -> Iterator[str]:
        """All phrases of the set, and the negatives that it names, for a vocabulary."""
        for number in range(len(self)):
            info = self.get_data_info(number)
            yield from info['phrases']
            yield from info['known_negatives']


def _exchanged(entry: dict) -> dict | None:
    """The entry with the boxes of each phrase given to the one before it, the last one's to the first."""
    named = sorted({box['bbox_label'] for box in entry['instances']})
    if len(named) < 2:
        return None
    before = {phrase: named[number - 1] for number, phrase in enumerate(named)}
    return {**entry, 'instances': [{**box, 'bbox_label': before[box['bbox_label']]} for box in entry['instances']]}


def _list(content: Any, key: str, file: str) -> list[dict]:
    found = content.get(key) if isinstance(content, dict) else None
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        raise DataError(f'{file}: expected "{key}", a list of objects')
    return found


def _box(entry: Mapping, where: str, images: Mapping) -> tuple[dict, list[float], int]:
    """The image, the box as xyxy and the number of the phrase of an annotation."""
    image = images.get(entry.get('image_id'))
    if image is None:
        raise DataError(f'{where}: no image has the id {entry.get("image_id")!r}')
    phrase, box = entry.get('phrase'), entry.get('bbox')
    if not isinstance(phrase, int) or not 0 <= phrase < len(image['phrases']):
        raise DataError(f'{where}: "phrase" must be 0 to {len(image["phrases"]) - 1}, a number of the phrases of its '
                        f'image, got {phrase!r}')
    if not isinstance(box, Sequence) or len(box) != 4 or not all(isinstance(value, (int, float)) for value in box):
        raise DataError(f'{where}: "bbox" must be [x, y, width, height] in pixels, got {box!r:.80}')
    return image, [box[0], box[1], box[0] + box[2], box[1] + box[3]], phrase


def phrases_of(dataset) -> Iterator[str]:
    """All phrases of a data set and of those that it wraps; raises ConfigError where one knows none."""
    inner = getattr(dataset, 'datasets', None) or ([dataset.dataset] if hasattr(dataset, 'dataset') else None)
    if inner:
        for part in inner:
            yield from phrases_of(part)
    elif hasattr(dataset, 'phrases'):
        yield from dataset.phrases()
    else:
        for step in getattr(getattr(dataset, 'pipeline', None), 'transforms', ()):
            if hasattr(step, 'phrases'):
                yield from step.phrases()
                return
        raise ConfigError(f'{type(dataset).__name__} names no phrases: give its pipeline a step cxrdet.ClassPrompts, '
                          'or take cxrdet.GroundingDataset')
