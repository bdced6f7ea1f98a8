"""Draw predictions beside the ground truth of a test set."""
from cxrdet.cli import arguments


def add_arguments(parser) -> None:
    arguments.add_config(parser)
    arguments.add_checkpoint(parser)
    parser.add_argument('--out', required=True, type=arguments.new_file(*arguments.PICTURES), metavar='FILE',
                        help='the picture, .png or .jpg')
    parser.add_argument('--images', type=arguments.whole(1), default=8, metavar='N',
                        help='how many images (default: %(default)s)')
    parser.add_argument('--columns', type=arguments.whole(1), default=1, metavar='N',
                        help='pairs in a row (default: %(default)s)')
    parser.add_argument('--score-thr', type=arguments.number('[0, 1]'), default=0.5, metavar='S',
                        help='lowest score shown (default: %(default)s)')
    parser.add_argument('--worst', action='store_true',
                        help='show the images with the most errors instead of evenly spaced ones')
    arguments.add_device(parser)
    arguments.add_data_root(parser)
    arguments.add_trust(parser)
    arguments.add_cfg_options(parser)


def run(args) -> None:
    from cxrdet.analysis.compare import compare
    from cxrdet.preflight.config import load_config
    cfg = load_config(args.config, cfg_options=args.cfg_options, data_root=args.data_root)
    compare(cfg, args.checkpoint, out=args.out, images=args.images, columns=args.columns, score_thr=args.score_thr,
            worst=args.worst, device=args.device, trust=args.trust_checkpoint)
