#!/usr/bin/env python
"""Train a detector or classifier: python tools/train.py CONFIG [options]."""
import argparse
import os
import sys


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description='Train a detector or classifier from a config.')
    parser.add_argument('config', help='config file')
    parser.add_argument('--work-dir', help='folder for logs and checkpoints (default: work_dirs/<config name>)')
    parser.add_argument('--run-name', metavar='NAME',
                        help='a folder for this run in the work folder; auto: named by config and time')
    parser.add_argument('--resume', nargs='?', const=True, default=False, metavar='CHECKPOINT',
                        help='go on from the newest whole checkpoint in the work folder, or from the given one')
    parser.add_argument('--new-schedule', action='store_true',
                        help='with --resume: learning rates of the config given now, not of the checkpoint')
    parser.add_argument('--amp', action='store_true', help='mixed precision where the hardware computes it')
    parser.add_argument('--auto-scale-lr', action='store_true', help='scale the learning rate with the batch size')
    parser.add_argument('--seed', type=int, help='seed of all random generators (default: the one in the config)')
    parser.add_argument('--deterministic', action='store_true', help='deterministic kernels')
    parser.add_argument('--from-scratch', action='store_true', help='no pretrained weights, nothing frozen')
    parser.add_argument('--trust-checkpoint', action='store_true',
                        help='read checkpoints that need code in them to be executed')
    parser.add_argument('--train-limit', type=int, metavar='N', help='use N training samples only')
    add_common(parser)
    return parser.parse_args(argv)


def add_common(parser):
    parser.add_argument('--data-root', help='root folder of the data set')
    parser.add_argument('--valid-limit', type=int, metavar='N', help='use N validation samples only')
    parser.add_argument('--cfg-options', nargs='+', metavar='KEY=VALUE',
                        help='override settings of the config, e.g. optim_wrapper.optimizer.lr=0.01')
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none', help='job launcher')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)


def main(argv=None) -> int:
    args = parse_args(argv)
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    from cxrdet.apis.train import train
    from cxrdet.core.errors import CxrdetError, error_text
    from cxrdet.core.terminal import guard_output, say_error
    from cxrdet.engine.run_name import run_folder
    from cxrdet.preflight.config import load_config
    guard_output()
    try:
        cfg = load_config(args.config, cfg_options=args.cfg_options, data_root=args.data_root, work_dir=args.work_dir,
                          train_limit=args.train_limit, valid_limit=args.valid_limit)
        if args.run_name is not None:
            cfg.work_dir = str(run_folder(cfg.work_dir, args.config, args.run_name, resume=args.resume,
                                          launcher=args.launcher))
        train(cfg, resume=args.resume, amp=args.amp, auto_scale_lr=args.auto_scale_lr, seed=args.seed,
              deterministic=args.deterministic, from_scratch=args.from_scratch, launcher=args.launcher,
              trust=args.trust_checkpoint, new_schedule=args.new_schedule)
    except CxrdetError as error:
        say_error(error_text(error))
        return 2
    return 0


if __name__ == '__main__':
    sys.exit(main())
