"""COCO and Pascal VOC sets that lie otherwise than as published: files beside the images, as labelImg and Roboflow
write them, folders of splits, ``annotations/`` beside ``images/``, and several VOC folders below one (``VOC2007`` …).
"""
import dataclasses
import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cxrdet.core.issues import DataTable
from cxrdet.core.paths import name_fault, within
from cxrdet.datasets.formats import coco, voc
from cxrdet.datasets.formats.files import annotation_files, files_below, first_bytes
from cxrdet.datasets.formats.table_builder import split_of

__all__ = ['read_coco', 'read_voc', 'recognises_coco', 'recognises_voc']

_VOC = re.compile(r'<annotation[\s>]')
_COCO = re.compile(r'^\{.*"(images|annotations|categories)"\s*:\s*\[', re.DOTALL)
_IMAGE_FOLDERS = ('JPEGImages', 'images', 'Images', 'imgs', 'img')


def recognises_coco(path: Path) -> bool:
    """As :func:`cxrdet.datasets.formats.coco.recognises`, or a folder with COCO files in it or below."""
    return coco.recognises(path) or any(map(_is_coco, annotation_files(path, '.json')))


def _is_coco(file: str | Path) -> bool:
    return _COCO.search(first_bytes(file, 2 ** 16)) is not None


def read_coco(path: Path, images: Path | None = None) -> DataTable:
    """As :func:`cxrdet.datasets.formats.coco.read`; of other COCO files below a folder, the split is the name of their
    folder or their own (``train/_annotations.coco.json``, ``valid.json``)."""
    if coco.recognises(path):
        return coco.read(path, images)
    files = {}
    for file in filter(_is_coco, files_below(path, ('.json',))):
        name, stem = Path(os.path.relpath(file, path)).as_posix(), Path(file).stem
        files[Path(file)] = split_of(name) or split_of(f'{stem}/') or ('' if stem.startswith('_annotations') else stem)
    table = coco.read(path, images, files=files)
    if len(table.folders) > 1:  # whose images may have the same names
        table.names = [name if name_fault(name) else Path(os.path.relpath(file, path)).as_posix()
                       for name, file in zip(table.names, table.files)]
    return table


def recognises_voc(path: Path) -> bool:
    """As :func:`cxrdet.datasets.formats.voc.recognises`, or a folder with VOC files in it or below."""
    return voc.recognises(path) or path.is_dir() and any(map(_is_voc, annotation_files(path, '.xml')))


def _is_voc(file: str | Path) -> bool:
    return _VOC.search(first_bytes(file)) is not None


def read_voc(path: Path, images: Path | None = None) -> DataTable:
    """As :func:`cxrdet.datasets.formats.voc.read`; or the XML files in each folder below with the images beside them
    or, of a folder ``annotations``, those in the folder of images beside it. A split is a folder ``train``, ``val`` …
    """
    if voc.recognises(path) or not recognises_voc(path):
        return voc.read(path, images)
    found = set()
    for file in filter(_is_voc, files_below(path, ('.xml',))):
        parts = Path(os.path.relpath(file, path)).parts[:-1]
        depth = next((k for k, part in enumerate(parts, 1) if part.lower() == 'annotations'), len(parts))
        found.add(os.path.normpath(os.path.join(path, *parts[:depth])))
    tables, prefixes = [], []
    for folder in map(Path, sorted(found)):
        if within(folder, (other for other in found if other != str(folder))):
            continue  # read with the folder around it
        apart = folder.name.lower() == 'annotations' and folder != path
        root = folder.parent if apart else folder
        beside = next((root / name for name in _IMAGE_FOLDERS if apart and (root / name).is_dir()), root)
        tables.append(voc.read(root, images or beside, annotations=folder))
        prefix = os.path.relpath(root, path)
        prefixes.append('' if prefix == os.curdir else f'{Path(prefix).as_posix()}/')
    return join_tables(tables, prefixes)


def join_tables(tables: Sequence[DataTable], prefixes: Sequence[str]) -> DataTable:
    """Several tables as one; ``prefixes`` come before the names of each, and tell the split where it has none."""
    joined = dataclasses.replace(tables[0], classes=tuple(sorted({name for table in tables for name in table.classes})))
    for field in ('names', 'files', 'splits', 'groups', 'views', 'places', 'box_places', 'findings', 'folders'):
        setattr(joined, field, [])
    joined.source, labels, owners = {}, [], []
    for table, prefix in zip(tables, prefixes):
        first_image, first_box = len(joined.names), len(joined.box_places)
        joined.names += [prefix + name for name in table.names]
        joined.splits += [split or split_of(prefix + name) for split, name in zip(table.splits, table.names)]
        for field in ('files', 'groups', 'views', 'places', 'box_places', 'folders'):
            getattr(joined, field).extend(getattr(table, field))
        joined.source |= {prefix + name: content for name, content in table.source.items()}
        numbers = np.array([joined.classes.index(name) for name in table.classes] + [-1])
        labels.append(numbers[table.box_label])
        owners.append(np.where(table.box_image < 0, -1, table.box_image + first_image))
        for finding in table.findings:
            other = finding.other + (first_box if finding.box >= 0 else first_image) if finding.other >= 0 else -1
            joined.findings.append(dataclasses.replace(
                finding, other=other, image=finding.image + first_image if finding.image >= 0 else -1,
                box=finding.box + first_box if finding.box >= 0 else -1))
    joined.box_label, joined.box_image = np.concatenate(labels), np.concatenate(owners)
    for field in ('sizes', 'boxes', 'crowd'):
        setattr(joined, field, np.concatenate([getattr(table, field) for table in tables]))
    joined.folders = list(dict.fromkeys(joined.folders))
    return joined
