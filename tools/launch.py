"""torch.distributed.run, but a signal that ends it shows no traceback: its processes say what there is to say.

Started by launch.sh; exit code 128 + the number of the signal, as of a program that the signal ends.
"""
import sys

from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.run import main

if __name__ == '__main__':
    try:
        main()
    except SignalException as end:
        sys.exit(128 + int(end.sigval))
