"""Flickr30k Entities, as it is published, to the JSON files that GroundingDataset reads.

Plummer et al., "Flickr30k Entities", ICCV 2015; the annotations are free, the images (Flickr30k, Young et al., TACL
2014) for non-commercial research. Unit of split: the image; five captions each.
"""
import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.logging import print_log

from cxrdet.core.errors import DataError
from cxrdet.core.files import read_text, write_json
from cxrdet.core.folders import keep_apart, prepared_folder
from cxrdet.core.issues import counts
from cxrdet.core.paths import name_fault
from cxrdet.curation.set_writers import place_file
from cxrdet.datasets.formats.voc import SIDES, parse_xml, read_list

from .prompts import words_of

VERSION = 1
SPLITS = ('train', 'val', 'test')
_PHRASE = re.compile(r'\[/EN#(\d+)((?:/[\w-]+)+) ([^\[\]]*)\]')


class Sentence(NamedTuple):
    """A caption without its marks, and (start, end, chain, kind) of each phrase; chains name what is the same thing."""

    caption: str
    phrases: list[tuple[int, int, str, str]]


def read_sentence(line: str, where: str) -> Sentence:
    """A line of ``Sentences/*.txt``: ``[/EN#283585/people A man] waits .``, where 0 is the chain of what is not
    visible.

    Raises: DataError with ``where`` for marks of another form.
    """
    caption, phrases, end = '', [], 0
    for found in _PHRASE.finditer(line):
        caption += line[end:found.start()]
        text = ' '.join(found[3].split())
        phrases.append((len(caption), len(caption) + len(text), found[1], found[2].strip('/').partition('/')[0]))
        caption += text
        end = found.end()
    caption += line[end:]
    if '[' in caption or ']' in caption or '/EN#' in caption:
        raise DataError(f'{where}: expected phrases as [/EN#12/people two men], got {line[:200]!r}')
    return Sentence(caption, phrases)


def read_boxes(path: str | Path) -> tuple[dict[str, list[list[int]]], Counter, tuple[int, int]]:
    """The boxes of each chain, [x, y, width, height] in pixels, of an ``Annotations/*.xml``; chains that have none, by
    reason; height and width of the image.

    Corners count pixels from 1, as the readers that come with the set take them: x and y are theirs less 1, the sides
    their differences.

    Raises: DataError for a file that is no such annotation, with the object.
    """
    root, boxes, without = parse_xml(path), {}, Counter()
    size = tuple(_number(root, f'size/{side}', f'{path}') for side in ('height', 'width'))
    for number, element in enumerate(root.iter('object')):
        where = f'{path}: object {number}'
        names = [(name.text or '').strip() for name in element.findall('name')]
        if not names or not all(name.isdigit() for name in names):
            raise DataError(f'{where}: expected the number of a chain as <name>, got {names}')
        if element.find('bndbox') is None:
            reason = next((tag for tag in ('scene', 'nobndbox') if (element.findtext(tag) or '').strip() == '1'), None)
            if reason is None:
                raise DataError(f'{where}: expected <bndbox>, or 1 in <scene> or <nobndbox>')
            without[reason] += len(names)
            continue
        left, top, right, bottom = (_number(element, f'bndbox/{side}', where) for side in SIDES)
        if not (1 <= left < right <= size[1] and 1 <= top < bottom <= size[0]):
            raise DataError(f'{where}: the corners {(left, top, right, bottom)} are no box in an image of {size[1]} x '
                            f'{size[0]} px')
        for name in names:
            boxes.setdefault(name, []).append([left - 1, top - 1, right - left, bottom - top])
    return boxes, without, size


def _number(element, place: str, where: str) -> int:
    text = (element.findtext(place) or '').strip()
    if not text.isdigit():
        raise DataError(f'{where}: expected a whole number in <{place}>, got {text!r}')
    return int(text)


