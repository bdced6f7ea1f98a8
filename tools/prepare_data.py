#!/usr/bin/env python
"""The command ``cxrdet prepare-data``: python tools/prepare_data.py {cell-phantom,convert,voc,cdetector,nih ...}."""
import sys
from functools import partial

from cxrdet.cli import run_command

main = partial(run_command, 'prepare-data')

if __name__ == '__main__':
    sys.exit(main())
