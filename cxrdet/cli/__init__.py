"""The command ``cxrdet``: one parser of options, one handler of errors, a module a command.

A module of ``commands`` has ``add_arguments(parser)`` and ``run(args)``; its docstring is what ``--help`` says. No
framework is imported before ``run``. ``tools/<command>.py`` are doors to the same.
"""
import sys
from collections.abc import Sequence
from importlib import import_module

from cxrdet.cli.arguments import Parser
from cxrdet.cli.handler import guarded
from cxrdet.core.errors import did_you_mean
from cxrdet.core.terminal import guard_output, say, say_error
from cxrdet.version import __version__

COMMANDS = ('train', 'test', 'predict', 'cross-validate', 'check-data', 'balance-data', 'prepare-data', 'diagnose',
            'report', 'compare', 'plot-curves', 'browse-data', 'list', 'config', 'env', 'publish', 'completion')


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``cxrdet COMMAND …``; the exit code: 0 done, 1 a fault of ours or errors in a set, 2 yours to mend, 130 and
    143 stopped by Ctrl-C and SIGTERM."""
    argv = list(sys.argv[1:] if argv is None else argv)
    first = argv[0] if argv else '--help'
    if first in COMMANDS:
        return run_command(first, argv[1:])
    guard_output()
    if first in ('-h', '--help'):
        return guarded('help', None, lambda _: say(overview()))
    if first == '--version':
        return guarded('version', None, lambda _: say(f'cxrdet {__version__}'))
    say_error(f'"{first}" is no command of cxrdet.{did_you_mean(first, COMMANDS)} There are: {", ".join(COMMANDS)}.')
    return 2


def run_command(name: str, argv: Sequence[str] | None = None) -> int:
    """Run one command with its own options; as :func:`main`."""
    argv = list(sys.argv[1:] if argv is None else argv)
    guard_output()
    try:
        args = command_parser(name).parse_args(argv)
    except SystemExit as end:  # --help, or an option that is refused, has been told
        return int(end.code or 0)
    args.command_line = ['cxrdet', name, *argv]
    return guarded(name, args, _module(name).run)


def command_parser(name: str) -> Parser:
    """The parser of one command."""
    module = _module(name)
    parser = Parser(prog=f'cxrdet {name}', description=module.__doc__)
    module.add_arguments(parser)
    return parser


def full_parser() -> Parser:
    """A parser of all commands, for shell completion."""
    parser = Parser(prog='cxrdet', description='Train, judge and ship detectors and classifiers of medical images.')
    parser.add_argument('--version', action='version', version=f'cxrdet {__version__}')
    commands = parser.add_subparsers(dest='command', metavar='COMMAND', required=True)
    for name in COMMANDS:
        module = _module(name)
        module.add_arguments(commands.add_parser(name, help=_summary(name), description=module.__doc__))
    return parser


def overview() -> str:
    lines = [f'  {name:<16}{_summary(name)}' for name in COMMANDS]
    return '\n'.join(['usage: cxrdet COMMAND [options]', '',
                      'Train, judge and ship detectors and classifiers of medical images.', '', *lines, '',
                      '"cxrdet COMMAND --help" lists its options.'])


def _summary(name: str) -> str:
    return _module(name).__doc__.partition('\n')[0].rstrip('.')


def _module(name: str):
    return import_module(f'cxrdet.cli.commands.{name.replace("-", "_")}')
