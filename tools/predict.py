#!/usr/bin/env python
"""The command ``cxrdet predict``: python tools/predict.py CONFIG CHECKPOINT IMAGES --out-dir DIR."""
import sys
from functools import partial

from cxrdet.cli import run_command

main = partial(run_command, 'predict')

if __name__ == '__main__':
    sys.exit(main())
