"""Fixtures of the tests of formats."""
from collections import Counter

import cv2
import numpy as np
import pytest


@pytest.fixture(scope='session')
def write_png():
    """``write(path, width=200, height=100)``: a grey image; folders are made."""
    def write(path, width=200, height=100):
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), np.full((height, width), 90, np.uint8))
        return path
    return write


@pytest.fixture(scope='session')
def boxes_of():
    """(file name of the image, class, box rounded to 1e-6) of every box of a table."""
    def listed(table):
        return [(table.names[image], table.classes[label] if label >= 0 else None, box)
                for image, label, box in zip(table.box_image, table.box_label, table.boxes.round(6).tolist())]
    return listed


@pytest.fixture(scope='session')
def codes_of():
    """Number of the findings of a table by code."""
    return lambda table: Counter(finding.code for finding in table.findings)
