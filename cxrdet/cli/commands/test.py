"""Measure a trained model on the test set of a config.

An ensemble: cxrdet test --ensemble CONFIG:CHECKPOINT CONFIG:CHECKPOINT ... [--fusion wbf], or, from files that --out or
cxrdet predict wrote: cxrdet test CONFIG --ensemble-predictions a.npz b.npz ...
"""
from cxrdet.cli import arguments
from cxrdet.compat import shorten_start
from cxrdet.core.errors import ConfigError

BOX_FUSIONS = ('wbf', 'nmw', 'nms', 'soft_nms', 'voting', 'wbf_one_per_model', 'wbf_confident')


def add_arguments(parser) -> None:
    arguments.add_config(parser, 'config file, or the name of a recipe; with --ensemble by default that of the first '
                                 'member', nargs='?')
    arguments.add_checkpoint(parser, 'checkpoint file; none for an ensemble', nargs='?')
    arguments.add_work_dir(parser, 'folder for logs')
    parser.add_argument('--out', type=arguments.new_file('.npz'), metavar='FILE.npz',
                        help='also write the raw predictions')
    parser.add_argument('--no-pictures', action='store_true',
                        help='do not draw ROC curves (of classifiers; by default in WORK_DIR/<time>/curves)')
    parser.add_argument('--tta', action='store_true', help='test-time augmentation: flips and scales, merged')
    parser.add_argument('--tta-scales', nargs='+', type=float, metavar='F',
                        help='with --tta, sizes of further views as factors of the size of the test, each flipped, too '
                             '(default: 0.9 and 1.1, not flipped, for detectors, none for classifiers)')
    arguments.add_prompt(parser)
    _add_ensemble_arguments(parser)
    arguments.add_trust(parser)
    arguments.add_data_root(parser)
    arguments.add_limit(parser, 'valid', 'samples')
    arguments.add_cfg_options(parser, 'test_dataloader.batch_size=1')
    arguments.add_launcher(parser)


def _add_ensemble_arguments(parser) -> None:
    group = parser.add_argument_group('ensembles, and the views of --tta')
    source = group.add_mutually_exclusive_group()
    source.add_argument('--ensemble', nargs='+', metavar='CONFIG:CHECKPOINT', help='test these models as one')
    source.add_argument('--ensemble-predictions', nargs='+', metavar='FILE',
                        help='fuse saved predictions: .npz of --out, predictions.json of cxrdet predict')
    group.add_argument('--fusion', choices=[*BOX_FUSIONS, 'probs', 'logits'],
                       help='how to fuse: boxes (default: wbf, at IoU 0.55; voting and nms at 0.5), or the mean of '
                            'class scores (default: probs). wbf_one_per_model: one box of each member or view in a '
                            'fused box, for models that end in soft-NMS. wbf_confident: IoU 0.5, boxes from score 0.3 '
                            'on; costs average precision')
    group.add_argument('--fusion-options', nargs='+', metavar='KEY=VALUE',
                       help='arguments of the fusion, e.g. iou_thr=0.5 skip_box_thr=0.3 conf_type=max')
    group.add_argument('--tta-fusion', choices=BOX_FUSIONS,
                       help='how the views of --tta are fused in each member of an ensemble (default: as tta_model of '
                            'its own config, or else wbf)')
    group.add_argument('--weights', nargs='+', type=float, metavar='W',
                       help='of the members, or of the views of --tta (default: equal)')
    group.add_argument('--allow-missing', action='store_true', help='allow members with missing or additional classes')
    group.add_argument('--bundle', type=arguments.new_folder, metavar='DIR',
                       help='also write the ensemble as one config and checkpoint, ensemble.py and ensemble.pth')


def run(args) -> None:
    shorten_start()
    from cxrdet.apis.test import test
    from cxrdet.engine.distributed import is_first
    from cxrdet.inference.ensemble import Fusion, bundle, ensemble_config
    from cxrdet.inference.ensemble_files import test_predictions
    from cxrdet.inference.tta import enable_tta
    from cxrdet.preflight.config import load_config, parse_cfg_options
    options = parse_cfg_options(args.fusion_options) if args.fusion_options else None
    fusion = Fusion(args.fusion, options, args.weights, args.allow_missing)
    cfg = None
    if args.config is not None:
        cfg = load_config(args.config, cfg_options=args.cfg_options, data_root=args.data_root, work_dir=args.work_dir,
                          valid_limit=args.valid_limit)
        if args.prompt is not None:
            cfg.model.prompt = args.prompt  # the check of the config tells of models that take none
    elif not args.ensemble:
        raise ConfigError('a config is needed: cxrdet test CONFIG CHECKPOINT')
    if (args.ensemble or args.ensemble_predictions) and args.checkpoint:
        raise ConfigError(f'{args.checkpoint}: an ensemble takes no checkpoint beside those of its members')
    if args.ensemble_predictions:
        if args.tta or args.bundle:
            raise ConfigError('--tta and --bundle need models, not saved predictions')
        test_predictions(cfg, args.ensemble_predictions, fusion=fusion, out=args.out)
        return
    if args.ensemble:
        cfg = ensemble_config(args.ensemble, config=cfg, cfg_options=args.cfg_options, data_root=args.data_root,
                              work_dir=args.work_dir, valid_limit=args.valid_limit, fusion=fusion,
                              trust=args.trust_checkpoint)
    elif fusion != Fusion() and not args.tta:
        raise ConfigError('--fusion, --fusion-options, --weights and --allow-missing are for --ensemble and '
                          '--ensemble-predictions, all but the last also for --tta of a detector')
    if args.tta:
        enable_tta(cfg, Fusion() if args.ensemble else fusion, of_members=args.tta_fusion, scales=args.tta_scales)
    elif args.tta_fusion or args.tta_scales:
        raise ConfigError('--tta-fusion and --tta-scales are for --tta')
    if args.bundle and is_first(args.launcher):
        bundle(cfg, args.bundle, trust=args.trust_checkpoint)
    arguments.apply_launcher(args, cfg)
    test(cfg, args.checkpoint, out=args.out, launcher=args.launcher, trust=args.trust_checkpoint,
         pictures=not args.no_pictures)
