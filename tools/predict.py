#!/usr/bin/env python
"""Find objects in images: python tools/predict.py CONFIG CHECKPOINT IMAGE_OR_FOLDER --out-dir DIR [options]."""
import argparse
import sys


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description='Run a trained detector on an image, or on all images in and below a '
                                                 'folder; writes predictions.json, predictions.csv and pictures/.')
    parser.add_argument('config', help='config file that the checkpoint was trained with')
    parser.add_argument('checkpoint', help='checkpoint file; the names of the classes stand in it')
    parser.add_argument('source', metavar='image_or_folder', help='image file, or folder of images')
    parser.add_argument('--out-dir', required=True, metavar='DIR', help='folder for the results; made if need be')
    parser.add_argument('--score-thr', type=float, default=0.3, metavar='S',
                        help='lowest score of a box that is kept (default: 0.3)')
    parser.add_argument('--device', default='auto', help='auto (a GPU if there is one), cpu, cuda, cuda:1 …')
    parser.add_argument('--batch-size', type=int, default=1, metavar='N', help='images a step (default: 1)')
    parser.add_argument('--no-pictures', action='store_true', help='write JSON and CSV only')
    parser.add_argument('--trust-checkpoint', action='store_true',
                        help='read a checkpoint that needs code in it to be executed')
    parser.add_argument('--cfg-options', nargs='+', metavar='KEY=VALUE',
                        help='override settings of the config, e.g. model.test_cfg.rcnn.max_per_img=300')
    return parser.parse_args(argv)


def main(argv=None) -> int:
    args = parse_args(argv)
    from cxrdet.apis.config import load_config
    from cxrdet.apis.predict import predict
    from cxrdet.core.errors import CxrdetError
    try:
        records = predict(load_config(args.config, cfg_options=args.cfg_options), args.checkpoint, args.source,
                          out_dir=args.out_dir, score_thr=args.score_thr, device=args.device,
                          batch_size=args.batch_size, pictures=not args.no_pictures, trust=args.trust_checkpoint)
    except CxrdetError as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    print(f'{sum(len(record["boxes"]) for record in records)} boxes in {len(records)} images: {args.out_dir}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
