"""The readers that build on it: mutants of good files are told or refused, never a traceback."""
import json
import random
import re
from contextlib import suppress

import pytest
import yaml

from cxrdet.core.annotation_checks import check_table
from cxrdet.core.errors import DataError
from cxrdet.datasets.formats.sets import read_set
from cxrdet.datasets.formats.table_builder import split_of

JUNK = [None, True, -1, 1e400, float('nan'), '', 'x', '\0', '../a.png', '/', [], {}, [[]], [None], {'a': 1}, 10 ** 400,
        '9' * 5000, 'é']
SHAPE = {'id': 'r', 'type': 'rectanglelabels', 'original_width': 200, 'original_height': 100, 'value': {
    'x': 1, 'y': 2, 'width': 3, 'height': 4, 'rotation': 5, 'rectanglelabels': ['a']}}
POLYGON = {**SHAPE, 'id': 'p', 'value': {'points': [[1, 2], [3, 4], [5, 6]], 'polygonlabels': ['b']}}
ELLIPSE = {**SHAPE, 'id': 'e', 'value': {'x': 1, 'y': 1, 'radiusX': 3, 'radiusY': 4, 'ellipselabels': ['b']}}
GOOD = {
    'label-studio': [{'id': 1, 'data': {'image': '/data/upload/1/0a1b2c3d-a.png'}, 'predictions': [],
                      'annotations': [{'ground_truth': True, 'result': [SHAPE, POLYGON, ELLIPSE]}]}],
    'labelme': {'version': '5', 'shapes': [{'label': 'a', 'points': [[1, 2], [30, 40]], 'shape_type': kind}
                                           for kind in ('rectangle', 'circle', 'polygon')],
                'imagePath': 'a.png', 'imageHeight': 100, 'imageWidth': 200},
    'yolo': {'path': '.', 'train': 'images', 'val': ['images'], 'kpt_shape': [2, 3], 'names': {0: 'a', 1: 'b'}}}
CVAT = ('<annotations><image id="0" name="a.png" width="200" height="100" subset="train"><box label="a" xtl="1" '
        'ytl="2" xbr="30" ybr="40" rotation="5"/><polygon label="a" points="1,2;3,4;5,6"/><ellipse label="a" cx="1" '
        'cy="2" rx="3" ry="4" rotation="x"/><mask label="a" left="1" top="2" width="3" height="4"/></image>'
        '</annotations>')
FILES = {'label-studio': 'export.json', 'labelme': 'a.json', 'cvat': 'annotations.xml', 'yolo': 'data.yaml'}


def mutated(node, rng):
    """The same JSON with about every eighth value replaced."""
    if rng.random() < 0.12:
        return rng.choice(JUNK)
    if isinstance(node, dict):
        return {key: mutated(value, rng) for key, value in node.items()}
    return [mutated(value, rng) for value in node] if isinstance(node, list) else node


def mutant(kind, rng):
    if kind == 'cvat':
        return re.sub('"[^"]*"', lambda match: match[0] if rng.random() < 0.8 else f'"{str(rng.choice(JUNK))[:400]}"',
                      CVAT).replace('\0', '').encode()
    content = mutated(GOOD[kind], rng)
    data = bytearray((yaml.safe_dump(content) if kind == 'yolo' else json.dumps(content)).encode())
    if rng.random() < 0.2:
        data[rng.randrange(len(data))] = rng.randrange(256)
    return bytes(data)


@pytest.mark.parametrize('kind', FILES)
def test_mutants(tmp_path, write_png, kind):
    write_png(tmp_path / 'images' / 'a.png')
    (tmp_path / 'labels').mkdir()
    rng, read = random.Random(0), 0
    for _ in range(120):
        (tmp_path / FILES[kind]).write_bytes(mutant(kind, rng))
        cells = rng.choices(['0', '1', '0.5', '0.2', '1e999', 'nan', '-1', 'x', '7'], k=rng.randint(1, 12))
        (tmp_path / 'labels' / 'a.txt').write_text(f'0 0.5 0.5 0.1 0.1\n{" ".join(cells)}\n')
        with suppress(DataError):
            check_table(read_set(tmp_path, kind))
            read += 1
    assert 20 < read < 120


@pytest.mark.parametrize('name, split', [('train/a.png', 'train'), ('x/Valid/a.png', 'val'), ('test.png', ''),
                                         ('validation/train/a.png', 'val'), ('', '')])
def test_split_of(name, split):
    assert split_of(name) == split
