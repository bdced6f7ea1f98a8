"""Writing a mended copy of a data set. The input is only read."""
import copy
import json
import os
import shutil
from collections import Counter
from pathlib import Path
from xml.etree.ElementTree import tostring

from cxrdet.core.csv_text import csv_text, read_csv
from cxrdet.core.errors import ConfigError, DataError
from cxrdet.core.files import read_text, write_atomic
from cxrdet.core.findings import DataTable
from cxrdet.core.mending import Plan
from cxrdet.datasets.lenient.voc import CORNERS

__all__ = ['MANIFEST', 'claim_copy', 'write_mended']

MANIFEST = 'mended.json'
_NAMES = ('annotations', 'images', 'Annotations', 'JPEGImages', 'ImageSets', 'label2id.json', 'mended.jsonl',
          'train_val_list.txt', 'test_list.txt', 'BBox_List_2017.csv')


def claim_copy(out: str | Path, source: str | Path) -> Path:
    """Make ``out`` an empty folder for a mended copy; an earlier copy made here is taken away.

    Raises:
        DataError: It holds something else, or lies in the source or around it.
    """
    out, source = Path(out), Path(source)
    one, other = source.resolve(), out.resolve()
    one = one if one.is_dir() else one.parent
    if one == other or one in other.parents or other in one.parents:
        raise DataError(f'{out}: the mended copy must not lie in the folder of its source {source}, nor around it. '
                        'Choose another folder.')
    if out.exists() and not out.is_dir():
        raise DataError(f'{out}: expected a folder to write to, found a file.')
    present = sorted(entry.name for entry in out.iterdir()) if out.exists() else []
    if present and MANIFEST not in present:
        raise DataError(f'{out}: the folder is not empty and holds no mended copy (there is no {MANIFEST}, but '
                        f'{", ".join(present[:5])}). Choose an empty or new folder.')
    if present:
        for name in {*_NAMES, *json.loads((out / MANIFEST).read_text()).get('tables', [])} & set(present):
            shutil.rmtree(out / name) if (out / name).is_dir() else (out / name).unlink()
    return out


def write_mended(table: DataTable, plan: Plan, out: str | Path, source: str | Path, *, link: bool = False) -> Path:
    """Write the set as the plan has it, its images (copied, or symbolic links), ``mended.jsonl`` and ``mended.json``.

    ``mended.jsonl`` has a line for every change, and for every finding that is left (``"change": "none"``).

    Raises:
        DataError: As :func:`claim_copy`.
        ConfigError: The format has nothing to mend (a plain folder).
    """
    if table.kind not in _WRITERS:
        raise ConfigError(f'a set of the format "{table.kind}" has no annotations to mend.')
    out = claim_copy(out, source)
    tables = [table.source['file'].name.removesuffix('.gz')] if table.kind in ('csv', 'nih') else []
    write_atomic(out / MANIFEST, json.dumps({'tool': 'check_data', 'format': table.kind, 'source': str(source),
                                             'tables': tables}) + '\n')
    _WRITERS[table.kind](table, plan, out, link)
    lines = [change.as_dict() for change in plan.changes]
    lines += [{'change': 'none', **finding.as_dict()} for finding in plan.left]
    write_atomic(out / 'mended.jsonl', ''.join(json.dumps(line, default=str) + '\n' for line in lines))
    return out


def _place(source: str, target: Path, link: bool) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        return
    if link:
        target.symlink_to(os.path.realpath(source))
    else:
        shutil.copy2(source, target)


def _inside(name: str) -> bool:
    return not os.path.isabs(name) and '..' not in Path(name).parts


def _kept(table: DataTable, plan: Plan) -> list[int]:
    """Rows of the images that the copy holds. One whose path leaves its folder is not written: it may lie anywhere."""
    return [row for row, name in enumerate(table.names) if row not in plan.drop_images and _inside(name)]


def _write_coco(table: DataTable, plan: Plan, out: Path, link: bool) -> None:
    rows = {(place.file, place.number): row for row, place in enumerate(table.places)}
    boxes = {(place.file, place.number): row for row, place in enumerate(table.box_places)}
    kept = set(_kept(table, plan))
    for row in kept:
        _place(table.files[row], out / 'images' / table.names[row], link)
    for file, content in table.source.items():
        images = [entry for number, entry in enumerate(content['images']) if rows.get((str(file), number)) in kept]
        used = [entry.get('id') for entry in content.get('annotations') or () if isinstance(entry, dict)]
        fresh = max([value for value in used if isinstance(value, int)], default=0) + 1
        annotations = []
        for number, entry in enumerate(content.get('annotations') or ()):
            row = boxes.get((str(file), number))
            if row is None or row in plan.drop_boxes or table.box_image[row] not in kept:
                continue
            entry = copy.copy(entry)
            if row in plan.renumber:
                entry['id'], fresh = fresh, fresh + 1
            if row in plan.boxes:
                x1, y1, x2, y2 = plan.boxes[row].tolist()
                entry |= {'bbox': [x1, y1, x2 - x1, y2 - y1], 'area': (x2 - x1) * (y2 - y1)}
            annotations.append(entry)
        write_atomic(out / 'annotations' / file.name,
                     json.dumps({**content, 'images': images, 'annotations': annotations}))


