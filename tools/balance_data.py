#!/usr/bin/env python
"""Balance the classes of a detection set: python tools/balance_data.py SET OUT [--target 1000]."""
import argparse
import sys


def parse_args(argv=None):
    parser = argparse.ArgumentParser(
        description='Bring rare classes of a COCO or VOC set up to a number of boxes, by augmented copies of their '
                    'images, and add background images. A new set is written, with provenance.jsonl; the old one is '
                    'only read.')
    parser.add_argument('path', help='folder of the set; it must be free of errors (tools/check_data.py)')
    parser.add_argument('out', help='folder of the new set')
    parser.add_argument('--target', type=int, default=1000, metavar='N', help='boxes of each class (default: 1000)')
    parser.add_argument('--targets', nargs='+', default=[], metavar='CLASS=N', help='other numbers for some classes')
    parser.add_argument('--split', default='train', help='the split to balance (default: train)')
    parser.add_argument('--backgrounds', metavar='DIR', help='folder of images that show none of the classes')
    parser.add_argument('--max-backgrounds', type=int, default=2000, metavar='N',
                        help='images without boxes at most (default: 2000)')
    parser.add_argument('--augmentation', default='cell', choices=['cell', 'mild'],
                        help='cell: mirrored, turned, coloured; mild: for chest films, never mirrored (default: cell)')
    parser.add_argument('--min-visibility', type=float, default=0.3, metavar='SHARE',
                        help='boxes with less of them left are dropped (default: 0.3)')
    parser.add_argument('--allow-outside', action='store_true',
                        help='take images too that the annotations name outside the set (by "../" or absolute paths)')
    parser.add_argument('--seed', type=int, default=0, help='the same seed, the same set (default: 0)')
    return parser.parse_args(argv)


def main(argv=None) -> int:
    args = parse_args(argv)
    from cxrdet.apis.balance import balance_data
    from cxrdet.core.errors import ConfigError, CxrdetError
    from cxrdet.core.progress import progress_bar
    from cxrdet.core.terminal import guard_output, say, say_error, visible
    guard_output()
    try:
        targets = {}
        for text in args.targets:
            name, _, number = text.rpartition('=')
            if not name or not number.isdecimal():
                raise ConfigError(f'--targets takes CLASS=N, got "{text}".')
            targets[name] = int(number)
        report = balance_data(args.path, args.out, target=args.target, targets=targets, split=args.split,
                              backgrounds=args.backgrounds, max_backgrounds=args.max_backgrounds,
                              preset=args.augmentation, min_visibility=args.min_visibility, seed=args.seed,
                              allow_outside=args.allow_outside, progress=progress_bar)
    except CxrdetError as error:
        say_error(error)
        return 2
    width = max(5, *map(len, report['before']))
    say(f'{"class":<{width}} {"before":>8} {"after":>8}')
    for name, before in report['before'].items():
        say(f'{visible(name, one_line=True):<{width}} {before:>8} {report["after"][name]:>8}')
    say(f'{report["copies"]} augmented copies, {report["backgrounds"]} background images')
    for name, number in report['short'].items():
        say(f'"{name}" still lacks {number} boxes: its images were repeated as often as is allowed')
    return 0


if __name__ == '__main__':
    sys.exit(main())
