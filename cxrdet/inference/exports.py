"""Predicted boxes in the formats of annotation tools, so that a person can correct them and train on the result.

Each writer gets an empty folder, the records of a detector as in ``predictions.json`` (boxes xyxy in pixels) and the
class names. :mod:`cxrdet.datasets.formats` reads all of them back.
"""
import json
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from urllib.parse import quote
from xml.etree.ElementTree import Element, SubElement, indent, tostring

import yaml

from cxrdet.core.errors import DataError, check_choice
from cxrdet.core.files import write_atomic

_LOCAL_FILE = '/data/local-files/?d='  # how Label Studio names a file below LOCAL_FILES_DOCUMENT_ROOT
_NOT_IN_XML = re.compile('[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]')


def check_exports(kinds: Sequence[str], names: Sequence[str]) -> None:
    """Raise ConfigError for an unknown format, DataError for images that would share a file of YOLO labels."""
    for kind in kinds:
        check_choice('the format', kind, EXPORTS)
    stems: dict[PurePosixPath, str] = {}
    for name in names if 'yolo' in kinds else ():
        other = stems.setdefault(PurePosixPath(name).with_suffix(''), name)
        if other != name:
            raise DataError(f'YOLO has one file of labels for {other} and {name}: rename one of them.')


def write_exports(folder: Path, kinds: Sequence[str], records: Sequence[dict], classes: Sequence[str]) -> None:
    """Write the records of a detector in each of the formats, into a folder of its name."""
    for kind in kinds:
        EXPORTS[kind](folder / kind, records, classes)


def _write_coco(folder: Path, records: Sequence[dict], classes: Sequence[str]) -> None:
    """``results.json``, the list that COCO's evaluation reads, and ``instances.json``, a set with the same ids."""
    images = [{'id': number, 'file_name': record['file'], 'width': record['width'], 'height': record['height']}
              for number, record in enumerate(records, 1)]
    results = [{'image_id': number, 'category_id': label + 1, 'score': score,
                'bbox': [x1, y1, round(x2 - x1, 3), round(y2 - y1, 3)]}
               for number, record in enumerate(records, 1)
               for (x1, y1, x2, y2), label, score in zip(record['boxes'], record['labels'], record['scores'])]
    annotations = [{'id': number, 'iscrowd': 0, 'area': result['bbox'][2] * result['bbox'][3], **result}
                   for number, result in enumerate(results, 1)]
    categories = [{'id': number, 'name': name} for number, name in enumerate(classes, 1)]
    write_atomic(folder / 'results.json', json.dumps(results))
    write_atomic(folder / 'instances.json', json.dumps({'images': images, 'annotations': annotations,
                                                        'categories': categories}))


def _write_yolo(folder: Path, records: Sequence[dict], classes: Sequence[str]) -> None:
    """``labels/NAME.txt``, a line per box: class, box, confidence; and ``data.yaml``. Images go into ``images/``."""
    write_atomic(folder / 'data.yaml', yaml.safe_dump({'val': 'images', 'names': dict(enumerate(classes))},
                                                      allow_unicode=True, sort_keys=False))
    for record in records:
        wide, high = record['width'], record['height']
        lines = [f'{label} {(x1 + x2) / 2 / wide:.7f} {(y1 + y2) / 2 / high:.7f} {(x2 - x1) / wide:.7f} '
                 f'{(y2 - y1) / high:.7f} {score:.6f}\n' for (x1, y1, x2, y2), label, score in zip(
                     record['boxes'], record['labels'], record['scores'])]
        write_atomic(folder / 'labels' / PurePosixPath(record['file']).with_suffix('.txt'), ''.join(lines))


def _write_label_studio(folder: Path, records: Sequence[dict], classes: Sequence[str]) -> None:
    """``tasks.json``, to be imported with its predictions, and ``config.xml``, the labelling interface for them."""
    view = Element('View')
    SubElement(view, 'Image', name='image', value='$image')
    labels = SubElement(view, 'RectangleLabels', name='label', toName='image')
    for name in classes:
        SubElement(labels, 'Label', value=name)
    write_atomic(folder / 'config.xml', _xml(view))
    tasks = []
    for record in records:
        wide, high = record['width'], record['height']
        shapes = [{'id': f'box{number}', 'type': 'rectanglelabels', 'from_name': 'label', 'to_name': 'image',
                   'original_width': wide, 'original_height': high, 'image_rotation': 0, 'score': score,
                   'value': {'x': 100 * x1 / wide, 'y': 100 * y1 / high, 'width': 100 * (x2 - x1) / wide,
                             'height': 100 * (y2 - y1) / high, 'rotation': 0, 'rectanglelabels': [name]}}
                  for number, ((x1, y1, x2, y2), name, score) in enumerate(zip(
                      record['boxes'], record['classes'], record['scores']))]
        tasks.append({'data': {'image': _LOCAL_FILE + quote(record['file'], errors='surrogateescape')},
                      'predictions': [{'model_version': 'cxrdet', 'result': shapes}]})
    write_atomic(folder / 'tasks.json', json.dumps(tasks))


def _write_cvat(folder: Path, records: Sequence[dict], classes: Sequence[str]) -> None:
    """``annotations.xml``, CVAT for images 1.1, to be uploaded into a task that holds the images."""
    root = Element('annotations')
    SubElement(root, 'version').text = '1.1'
    labels = SubElement(SubElement(SubElement(root, 'meta'), 'task'), 'labels')
    for name in classes:
        SubElement(SubElement(labels, 'label'), 'name').text = name
    for number, record in enumerate(records):
        image = SubElement(root, 'image', id=str(number), name=record['file'],
                           width=str(record['width']), height=str(record['height']))
        for box, name in zip(record['boxes'], record['classes']):
            corners = {key: f'{value:.3f}' for key, value in zip(('xtl', 'ytl', 'xbr', 'ybr'), box)}
            SubElement(image, 'box', {'label': name, 'source': 'auto', 'occluded': '0', **corners, 'z_order': '0'})
    write_atomic(folder / 'annotations.xml', _xml(root))


def _xml(root: Element) -> str:
    indent(root)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{_NOT_IN_XML.sub("?", tostring(root, encoding="unicode"))}\n'


EXPORTS = {'coco': _write_coco, 'yolo': _write_yolo, 'label-studio': _write_label_studio, 'cvat': _write_cvat}
"""By name of the format: what writes (folder, records, classes)."""
