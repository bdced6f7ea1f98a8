"""Make or convert a data set.

Every command can be run again: finished files are kept, and files that cxrdet did not write are never replaced or
deleted.
"""
from cxrdet.cli import arguments
from cxrdet.core.terminal import say


def add_arguments(parser) -> None:
    commands = parser.add_subparsers(dest='kind_of_set', required=True, metavar='COMMAND')
    _add_phantoms(commands)
    _add_voc(commands)
    sub = _add_command(commands, 'cdetector', 'cervical cells of the Comparison detector (TFRecord files, or the '
                                              'published COCO JSON) to COCO, one split at a time')
    sub.add_argument('sources', nargs='+', metavar='SOURCE', help='TFRecord files, or one COCO .json')
    sub.add_argument('out_dir', type=arguments.new_folder, help='folder of the COCO set')
    sub.add_argument('--split', required=True, help='train, test ...: names annotations/SPLIT.json and images/SPLIT/')
    sub.add_argument('--images', metavar='DIR', help='images of a .json (default: images/ beside it or its folder)')
    sub.add_argument('--suffix', choices=['.png', '.jpg'], default='.png', help='for TFRecord files (default: .png)')
    _add_link(sub)
    _add_nih(commands)
    _add_references(commands)


def _add_phantoms(commands) -> None:
    sub = _add_command(commands, 'cell-phantom', 'made-up blood smears with exact boxes, as a COCO set')
    sub.add_argument('out_dir', type=arguments.new_folder, help='folder of the set')
    sub.add_argument('--train', type=arguments.whole(0), default=200, metavar='N',
                     help='training images (default: %(default)s)')
    sub.add_argument('--val', type=arguments.whole(0), default=50, metavar='N',
                     help='validation images (default: %(default)s)')
    sub.add_argument('--test', type=arguments.whole(0), default=0, metavar='N',
                     help='test images (default: %(default)s)')
    sub.add_argument('--size', type=arguments.whole(1), default=320, metavar='PX',
                     help='side of the images (default: %(default)s)')
    arguments.add_seed(sub, 'seed; another seed gives another set (default: 0)')
    _add_force(sub)
    sub = _add_command(commands, 'chest-phantom', 'made-up chest films with findings and boxes, laid out as NIH '
                                                  'ChestX-ray14')
    sub.add_argument('out_dir', type=arguments.new_folder, help='folder of the set')
    sub.add_argument('--images', type=arguments.whole(1), default=1000, metavar='N',
                     help='films (default: %(default)s)')
    sub.add_argument('--size', type=arguments.whole(1), default=256, metavar='PX',
                     help='side of the films (default: %(default)s)')
    arguments.add_seed(sub, 'seed; another seed gives another set (default: 0)')
    _add_force(sub)


def _add_voc(commands) -> None:
    for name, text in (('bccd', 'BCCD blood smears (Pascal VOC) to COCO'),
                       ('voc', 'any Pascal VOC folder (Annotations/, JPEGImages/) to COCO')):
        sub = _add_command(commands, name, text)
        sub.add_argument('voc_dir', help='folder with Annotations/, JPEGImages/ and ImageSets/Main/')
        _add_conversion(sub, choices=name == 'voc')
        if name == 'voc':
            sub.add_argument('--corners', choices=['exclusive', 'inclusive'], default='exclusive',
                             help='what xmax and ymax mean: the far edge, or the last pixel counted from 1 '
                                  '(default: %(default)s)')
    sub = _add_command(commands, 'convert', 'boxes of any format that check-data reads (YOLO, CVAT, labelme, Label '
                                            'Studio, Roboflow, VOC, COCO) to COCO')
    sub.add_argument('source', metavar='set', help='folder of the set, or its file')
    sub.add_argument('--format', dest='kind', default='auto',
                     help='format of the set (default: detected from the files)')
    sub.add_argument('--images', metavar='DIR', help='folder of the images, if not in the usual place')
    _add_conversion(sub, choices=True)


def _add_conversion(sub, *, choices: bool) -> None:
    sub.add_argument('out_dir', type=arguments.new_folder, help='folder of the COCO set')
    sub.add_argument('--on-bad', choices=['error', 'drop'], default='error',
                     help='what to do with objects that have no name or a broken box (default: %(default)s)')
    if choices:
        sub.add_argument('--classes', nargs='+', metavar='NAME', help='classes, in order (default: all)')
        sub.add_argument('--val-share', type=arguments.number('(0, 1)'), metavar='SHARE',
                         help='split at random with this share for validation (default: splits of the set)')
        arguments.add_seed(sub, 'seed of the random split (default: 0)')
    _add_link(sub)
    _add_force(sub)


