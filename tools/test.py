#!/usr/bin/env python
"""Measure a trained model on a config's test set: python tools/test.py CONFIG CHECKPOINT [options]."""
import argparse
import os
import sys


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description='Measure a trained model on the test set of a config.')
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('--work-dir', help='folder for logs (default: work_dirs/<config name>)')
    parser.add_argument('--out', metavar='FILE.pkl', help='also write the raw predictions')
    parser.add_argument('--trust-checkpoint', action='store_true',
                        help='read a checkpoint that needs code in it to be executed')
    parser.add_argument('--data-root', help='root folder of the data set')
    parser.add_argument('--valid-limit', type=int, metavar='N', help='use the first N samples only')
    parser.add_argument('--cfg-options', nargs='+', metavar='KEY=VALUE',
                        help='override settings of the config, e.g. test_dataloader.batch_size=1')
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none', help='job launcher')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def main(argv=None) -> int:
    args = parse_args(argv)
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    from cxrdet.apis import load_config, test
    from cxrdet.core.errors import CxrdetError, error_text
    try:
        cfg = load_config(args.config, cfg_options=args.cfg_options, data_root=args.data_root, work_dir=args.work_dir,
                          valid_limit=args.valid_limit)
        test(cfg, args.checkpoint, out=args.out, launcher=args.launcher, trust=args.trust_checkpoint)
    except CxrdetError as error:
        print(f'error: {error_text(error)}', file=sys.stderr)
        return 2
    return 0


if __name__ == '__main__':
    sys.exit(main())
