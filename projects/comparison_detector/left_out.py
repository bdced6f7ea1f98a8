#!/usr/bin/env python
"""Prepare a training without one class of a Pascal VOC set: python left_out.py SET OUT --class NAME.

OUT/set: links, and a training list of the images without the class; OUT/references: reference images of the other
classes; OUT/new: of this class; OUT/windows: windows without a cell, for comparison.
"""
import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))


def main(argv: list[str] | None = None) -> int:
    from cxrdet.core.errors import CxrdetError
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('set', help='folder with Annotations/, JPEGImages/ and ImageSets/Main/')
    parser.add_argument('out')
    parser.add_argument('--class', dest='name', required=True, metavar='NAME', help='the class to leave out')
    parser.add_argument('--per-class', type=int, default=12, metavar='N', help='reference images (default: 12)')
    parser.add_argument('--seed', type=int, default=0, metavar='N', help='of the draw (default: 0)')
    args = parser.parse_args(argv)
    try:
        from projects.comparison_detector.comparison_detector.left_out import prepare_left_out
        told = prepare_left_out(args.set, args.out, args.name, per_class=args.per_class, seed=args.seed)
    except CxrdetError as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    print(', '.join(f'{name}: {number}' for name, number in told.items()))
    return 0


if __name__ == '__main__':
    sys.exit(main())