def _add_nih(commands) -> None:
    sub = _add_command(commands, 'nih', 'NIH ChestX-ray14 split by patient: lists of images, with counts of labels')
    sub.add_argument('table', help='Data_Entry_2017.csv or Data_Entry_2017_v2020.csv, or gzipped')
    sub.add_argument('images', help='folder of the films (or of images_001 ...); "-": split all rows of the table')
    sub.add_argument('out_dir', type=arguments.new_folder,
                     help='folder of the set: lists, a copy of the table, a link to the films')
    sub.add_argument('--official', nargs=2, metavar=('TRAIN_VAL_LIST', 'TEST_LIST'),
                     help='the published lists: the first is split into train and val')
    sub.add_argument('--val-share', type=arguments.number('(0, 1)'), metavar='SHARE',
                     help='share of films for validation (default: 0.2)')
    sub.add_argument('--test-share', type=arguments.number('[0, 1)'), default=0.0, metavar='SHARE',
                     help='share of films for a test list, without --official (default: none)')
    sub.add_argument('--folds', type=arguments.whole(0), default=0, metavar='K',
                     help='write K folds instead of train and val')
    arguments.add_seed(sub, 'seed of the split (default: 0)')
    sub.add_argument('--stratify', nargs='+', default=[], metavar='NAME',
                     help='spread these evenly, too, besides the labels: view, sex')
    _add_force(sub)


def _add_references(commands) -> None:
    sub = _add_command(commands, 'references', 'images of some objects of each class, cut from a set with boxes, for '
                                               'models that compare: CLASS/NAME.png and a CSV')
    sub.add_argument('source', metavar='set', help='folder of the set, or its file')
    sub.add_argument('out_dir', type=arguments.new_folder, help='folder of the images')
    sub.add_argument('--per-class', type=arguments.whole(1), default=3, metavar='N',
                     help='images of each class (default: %(default)s)')
    sub.add_argument('--split', metavar='NAME', help='cut from this split (default: train, if the set has splits)')
    sub.add_argument('--limit', type=arguments.whole(1), metavar='N', help='cut from the first N images only')
    sub.add_argument('--margin', type=arguments.number('[0, 4]'), default=0.1, metavar='SHARE',
                     help="surroundings on each side, as a share of the box's longer side (default: %(default)s)")
    sub.add_argument('--min-size', type=arguments.number('[0, 1e6]'), default=8, metavar='PX',
                     help='shortest side of a box that is used (default: %(default)s)')
    sub.add_argument('--classes', nargs='+', metavar='NAME', help='classes (default: all)')
    sub.add_argument('--format', dest='kind', default='auto',
                     help='format of the set (default: detected from the files)')
    sub.add_argument('--images', metavar='DIR', help='folder of the images, if not in the usual place')
    arguments.add_seed(sub, 'seed of the draw (default: 0)')
    _add_force(sub)


def _add_command(commands, name, text):
    return commands.add_parser(name, help=text, description=f'{text[0].upper()}{text[1:]}.')


def _add_link(sub) -> None:
    sub.add_argument('--link', action='store_true', help='symbolic links to the images instead of copies')


def _add_force(sub) -> None:
    sub.add_argument('--force', action='store_true', help='replace another set that cxrdet made there')


def run(args) -> None:
    args = {name: value for name, value in vars(args).items() if name not in ('command', 'command_line')}
    command = args.pop('kind_of_set')
    from cxrdet.curation import convert, prepare
    if command == 'cell-phantom':
        splits = {split: args.pop(split) for split in ('train', 'val', 'test')}
        args['splits'] = {split: count for split, count in splits.items() if count != 0}
        report = prepare.prepare_cell_phantoms(**args)
    elif command == 'chest-phantom':
        report = prepare.prepare_chest_phantoms(num_images=args.pop('images'), **args)
    elif command == 'cdetector':
        report = prepare.prepare_cdetector(args.pop('sources'), image_dir=args.pop('images'), **args)
    elif command == 'nih':
        from cxrdet.curation.prepare_nih import prepare_nih
        images = args.pop('images')
        report = prepare_nih(args.pop('table'), None if images == '-' else images, **args)
    elif command == 'references':
        from cxrdet.curation.references import cut_references
        report = cut_references(args.pop('source'), args.pop('out_dir'), **args)
    elif command in ('bccd', 'voc'):
        if command == 'bccd':
            args['classes'] = ('RBC', 'WBC', 'Platelets')
        report = convert.convert_voc(args.pop('voc_dir'), args.pop('out_dir'), **args)
    else:
        report = convert.convert_set(args.pop('source'), args.pop('out_dir'), **args)
    for part, numbers in report.items():
        if isinstance(numbers, dict):
            numbers = ', '.join(f'{name} {number}' for name, number in numbers.items())
        say(f'{part}: {numbers}')
