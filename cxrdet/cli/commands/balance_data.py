"""Balance the classes of a detection set.

Brings rare classes of a COCO or VOC set up to a number of boxes by augmented copies of their objects, limits frequent
classes, and adds images without objects. Writes a new set with provenance.jsonl and balance.json; the old one is only
read. Missed targets are reported, and do not change the exit code.
"""
from cxrdet.cli import arguments
from cxrdet.core.errors import ConfigError
from cxrdet.core.progress import ProgressBar
from cxrdet.core.terminal import say


def add_arguments(parser) -> None:
    share, count = arguments.number('[0, 1]'), arguments.whole(0)
    parser.add_argument('path', help='folder of the set; it must be free of errors (cxrdet check-data)')
    parser.add_argument('out', type=arguments.new_folder, help='folder of the new set')
    parser.add_argument('--target', type=count, default=1000, metavar='N',
                        help='boxes wanted of each class (default: 1000)')
    parser.add_argument('--targets', nargs='+', default=[], metavar='CLASS=N',
                        help='targets of single classes; 0 leaves a class as it is')
    parser.add_argument('--most', type=arguments.whole(1), metavar='N',
                        help='largest number of boxes of a class: images of frequent classes are left out until '
                             'this holds (default: no limit)')
    parser.add_argument('--split', default='train', help='the split to balance (default: train)')
    parser.add_argument('--hard-negatives', nargs=2, metavar=('CONFIG', 'CHECKPOINT'),
                        help='add windows around the false alarms of this detector, as images without objects')
    parser.add_argument('--backgrounds', metavar='DIR',
                        help='add images that show none of the classes; images with annotated boxes, or in which the '
                             'detector of --hard-negatives finds something, are refused and listed')
    parser.add_argument('--max-backgrounds', type=count, default=2000, metavar='N',
                        help='largest number of added images without boxes, hard negatives first (default: 2000)')
    parser.add_argument('--alarm-score', type=share, default=0.3, metavar='S',
                        help='lowest score of a box that counts as a false alarm (default: 0.3)')
    parser.add_argument('--paste', type=count, default=1, metavar='N',
                        help='largest number of rare objects pasted into a copy (default: 1)')
    parser.add_argument('--augmentation', default='cell', choices=['cell', 'mild'],
                        help='cell: flips, rotation, colour; mild: for chest films, without flips (default: cell)')
    parser.add_argument('--min-visibility', type=share, default=0.3, metavar='SHARE',
                        help='drop boxes of which a smaller share is left, and paint over the rest (default: 0.3)')
    parser.add_argument('--allow-outside', action='store_true',
                        help='also take images outside the set that the annotations name ("../" or absolute paths)')
    arguments.add_device(parser)
    arguments.add_trust(parser)
    arguments.add_seed(parser, 'seed; the same seed gives the same set (default: 0)')


def run(args) -> None:
    targets = dict(map(_target, args.targets))
    from cxrdet.curation.backgrounds import Backgrounds
    from cxrdet.curation.balance import balance_data, balance_text
    from cxrdet.inference.predict import detector
    found = args.hard_negatives and detector(*args.hard_negatives, device=args.device, trust=args.trust_checkpoint,
                                             progress=ProgressBar())
    backgrounds = Backgrounds(args.backgrounds, found, most=args.max_backgrounds, score_thr=args.alarm_score)
    report = balance_data(args.path, args.out, target=args.target, targets=targets, most=args.most,
                          split=args.split, backgrounds=backgrounds, preset=args.augmentation,
                          min_visibility=args.min_visibility, paste=args.paste, seed=args.seed,
                          allow_outside=args.allow_outside, progress=ProgressBar())
    say(balance_text(report))


def _target(text: str) -> tuple[str, int]:
    name, _, number = text.rpartition('=')
    if not name or not number.isdecimal() or len(number) > 9:
        raise ConfigError(f'--targets takes CLASS=N, got "{text}".')
    return name, int(number)