def _write_voc(table: DataTable, plan: Plan, out: Path, link: bool) -> None:
    kept = [row for row in _kept(table, plan) if table.source.get(table.names[row]) is not None]
    boxes: dict[int, list[int]] = {}
    for box, image in enumerate(table.box_image.tolist()):
        boxes.setdefault(image, []).append(box)
    lists: dict[str, list[str]] = {}
    for row in kept:
        name = table.names[row]
        root = copy.deepcopy(table.source[name])
        for box, element in zip(boxes.get(row, ()), root.findall('object')):
            if box in plan.drop_boxes:
                root.remove(element)
            elif box in plan.boxes:
                for corner, value in zip(CORNERS, plan.boxes[box]):
                    element.find(f'bndbox/{corner}').text = f'{value:g}'
        write_atomic(out / 'Annotations' / f'{name}.xml', tostring(root, encoding='unicode') + '\n')
        suffix = os.path.splitext(table.files[row])[1]
        _place(table.files[row], out / 'JPEGImages' / f'{name}{suffix}', link)
        lists.setdefault(table.splits[row], []).append(name)
    for split, names in lists.items():
        if split:
            write_atomic(out / 'ImageSets' / 'Main' / f'{split}.txt', ''.join(f'{name}\n' for name in names))


def _write_csv(table: DataTable, plan: Plan, out: Path, link: bool) -> None:
    kept = _kept(table, plan)
    for row in kept:
        _place(table.files[row], out / table.names[row], link)
    _write_rows(table, {table.places[row].number for row in kept}, out)
    labels = table.source['file'].parent / 'label2id.json'
    if labels.is_file():
        write_atomic(out / labels.name, labels.read_bytes())


def _write_nih(table: DataTable, plan: Plan, out: Path, link: bool) -> None:
    kept = _kept(table, plan)
    names = {table.names[row] for row in kept}
    for row in kept:
        _place(table.files[row], out / 'images' / table.names[row], link)
    _write_rows(table, {table.places[row].number for row in kept}, out)
    folder = table.source['file'].parent
    splits = {table.names[row]: table.splits[row] for row in kept}
    for split, name in (('train_val', 'train_val_list.txt'), ('test', 'test_list.txt')):
        if (folder / name).is_file():
            lines = [line for line in read_text(folder / name).split() if line in names and splits[line] == split]
            write_atomic(out / name, ''.join(f'{line}\n' for line in lines))
    boxes = folder / 'BBox_List_2017.csv'
    if boxes.is_file():
        _write_box_list(table, plan, boxes, out, names)


def _write_box_list(table: DataTable, plan: Plan, file: Path, out: Path, names: set[str]) -> None:
    lines = {place.number: box for box, place in enumerate(table.box_places)}
    content = list(read_csv(read_text(file)))
    rows = [content[0]]
    for number, cells in enumerate(content[1:], 2):
        box = lines.get(number)
        if box is None or box in plan.drop_boxes or cells[0] not in names:
            continue
        if box in plan.boxes:
            x1, y1, x2, y2 = plan.boxes[box].tolist()
            cells[2:6] = [f'{value:g}' for value in (x1, y1, x2 - x1, y2 - y1)]
        rows.append(cells)
    write_atomic(out / file.name, csv_text(rows))


def _write_rows(table: DataTable, lines: set[int], out: Path) -> None:
    """The rows of the table that stand in ``lines``, as they are."""
    file = table.source['file']
    reader = read_csv(read_text(file))
    rows = [cells for cells in reader if reader.line_num == 1 or reader.line_num in lines]
    write_atomic(out / file.name.removesuffix('.gz'), csv_text(rows))


_WRITERS = {'coco': _write_coco, 'voc': _write_voc, 'csv': _write_csv, 'nih': _write_nih}


def summary(plan: Plan) -> dict[str, int]:
    """Number of changes by what was done."""
    return dict(Counter(change.what.split(' "')[0] for change in plan.changes))
