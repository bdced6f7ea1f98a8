#!/usr/bin/env python
"""Measure a trained model on a config's test set: python tools/test.py CONFIG CHECKPOINT [options].

An ensemble: python tools/test.py --ensemble CONFIG:CHECKPOINT CONFIG:CHECKPOINT ... [--fusion wbf], or, from files that
--out or tools/predict.py wrote: python tools/test.py CONFIG --ensemble-predictions a.npz b.npz ...
"""
import argparse
import os
import sys

BOX_FUSIONS = ('wbf', 'nmw', 'nms', 'soft_nms', 'voting', 'wbf_one_per_model', 'wbf_confident')


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description='Measure a trained model on the test set of a config.')
    parser.add_argument('config', nargs='?', help='config file; with --ensemble by default that of the first member')
    parser.add_argument('checkpoint', nargs='?', help='checkpoint file; none for an ensemble')
    parser.add_argument('--work-dir', help='folder for logs (default: work_dirs/<config name>)')
    parser.add_argument('--out', metavar='FILE.npz', help='also write the raw predictions')
    parser.add_argument('--no-pictures', action='store_true',
                        help='draw no ROC curves (of classifiers, by default into WORK_DIR/<time>/curves)')
    parser.add_argument('--tta', action='store_true', help='test-time augmentation: flips and scales, merged')
    add_ensemble_arguments(parser)
    parser.add_argument('--trust-checkpoint', action='store_true',
                        help='read a checkpoint that needs code in it to be executed')
    parser.add_argument('--data-root', help='root folder of the data set')
    parser.add_argument('--valid-limit', type=int, metavar='N', help='use N samples only')
    parser.add_argument('--cfg-options', nargs='+', metavar='KEY=VALUE',
                        help='override settings of the config, e.g. test_dataloader.batch_size=1')
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none', help='job launcher')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def add_ensemble_arguments(parser) -> None:
    group = parser.add_argument_group('ensembles, and the views of --tta')
    source = group.add_mutually_exclusive_group()
    source.add_argument('--ensemble', nargs='+', metavar='CONFIG:CHECKPOINT', help='test these models as one')
    source.add_argument('--ensemble-predictions', nargs='+', metavar='FILE',
                        help='fuse saved predictions: .npz of --out, predictions.json of tools/predict.py')
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
    group.add_argument('--allow-missing', action='store_true', help='members may lack classes or have others')
    group.add_argument('--bundle', metavar='DIR',
                       help='also write the ensemble as one config and checkpoint, ensemble.py and ensemble.pth')


def run(args) -> None:
    from cxrdet.apis.test import test
    from cxrdet.core.errors import ConfigError
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
    elif not args.ensemble:
        raise ConfigError('a config is needed: python tools/test.py CONFIG CHECKPOINT')
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
        enable_tta(cfg, Fusion() if args.ensemble else fusion, of_members=args.tta_fusion)
    elif args.tta_fusion:
        raise ConfigError('--tta-fusion is for --tta')
    if args.bundle and is_first(args.launcher):
        bundle(cfg, args.bundle, trust=args.trust_checkpoint)
    test(cfg, args.checkpoint, out=args.out, launcher=args.launcher, trust=args.trust_checkpoint,
         pictures=not args.no_pictures)


def main(argv=None) -> int:
    args = parse_args(argv)
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    from cxrdet.core.errors import CxrdetError, error_text
    from cxrdet.core.terminal import guard_output, say_error
    guard_output()
    try:
        run(args)
    except CxrdetError as error:
        say_error(error_text(error))
        return 2
    return 0


if __name__ == '__main__':
    sys.exit(main())
