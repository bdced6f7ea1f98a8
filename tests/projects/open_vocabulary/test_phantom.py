"""Made-up shapes and sentences: exact boxes, true phrases, unseen pairs."""
import json

import cv2
import numpy as np
import pytest

from cxrdet.core.errors import ConfigError
from projects.open_vocabulary.open_vocabulary.phantom import (
    COLOURS,
    KINDS,
    UNSEEN,
    render_scene,
    sample_scene,
    write_phantoms,
)


def scenes(unseen, count=60):
    return [sample_scene(np.random.default_rng((1, number)), unseen=unseen) for number in range(count)]


def test_each_colour_and_kind_is_met_in_training():
    seen = [(colour, kind) for colour in COLOURS for kind in KINDS if (colour, kind) not in UNSEEN]
    assert {colour for colour, _ in seen} == {colour for colour, _ in UNSEEN} == set(COLOURS)
    assert {kind for _, kind in seen} == {kind for _, kind in UNSEEN} == set(KINDS)


def test_unseen_pairs_are_kept_apart():
    assert not any(shape.pair in UNSEEN for scene in scenes(False) for shape in scene.shapes)
    told = [set(text.split()) for scene in scenes(False) for text, _ in scene.phrases]
    assert not any(set(pair) <= words for words in told for pair in UNSEEN)
    for scene in scenes(True):
        pairs = [shape.pair in UNSEEN for shape in scene.shapes]
        assert any(pairs)
        assert not all(pairs)


@pytest.mark.parametrize('unseen', [False, True])
def test_phrases_name_what_they_say_and_nothing_else(unseen):
    """Each phrase is read anew: the shapes that all of its words fit are those that it is said to name."""
    ways = set()
    for scene in scenes(unseen):
        assert len({text for text, _ in scene.phrases}) == len(scene.phrases)
        for text, named in scene.phrases:
            words = text.split()
            fitting = [number for number, shape in enumerate(scene.shapes) if set(shape.pair) <= set(words)
                       and not (set(words) & {'small', 'large'}) - {shape.size}
                       and all(shape.is_at(word) for word in words if word in ('left', 'right', 'top', 'bottom'))]
            assert tuple(fitting) == named
            assert len(named) == 1 or words[0] == 'every'
            ways |= set(words) & {'every', 'small', 'large', 'left', 'top'}
        for text in scene.negatives:
            assert not any(set(shape.pair) <= set(text.split()) for shape in scene.shapes)
    assert ways == {'every', 'small', 'large', 'left', 'top'}


def test_boxes_are_tight_and_apart():
    for number, scene in enumerate(scenes(True, 10)):
        image = render_scene(np.random.default_rng(number), scene).astype(int)
        assert image.shape == (96, 96, 3)
        for shape in scene.shapes:
            left, top, right, bottom = shape.box
            inner = image[top:bottom, left:right]
            ground = np.median(image[[top - 2, bottom + 1], left - 2:right + 2].reshape(-1, 3), axis=0)
            there = np.abs(inner - ground).sum(axis=2) > 60
            rows, columns = np.flatnonzero(there.any(axis=1)), np.flatnonzero(there.any(axis=0))
            assert max(rows[0], columns[0]) <= 1
            assert min(rows[-1] - (bottom - top), columns[-1] - (right - left)) >= -2


def test_set_on_disk(shapes):
    content = json.loads((shapes / 'annotations' / 'test.json').read_text())
    assert len(content['images']) == 6
    assert len(list((shapes / 'images').iterdir())) == 24
    groups = {phrase['group'] for entry in content['images'] for phrase in entry['phrases']}
    assert groups == {'seen', 'unseen'}
    for entry in content['images']:
        for start, end in (phrase['span'] for phrase in entry['phrases']):
            assert entry['caption'][start:end].split()[0] in ('the', 'every')
        assert cv2.imread(str(shapes / 'images' / entry['file_name'])).shape == (96, 96, 3)
    train = json.loads((shapes / 'annotations' / 'train.json').read_text())
    assert {phrase['group'] for entry in train['images'] for phrase in entry['phrases']} == {'seen'}


def test_the_same_seed_gives_the_same_set(shapes, tmp_path):
    write_phantoms(tmp_path / 'again', splits={'val': 2})
    for name in ('val_00000.png', 'val_00001.png'):
        assert (tmp_path / 'again' / 'images' / name).read_bytes() == (shapes / 'images' / name).read_bytes()


@pytest.mark.parametrize('splits, seed', [({'tset': 1}, 0), ({'test': -1}, 0), ({'test': 1}, -1)])
def test_faulty_arguments(tmp_path, splits, seed):
    with pytest.raises(ConfigError):
        write_phantoms(tmp_path / 'x', splits=splits, seed=seed)
