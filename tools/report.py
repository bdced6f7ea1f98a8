#!/usr/bin/env python
"""The command ``cxrdet report``: python tools/report.py CONFIG CHECKPOINT --out report.html."""
import sys
from functools import partial

from cxrdet.cli import run_command

main = partial(run_command, 'report')

if __name__ == '__main__':
    sys.exit(main())