def convert_flickr30k(source: str | Path, out_dir: str | Path, *, images: str | Path, splits: Sequence[str] = SPLITS,
                      link: bool = False, force: bool = False,
                      progress: Callable[[str, int, int], None] | None = None) -> Path:
    """Write ``annotations/<split>.json`` and ``images/`` from Flickr30k Entities.

    An entry of ``images`` is a caption with at least one phrase that has a box; the group of a phrase is its kind
    (people, scene …). Left out and counted in the log: phrases of what is not visible (chain 0), and of scenes and
    things without a box, for which no box is not "nothing there"; phrases that lie twice in a caption with the same
    words and boxes stay once.

    Args:
        source: folder with ``Sentences/``, ``Annotations/`` and ``train.txt``, ``val.txt``, ``test.txt``.
        out_dir: folder of the new set.
        images: folder with ``<id>.jpg``.
        splits: which lists are converted.
        link: make links to the images instead of copies.
        force: replace another set in ``out_dir``.
        progress: called with (split, done, total) after each image.

    Returns: ``out_dir``.
    Raises: DataError for what is missing or malformed, with file and line or object.
    """
    source, images, out_dir = Path(source), Path(images), Path(out_dir)
    keep_apart(out_dir, source, images)
    manifest = {'kind': 'flickr30k-entities', 'version': VERSION, 'splits': list(splits), 'link': link}
    with prepared_folder(out_dir, manifest, force=force, inputs=[source, images]) as new:
        (new / 'images').mkdir(exist_ok=True)
        for split in splits:
            names = read_list(source / f'{split}.txt')
            info, dropped = {'description': f'Flickr30k Entities, {split}'}, Counter()
            content = {'info': info, 'images': [], 'annotations': []}
            for done, name in enumerate(names, 1):
                fault = name_fault(name)
                if fault:
                    raise DataError(f'{source / split}.txt: {name!r}: {fault}')
                dropped += _add_image(content, source, name)
                place_file(images / f'{name}.jpg', new / 'images' / f'{name}.jpg', link=link)
                if progress is not None:
                    progress(split, done, len(names))
            if not content['images']:
                raise DataError(f'{source / split}.txt: no caption of its {len(names)} images has a phrase with a box')
            write_json(new / 'annotations' / f'{split}.json', content)
            print_log(f'{split}: {len(names)} images, {len(content["images"])} captions, '
                      f'{sum(len(entry["phrases"]) for entry in content["images"])} phrases'
                      + (f'; left out: {counts(dropped)}' if dropped else ''), logger='current')
    return out_dir


def _add_image(content: dict[str, Any], source: Path, name: str) -> Counter:
    """Add the captions of an image; how many phrases were left out, by reason."""
    boxes, _, (height, width) = read_boxes(source / 'Annotations' / f'{name}.xml')
    file, dropped = source / 'Sentences' / f'{name}.txt', Counter()
    for number, line in enumerate(read_text(file, 'list of sentences').splitlines(), 1):
        if not line.strip():
            continue
        caption, phrases = read_sentence(line.strip(), f'{file}, line {number}')
        kept, seen = [], set()
        for start, end, chain, kind in phrases:
            key = caption[start:end].lower(), chain
            reason = ('not visible' if chain == '0' else 'without a box' if chain not in boxes else
                      'without a word' if not words_of(caption[start:end]) else 'said twice' if key in seen else None)
            if reason:
                dropped[reason] += 1
                continue
            seen.add(key)
            kept.append(({'span': [start, end], 'group': kind, 'chain': chain}, boxes[chain]))
        if not kept:
            dropped['captions without a phrase'] += 1
            continue
        image_id = len(content['images']) + 1
        content['images'].append({'id': image_id, 'file_name': f'{name}.jpg', 'height': height, 'width': width,
                                  'caption': caption, 'phrases': [phrase for phrase, _ in kept]})
        for phrase, (_, own) in enumerate(kept):
            for box in own:
                content['annotations'].append(
                    {'id': len(content['annotations']) + 1, 'image_id': image_id, 'phrase': phrase, 'bbox': box})
    return dropped
