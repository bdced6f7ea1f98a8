"""Draw loss, scores or learning rates of one or several training runs in one picture."""
from cxrdet.cli import arguments
from cxrdet.core.terminal import say


def add_arguments(parser) -> None:
    parser.add_argument('runs', nargs='+', metavar='RUN', help='work folder of a run, or its history.json')
    parser.add_argument('--out', required=True, type=arguments.new_file('.png', '.svg', '.pdf'), metavar='FILE',
                        help='picture: .png, .svg or .pdf')
    parser.add_argument('--keys', nargs='+', metavar='KEY',
                        help='one panel each, e.g. train/loss coco/bbox_mAP lr/all (default: losses and main scores)')


def run(args) -> None:
    from cxrdet.analysis.curves import plot_curves
    path = plot_curves(args.runs, args.out, keys=args.keys)
    say(f'{len(args.runs)} run{"s" if len(args.runs) > 1 else ""}: {path}')
