#!/usr/bin/env python
"""The command ``cxrdet diagnose``: python tools/diagnose.py CONFIG CHECKPOINT."""
import sys
from functools import partial

from cxrdet.cli import run_command

main = partial(run_command, 'diagnose')

if __name__ == '__main__':
    sys.exit(main())
