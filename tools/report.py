#!/usr/bin/env python
"""Write one HTML page on a trained model: python tools/report.py CONFIG CHECKPOINT --out report.html."""
import argparse
import shlex
import sys


def parse_args(argv=None):
    parser = argparse.ArgumentParser(
        description='Judge a trained detector or classifier and write one self-contained page: data, model, training '
                    'curves, scores with intervals, classes, curves, confusion matrix, kinds of errors, calibration, '
                    'pictures of the worst images, advice, and how to make the page again.')
    parser.add_argument('config', help='config file that the checkpoint was trained with')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('--out', required=True, metavar='FILE.html', help='the page')
    parser.add_argument('--split', choices=['val', 'test'], default='val', help='images to judge on (default: val)')
    parser.add_argument('--history', metavar='PATH', help='work folder of the training, or its history.json (default: '
                                                          'beside the checkpoint, or in --work-dir)')
    parser.add_argument('--work-dir', help='work folder of the training (default: work_dirs/<config name>)')
    parser.add_argument('--train-images', type=int, default=200, metavar='N',
                        help='training images to compare with, drawn at random; 0: none (default: 200)')
    parser.add_argument('--score-thr', type=float, metavar='S',
                        help='detectors: lowest score of a box that counts (default: that of the best F1)')
    parser.add_argument('--pictures', type=int, default=60, metavar='N', help='at most so many (default: 60)')
    parser.add_argument('--cam', action=argparse.BooleanOptionalAction, default=None,
                        help='classifiers: Grad-CAM overlays (default: where they can be drawn)')
    parser.add_argument('--samples', type=int, default=200, metavar='N',
                        help='bootstrap draws of the intervals and bands (default: 200)')
    parser.add_argument('--curves', metavar='DIR', help='also write the curves as .png files into this folder')
    parser.add_argument('--seed', type=int, default=0, help='of all draws (default: 0)')
    parser.add_argument('--device', default='auto', help='auto (a GPU if there is one), cpu, cuda, cuda:1 …')
    parser.add_argument('--workers', type=int, default=2, metavar='N', help='processes that read images (default: 2)')
    parser.add_argument('--data-root', help='root folder of the data set')
    parser.add_argument('--valid-limit', type=int, metavar='N', help='use N validation and test images only')
    parser.add_argument('--trust-checkpoint', action='store_true',
                        help='read a checkpoint that needs code in it to be executed')
    parser.add_argument('--cfg-options', nargs='+', metavar='KEY=VALUE', help='override settings of the config')
    return parser.parse_args(argv)


def main(argv=None) -> int:
    args = parse_args(argv)
    from cxrdet.analysis.report import report
    from cxrdet.core.errors import CxrdetError, error_text
    from cxrdet.core.progress import ProgressBar
    from cxrdet.core.terminal import guard_output, say, say_error
    from cxrdet.preflight.config import load_config
    guard_output()
    command = shlex.join(['python', 'tools/report.py', *(sys.argv[1:] if argv is None else argv)])
    try:
        cfg = load_config(args.config, cfg_options=args.cfg_options, data_root=args.data_root, work_dir=args.work_dir,
                          valid_limit=args.valid_limit)
        path = report(cfg, args.checkpoint, out=args.out, split=args.split, train_images=args.train_images,
                      score_thr=args.score_thr, history=args.history, pictures=args.pictures, cam=args.cam,
                      samples=args.samples, curves=args.curves, command=command, seed=args.seed, device=args.device,
                      workers=args.workers, trust=args.trust_checkpoint, progress=ProgressBar())
    except CxrdetError as error:
        say_error(error_text(error))
        return 2
    say(f'{path}: {path.stat().st_size / 2**20:.1f} MB')
    return 0


if __name__ == '__main__':
    sys.exit(main())
