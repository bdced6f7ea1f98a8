#!/usr/bin/env python
"""The command ``cxrdet browse-data``: python tools/browse_data.py CONFIG --out-dir DIR."""
import sys
from functools import partial

from cxrdet.cli import run_command

main = partial(run_command, 'browse-data')

if __name__ == '__main__':
    sys.exit(main())
