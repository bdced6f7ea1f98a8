#!/usr/bin/env python
"""Which files of ours a command runs through, from the command line to the result: python benchmarks/trips.py.

Three trips are made on a few made-up images: a training, a prediction, a report. A file is counted when the body of one
of its functions runs, in the process of the command, as coverage sees it. Left out are the command line itself, which
parses, calls and exits (cli; it stood in tools/ before), the ground floor (core, ops, registries: functions that their
names explain) and plugins, which a config names (data sets, models, metrics,
pictures, hooks, optimizers: files that register something, and the rooms where such files stand). The map in
CONTRIBUTING.md lists the same files; with --check the two are compared.
"""
import argparse
import ast
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
CONFIG = 'configs/faster_rcnn_bifpn_cell_tiny.py'
GROUND = ('cli', 'core', 'ops', 'registry.py', 'compat.py', 'version.py')
PLUGINS = ('datasets', 'models', 'evaluation', 'visualization', 'engine/hooks', 'engine/optimizers')


def bodies(path: Path) -> set[int]:
    """Lines within the bodies of the functions of a file."""
    return {line for node in ast.walk(ast.parse(path.read_text(encoding='utf-8')))
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
            for statement in node.body for line in range(statement.lineno, statement.end_lineno + 1)}


def is_counted(path: Path) -> bool:
    name = path.relative_to(ROOT / 'cxrdet').as_posix()
    if path.suffix != '.py' or path.name == '__init__.py' or name.startswith((*GROUND, *PLUGINS)):
        return False
    return '.register_module(' not in path.read_text(encoding='utf-8')


def walked(command: list[str], folder: Path) -> list[str]:
    """Files that count, of those that a tool runs through."""
    from coverage import CoverageData
    record = folder / 'coverage'
    with open(folder / 'log.txt', 'w', encoding='utf-8') as log:
        subprocess.run([sys.executable, '-m', 'coverage', 'run', f'--source={ROOT / "cxrdet"}', f'--data-file={record}',
                        *command], cwd=ROOT, check=True, stdout=log, stderr=subprocess.STDOUT)
    data = CoverageData(str(record))
    data.read()
    files = [path for path in map(Path, data.measured_files()) if is_counted(path)]
    return sorted(path.relative_to(ROOT / 'cxrdet').as_posix() for path in files
                  if set(data.lines(str(path))) & bodies(path))


def trips(folder: Path) -> dict[str, list[str]]:
    """Name of each trip -> its files."""
    data, run = folder / 'data', folder / 'run'
    subprocess.run([sys.executable, 'tools/prepare_data.py', 'cell-phantom', str(data), '--train', '8', '--val', '4'],
                   cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    config = [CONFIG, '--data-root', str(data)]
    found = {'train': walked(['tools/train.py', *config, '--work-dir', str(run), '--cfg-options',
                              'train_cfg.max_epochs=1'], folder)}
    weights = str(run / 'epoch_1.pth')
    found['predict'] = walked(['tools/predict.py', CONFIG, weights, str(data / 'images' / 'val_00000.jpg'),
                               '--out-dir', str(folder / 'predictions')], folder)
    found['report'] = walked(['tools/report.py', CONFIG, weights, *config[1:], '--out', str(folder / 'report.html')],
                             folder)
    return found


def mapped() -> dict[str, list[str]]:
    """The files that the map names, trip by trip."""
    text = (ROOT / 'CONTRIBUTING.md').read_text(encoding='utf-8')
    parts = re.split(r'^### .*?`tools/(\w+)\.py`.*$', text, flags=re.M)
    return {name: sorted(re.findall(r'^\d+\. `(\S+\.py)`', part, flags=re.M))
            for name, part in zip(parts[1::2], parts[2::2])}


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--check', action='store_true', help='compare with CONTRIBUTING.md; exit 1 where they differ')
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        found = trips(Path(folder))
    for name, files in found.items():
        print(f'{name}: {len(files)} files\n  ' + '\n  '.join(files))
    if args.check and found != mapped():
        print('error: CONTRIBUTING.md lists other files', file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
