"""Write one HTML page on a trained model.

Judges a trained detector or classifier and writes one self-contained page: data, model, training curves, scores with
intervals, classes, curves, confusion matrix, kinds of errors, calibration, pictures of the worst images, advice, and
how to reproduce the page.
"""
import argparse
import shlex

from cxrdet.cli import arguments
from cxrdet.compat import shorten_start
from cxrdet.core.progress import ProgressBar
from cxrdet.core.terminal import say


def add_arguments(parser) -> None:
    arguments.add_config(parser, 'config file that the checkpoint was trained with, or the name of a recipe')
    arguments.add_checkpoint(parser)
    parser.add_argument('--out', required=True, type=arguments.new_file('.html', '.htm'), metavar='FILE.html',
                        help='the page')
    arguments.add_judged(parser)
    parser.add_argument('--history', metavar='PATH', help='work folder of the training, or its history.json (default: '
                                                          'beside the checkpoint, or in --work-dir)')
    parser.add_argument('--work-dir', metavar='DIR',
                        help='work folder of the training (default: work_dirs/<config name>)')
    parser.add_argument('--pictures', type=arguments.whole(0), default=60, metavar='N',
                        help='largest number of pictures in the gallery (default: 60)')
    parser.add_argument('--cam', action=argparse.BooleanOptionalAction, default=None,
                        help='classifiers: Grad-CAM overlays (default: where they can be drawn)')
    parser.add_argument('--samples', type=arguments.whole(1), default=200, metavar='N',
                        help='bootstrap draws for the intervals and bands (default: 200)')
    parser.add_argument('--curves', type=arguments.new_folder, metavar='DIR',
                        help='also write the curves as .png files into this folder')
    arguments.add_limit(parser, 'valid', 'validation and test images')
    arguments.add_cfg_options(parser)


def run(args) -> None:
    shorten_start()
    from cxrdet.analysis.report import report
    from cxrdet.preflight.config import load_config
    cfg = load_config(args.config, cfg_options=args.cfg_options, data_root=args.data_root, work_dir=args.work_dir,
                      valid_limit=args.valid_limit)
    path = report(cfg, args.checkpoint, out=args.out, split=args.split, train_images=args.train_images,
                  score_thr=args.score_thr, history=args.history, pictures=args.pictures, cam=args.cam,
                  samples=args.samples, curves=args.curves, command=shlex.join(args.command_line), seed=args.seed,
                  device=args.device, workers=args.workers, trust=args.trust_checkpoint,
                  progress=ProgressBar())
    say(f'{path}: {path.stat().st_size / 2**20:.1f} MB')
