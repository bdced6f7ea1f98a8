#!/usr/bin/env python
"""Say what is wrong with a trained model, and what to turn: python tools/diagnose.py CONFIG CHECKPOINT."""
import argparse
import sys


def parse_args(argv=None):
    parser = argparse.ArgumentParser(
        description='Judge a trained detector or classifier: training against validation, class imbalance, weak '
                    'classes, types of errors and what mending each would give, confusions, sizes, calibration, '
                    'confounding, the worst images; and which switch addresses what was found.')
    parser.add_argument('config', help='config file that the checkpoint was trained with')
    parser.add_argument('checkpoint', help='checkpoint file, or ensemble.pth of a bundle')
    parser.add_argument('--out', metavar='FILE.json', help='also write the whole diagnosis to this file')
    parser.add_argument('--split', choices=['val', 'test'], default='val', help='images to judge on (default: val)')
    parser.add_argument('--train-images', type=int, default=200, metavar='N',
                        help='training images to compare with, drawn at random; 0: none (default: 200)')
    parser.add_argument('--seed', type=int, default=0, help='of that draw (default: 0)')
    parser.add_argument('--score-thr', type=float, metavar='S',
                        help='detectors: lowest score of a detection that is counted (default: that of the best F1)')
    parser.add_argument('--worst', type=int, default=5, metavar='N', help='worst images to show (default: 5)')
    parser.add_argument('--annotate-next', metavar='IMAGES',
                        help='folder of unlabelled images: also write a list of which to annotate next, those first '
                             'that the model is unsure of, the more so in weak classes')
    parser.add_argument('--annotate-csv', metavar='FILE.csv',
                        help='the file of that list (default: annotate_next.csv)')
    parser.add_argument('--annotate-by', choices=['entropy', 'margin'],
                        help='what the model is unsure by (default: entropy)')
    parser.add_argument('--device', default='auto', help='auto (a GPU if there is one), cpu, cuda, cuda:1 …')
    parser.add_argument('--workers', type=int, default=2, metavar='N', help='processes that read images (default: 2)')
    parser.add_argument('--data-root', help='root folder of the data set')
    parser.add_argument('--trust-checkpoint', action='store_true',
                        help='read a checkpoint that needs code in it to be executed')
    parser.add_argument('--cfg-options', nargs='+', metavar='KEY=VALUE', help='override settings of the config')
    args = parser.parse_args(argv)
    if args.annotate_next is None and (args.annotate_csv or args.annotate_by):
        parser.error('--annotate-csv and --annotate-by are for --annotate-next IMAGES')
    args.annotate_csv = args.annotate_csv or 'annotate_next.csv'
    args.annotate_by = args.annotate_by or 'entropy'
    return args


def main(argv=None) -> int:
    args = parse_args(argv)
    from cxrdet.analysis.annotate_next import annotate_next
    from cxrdet.analysis.diagnose import diagnose
    from cxrdet.analysis.diagnose_text import diagnosis_text
    from cxrdet.core.errors import CxrdetError, error_text
    from cxrdet.core.progress import ProgressBar
    from cxrdet.core.terminal import guard_output, say, say_error, visible
    from cxrdet.inference.predict import find_images
    from cxrdet.preflight.config import load_config
    guard_output()
    try:
        config = load_config(args.config, cfg_options=args.cfg_options, data_root=args.data_root)
        if args.annotate_next is not None:
            find_images(args.annotate_next)  # before the long part
        report = diagnose(config, args.checkpoint, split=args.split, train_images=args.train_images,
                          score_thr=args.score_thr, out=args.out, seed=args.seed, device=args.device,
                          workers=args.workers, worst=args.worst, trust=args.trust_checkpoint,
                          progress=ProgressBar())
        rows = [] if args.annotate_next is None else annotate_next(
            config, args.checkpoint, args.annotate_next, report, out=args.annotate_csv, measure=args.annotate_by,
            device=args.device, trust=args.trust_checkpoint, progress=ProgressBar())
    except CxrdetError as error:
        say_error(error_text(error))
        return 2
    say(diagnosis_text(report, worst=args.worst))
    if rows:
        say(f'\nAnnotate next ({args.annotate_csv}):')
        for row in rows[:5]:
            why = f', most of it {row["class"]}' if row['class'] else ', nothing found'
            say(visible(f'  {row["rank"]}. {row["image"]}: {row["priority"]:.3f}{why}', one_line=True))
    return 0


if __name__ == '__main__':
    sys.exit(main())
