#!/usr/bin/env python
"""Balance the classes of a detection set: python tools/balance_data.py SET OUT [--target 1000]."""
import argparse
import sys


def parse_args(argv=None):
    parser = argparse.ArgumentParser(
        description='Bring rare classes of a COCO or VOC set up to a number of boxes, by augmented copies of their '
                    'objects, hold frequent ones below a bound, and add images without objects. A new set is written, '
                    'with provenance.jsonl and balance.json; the old one is only read. A target that was missed is '
                    'told; the exit code is 0 all the same.')
    parser.add_argument('path', help='folder of the set; it must be free of errors (tools/check_data.py)')
    parser.add_argument('out', help='folder of the new set')
    parser.add_argument('--target', type=int, default=1000, metavar='N', help='boxes of each class (default: 1000)')
    parser.add_argument('--targets', nargs='+', default=[], metavar='CLASS=N',
                        help='other numbers for some classes; 0: as it is')
    parser.add_argument('--most', type=int, metavar='N',
                        help='boxes of a class at most: images of frequent classes are left out until that holds '
                             '(default: none is)')
    parser.add_argument('--split', default='train', help='the split to balance (default: train)')
    parser.add_argument('--hard-negatives', nargs=2, metavar=('CONFIG', 'CHECKPOINT'),
                        help='add windows around the false alarms of this detector, as images without objects')
    parser.add_argument('--backgrounds', metavar='DIR',
                        help='add images that show none of the classes; those with annotated boxes, or in which the '
                             'detector of --hard-negatives finds something, are refused and told')
    parser.add_argument('--max-backgrounds', type=int, default=2000, metavar='N',
                        help='images without boxes at most, hard negatives first (default: 2000)')
    parser.add_argument('--alarm-score', type=float, default=0.3, metavar='S',
                        help='lowest score of a false alarm (default: 0.3)')
    parser.add_argument('--paste', type=int, default=1, metavar='N',
                        help='objects of rare classes pasted into a copy at most (default: 1)')
    parser.add_argument('--augmentation', default='cell', choices=['cell', 'mild'],
                        help='cell: mirrored, turned, coloured; mild: for chest films, never mirrored (default: cell)')
    parser.add_argument('--min-visibility', type=float, default=0.3, metavar='SHARE',
                        help='boxes with less of them left are dropped, and what is left painted over (default: 0.3)')
    parser.add_argument('--allow-outside', action='store_true',
                        help='take images too that the annotations name outside the set (by "../" or absolute paths)')
    parser.add_argument('--device', default='auto', help='of the detector: auto, cpu, cuda, cuda:1 …')
    parser.add_argument('--trust-checkpoint', action='store_true',
                        help='read a checkpoint that needs code in it to be executed')
    parser.add_argument('--seed', type=int, default=0, help='the same seed, the same set (default: 0)')
    return parser.parse_args(argv)


def main(argv=None) -> int:
    args = parse_args(argv)
    from cxrdet.core.errors import ConfigError, CxrdetError, error_text
    from cxrdet.core.progress import ProgressBar
    from cxrdet.core.terminal import guard_output, say, say_error
    from cxrdet.curation.backgrounds import Backgrounds
    from cxrdet.curation.balance import balance_data, balance_text
    from cxrdet.inference.predict import detector
    guard_output()
    try:
        targets = {}
        for text in args.targets:
            name, _, number = text.rpartition('=')
            if not name or not number.isdecimal():
                raise ConfigError(f'--targets takes CLASS=N, got "{text}".')
            targets[name] = int(number)
        found = args.hard_negatives and detector(*args.hard_negatives, device=args.device, trust=args.trust_checkpoint,
                                                 progress=ProgressBar())
        backgrounds = Backgrounds(args.backgrounds, found, most=args.max_backgrounds, score_thr=args.alarm_score)
        report = balance_data(args.path, args.out, target=args.target, targets=targets, most=args.most,
                              split=args.split, backgrounds=backgrounds, preset=args.augmentation,
                              min_visibility=args.min_visibility, paste=args.paste, seed=args.seed,
                              allow_outside=args.allow_outside, progress=ProgressBar())
    except CxrdetError as error:
        say_error(error_text(error))
        return 2
    say(balance_text(report))
    return 0


if __name__ == '__main__':
    sys.exit(main())
