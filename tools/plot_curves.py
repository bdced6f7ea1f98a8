#!/usr/bin/env python
"""Draw and compare the curves of training runs: python tools/plot_curves.py RUN [RUN ...] --out curves.png."""
import argparse
import sys


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description='Draw loss, scores or learning rates of one or several training runs '
                                                 'in one picture.')
    parser.add_argument('runs', nargs='+', metavar='RUN', help='work folder of a run, or its history.json')
    parser.add_argument('--out', required=True, metavar='FILE', help='picture: .png, .svg or .pdf')
    parser.add_argument('--keys', nargs='+', metavar='KEY',
                        help='one panel each, e.g. train/loss coco/bbox_mAP lr/all (default: losses and main scores)')
    return parser.parse_args(argv)


def main(argv=None) -> int:
    args = parse_args(argv)
    from cxrdet.analysis.curves import plot_curves
    from cxrdet.core.errors import CxrdetError
    from cxrdet.core.terminal import guard_output, say, say_error
    guard_output()
    try:
        path = plot_curves(args.runs, args.out, keys=args.keys)
    except CxrdetError as error:
        say_error(error)
        return 2
    say(f'{len(args.runs)} run{"s" if len(args.runs) > 1 else ""}: {path}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
