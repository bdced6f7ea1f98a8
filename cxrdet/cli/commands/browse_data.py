"""Look at training samples after augmentation.

Draws samples of a config's data set as its pipeline gives them, augmented and mixed: boxes of a detector with a legend,
images of a classifier with their labels. Writes <split>_00.png … with 16 samples each.
"""
from cxrdet.cli import arguments
from cxrdet.core.progress import ProgressBar
from cxrdet.core.terminal import say


def add_arguments(parser) -> None:
    arguments.add_config(parser)
    parser.add_argument('--out-dir', required=True, type=arguments.new_folder, metavar='DIR',
                        help='folder for the sheets; created if missing')
    arguments.add_data_root(parser)
    parser.add_argument('--split', default='train', choices=['train', 'val', 'test'],
                        help='whose pipeline and images (default: train)')
    parser.add_argument('--number', type=arguments.whole(1), default=16, metavar='N', help='samples (default: 16)')
    parser.add_argument('--columns', type=arguments.whole(1), default=4, metavar='N',
                        help='pictures side by side (default: 4)')
    arguments.add_seed(parser, 'seed; the same seed gives the same sheets (default: 0)')
    arguments.add_cfg_options(parser, 'train_dataloader.dataset.pipeline.0.prob=1.0')


def run(args) -> None:
    from cxrdet.curation.browse import browse
    from cxrdet.preflight.config import load_config
    cfg = load_config(args.config, cfg_options=args.cfg_options, data_root=args.data_root)
    files = browse(cfg, args.out_dir, split=args.split, number=args.number, columns=args.columns, seed=args.seed,
                   progress=ProgressBar('samples'))
    say(f'{args.number} samples: {", ".join(map(str, files))}')
