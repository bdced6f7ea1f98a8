#!/usr/bin/env python
"""Time of check-data and report before and after a change: python benchmarks/before_after.py COMMIT [--rounds 3].

Runs ``tools/check_data.py`` on a COCO set of 10,000 images with 100,000 boxes, and ``tools/report.py`` on 2,000 made-up
images of cells with a detector of one epoch, in the tree of this repository and in that of ``COMMIT`` by turns. Prints
the median processor time of each and the ratio of after to before.
"""
import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from trees import ROOT, tree_of

CONFIG = 'configs/faster_rcnn_bifpn_cell_tiny.py'


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('commit', help='the state before')
    parser.add_argument('--rounds', type=int, default=3, help='of both (default: 3)')
    parser.add_argument('--images', type=int, default=2000, help='of the report (default: 2000)')
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        with tree_of(args.commit, folder / 'before') as before:
            compare(folder, {'before': before, 'after': ROOT}, args)
    return 0


def compare(folder: Path, trees: dict[str, Path], args) -> None:
    """Prepare the inputs with the code of today, and time both commands in both trees."""
    write_set(folder / 'set', images=10_000, boxes=10)
    data, run_folder = folder / 'cells', folder / 'run'
    run(ROOT, 'prepare_data.py', 'cell-phantom', data, '--train', 32, '--val', args.images, '--size', 128)
    run(ROOT, 'train.py', CONFIG, '--data-root', data, '--work-dir', run_folder, '--valid-limit', 8,
        '--cfg-options', 'max_epochs=1')
    weights = next(run_folder.glob('epoch_*.pth'))
    commands = {
        'check-data of 10,000 images with 100,000 boxes': ('check_data.py', folder / 'set'),
        f'report on {args.images} images': ('report.py', CONFIG, weights, '--data-root', data, '--out',
                                            folder / 'report.html')}
    for name, command in commands.items():
        times = {side: [] for side in trees}
        for _ in range(args.rounds):
            for side, tree in trees.items():
                times[side].append(run(tree, *command))
        before, after = (median(values) for values in times.values())
        print(f'{name}: before {before:.1f} s, after {after:.1f} s of the processor, ratio {after / before:.2f}',
              flush=True)


def write_set(folder: Path, *, images: int, boxes: int) -> None:
    """A COCO set of one small image under many names."""
    import cv2
    import numpy as np
    rng = np.random.default_rng(0)
    (folder / 'images').mkdir(parents=True)
    (folder / 'annotations').mkdir()
    for index in range(images):  # of different content, since equal files are compared
        cv2.imwrite(str(folder / 'images' / f'{index}.png'), rng.integers(0, 256, (16, 16, 3), dtype=np.uint8))
    corners, sides = (rng.uniform(*ends, (images * boxes, 2)).round(2).tolist() for ends in ((0, 8), (3, 8)))
    (folder / 'annotations' / 'train.json').write_text(json.dumps({
        'images': [{'id': i, 'file_name': f'{i}.png', 'width': 16, 'height': 16} for i in range(images)],
        'categories': [{'id': 1, 'name': 'cell'}],
        'annotations': [{'id': i, 'image_id': i // boxes, 'category_id': 1, 'bbox': [*corners[i], *sides[i]],
                         'area': sides[i][0] * sides[i][1], 'iscrowd': 0} for i in range(images * boxes)]}))


def run(tree: Path, tool: str, *args) -> float:
    """Run a tool of a tree; its processor time in seconds.

    Raises: subprocess.CalledProcessError if it fails, after what it has said.
    """
    start = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, tree / 'tools' / tool, *map(str, args)], cwd=tree, text=True,
                          capture_output=True, env=os.environ | {'PYTHONPATH': str(tree)})
    if done.returncode not in (0, 1) or 'Traceback' in done.stderr:  # 1: check-data has found something
        print(done.stdout, done.stderr, file=sys.stderr)
        raise subprocess.CalledProcessError(done.returncode, f'{tree}/tools/{tool}')
    end = resource.getrusage(resource.RUSAGE_CHILDREN)
    return end.ru_utime + end.ru_stime - start.ru_utime - start.ru_stime


if __name__ == '__main__':
    sys.exit(main())
