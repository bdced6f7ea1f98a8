#!/usr/bin/env python
"""Write the made-up set of shapes and sentences: images, and annotations as cxrdet.GroundingDataset reads them."""
import argparse
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[3]))

from cxrdet.cli import arguments
from cxrdet.cli.handler import guarded
from cxrdet.core.terminal import say


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('out_dir', type=arguments.new_folder, help='folder of the set')
    for split, count in (('train', 4000), ('val', 200), ('test', 1000)):
        parser.add_argument(f'--{split}', type=arguments.whole(0), default=count, metavar='N',
                            help='images (default: %(default)s)')
    arguments.add_seed(parser, 'seed; another seed gives another set (default: 0)')
    parser.add_argument('--force', action='store_true', help='replace another set in the folder')
    return guarded('make_phantoms', parser.parse_args(argv), run)


def run(args) -> None:
    from projects.open_vocabulary.open_vocabulary.phantom import write_phantoms
    splits = {name: getattr(args, name) for name in ('train', 'val', 'test')}
    write_phantoms(args.out_dir, splits=splits, seed=args.seed, force=args.force)
    say(f'{sum(splits.values())} images: {args.out_dir}')


if __name__ == '__main__':
    sys.exit(main())
