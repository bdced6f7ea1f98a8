"""What each command says, and with which exit code it ends, when something goes wrong: python benchmarks/faults.py.

Writes docs/faults.md. Takes some minutes: every command is run for each fault, on made-up cells and a detector trained
for one epoch. ``--only train,predict`` and ``--faults full`` show a part, on the screen only.
"""
import argparse
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from md_table import table

ROOT = Path(__file__).parents[1]
PAGE = ROOT / 'docs' / 'faults.md'
CONFIG = 'faster_rcnn_bifpn_cell_tiny'
ALONE = ['--cfg-options', *(f'{part}_dataloader.{key}' for part in ('train', 'val', 'test')
                            for key in ('num_workers=0', 'persistent_workers=False'))]
SMALL = 16  # kB of the disk that is full soon, or of a file where no disk can be mounted
READ_ONLY = '/sys/kernel/out'  # for everybody, root too
FAULTS = {'full': 'full disk', 'read-only': 'read-only folder', 'in the way': 'file in the way', 'Ctrl-C': 'Ctrl-C',
          'SIGTERM': 'SIGTERM', 'argument': 'bad argument'}
SIGNALS = {'Ctrl-C': signal.SIGINT, 'SIGTERM': signal.SIGTERM}
HEAD = """# When something goes wrong

Made by `python benchmarks/faults.py`: each command with a disk of 16 kB, into a folder that is read-only, below a file,
stopped by Ctrl-C and by SIGTERM in the midst of its work, and with an argument out of range. Exit codes: 0 done, 1 a
fault of cxrdet (and, of `check-data`, errors in the set), 2 something for you to mend, 130 Ctrl-C, 143 SIGTERM. Left:
what stands in the output folder afterwards, logs and configs not counted; files of a training are whole.
"""


def commands(data: Path, work: Path, checkpoint: Path) -> dict[str, tuple[list[str], list[str], float]]:
    """Command -> arguments with OUT for what is written, a bad argument, seconds until it is at work."""
    model, root = [CONFIG, str(checkpoint)], ['--data-root', str(data)]
    return {
        'train': ([CONFIG, *root, '--work-dir', 'OUT', '--from-scratch', *ALONE, 'max_epochs=50'], ['--seed', '-1'],
                  28),
        'cross-validate': ([CONFIG, *root, '--folds', '2', '--jobs', '1', '--work-dir', 'OUT', '--from-scratch',
                            '--cfg-options', 'max_epochs=50'], ['--folds', '1'], 30),
        'test': ([*model, *root, '--work-dir', 'OUT', *ALONE], ['--valid-limit', '0'], 6),
        'predict': ([*model, str(data / 'images'), '--out-dir', 'OUT'], ['--batch-size', '0'], 6),
        'check-data': ([str(data), '--fix', 'OUT', '--workers', '1'], ['--workers', '-1'], 0.5),
        'balance-data': ([str(data), 'OUT', '--target', '2000'], ['--most', '0'], 5),
        'prepare-data': (['cell-phantom', 'OUT', '--train', '3000'], ['--size', '0'], 5),
        'diagnose': ([*model, *root, '--out', 'OUT/d.json', '--workers', '0'], ['--workers', '-1'], 7),
        'report': ([*model, *root, '--out', 'OUT/r.html', '--workers', '0'], ['--samples', '0'], 7),
        'compare': ([*model, *root, '--out', 'OUT/c.png'], ['--columns', '0'], 7),
        'plot-curves': ([str(work), '--out', 'OUT/c.svg'], ['--out', 'OUT/c.txt'], 0.7),
        'browse-data': ([CONFIG, *root, '--out-dir', 'OUT', '--number', '200'], ['--number', '0'], 6),
        'publish': ([str(checkpoint), 'OUT/m.pth'], ['OUT/m.txt'], 2.5),
    }


