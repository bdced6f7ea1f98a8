#!/usr/bin/env python
"""Exchange the reference images of a trained comparison detector, add classes by references, or rename classes.

    python projects/comparison_detector/adapt.py CONFIG CHECKPOINT --references DIR --out new.pth

DIR holds CLASS/NAME.png, or a CSV as "cxrdet prepare-data references" writes it. Classes with images there get new
prototypes, others keep theirs, and unknown ones are added. Nothing is trained; new.pth predicts with the same CONFIG.
"""
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))


def main(argv: list[str] | None = None) -> int:
    from cxrdet.cli.arguments import Parser, new_file, whole
    from cxrdet.cli.handler import guarded
    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument('config', help='config that the checkpoint was trained with')
    parser.add_argument('checkpoint')
    parser.add_argument('--references', metavar='DIR', help='folder of reference images, CLASS/NAME.png or with a CSV')
    parser.add_argument('--rename', nargs='+', action='extend', default=[], metavar='OLD=NEW',
                        help='new names of classes')
    parser.add_argument('--per-class', type=whole(1), metavar='N', help='take N images of each class (default: all)')
    parser.add_argument('--out', required=True, type=new_file('.pth'), metavar='FILE.pth', help='the new checkpoint')
    parser.add_argument('--device', default='auto', help='auto (a GPU if there is one), cpu, cuda …')
    return guarded('adapt', parser.parse_args(argv), run)


def run(args) -> None:
    from cxrdet.core.errors import ConfigError
    from cxrdet.core.terminal import say
    from projects.comparison_detector.comparison_detector.adaptation import adapt, parse_renames
    if args.references is None and not args.rename:
        raise ConfigError('nothing to do: give --references DIR, --rename OLD=NEW, or both.')
    told = adapt(args.config, args.checkpoint, args.out, references=args.references,
                 rename=parse_renames(args.rename), per_class=args.per_class, device=args.device)
    say(', '.join(f'{name} ({what})' for name, what in told.items()))
    say(f'{args.out}: predict with cxrdet predict {args.config} {args.out} IMAGES')


if __name__ == '__main__':
    sys.exit(main())
