"""``python -m cxrdet.ops``: which operator of mmcv comes from where."""
from cxrdet.ops.report import table

if __name__ == '__main__':
    import sys
    sys.stdout.write(table() + '\n')
