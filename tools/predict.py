#!/usr/bin/env python
"""Find objects in images, or classify them: python tools/predict.py CONFIG CHECKPOINT IMAGES --out-dir DIR."""
import argparse
import sys


def parse_args(argv=None):
    parser = argparse.ArgumentParser(
        description='Run a trained detector or classifier on an image, or on all images in and below a folder; writes '
                    'predictions.json, predictions.csv and, of a detector or with --cam, pictures/.')
    parser.add_argument('config', help='config file that the checkpoint was trained with')
    parser.add_argument('checkpoint', help='checkpoint file; the names of the classes stand in it')
    parser.add_argument('source', metavar='image_or_folder', help='image file, or folder of images')
    parser.add_argument('--out-dir', required=True, metavar='DIR', help='folder for the results; made if need be')
    parser.add_argument('--score-thr', type=float, metavar='S',
                        help='lowest score of a box that is kept (default: 0.3), or of a class that is called present')
    parser.add_argument('--operating-point', metavar='NAME',
                        help='decide by these thresholds of the checkpoint, e.g. youden, screening (default: the first '
                             'that was chosen on validation, or 0.5 where none is stored)')
    parser.add_argument('--calibrate', action='store_true', help='give probabilities after temperature scaling')
    parser.add_argument('--cam', action='store_true', help='draw Grad-CAM for the findings of each image')
    parser.add_argument('--cam-classes', nargs='+', metavar='NAME',
                        help='draw these classes in every image instead; implies --cam')
    parser.add_argument('--cam-layer', metavar='PATH',
                        help='layer of the model to look at, e.g. backbone.layer3 (default: the last one that has '
                             'positions); implies --cam')
    parser.add_argument('--device', default='auto', help='auto (a GPU if there is one), cpu, cuda, cuda:1 …')
    parser.add_argument('--batch-size', type=int, default=1, metavar='N', help='images a step (default: 1)')
    parser.add_argument('--page', type=int, metavar='N',
                        help='of files with several images (pages, frames), take this one, from 0; by default such '
                             'files are refused')
    parser.add_argument('--skip-errors', action='store_true',
                        help='leave out images that cannot be read or predicted, and list them; by default any such '
                             'image is an error')
    parser.add_argument('--format', nargs='+', default=[], choices=['coco', 'yolo', 'label-studio', 'cvat'],
                        help='write the boxes for annotation tools, too, each into a folder of that name: COCO '
                             'results, YOLO labels with confidence, Label Studio pre-annotations, CVAT for images 1.1')
    parser.add_argument('--no-pictures', action='store_true', help='write JSON and CSV only')
    parser.add_argument('--trust-checkpoint', action='store_true',
                        help='read a checkpoint that needs code in it to be executed')
    parser.add_argument('--cfg-options', nargs='+', metavar='KEY=VALUE',
                        help='override settings of the config, e.g. model.test_cfg.rcnn.max_per_img=300')
    return parser.parse_args(argv)


def main(argv=None) -> int:
    args = parse_args(argv)
    from cxrdet.core.errors import CxrdetError
    from cxrdet.core.terminal import guard_output, say, say_error
    from cxrdet.inference.predict import CamChoice, predict
    from cxrdet.inference.tasks import summary
    from cxrdet.preflight.config import load_config
    guard_output()
    cam = None
    if args.cam or args.cam_classes or args.cam_layer:
        cam = CamChoice(tuple(args.cam_classes) if args.cam_classes else None, args.cam_layer)
    try:
        records = predict(load_config(args.config, cfg_options=args.cfg_options), args.checkpoint, args.source,
                          out_dir=args.out_dir, score_thr=args.score_thr, operating_point=args.operating_point,
                          calibrate=args.calibrate, cam=cam, device=args.device, batch_size=args.batch_size,
                          pictures=not args.no_pictures, trust=args.trust_checkpoint, page=args.page,
                          skip_errors=args.skip_errors, formats=args.format)
    except CxrdetError as error:
        say_error(error)
        return 2
    say(f'{summary(records)}: {args.out_dir}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
