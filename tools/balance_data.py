#!/usr/bin/env python
"""The command ``cxrdet balance-data``: python tools/balance_data.py SET OUT [--target 1000]."""
import sys
from functools import partial

from cxrdet.cli import run_command

main = partial(run_command, 'balance-data')

if __name__ == '__main__':
    sys.exit(main())
