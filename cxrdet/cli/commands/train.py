"""Train a detector or classifier from a config."""
from cxrdet.cli import arguments
from cxrdet.compat import shorten_start


def add_arguments(parser) -> None:
    arguments.add_config(parser)
    arguments.add_work_dir(parser)
    parser.add_argument('--run-name', metavar='NAME',
                        help='put the run into this folder in the work folder; auto: named by config and time')
    parser.add_argument('--resume', nargs='?', const=True, default=False, metavar='CHECKPOINT',
                        help='continue from the newest complete checkpoint in the work folder, or from this one')
    parser.add_argument('--new-schedule', action='store_true',
                        help='with --resume: learning rates of the config instead of the checkpoint')
    parser.add_argument('--amp', action='store_true', help='mixed precision where the hardware computes it')
    parser.add_argument('--auto-scale-lr', action='store_true', help='scale the learning rate with the batch size')
    arguments.add_seed(parser, 'seed of all random generators (default: the one in the config)', default=None)
    parser.add_argument('--deterministic', action='store_true', help='use deterministic kernels only')
    parser.add_argument('--from-scratch', action='store_true', help='no pretrained weights, nothing frozen')
    arguments.add_trust(parser)
    arguments.add_limit(parser, 'train', 'training samples')
    arguments.add_data_root(parser)
    arguments.add_limit(parser, 'valid', 'validation samples')
    arguments.add_cfg_options(parser, 'optim_wrapper.optimizer.lr=0.01')
    arguments.add_launcher(parser)


def run(args) -> None:
    shorten_start()
    from cxrdet.apis.train import train
    from cxrdet.engine.run_name import run_folder
    from cxrdet.preflight.config import load_config
    cfg = load_config(args.config, cfg_options=args.cfg_options, data_root=args.data_root, work_dir=args.work_dir,
                      train_limit=args.train_limit, valid_limit=args.valid_limit)
    arguments.apply_launcher(args, cfg)
    if args.run_name is not None:
        cfg.work_dir = str(run_folder(cfg.work_dir, args.config, args.run_name, resume=args.resume,
                                      launcher=args.launcher))
    train(cfg, resume=args.resume, amp=args.amp, auto_scale_lr=args.auto_scale_lr, seed=args.seed,
          deterministic=args.deterministic, from_scratch=args.from_scratch, launcher=args.launcher,
          trust=args.trust_checkpoint, new_schedule=args.new_schedule)