def environment() -> dict[str, str]:
    return {**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1', 'CUDA_VISIBLE_DEVICES': '-1'}


def run(command: str, arguments: list[str], *, limit: int | None = None, stop: tuple[float, int] | None = None,
        folder: Path) -> tuple[int, list[str]]:
    """Exit code, and the lines on standard error."""
    def confine() -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell in the background ignores it
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    process = subprocess.Popen([sys.executable, '-m', 'cxrdet', command, *arguments], stdout=subprocess.DEVNULL,
                               stderr=subprocess.PIPE, text=True, errors='replace', cwd=folder, env=environment(),
                               preexec_fn=confine)
    if stop is not None:
        time.sleep(stop[0])
        process.send_signal(stop[1])
    _, said = process.communicate(timeout=300)
    return process.returncode, [line for line in said.splitlines() if line.strip()]


def mount(folder: Path) -> bool:
    """Mount a small disk; whether that could be done, which only root may."""
    done = subprocess.run(['mount', '-t', 'tmpfs', '-o', f'size={SMALL}k', 'none', str(folder)], capture_output=True)
    return done.returncode == 0


def attempt(command: str, fault: str, plan: tuple, folder: Path) -> tuple[int, list[str], list[str]]:
    """Exit code, lines on standard error, and the files that are left."""
    arguments, bad, seconds = plan
    out = folder / 'out'
    if fault in ('full', 'Ctrl-C', 'SIGTERM', 'argument'):
        out.mkdir()
    elif fault == 'in the way':
        out.write_text('a file of yours')
        out = out / 'below'
    else:
        out = Path(READ_ONLY)
    arguments = [text.replace('OUT', str(out)) for text in arguments]
    if fault == 'argument':
        swap = command == 'publish'
        arguments = [*arguments[:-1 if swap else None], *(text.replace('OUT', str(out)) for text in bad)]
        if '--cfg-options' in arguments:  # which takes all that follows
            arguments = [*bad, *arguments[:-len(bad)]]
    mounted = fault == 'full' and mount(out)
    code, said = run(command, arguments, limit=SMALL * 1024 if fault == 'full' and not mounted else None,
                     stop=(seconds, SIGNALS[fault]) if fault in SIGNALS else None, folder=folder)
    left = sorted(str(path.relative_to(out)) for path in out.rglob('*') if path.is_file()) if out.is_dir() else []
    if mounted:
        subprocess.run(['umount', str(out)], check=True)
    return code, said, [name for name in left if not name.endswith(('.log', '.py')) and '/vis_data/' not in name]


def line_of(said: list[str], folder: Path) -> str:
    """The one line that was said; of several, the last, with their number."""
    said = [line for line in said if not line.startswith(('[#', '[ ')) and 'Warning' not in line]
    text = said[-1].replace(str(folder), '…') if said else '(nothing)'
    return (text if len(text) <= 260 else text[:257] + '…') + (f' (last of {len(said)} lines)' if len(said) > 1 else '')


def rows(only: list[str], faults: list[str], folder: Path) -> Iterator[list[str]]:
    data, work = folder / 'data', folder / 'run'
    for command, arguments in (
            ('prepare-data', ['cell-phantom', str(data), '--train', '24', '--val', '12', '--size', '160']),
            ('train', [CONFIG, '--data-root', str(data), '--work-dir', str(work), '--from-scratch', *ALONE,
                       'max_epochs=1'])):
        code, said = run(command, arguments, folder=folder)
        if code:
            sys.exit('\n'.join(said))
    plans = commands(data, work, work / 'epoch_1.pth')
    for command in only or plans:
        for fault in faults:
            *arguments, seconds = plans[command]
            for sooner in (1, 0.6, 0.35, 0.2):  # a signal that came too late is sent again
                place = Path(tempfile.mkdtemp(dir=folder))
                code, said, left = attempt(command, fault, (*arguments, seconds * sooner), place)
                if said or fault not in SIGNALS:
                    break
            yield [command, FAULTS[fault], code, line_of(said, place).replace(str(folder), '…'),
                   ', '.join(left[:4]) + (f' and {len(left) - 4} more' if len(left) > 4 else '')]
            shutil.rmtree(place)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('--only', default='', help='commands, with commas')
    parser.add_argument('--faults', default=','.join(FAULTS), help=f'of {", ".join(FAULTS)}')
    args = parser.parse_args()
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for row in rows([name for name in args.only.split(',') if name], args.faults.split(','), Path(folder)):
            print(' | '.join(map(str, row)), flush=True)
            said = row[3].replace('|', '/').replace('`', '')
            found.append([f'`{row[0]}`', *row[1:3], f'`{said}`', row[4] or 'nothing'])
    if not args.only and args.faults == ','.join(FAULTS):
        head = ['command', 'fault', 'exit', 'the line that is said', 'left']
        PAGE.write_text('\n'.join([HEAD, table(head, found), '']), encoding='utf-8')


if __name__ == '__main__':
    main()
