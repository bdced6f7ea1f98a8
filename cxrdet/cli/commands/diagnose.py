"""Say what is wrong with a trained model, and what to change.

Judges a trained detector or classifier: training against validation, class imbalance, weak classes, types of errors and
what fixing each would gain, confusions, sizes, calibration, confounding, the worst images; and names the setting that
addresses each finding.
"""
from cxrdet.cli import arguments
from cxrdet.core.errors import ConfigError
from cxrdet.core.progress import ProgressBar
from cxrdet.core.terminal import say, visible


def add_arguments(parser) -> None:
    arguments.add_config(parser, 'config file that the checkpoint was trained with, or the name of a recipe')
    arguments.add_checkpoint(parser, 'checkpoint file, or ensemble.pth of a bundle')
    parser.add_argument('--out', type=arguments.new_file('.json'), metavar='FILE.json',
                        help='also write the whole diagnosis to this file')
    arguments.add_judged(parser)
    parser.add_argument('--worst', type=arguments.whole(0), default=5, metavar='N',
                        help='worst images to show (default: 5)')
    parser.add_argument('--annotate-next', metavar='IMAGES',
                        help='folder of unlabelled images: also write a list of those to annotate next, most '
                             'uncertain first, weak classes counted more')
    parser.add_argument('--annotate-csv', type=arguments.new_file('.csv'), metavar='FILE.csv',
                        help='file of that list (default: annotate_next.csv)')
    parser.add_argument('--annotate-by', choices=['entropy', 'margin'],
                        help='measure of uncertainty (default: entropy)')
    arguments.add_cfg_options(parser)


def run(args) -> None:
    if args.annotate_next is None and (args.annotate_csv or args.annotate_by):
        raise ConfigError('--annotate-csv and --annotate-by are for --annotate-next IMAGES')
    from cxrdet.analysis.annotate_next import annotate_next
    from cxrdet.analysis.diagnose import diagnose
    from cxrdet.analysis.diagnose_text import diagnosis_text
    from cxrdet.inference.predict import find_images
    from cxrdet.preflight.config import load_config
    config = load_config(args.config, cfg_options=args.cfg_options, data_root=args.data_root)
    if args.annotate_next is not None:
        find_images(args.annotate_next)  # before the long part
    report = diagnose(config, args.checkpoint, split=args.split, train_images=args.train_images,
                      score_thr=args.score_thr, out=args.out, seed=args.seed, device=args.device,
                      workers=args.workers, worst=args.worst, trust=args.trust_checkpoint,
                      progress=ProgressBar())
    list_file = args.annotate_csv or 'annotate_next.csv'
    rows = [] if args.annotate_next is None else annotate_next(
        config, args.checkpoint, args.annotate_next, report, out=list_file, measure=args.annotate_by or 'entropy',
        device=args.device, trust=args.trust_checkpoint, progress=ProgressBar())
    say(diagnosis_text(report, worst=args.worst))
    if rows:
        say(f'\nAnnotate next ({list_file}):')
        for row in rows[:5]:
            why = f', most of it {row["class"]}' if row['class'] else ', nothing found'
            say(visible(f'  {row["rank"]}. {row["image"]}: {row["priority"]:.3f}{why}', one_line=True))
