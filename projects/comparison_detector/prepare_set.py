#!/usr/bin/env python
"""Prepare a training on a part of a Pascal VOC set: python prepare_set.py SET OUT --images 20, or --without CLASS.

OUT/set: links, and a training list of the images drawn, or of those that do not show the class; OUT/references:
reference images of the classes in them. With --without, OUT/new: reference images of the class left out; OUT/windows:
windows without a cell, for comparison.
"""
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))


def main(argv: list[str] | None = None) -> int:
    from cxrdet.cli.arguments import Parser, add_seed, new_folder, whole
    from cxrdet.cli.handler import guarded
    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument('set', help='folder with Annotations/, JPEGImages/ and ImageSets/Main/')
    parser.add_argument('out', type=new_folder)
    part = parser.add_mutually_exclusive_group(required=True)
    part.add_argument('--images', type=whole(1), metavar='N', help='training images; fewer lie within more')
    part.add_argument('--without', metavar='CLASS', help='the training images that do not show a class')
    parser.add_argument('--per-class', type=whole(1), default=12, metavar='N', help='reference images (default: 12)')
    add_seed(parser, 'of the draw (default: 0)')
    return guarded('prepare_set', parser.parse_args(argv), run)


def run(args) -> None:
    from cxrdet.core.terminal import say
    from projects.comparison_detector.comparison_detector.training_sets import prepare_left_out, prepare_subset
    left_out = args.without is not None
    prepare, what = (prepare_left_out, args.without) if left_out else (prepare_subset, args.images)
    told = prepare(args.set, args.out, what, per_class=args.per_class, seed=args.seed)
    say(', '.join(f'{name}: {number}' for name, number in told.items()))


if __name__ == '__main__':
    sys.exit(main())
