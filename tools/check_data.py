#!/usr/bin/env python
"""The command ``cxrdet check-data``: python tools/check_data.py PATH [--fix OUT]."""
import sys
from functools import partial

from cxrdet.cli import run_command

main = partial(run_command, 'check-data')

if __name__ == '__main__':
    sys.exit(main())
