#!/usr/bin/env python
"""Make or convert a data set: python tools/prepare_data.py {cell-phantom,convert,voc,cdetector,nih ...} ... ."""
import argparse
import sys


def parse_args(argv=None):
    parser = argparse.ArgumentParser(
        description='Make or convert a data set. Every command may be run again: finished files are kept, and what '
                    'this tool did not write itself is neither replaced nor deleted.')
    commands = parser.add_subparsers(dest='command', required=True, metavar='COMMAND')
    add_phantoms(commands)
    add_voc(commands)
    sub = add_command(commands, 'cdetector', 'cervical cells of the Comparison detector (TFRecord files, or the '
                                             'published COCO JSON) to COCO, one split at a time')
    sub.add_argument('sources', nargs='+', metavar='SOURCE', help='TFRecord files, or one COCO .json')
    sub.add_argument('out_dir', help='folder of the COCO set')
    sub.add_argument('--split', required=True, help='train, test ...: names annotations/SPLIT.json and images/SPLIT/')
    sub.add_argument('--images', metavar='DIR', help='images of a .json (default: images/ beside it or its folder)')
    sub.add_argument('--suffix', choices=['.png', '.jpg'], default='.png', help='for TFRecord files (default: .png)')
    add_link(sub)
    add_nih(commands)
    return parser.parse_args(argv)


def add_phantoms(commands):
    sub = add_command(commands, 'cell-phantom', 'made-up blood smears with exact boxes, as a COCO set')
    sub.add_argument('out_dir', help='folder of the set')
    sub.add_argument('--train', type=int, default=200, metavar='N', help='training images (default: %(default)s)')
    sub.add_argument('--val', type=int, default=50, metavar='N', help='validation images (default: %(default)s)')
    sub.add_argument('--test', type=int, default=0, metavar='N', help='test images (default: %(default)s)')
    sub.add_argument('--size', type=int, default=320, metavar='PX', help='side of the images (default: %(default)s)')
    sub.add_argument('--seed', type=int, default=0, help='another seed, another set (default: %(default)s)')
    add_force(sub)
    sub = add_command(commands, 'chest-phantom', 'made-up chest films with findings and boxes, laid out as NIH '
                                                 'ChestX-ray14')
    sub.add_argument('out_dir', help='folder of the set')
    sub.add_argument('--images', type=int, default=1000, metavar='N', help='films (default: %(default)s)')
    sub.add_argument('--size', type=int, default=256, metavar='PX', help='side of the films (default: %(default)s)')
    sub.add_argument('--seed', type=int, default=0, help='another seed, another set (default: %(default)s)')
    add_force(sub)


def add_voc(commands):
    for name, text in (('bccd', 'BCCD blood smears (Pascal VOC) to COCO'),
                       ('voc', 'any Pascal VOC folder (Annotations/, JPEGImages/) to COCO')):
        sub = add_command(commands, name, text)
        sub.add_argument('voc_dir', help='folder with Annotations/, JPEGImages/ and ImageSets/Main/')
        add_conversion(sub, choices=name == 'voc')
        if name == 'voc':
            sub.add_argument('--corners', choices=['exclusive', 'inclusive'], default='exclusive',
                             help='what xmax and ymax mean: the far edge, or the last pixel counted from 1 '
                                  '(default: %(default)s)')
    sub = add_command(commands, 'convert', 'boxes of any format that check_data reads (YOLO, CVAT, labelme, Label '
                                           'Studio, Roboflow, VOC, COCO) to COCO')
    sub.add_argument('source', metavar='set', help='folder of the set, or its file')
    sub.add_argument('--format', dest='kind', default='auto', help='its format (default: by what lies there)')
    sub.add_argument('--images', metavar='DIR', help='folder of the images, where it is not the usual one')
    add_conversion(sub, choices=True)


def add_conversion(sub, *, choices):
    sub.add_argument('out_dir', help='folder of the COCO set')
    sub.add_argument('--on-bad', choices=['error', 'drop'], default='error',
                     help='objects without a name or with a broken box (default: %(default)s)')
    if choices:
        sub.add_argument('--classes', nargs='+', metavar='NAME', help='classes, in order (default: all)')
        sub.add_argument('--val-share', type=float, metavar='SHARE', help='split at random instead of as the set is')
        sub.add_argument('--seed', type=int, default=0, help='of the random split (default: %(default)s)')
    add_link(sub)
    add_force(sub)


def add_nih(commands):
    sub = add_command(commands, 'nih', 'NIH ChestX-ray14 split by patient: lists of images, with counts of labels')
    sub.add_argument('table', help='Data_Entry_2017.csv or Data_Entry_2017_v2020.csv, or gzipped')
    sub.add_argument('images', help='folder of the films (or of images_001 ...); "-": split all rows of the table')
    sub.add_argument('out_dir', help='folder of the set: lists, a copy of the table, a link to the films')
    sub.add_argument('--official', nargs=2, metavar=('TRAIN_VAL_LIST', 'TEST_LIST'),
                     help='the published lists: the first is split into train and val')
    sub.add_argument('--val-share', type=float, metavar='SHARE', help='films for validation (default: 0.2)')
    sub.add_argument('--test-share', type=float, default=0.0, metavar='SHARE',
                     help='films for a test list, without --official (default: none)')
    sub.add_argument('--folds', type=int, default=0, metavar='K', help='K folds instead of train and val')
    sub.add_argument('--seed', type=int, default=0, help='of the split (default: %(default)s)')
    sub.add_argument('--stratify', nargs='+', default=[], metavar='NAME',
                     help='spread these evenly besides the labels: view, sex')
    add_force(sub)


def add_command(commands, name, text):
    return commands.add_parser(name, help=text, description=f'{text[0].upper()}{text[1:]}.')


def add_link(sub):
    sub.add_argument('--link', action='store_true', help='symbolic links to the images instead of copies')


def add_force(sub):
    sub.add_argument('--force', action='store_true', help='replace another set that this tool made there')


def main(argv=None) -> int:
    args = vars(parse_args(argv))
    command = args.pop('command')
    from cxrdet.core.errors import CxrdetError
    from cxrdet.core.terminal import guard_output, say, say_error
    from cxrdet.curation import convert, prepare
    guard_output()
    try:
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
        elif command in ('bccd', 'voc'):
            if command == 'bccd':
                args['classes'] = ('RBC', 'WBC', 'Platelets')
            report = convert.convert_voc(args.pop('voc_dir'), args.pop('out_dir'), **args)
        else:
            report = convert.convert_set(args.pop('source'), args.pop('out_dir'), **args)
    except CxrdetError as error:
        say_error(error)
        return 2
    for part, numbers in report.items():
        if isinstance(numbers, dict):
            numbers = ', '.join(f'{name} {number}' for name, number in numbers.items())
        say(f'{part}: {numbers}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
