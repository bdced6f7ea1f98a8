"""Find objects in images, or classify them.

Runs a trained detector or classifier on an image, or on all images in and below a folder; writes predictions.json,
predictions.csv and, of a detector or with --cam, pictures/.
"""
from cxrdet.cli import arguments
from cxrdet.compat import shorten_start
from cxrdet.core.terminal import say


def add_arguments(parser) -> None:
    arguments.add_config(parser)
    arguments.add_checkpoint(parser, 'checkpoint file; it holds the class names')
    parser.add_argument('source', metavar='image_or_folder', help='image file, or folder of images')
    parser.add_argument('--out-dir', required=True, type=arguments.new_folder, metavar='DIR',
                        help='folder for the results; created if missing')
    parser.add_argument('--score-thr', type=arguments.number('[0, 1]'), metavar='S',
                        help='lowest score of a box to keep (default: 0.3), or of a class to call present')
    parser.add_argument('--operating-point', metavar='NAME',
                        help='use these thresholds of the checkpoint, e.g. youden, screening (default: the first that '
                             'was chosen on validation, or 0.5 if none is stored)')
    parser.add_argument('--calibrate', action='store_true', help='write probabilities after temperature scaling')
    parser.add_argument('--cam', action='store_true', help='draw Grad-CAM for the findings of each image')
    parser.add_argument('--cam-classes', nargs='+', metavar='NAME',
                        help='draw these classes in every image instead; implies --cam')
    parser.add_argument('--cam-layer', metavar='PATH',
                        help='layer for Grad-CAM, e.g. backbone.layer3 (default: the last one with a spatial map); '
                             'implies --cam')
    arguments.add_prompt(parser)
    arguments.add_device(parser)
    parser.add_argument('--batch-size', type=arguments.whole(1), default=1, metavar='N',
                        help='images per step (default: 1)')
    parser.add_argument('--page', type=arguments.whole(0), metavar='N',
                        help='image to take from files with several (pages, frames), counted from 0; by default such '
                             'files are refused')
    parser.add_argument('--skip-errors', action='store_true',
                        help='leave out images that cannot be read or predicted, and list them; by default any such '
                             'image is an error')
    parser.add_argument('--format', nargs='+', default=[], choices=['coco', 'yolo', 'label-studio', 'cvat'],
                        help='also write the boxes for annotation tools, each format into a folder of its name: COCO '
                             'results, YOLO labels with confidence, Label Studio pre-annotations, CVAT for images 1.1')
    parser.add_argument('--no-pictures', action='store_true', help='write JSON and CSV only')
    arguments.add_trust(parser)
    arguments.add_cfg_options(parser, 'model.test_cfg.rcnn.max_per_img=300')


def run(args) -> None:
    shorten_start()
    from cxrdet.inference.cam import CamChoice
    from cxrdet.inference.predict import predict
    from cxrdet.inference.tasks import summary
    from cxrdet.preflight.config import load_config
    cam = None
    if args.cam or args.cam_classes or args.cam_layer:
        cam = CamChoice(tuple(args.cam_classes) if args.cam_classes else None, args.cam_layer)
    records = predict(load_config(args.config, cfg_options=args.cfg_options), args.checkpoint, args.source,
                      out_dir=args.out_dir, score_thr=args.score_thr, operating_point=args.operating_point,
                      calibrate=args.calibrate, cam=cam, device=args.device, batch_size=args.batch_size,
                      pictures=not args.no_pictures, trust=args.trust_checkpoint, page=args.page,
                      skip_errors=args.skip_errors, formats=args.format, prompt=args.prompt)
    say(f'{summary(records)}: {args.out_dir}')
