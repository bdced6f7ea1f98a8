#!/usr/bin/env python
"""Generate docs/model_zoo.md, docs/claims.md, the README's table of plugins and the advice's evidence."""
import argparse
import sys
from pathlib import Path


def main(argv=None) -> int:
    argparse.ArgumentParser(description=__doc__).parse_args(argv)
    from zoo_pages import write_docs

    from cxrdet.core.errors import CxrdetError
    from cxrdet.core.terminal import guard_output, say, say_error
    guard_output()
    try:
        for path in write_docs(Path(__file__).parents[1]):
            say(f'written: {path}')
    except CxrdetError as error:
        say_error(error)
        return 2
    return 0


if __name__ == '__main__':
    sys.exit(main())
