#!/usr/bin/env python
"""Draw predictions beside the ground truth: python tools/compare.py CONFIG CHECKPOINT --out sheet.png."""
import argparse
import sys


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description='Draw predictions beside the ground truth of a test set.')
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('--out', required=True, metavar='FILE', help='the picture, .png or .jpg')
    parser.add_argument('--images', type=int, default=8, metavar='N', help='how many images (default: %(default)s)')
    parser.add_argument('--columns', type=int, default=1, metavar='N', help='pairs in a row (default: %(default)s)')
    parser.add_argument('--score-thr', type=float, default=0.5, help='lowest score shown (default: %(default)s)')
    parser.add_argument('--worst', action='store_true', help='the images with the most errors, not evenly spaced ones')
    parser.add_argument('--device', default='auto', help='auto, cpu, cuda ... (default: %(default)s)')
    parser.add_argument('--data-root', help='root folder of the data set')
    parser.add_argument('--trust-checkpoint', action='store_true',
                        help='read a checkpoint that needs code in it to be executed')
    parser.add_argument('--cfg-options', nargs='+', metavar='KEY=VALUE', help='override settings of the config')
    return parser.parse_args(argv)


def main(argv=None) -> int:
    args = parse_args(argv)
    from cxrdet.analysis.compare import compare
    from cxrdet.core.errors import CxrdetError, error_text
    from cxrdet.core.terminal import guard_output, say_error
    from cxrdet.preflight.config import load_config
    guard_output()
    try:
        cfg = load_config(args.config, cfg_options=args.cfg_options, data_root=args.data_root)
        compare(cfg, args.checkpoint, out=args.out, images=args.images, columns=args.columns, score_thr=args.score_thr,
                worst=args.worst, device=args.device, trust=args.trust_checkpoint)
    except CxrdetError as error:
        say_error(error_text(error))
        return 2
    return 0


if __name__ == '__main__':
    sys.exit(main())
