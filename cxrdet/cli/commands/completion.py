"""Print a script by which a shell completes commands, options and files.

In bash: eval "$(cxrdet completion bash)". Needs shtab: pip install "cxrdet[completion]".
"""
from cxrdet.core.errors import ConfigError
from cxrdet.core.terminal import say


def add_arguments(parser) -> None:
    parser.add_argument('shell', choices=['bash', 'zsh', 'tcsh'], help='your shell')


def run(args) -> None:
    try:
        import shtab
    except ImportError as error:
        raise ConfigError('shtab is missing, which writes the script: pip install "cxrdet[completion]"') from error
    from cxrdet.cli import full_parser
    parser = full_parser()
    for part in _parsers(parser):
        for action in part._actions:
            if action.choices is None and action.nargs != 0:
                action.complete = shtab.FILE
    say(shtab.complete(parser, shell=args.shell))


def _parsers(parser):
    yield parser
    for action in parser._actions:
        if isinstance(action.choices, dict):
            for inner in action.choices.values():
                yield from _parsers(inner)
