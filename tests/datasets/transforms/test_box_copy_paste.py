"""BoxCopyPaste, checked by pixels: every object has a colour of its own, and its class is the dominant channel."""
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmdet.structures.bbox import HorizontalBoxes

from cxrdet.core.errors import ConfigError
from cxrdet.datasets.transforms.box_copy_paste import BoxCopyPaste
from cxrdet.engine.seeding import seed_dataset

GROUND = 100


def image(boxes, labels, ignore=None, *, size=(120, 160), ground=GROUND):
    """A grey image with each box filled by 200 + its number in the channel of its label, 20 in the others."""
    pixels = np.full((*size, 3), ground, np.uint8)
    for number, ((x1, y1, x2, y2), label) in enumerate(zip(boxes, labels)):
        pixels[y1:y2, x1:x2] = 20
        pixels[y1:y2, x1:x2, label] = 200 + number
    boxes = torch.as_tensor(np.reshape(boxes, (-1, 4)), dtype=torch.float32)
    flags = np.zeros(len(boxes), bool) if ignore is None else np.array(ignore, bool)
    return dict(img=pixels, gt_bboxes=HorizontalBoxes(boxes), gt_bboxes_labels=np.array(labels, np.int64),
                gt_ignore_flags=flags, img_shape=size)


def seeded(seed=0, **kwargs):
    transform = BoxCopyPaste(**{'prob': 1.0, **kwargs})
    assert seed_dataset(SimpleNamespace(pipeline=[transform]), seed) == 1
    return transform


def run(transform, target, source):
    return transform({**target, 'img': target['img'].copy(), 'mix_results': [source]})


SOURCE = image([[20, 20, 51, 40], [80, 30, 94, 61], [100, 90, 110, 100]], [0, 1, 2])
TARGET = image([[5, 5, 45, 45], [90, 60, 150, 110]], [1, 0])


def test_boxes_labels_and_pixels_are_in_step():
    """300 draws: old boxes first and as they were; each new one is filled by its ellipse, and covers little."""
    transform, counts, cornered = seeded(soft=0), [], set()
    for _ in range(300):
        result = run(transform, TARGET, SOURCE)
        boxes, labels = result['gt_bboxes'].numpy(), result['gt_bboxes_labels']
        assert isinstance(result['gt_bboxes'], HorizontalBoxes) and boxes.dtype == np.float32
        assert labels.dtype == np.int64 and result['gt_ignore_flags'].dtype == bool
        assert len(boxes) == len(labels) == len(result['gt_ignore_flags']) and not result['gt_ignore_flags'].any()
        assert (boxes[:2] == TARGET['gt_bboxes'].numpy()).all() and labels[:2].tolist() == [1, 0]
        counts.append(len(boxes) - 2)
        changed = np.zeros(result['img'].shape[:2], bool)
        for (x1, y1, x2, y2), label in zip(boxes[2:].astype(int), labels[2:]):
            assert 0 <= x1 < x2 <= 160 and 0 <= y1 < y2 <= 120
            assert sorted((x2 - x1, y2 - y1)) == {0: [20, 31], 1: [14, 31], 2: [10, 10]}[label]
            changed[y1:y2, x1:x2] = True
            cornered.add((x1, y1))
        x1, y1, x2, y2 = boxes[-1].astype(int)  # the last one is on top
        filled = result['img'][y1:y2, x1:x2, labels[-1]] == 200 + labels[-1]  # object k of the source has class k
        if counts[-1]:
            assert filled.any(axis=0).all() and filled.any(axis=1).all()
        if counts[-1] == 1:  # else another of the same colour may lie below
            assert filled.mean() == pytest.approx(np.pi / 4, abs=0.03)
        assert (result['img'][~changed] == TARGET['img'][~changed]).all()
        for x1, y1, x2, y2 in TARGET['gt_bboxes'].numpy().astype(int):
            pasted = boxes[2:].astype(int)
            for a1, b1, a2, b2 in pasted:
                shared = max(0, min(x2, a2) - max(x1, a1)) * max(0, min(y2, b2) - max(y1, b1))
                assert shared <= 0.3 * (x2 - x1) * (y2 - y1)
    assert set(counts) == {1, 2, 3} and len(cornered) > 300
    assert (TARGET['img'] == image([[5, 5, 45, 45], [90, 60, 150, 110]], [1, 0])['img']).all(), 'the input is kept'


def test_pasted_objects_spare_each_other():
    """Many objects in a small empty image: none is covered by a later one by more than a tenth."""
    for _ in range(30):
        boxes = run(seeded(_, max_objects=20, max_cover=0.1), image([], [], size=(70, 70)), SOURCE)['gt_bboxes'].numpy()
        for i, (x1, y1, x2, y2) in enumerate(boxes):
            for a1, b1, a2, b2 in boxes[i + 1:]:
                shared = max(0, min(x2, a2) - max(x1, a1)) * max(0, min(y2, b2) - max(y1, b1))
                assert shared <= 0.1 * (x2 - x1) * (y2 - y1) + 1e-6


