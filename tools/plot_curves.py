#!/usr/bin/env python
"""The command ``cxrdet plot-curves``: python tools/plot_curves.py RUN [RUN ...] --out curves.png."""
import sys
from functools import partial

from cxrdet.cli import run_command

main = partial(run_command, 'plot-curves')

if __name__ == '__main__':
    sys.exit(main())
