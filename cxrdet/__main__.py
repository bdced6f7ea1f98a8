"""``python -m cxrdet``: the command ``cxrdet``."""
import sys

from cxrdet.cli import main

if __name__ == '__main__':
    sys.exit(main())
