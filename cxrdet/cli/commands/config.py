"""Print a config with its bases and options resolved, or how it differs from another."""
from collections.abc import Iterator

from cxrdet.cli import arguments
from cxrdet.core.terminal import say


def add_arguments(parser) -> None:
    arguments.add_config(parser)
    parser.add_argument('--against', metavar='CONFIG', help='print what differs from this config only: "- there", '
                                                            '"+ here"')
    arguments.add_data_root(parser)
    arguments.add_cfg_options(parser)


def run(args) -> None:
    from cxrdet.preflight.config import load_config
    options = {'cfg_options': args.cfg_options, 'data_root': args.data_root}
    cfg = load_config(args.config, **options)
    if args.against is None:
        say(cfg.pretty_text.rstrip())
        return
    lines = list(differences(load_config(args.against).to_dict(), cfg.to_dict()))
    say('\n'.join(lines) or 'no difference')


def differences(old: dict, new: dict) -> Iterator[str]:
    """Lines ``- key = value`` of what is in ``old`` only, ``+ key = value`` of what is in ``new`` only."""
    before, after = dict(_leaves(old)), dict(_leaves(new))
    for key in sorted({*before, *after}):
        if key not in after or key not in before or before[key] != after[key]:
            yield from (f'- {key} = {before[key]!r}' for _ in (0,) if key in before)
            yield from (f'+ {key} = {after[key]!r}' for _ in (0,) if key in after)


def _leaves(node: object, place: str = '') -> Iterator[tuple[str, object]]:
    """The values of a tree of dicts, and of lists that hold dicts, by the names that --cfg-options takes."""
    if isinstance(node, dict):
        inner = list(node.items())
    elif isinstance(node, (list, tuple)) and any(isinstance(value, dict) for value in node):
        inner = list(enumerate(node))
    else:
        inner = []
    if not inner:
        yield place, node
    for key, value in inner:
        yield from _leaves(value, f'{place}.{key}' if place else str(key))
