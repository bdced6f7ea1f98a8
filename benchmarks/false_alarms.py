#!/usr/bin/env python
"""How many false alarms of a detector are objects that nobody labelled, counted by eye.

    python benchmarks/false_alarms.py list CONFIG CHECKPOINT --data-root DIR --table bccd_lite --pictures DIR
    python benchmarks/false_alarms.py count --table bccd_lite

``list`` draws 20 images of the validation split by a seed, writes every detection that matches no label at IoU 0.5 into
benchmarks/tables/NAME_false_alarms.csv, and pictures in which each has the number of its line. Somebody looks at the
pictures and writes a verdict into each line. ``count`` says what share each verdict has; the model zoo shows the same
below the table. A verdict that is there already is kept where ``list`` finds the same box again.
"""
import argparse
import csv
import sys
from collections import Counter
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
TABLES = ROOT / 'benchmarks' / 'tables'
VERDICTS = {
    'unlabelled': 'an object of that class that has no label', 'labelled': 'a labelled object: second or misplaced box',
    'other class': 'a labelled object of another class', 'nothing': 'no object of that class'}
FIELDS = ('image', 'class', 'score', 'x1', 'y1', 'x2', 'y2', 'best IoU', 'verdict')


def list_of(table: str) -> Path:
    return TABLES / f'{table}_false_alarms.csv'


def read_list(path: Path) -> list[dict]:
    """The lines of a list.

    Raises:
        ValueError: With file and line, for other columns or an unknown verdict.
    """
    with path.open(newline='') as file:
        reader = csv.DictReader(file)
        if tuple(reader.fieldnames or ()) != FIELDS:
            raise ValueError(f'{path}, line 1: expected the columns {", ".join(FIELDS)}, got {reader.fieldnames}')
        lines = list(reader)
    for number, line in enumerate(lines, 2):
        if line['verdict'] not in ('', *VERDICTS):
            raise ValueError(f'{path}, line {number}: expected one of {", ".join(VERDICTS)}, or nothing, as verdict; '
                             f'got {line["verdict"]!r}')
    return lines


def count(path: Path) -> str:
    """A sentence: false alarms, and the share of each verdict.

    Raises:
        ValueError: For a list in which verdicts are missing, or that is wrong otherwise.
    """
    lines = read_list(path)
    found = Counter(line['verdict'] for line in lines)
    if not lines or found['']:
        raise ValueError(f'{path}: expected a verdict in every line, {found[""]} of {len(lines)} have none')
    shares = ', '.join(f'{found[name]} ({found[name] / len(lines):.0%}) {text}' for name, text in VERDICTS.items()
                       if found[name])
    return f'{len(lines)} false alarms looked at one by one: {shares}'


def write_list(args) -> None:
    import cv2

    from cxrdet.core.files import write_atomic
    from cxrdet.inference.split_predictions import collect, load_model
    from cxrdet.preflight.config import load_config
    from cxrdet.visualization.boxes import LEGEND, class_look, draw_boxes, resized
    loaded = load_model(load_config(args.config, data_root=args.data_root), args.checkpoint)
    judged = collect(loaded, 'val', images=args.images, seed=args.seed)
    pairing, path = judged.pairing, list_of(args.table)
    best = np.zeros(len(pairing.score))
    np.maximum.at(best, pairing.row, pairing.overlap)
    false = (pairing.taken() < 0) & (pairing.score >= args.score_thr)
    known = {_key(line): line['verdict'] for line in read_list(path)} if path.is_file() else {}
    lines: list[dict] = []
    args.pictures.mkdir(parents=True, exist_ok=True)
    for number, record in enumerate(judged.records):
        chosen = np.flatnonzero(false & (pairing.image == number))
        names = [str(len(lines) + i + 2) for i in range(len(chosen))]  # the line of the file
        lines += [_line(record['image'], judged.classes, pairing, index, best[index]) for index in chosen]
        image, scale = resized(judged.read(record['image']), 1280)
        picture = draw_boxes(image, record['gt_boxes'] * scale, record['gt_labels'], names=False,
                             looks=[LEGEND['ground truth']] * len(record['gt_boxes']))
        picture = draw_boxes(picture, pairing.boxes[chosen] * scale, range(len(chosen)), classes=[
            f'{name} {judged.classes[label]}' for name, label in zip(names, pairing.label[chosen])],
            looks=[class_look(label) for label in pairing.label[chosen]])
        write_atomic(args.pictures / f'{Path(record["image"]).stem}.png', cv2.imencode('.png', picture)[1].tobytes())
    for line in lines:
        line['verdict'] = known.get(_key(line), '')
    with path.open('w', newline='') as file:
        writer = csv.DictWriter(file, FIELDS, lineterminator='\n')
        writer.writeheader()
        writer.writerows(lines)
    print(f'written: {path}, {len(lines)} false alarms of {len(judged.records)} images; pictures in {args.pictures}')


def _key(line: dict) -> tuple:
    return tuple(str(line[name]) for name in ('image', 'class', 'x1', 'y1', 'x2', 'y2'))


def _line(image: str, classes, pairing, index: int, overlap: float) -> dict:
    box = (str(round(value)) for value in pairing.boxes[index])
    return dict(zip(FIELDS, (Path(image).name, classes[pairing.label[index]], f'{pairing.score[index]:.2f}', *box,
                             f'{overlap:.2f}', '')))


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    jobs = parser.add_subparsers(dest='job', required=True)
    listing = jobs.add_parser('list', help='predict, write list and pictures')
    listing.add_argument('config')
    listing.add_argument('checkpoint')
    listing.add_argument('--data-root', required=True)
    listing.add_argument('--pictures', required=True, type=Path)
    listing.add_argument('--images', type=int, default=20)
    listing.add_argument('--seed', type=int, default=0)
    listing.add_argument('--score-thr', type=float, default=0.5)
    for job in (listing, jobs.add_parser('count', help='say the share of each verdict')):
        job.add_argument('--table', required=True, help='name of a table of the model zoo')
    args = parser.parse_args(argv)
    try:
        print(count(list_of(args.table))) if args.job == 'count' else write_list(args)
    except ValueError as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    return 0


if __name__ == '__main__':
    sys.exit(main())
