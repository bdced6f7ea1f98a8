#!/usr/bin/env python
"""The command ``cxrdet train``: python tools/train.py CONFIG [options]."""
import sys
from functools import partial

from cxrdet.cli import run_command

main = partial(run_command, 'train')

if __name__ == '__main__':
    sys.exit(main())
