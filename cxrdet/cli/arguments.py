"""Options that several commands share, and what a value may be. A wrong one is refused before any work."""
import argparse
import math
import os
import re
import tempfile
from collections.abc import Callable
from pathlib import Path

from cxrdet.core.errors import did_you_mean
from cxrdet.core.terminal import say_error

PICTURES = ('.png', '.jpg', '.jpeg')
MOST_WORKERS = 64 * (os.cpu_count() or 1)  # as in a config, see cxrdet.preflight.rules
_LARGEST = 2 ** 31 - 1


class Parser(argparse.ArgumentParser):
    """argparse's, but for one line that says what is wrong with an option, and which one may have been meant."""

    def error(self, message: str):
        if found := re.search(r"invalid choice: '(.*)' \(choose from (.*)\)$", message):
            message += did_you_mean(found[1], [name.strip("'") for name in found[2].split(', ')])
        elif found := re.match(r'unrecognized arguments: (--[^ =]+)', message):
            message += did_you_mean(found[1], self._option_string_actions)
        say_error(f'{message} ("{self.prog} --help" lists the options)')
        raise SystemExit(2)


def whole(low: int, high: int | None = None) -> Callable[[str], int]:
    """A type of argument: a whole number from ``low`` to ``high``, by default the largest of 32 bits."""
    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = None
        if value is None or not low <= value <= (_LARGEST if high is None else high):
            large = value is not None and value >= low
            most = f'to {high or _LARGEST}' if high is not None or large else 'on'
            raise argparse.ArgumentTypeError(f'expected a whole number from {low} {most}, got {text!r}')
        return value
    return parse


def number(interval: str) -> Callable[[str], float]:
    """A type of argument: a number in an interval such as ``'(0, 1]'``."""
    low, high = map(float, interval[1:-1].split(','))

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not low <= value <= high or (value == low and interval[0] == '(') or (
                value == high and interval[-1] == ')'):
            raise argparse.ArgumentTypeError(f'expected a number in {interval}, got {text!r}')
        return value
    return parse


def new_file(*suffixes: str) -> Callable[[str], str]:
    """A type of argument: a file to write, of one of these kinds, in a folder that can be written to."""
    def parse(text: str) -> str:
        if Path(text).suffix.lower() not in suffixes:
            raise argparse.ArgumentTypeError(f'expected {" or ".join(suffixes)} at the end of the name, got {text!r}')
        if os.path.isdir(text):
            raise argparse.ArgumentTypeError(f'expected a file to write, but {text} is a folder')
        _check_writable(Path(text).parent)
        return text
    return parse


def new_folder(text: str) -> str:
    """A type of argument: a folder to write into, which is made if need be."""
    if not text:
        raise argparse.ArgumentTypeError('expected a folder to write into, got an empty name')
    _check_writable(Path(text))
    return text


def _check_writable(folder: Path) -> None:
    """Refuse a folder that cannot be made or written to, as far as it can be known without making it."""
    try:
        place = next(path for path in (folder, *folder.absolute().parents) if _is_there(path))
    except (OSError, ValueError) as error:
        raise argparse.ArgumentTypeError(
            f'expected a folder to write into, got {str(folder)!r:.200}: {getattr(error, "strerror", None) or error}'
        ) from None
    if not place.is_dir():
        what = 'a link to nothing' if place.is_symlink() and not place.exists() else 'a file'
        raise argparse.ArgumentTypeError(f'expected a folder to write into, got {folder}, but {place} is {what}; '
                                         'give another folder')
    try:  # what os.access says does not hold for every file system, nor for root
        tempfile.TemporaryFile(dir=place).close()
    except OSError as error:
        raise argparse.ArgumentTypeError(f'{place} cannot be written to: {error.strerror}; give another folder'
                                         ) from None


def _is_there(path: Path) -> bool:
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def add_config(parser: argparse.ArgumentParser, text: str = 'config file, or the name of a recipe (cxrdet list)',
               **kwargs) -> None:
    parser.add_argument('config', help=text, **kwargs)


def add_checkpoint(parser: argparse.ArgumentParser, text: str = 'checkpoint file', **kwargs) -> None:
    parser.add_argument('checkpoint', help=text, **kwargs)


def add_data_root(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--data-root', metavar='DIR', help='root folder of the data set')


def add_work_dir(parser: argparse.ArgumentParser, what: str = 'folder for logs and checkpoints') -> None:
    parser.add_argument('--work-dir', type=new_folder, metavar='DIR',
                        help=f'{what} (default: work_dirs/<config name>)')


def add_limit(parser: argparse.ArgumentParser, part: str, what: str) -> None:
    parser.add_argument(f'--{part}-limit', type=whole(1), metavar='N', help=f'use N {what} only')


def add_seed(parser: argparse.ArgumentParser, text: str = 'seed of all random draws (default: 0)',
             default: int | None = 0) -> None:
    parser.add_argument('--seed', type=whole(0, 2 ** 32 - 1), default=default, metavar='N', help=text)


def add_device(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--device', default='auto', help='auto (a GPU if there is one), cpu, cuda, cuda:1 …')


def add_workers(parser: argparse.ArgumentParser, low: int = 0) -> None:
    parser.add_argument('--workers', type=whole(low, MOST_WORKERS), default=2, metavar='N',
                        help='processes that read images (default: 2)')


def add_trust(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--trust-checkpoint', action='store_true',
                        help='load a checkpoint even if that executes code stored in it')


def add_cfg_options(parser: argparse.ArgumentParser, example: str = '') -> None:
    parser.add_argument('--cfg-options', nargs='+', action='extend', metavar='KEY=VALUE',
                        help=f'override settings of the config{example and ", e.g. "}{example}')


def add_prompt(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--prompt', metavar='TEXT',
                        help='of detectors that read text: what to look for, phrases with full stops between them, as '
                             '"white blood cell . platelet" (default: what the config says)')


def add_launcher(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none',
                        help='how the processes of a distributed run are started (default: none)')
    parser.add_argument('--timeout', type=number('(0, 1e7]'), metavar='SECONDS',
                        help='with a launcher: how long a process waits for one that hangs (default: '
                             'env_cfg.dist_cfg.timeout of the config, or else 300)')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)


def apply_launcher(args: argparse.Namespace, cfg) -> None:
    """Put what :func:`add_launcher` offers into the environment and the config."""
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    if args.timeout is not None:
        cfg.setdefault('env_cfg', {}).setdefault('dist_cfg', {})['timeout'] = args.timeout


def add_judged(parser: argparse.ArgumentParser) -> None:
    """What diagnose and report judge, and with what."""
    parser.add_argument('--split', choices=['val', 'test'], default='val',
                        help='images to judge the model on (default: val)')
    parser.add_argument('--train-images', type=whole(0), default=200, metavar='N',
                        help='training images to compare with, drawn at random; 0: none (default: 200)')
    parser.add_argument('--score-thr', type=number('[0, 1]'), metavar='S',
                        help='detectors: lowest score of a box that counts (default: the one with the best F1)')
    add_seed(parser)
    add_device(parser)
    add_workers(parser)
    add_data_root(parser)
    add_trust(parser)
