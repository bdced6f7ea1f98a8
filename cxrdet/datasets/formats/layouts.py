"""COCO and Pascal VOC sets that lie otherwise than as published: files beside the images, as labelImg and Roboflow
write them, folders of splits, ``annotations/`` beside ``images/``, and several VOC folders below one (``VOC2007`` …).
"""
import os
import re
from pathlib import Path

from cxrdet.core.issues import DataTable
from cxrdet.core.paths import name_fault, within
from cxrdet.datasets.formats import coco, voc
from cxrdet.datasets.formats.files import annotation_files, files_below, first_bytes, split_of

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
    places = []
    for folder in map(Path, sorted(found)):
        if within(folder, (other for other in found if other != str(folder))):
            continue  # read with the folder around it
        apart = folder.name.lower() == 'annotations' and folder != path
        root = folder.parent if apart else folder
        beside = next((root / name for name in _IMAGE_FOLDERS if apart and (root / name).is_dir()), root)
        prefix = os.path.relpath(root, path)
        places.append((root, images or beside, folder, '' if prefix == os.curdir else f'{Path(prefix).as_posix()}/'))
    return voc.read_folders(places)
