#!/usr/bin/env python
"""Look at training samples behind their augmentation: python tools/browse_data.py CONFIG --out-dir DIR."""
import argparse
import sys


def parse_args(argv=None):
    parser = argparse.ArgumentParser(
        description='Draw samples of a config\'s data set as its pipeline gives them, augmented and mixed: boxes of a '
                    'detector with a legend, images of a classifier with their labels. Writes <split>_00.png … with 16 '
                    'samples each.')
    parser.add_argument('config', help='config file')
    parser.add_argument('--out-dir', required=True, metavar='DIR', help='folder for the sheets; made if need be')
    parser.add_argument('--data-root', help='root folder of the data set')
    parser.add_argument('--split', default='train', choices=['train', 'val', 'test'],
                        help='whose pipeline and images (default: train)')
    parser.add_argument('--number', type=int, default=16, metavar='N', help='samples (default: 16)')
    parser.add_argument('--columns', type=int, default=4, metavar='N', help='pictures side by side (default: 4)')
    parser.add_argument('--seed', type=int, default=0, help='the same seed, the same sheets (default: 0)')
    parser.add_argument('--cfg-options', nargs='+', metavar='KEY=VALUE',
                        help='override settings of the config, e.g. train_dataloader.dataset.pipeline.0.prob=1.0')
    return parser.parse_args(argv)


def main(argv=None) -> int:
    args = parse_args(argv)
    from cxrdet.core.errors import CxrdetError, error_text
    from cxrdet.core.progress import ProgressBar
    from cxrdet.core.terminal import guard_output, say, say_error
    from cxrdet.curation.browse import browse
    from cxrdet.preflight.config import load_config
    guard_output()
    try:
        cfg = load_config(args.config, cfg_options=args.cfg_options, data_root=args.data_root)
        files = browse(cfg, args.out_dir, split=args.split, number=args.number, columns=args.columns, seed=args.seed,
                       progress=ProgressBar('samples'))
    except CxrdetError as error:
        say_error(error_text(error))
        return 2
    say(f'{args.number} samples: {", ".join(map(str, files))}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