def test_all_eight_orientations():
    """A patch with a mark in one corner: four corners by two directions."""
    source = image([[20, 20, 50, 40]], [0])
    source['img'][20:40, 20:50, 1] = np.linspace(0, 250, 30).astype(np.uint8)
    source['img'][20:40, 20:50, 2] = np.linspace(0, 250, 20).astype(np.uint8)[:, None]
    transform, seen = seeded(max_objects=1, soft=0), set()
    for _ in range(200):
        result = run(transform, image([], []), source)
        x1, y1, x2, y2 = result['gt_bboxes'].numpy()[0].astype(int)
        middle = result['img'][y1:y2, x1:x2].astype(int)
        rows, columns = middle.shape[:2]
        across = middle[rows // 2, columns - 4] - middle[rows // 2, 4]
        down = middle[rows - 4, columns // 2] - middle[4, columns // 2]
        seen.add((tuple(np.sign(across[1:])), tuple(np.sign(down[1:]))))
    assert len(seen) == 8


def test_rim_fades():
    result = run(seeded(max_objects=1, soft=0.5), image([], []), image([[20, 20, 60, 60]], [0]))
    x1, y1, x2, y2 = result['gt_bboxes'].numpy()[0].astype(int)
    line = result['img'][(y1 + y2) // 2, x1:x2, 0].astype(int)
    assert line[0] < 106 and line[20] == 200 and (np.diff(line[:21]) >= 0).all()
    assert line[5] == pytest.approx(GROUND + 100 * 2 * (5.5 / 20), abs=1)  # depth over half the radius


def test_classes_are_equally_likely():
    boxes = [[10 + 14 * i, 50, 20 + 14 * i, 60] for i in range(9)] + [[70, 90, 80, 100]]
    transform = seeded(max_objects=1)
    labels = [run(transform, image([], []), image(boxes, [0] * 9 + [1]))['gt_bboxes_labels'][0] for _ in range(300)]
    assert 110 < sum(labels) < 190


@pytest.mark.parametrize(('boxes', 'labels', 'ignore', 'why'), [
    ([], [], None, 'no object'),
    ([[20, 20, 40, 40]], [0], [True], 'ignored'),
    ([[0, 20, 40, 40]], [0], None, 'at the left border'),
    ([[20, 20, 160, 40]], [0], None, 'at the right border'),
    ([[20, 20, 40, 40], [25, 20, 60, 40]], [0, 1], None, 'covered'),
    ([[20, 20, 21, 60]], [0], None, 'one pixel wide'),
])
def test_what_is_not_taken(boxes, labels, ignore, why):
    transform = seeded()
    for _ in range(20):
        result = run(transform, TARGET, image(boxes, labels, ignore))
        assert len(result['gt_bboxes']) == 2 and (result['img'] == TARGET['img']).all(), why


def test_no_room():
    """Neither what is larger than the image nor what would cover too much of it is pasted."""
    small = image([[1, 1, 19, 19]], [0], size=(20, 20))
    for source in (image([[20, 20, 60, 60]], [1]), image([[20, 20, 38, 38]], [1])):
        result = run(seeded(), small, source)
        assert result['gt_bboxes_labels'].tolist() == [0] and (result['img'] == small['img']).all()
        assert result['gt_bboxes_labels'].dtype == np.int64


def test_into_an_image_without_boxes():
    result = run(seeded(), image([], []), SOURCE)
    assert len(result['gt_bboxes']) >= 1 and result['gt_bboxes_labels'].dtype == np.int64


def test_prob():
    for prob, low, high in ((0, 0, 0), (0.5, 70, 130), (1, 200, 200)):
        transform = seeded(prob=prob)
        assert low <= sum(len(run(transform, TARGET, SOURCE)['gt_bboxes']) > 2 for _ in range(200)) <= high


def test_numbers_follow_from_the_seed():
    """Also after other draws, as a resumed run needs it; get_indexes included."""
    used = seeded(9)
    run(used, TARGET, SOURCE)
    seed_dataset(SimpleNamespace(pipeline=[used]), 1)
    fresh, other = seeded(1), seeded(2)
    draws = [[run(part, TARGET, SOURCE)['img'].tobytes() for _ in range(5)] for part in (used, fresh, other)]
    assert draws[0] == draws[1] != draws[2]
    indexes = [[part.get_indexes(range(50)) for _ in range(20)] for part in (used, fresh)]
    assert indexes[0] == indexes[1] and len(set(indexes[0])) > 10 and max(indexes[0]) < 50


@pytest.mark.parametrize(('kwargs', 'text'), [
    (dict(prob=1.5), r'prob must lie in \[0, 1\], got 1.5'), (dict(max_objects=0), r'max_objects must lie in \[1, '),
    (dict(max_cover=-1), 'max_cover .* got -1'), (dict(soft=2), 'soft .* got 2')])
def test_wrong_arguments(kwargs, text):
    with pytest.raises(ConfigError, match=f'BoxCopyPaste: .*{text}'):
        BoxCopyPaste(**kwargs)


def test_wrong_place():
    with pytest.raises(ConfigError, match='into the pipeline of a MultiImageMixDataset'):
        BoxCopyPaste()(dict(TARGET))
    with pytest.raises(ConfigError, match='moves no masks'):
        run(BoxCopyPaste(), {**TARGET, 'gt_masks': []}, SOURCE)
    assert repr(BoxCopyPaste(0.1)) == 'BoxCopyPaste(prob=0.1, max_objects=3, max_cover=0.3, soft=0.2)'
