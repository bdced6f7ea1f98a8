"""The image files of a data set, all opened: what cannot be decoded, sizes, alpha channels, equal images."""
import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from typing import NamedTuple

import numpy as np

from cxrdet.core.errors import DataError
from cxrdet.core.issues import DataTable, Finding
from cxrdet.curation.phash import near_equal_pairs, perceptual_hash, thumbnail
from cxrdet.datasets.formats.files import files_below, tell_missing
from cxrdet.datasets.formats.images import THIN, decode_image, has_extra_channels
from cxrdet.datasets.formats.tfrecord import read_record_image, split_record_path


class ImageFacts(NamedTuple):
    """What an image file holds: ``fault`` (``''`` for none), size in pixels, whether it has an alpha channel, the SHA-1
    of its bytes, and the perceptual hash and thumbnail of :mod:`cxrdet.curation.phash`."""

    fault: str
    height: int = 0
    width: int = 0
    alpha: bool = False
    digest: str = ''
    hash: int = 0
    small: np.ndarray | None = None


def image_facts(path: str) -> ImageFacts:
    """Open one image, as strictly as training does; of one in a TFRecord, the checksum too."""
    try:
        if split_record_path(path) is not None:
            image = read_record_image(path, check=True)
            data = image.tobytes()
        else:
            with open(path, 'rb') as file:
                data = file.read()
            if not data:
                return ImageFacts('the image file is empty (0 bytes).')
            image = decode_image(data, path)
    except (OSError, DataError) as error:
        return ImageFacts(str(error).removeprefix(f'{path}: '))
    small = thumbnail(image)
    alpha = split_record_path(path) is None and has_extra_channels(data)
    return ImageFacts('', *image.shape[:2], alpha, hashlib.sha1(data).hexdigest(),
                      perceptual_hash(small), small)


def scan(paths: Sequence[str], *, workers: int = 1,
         progress: Callable[[int, int], None] | None = None) -> list[ImageFacts]:
    """:func:`image_facts` of all files, in their order, by so many ``workers`` (processes; 1 works in this one).

    ``progress`` is called with (done, total) after each file.
    """
    def watched(facts: Iterator[ImageFacts]) -> list[ImageFacts]:
        done = []
        for one in facts:
            done.append(one)
            if progress is not None:
                progress(len(done), len(paths))
        return done

    if workers <= 1 or len(paths) < 2 * workers:
        return watched(map(image_facts, paths))
    with ProcessPoolExecutor(workers, mp_context=get_context('spawn')) as pool:
        return watched(pool.map(image_facts, paths, chunksize=16))


def check_files(table: DataTable) -> list[Finding]:
    """Images that are not there or empty, and image files that nothing refers to."""
    looked_at = replace(table, findings=[])
    tell_missing(looked_at, range(len(table.names)))
    known = {os.path.realpath(file) for row, file in enumerate(table.files) if row not in table.outside}
    orphans = {os.path.realpath(file): file for folder in table.folders for file in files_below(folder)}
    return looked_at.findings + [Finding('warning', 'orphan_file', 'no annotation refers to this image', file)
                                 for real, file in sorted(orphans.items()) if real not in known]


def check_pixels(table: DataTable, *, workers: int = 1,
                 progress: Callable[[int, int], None] | None = None) -> list[Finding]:
    """Open every image that is there: undecodable, of another size than stated, thin, with alpha, equal, near-equal."""
    files = sorted({file for row, file in enumerate(table.files) if row not in table.outside and _is_there(file)})
    facts = dict(zip(files, scan(files, workers=workers, progress=progress)))
    first: dict[str, list[int]] = {}
    findings = []
    for image, file in enumerate(table.files):
        if file not in facts:
            continue
        first.setdefault(file, []).append(image)
        fact = facts[file]
        if fact.fault:
            findings.append(table.about_image('error', 'unreadable_image', fact.fault, image))
            continue
        height, width = table.sizes[image]
        if table.sizes_of_files and ((height, width) != (fact.height, fact.width)) and not np.isnan(height + width):
            findings.append(table.about_image('error', 'size_mismatch', f'"{table.names[image]}" has {fact.width} x '
                                              f'{fact.height} px, its annotation says {width:g} x {height:g}', image))
        if max(fact.height, fact.width) >= THIN * min(fact.height, fact.width):
            text = f'"{table.names[image]}" has {fact.width} x {fact.height} px, and resizing may leave a side of 0 px'
            findings.append(table.about_image('warning', 'thin_image', text, image))
        if fact.alpha:
            text = f'"{table.names[image]}" has an alpha channel, which is left out when it is read'
            findings.append(table.about_image('warning', 'alpha_channel', text, image))
    good = [file for file in files if not facts[file].fault]
    return findings + _equal(table, good, facts, first)


def _is_there(file: str) -> bool:
    return split_record_path(file) is not None or (os.path.isfile(file) and os.path.getsize(file) > 0)


def _equal(table: DataTable, files: list[str], facts: dict[str, ImageFacts],
           rows: dict[str, list[int]]) -> list[Finding]:
    findings, seen, unique = [], {}, []
    for file in files:
        other = seen.setdefault(facts[file].digest, file)
        if other == file:
            unique.append(file)
            continue
        image, twin = rows[file][0], rows[other][0]
        across = table.splits[image] != table.splits[twin]
        same = _same_labels(table, image, twin)
        code = 'equal_images_across_splits' if across else 'equal_images' if same else 'equal_images_other_label'
        findings.append(table.about_image(
            'error' if across else 'warning', code, f'"{table.names[image]}" is byte for byte "{table.names[twin]}"'
            f'{_splits(table, image, twin)}{"" if same else ", with other labels"}', image, other=twin))
    pairs = near_equal_pairs([facts[file].hash for file in unique],
                             np.array([facts[file].small for file in unique]).reshape(-1, 32, 32))
    for one, other in pairs:
        image, twin = rows[unique[other]][0], rows[unique[one]][0]
        across = table.splits[image] != table.splits[twin]
        findings.append(table.about_image(
            'warning', 'near_equal_images_across_splits' if across else 'near_equal_images',
            f'"{table.names[image]}" looks the same as "{table.names[twin]}"{_splits(table, image, twin)}', image,
            other=twin))
    return findings


def _splits(table: DataTable, image: int, twin: int) -> str:
    one, other = table.splits[image], table.splits[twin]
    return f' ({one or "no split"} and {other or "no split"})' if one != other else ''


def _same_labels(table: DataTable, image: int, twin: int) -> bool:
    """Labels of images are compared; boxes of two drawings need not be equal, so for them the answer is yes."""
    return table.labels is None or bool((table.labels[image] == table.labels[twin]).all())
