#!/usr/bin/env python
"""Check a data set, and mend it: python tools/check_data.py PATH [--fix OUT]. Exit code 1: it has errors."""
import argparse
import sys


def parse_args(argv=None):
    parser = argparse.ArgumentParser(
        description='Check a data set: COCO, Pascal VOC, YOLO, CVAT, labelme, Label Studio, TFRecord files of the '
                    'Comparison detector, NIH ChestX-ray14, a classification CSV, a folder of images. '
                    'The set itself is never changed. Exit code 0: no errors; 1: errors; 2: it cannot be checked.')
    parser.add_argument('path', help='folder of the set, or its annotation file')
    parser.add_argument('--format', default='auto', help='default: by what lies there',
                        choices=['auto', 'coco', 'voc', 'yolo', 'cvat', 'labelme', 'label-studio', 'nih', 'csv',
                                 'tfrecord', 'folder'])
    parser.add_argument('--images', metavar='DIR', help='folder of the images, where it is not the usual one')
    parser.add_argument('--no-pixels', action='store_true', help='annotations only: no image file is looked at')
    parser.add_argument('--workers', type=int, default=2, metavar='N', help='processes that open images (default: 2)')
    parser.add_argument('--json', metavar='FILE', help='write everything that was found to this file')
    parser.add_argument('--fix', metavar='OUT', help='write a mended copy to this folder, with a log '
                        '(mended.jsonl); COCO where the set is no COCO, VOC, NIH or CSV set')
    parser.add_argument('--link', action='store_true', help='with --fix: symbolic links to the images, not copies')
    parser.add_argument('--allow-outside', action='store_true',
                        help='read images too that the annotations name outside the set (by "../" or absolute paths)')
    parser.add_argument('--examples', type=int, default=3, metavar='N', help='shown of each finding (default: 3)')
    parser.add_argument('--min-side', type=float, default=10, metavar='PX',
                        help='boxes with a shorter side are tiny (default: 10)')
    parser.add_argument('--min-share', type=float, default=1e-4, metavar='SHARE',
                        help='so are boxes with a smaller share of the image (default: 0.0001)')
    return parser.parse_args(argv)


def main(argv=None) -> int:
    args = parse_args(argv)
    from cxrdet.core.errors import CxrdetError
    from cxrdet.core.progress import ProgressBar
    from cxrdet.core.terminal import guard_output, say, say_error
    from cxrdet.curation.check_data import check_data
    guard_output()
    try:
        report = check_data(args.path, kind=args.format, images=args.images, pixels=not args.no_pixels,
                            workers=args.workers, fix=args.fix, link=args.link, out=args.json,
                            allow_outside=args.allow_outside, progress=ProgressBar(), min_side=args.min_side,
                            min_share=args.min_share)
    except CxrdetError as error:
        say_error(error)
        return 2
    say(report.text(examples=args.examples))
    return int(report.failed)


if __name__ == '__main__':
    sys.exit(main())
