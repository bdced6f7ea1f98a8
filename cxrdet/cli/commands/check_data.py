"""Check a data set, and mend it.

COCO, Pascal VOC, YOLO, CVAT, labelme, Label Studio, TFRecord files of the Comparison detector, NIH ChestX-ray14, a
classification CSV, a folder of images. The set itself is never changed. Exit code 0: no errors; 1: errors; 2: it cannot
be checked.
"""
from cxrdet.cli import arguments
from cxrdet.core.progress import ProgressBar
from cxrdet.core.terminal import say


def add_arguments(parser) -> None:
    parser.add_argument('path', help='folder of the set, or its annotation file')
    parser.add_argument('--format', default='auto', help='default: detected from the files',
                        choices=['auto', 'coco', 'voc', 'yolo', 'cvat', 'labelme', 'label-studio', 'nih', 'csv',
                                 'tfrecord', 'folder'])
    parser.add_argument('--images', metavar='DIR', help='folder of the images, if not in the usual place')
    parser.add_argument('--no-pixels', action='store_true', help='check the annotations only, open no image')
    arguments.add_workers(parser, low=1)
    parser.add_argument('--json', type=arguments.new_file('.json'), metavar='FILE.json',
                        help='write everything that was found to this file')
    parser.add_argument('--fix', type=arguments.new_folder, metavar='OUT',
                        help='write a mended copy to this folder, with a log (mended.jsonl); COCO where the set is no '
                             'COCO, VOC, NIH or CSV set')
    parser.add_argument('--link', action='store_true', help='with --fix: symbolic links to the images, not copies')
    parser.add_argument('--allow-outside', action='store_true',
                        help='also read images outside the set that the annotations name ("../" or absolute paths)')
    parser.add_argument('--examples', type=arguments.whole(0), default=3, metavar='N',
                        help='examples shown of each finding (default: 3)')
    parser.add_argument('--min-side', type=arguments.number('[0, 1e9]'), default=10, metavar='PX',
                        help='boxes with a shorter side count as tiny (default: 10)')
    parser.add_argument('--min-share', type=arguments.number('[0, 1]'), default=1e-4, metavar='SHARE',
                        help='so do boxes with a smaller share of the image (default: 0.0001)')


def run(args) -> int:
    from cxrdet.curation.check_data import check_data
    report = check_data(args.path, kind=args.format, images=args.images, pixels=not args.no_pixels,
                        workers=args.workers, fix=args.fix, link=args.link, out=args.json,
                        allow_outside=args.allow_outside, progress=ProgressBar(), min_side=args.min_side,
                        min_share=args.min_share)
    say(report.text(examples=args.examples))
    return int(report.failed)
