#!/usr/bin/env python
"""The command ``cxrdet test``: python tools/test.py CONFIG CHECKPOINT [options]."""
import sys
from functools import partial

from cxrdet.cli import run_command

main = partial(run_command, 'test')

if __name__ == '__main__':
    sys.exit(main())
