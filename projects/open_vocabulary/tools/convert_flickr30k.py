#!/usr/bin/env python
"""Flickr30k Entities, as it is published, to the JSON files that cxrdet.GroundingDataset reads."""
import argparse
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[3]))

from cxrdet.cli import arguments
from cxrdet.cli.handler import guarded
from cxrdet.core.terminal import say


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('source', help='folder with Sentences/, Annotations/ and train.txt, val.txt, test.txt')
    parser.add_argument('out_dir', type=arguments.new_folder, help='folder of the new set')
    parser.add_argument('--images', required=True, metavar='DIR', help='folder with the images, <id>.jpg')
    parser.add_argument('--splits', nargs='+', default=['train', 'val', 'test'], choices=['train', 'val', 'test'],
                        help='which lists to convert (default: all)')
    parser.add_argument('--link', action='store_true', help='make links to the images instead of copies')
    parser.add_argument('--force', action='store_true', help='replace another set in the folder')
    return guarded('convert_flickr30k', parser.parse_args(argv), run)


def run(args) -> None:
    from projects.open_vocabulary.open_vocabulary.flickr30k import convert_flickr30k
    say(f'Written: {convert_flickr30k(**vars(args))}')


if __name__ == '__main__':
    sys.exit(main())
