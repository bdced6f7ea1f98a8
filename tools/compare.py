#!/usr/bin/env python
"""The command ``cxrdet compare``: python tools/compare.py CONFIG CHECKPOINT --out sheet.png."""
import sys
from functools import partial

from cxrdet.cli import run_command

main = partial(run_command, 'compare')

if __name__ == '__main__':
    sys.exit(main())
