"""Balanced sets: how near the classes come, that nothing is to be seen without its box, images without boxes."""
import json
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch

from cxrdet.core.errors import DataError
from cxrdet.curation.backgrounds import Backgrounds, free_windows
from cxrdet.curation.balance import balance_data, balance_text
from cxrdet.curation.check_data import check_data
from cxrdet.inference.predict import detector

ROOT = Path(__file__).parents[2]
TINY = ROOT / 'configs' / 'faster_rcnn_bifpn_cell_tiny.py'


def write_set(root, drawings, *, size=(120, 160), crowd=()):
    """A COCO set of red ellipses that fill their boxes; ``drawings``: one list of (x1, y1, x2, y2, label) an image."""
    (root / 'images').mkdir(parents=True)
    (root / 'annotations').mkdir()
    images, annotations, rng = [], [], np.random.default_rng(0)
    for k, boxes in enumerate(drawings):
        image = rng.integers(60, 90, (*size, 3), np.uint8)
        for x1, y1, x2, y2, label in boxes:
            cv2.ellipse(image, (((x1 + x2) / 2, (y1 + y2) / 2), (x2 - x1 - 2, y2 - y1 - 2), 0), (20, 20, 250), -1)
            annotations.append({'id': len(annotations), 'image_id': k, 'category_id': label + 1, 'area': 1,
                                'iscrowd': int((k, len(annotations)) in crowd), 'bbox': [x1, y1, x2 - x1, y2 - y1]})
        cv2.imwrite(str(root / 'images' / f'{k}.png'), image)
        images.append({'id': k, 'file_name': f'{k}.png', 'height': size[0], 'width': size[1]})
    (root / 'annotations' / 'train.json').write_text(json.dumps({
        'images': images, 'annotations': annotations, 'categories': [{'id': 1, 'name': 'often'},
                                                                     {'id': 2, 'name': 'rare'}]}))
    return root


def crowded(rng, number, rare=1):
    """Boxes of 16 to 30 px that do not overlap, the first ones rare."""
    boxes = []
    while len(boxes) < number:
        w, h = rng.integers(16, 30, 2)
        x, y = rng.integers(0, 160 - w), rng.integers(0, 120 - h)
        if all(x > b[2] or y > b[3] or x + w < b[0] or y + h < b[1] for b in boxes):
            boxes.append((int(x), int(y), int(x + w), int(y + h), int(len(boxes) < rare)))
    return boxes


@pytest.fixture(scope='module')
def full(tmp_path_factory):
    """Eight images of eight objects, of which one is rare: 7 to 1."""
    rng = np.random.default_rng(1)
    return write_set(tmp_path_factory.mktemp('full') / 'set', [crowded(rng, 8) for _ in range(8)])


def added_to(out):
    content = json.loads((out / 'annotations' / 'train.json').read_text())
    for image in content['images']:
        if '_copy' in image['file_name'] or 'negative' in image['file_name']:
            yield (cv2.imread(str(out / 'images' / image['file_name'])), image['file_name'],
                   [box for box in content['annotations'] if box['image_id'] == image['id']])


@pytest.mark.parametrize('paste', [0, 2])
def test_nothing_is_seen_without_its_box(tmp_path, paste):
    """Every red pixel of a copy lies in one of its boxes (or 3 px beside it), whatever the window and the turn cut."""
    rng = np.random.default_rng(1)
    root = write_set(tmp_path / 'set', [crowded(rng, 9, rare=4) for _ in range(8)])
    report = balance_data(root, tmp_path / 'out', target=100, targets={'often': 0}, paste=paste, seed=2)
    assert report['after']['rare'] >= 100 and (report['pasted'] > 0) == (paste > 0) and report['painted_over'] > 0
    for image, name, boxes in added_to(tmp_path / 'out'):
        pixels = image.astype(int)
        red = pixels[..., 2] - pixels[..., :2].max(axis=-1) > 60
        assert red.any(), name
        for x, y, w, h in (box['bbox'] for box in boxes):
            red[max(0, int(y) - 3):int(y + h) + 4, max(0, int(x) - 3):int(x + w) + 4] = False
        assert red.sum() <= 12, name


def test_copies_leave_their_neighbours_out(full, tmp_path):
    report = balance_data(full, tmp_path / 'out', target=40)
    assert report['before'] == {'often': 56, 'rare': 8} and report['after'] == {'often': 56, 'rare': 40}
    assert (report['ratio_before'], report['ratio_after']) == (7, 56 / 40) and report['reached']
    assert report == json.loads((tmp_path / 'out' / 'balance.json').read_text())


def test_upper_bound(full, tmp_path):
    """With at most 20 of the frequent class, most images go; their rare objects come back in copies."""
    report = balance_data(full, tmp_path / 'out', target=20, most=20)
    assert report['after']['rare'] == 20 and 14 <= report['after']['often'] <= 20 and report['above'] == {}
    kept = {path.name for path in (tmp_path / 'out' / 'images').iterdir()}
    assert len(report['left_out']) == 6 and not kept & set(report['left_out'])
    lines = [json.loads(line) for line in (tmp_path / 'out' / 'provenance.jsonl').read_text().splitlines()]
    assert {name for line in lines for name in (line['source'], *line['pasted_from'])} >= set(report['left_out'])
    checked = check_data(tmp_path / 'out')
    assert not checked.failed and checked.numbers['classes']['train'] == report['after']
    assert len(list((full / 'images').iterdir())) == 8


def test_a_missed_bound_and_target_are_told(tmp_path):
    """Each rare object lies on a frequent one, so that no copy comes without: 20 of each are the most."""
    root = write_set(tmp_path / 'set', [[(20, 20, 60, 60, 0), (30, 30, 50, 50, 1), (100, 20, 140, 60, 0)]] * 2)
    report = balance_data(root, tmp_path / 'out', target=45, targets={'often': 0})
    assert not report['reached'] and report['short'] == {'rare': 3}  # 2 and 20 copies of each
    assert 'TARGET MISSED: "rare" still lacks 3 boxes' in balance_text(report)


def test_regions_to_ignore_stay_so(tmp_path):
    """A region (the second annotation of image 0) that cannot be left out is a region in the copy as well."""
    root = write_set(tmp_path / 'set', [[(20, 20, 60, 60, 1), (40, 30, 90, 70, 0)]], crowd={(0, 1)})
    report = balance_data(root, tmp_path / 'out', target=6)
    assert report['after'] == {'often': 0, 'rare': 6}
    copies = list(added_to(tmp_path / 'out'))
    assert copies and all(sorted(box['iscrowd'] for box in boxes) == [0, 1] for _, _, boxes in copies)


@pytest.fixture
def oracle(monkeypatch):
    """A detector whose boxes (x1, y1, x2, y2, score) are given by the name of the image."""
    def install(answers):
        from mmengine.structures import InstanceData

        class Model(torch.nn.Module):
            def test_step(self, batch):
                for sample in batch['data_samples']:
                    rows = np.array(answers.get(Path(sample.img_path).name, []), np.float64).reshape(-1, 5)
                    sample.pred_instances = InstanceData(
                        bboxes=torch.tensor(rows[:, :4]), scores=torch.tensor(rows[:, 4]),
                        labels=torch.zeros(len(rows), dtype=torch.long))
                return batch['data_samples']
        module, names = import_module('cxrdet.inference.predict'), ('often', 'rare')
        monkeypatch.setattr(module.Checkpoint, 'read', lambda *args, **kwargs: SimpleNamespace(needed_classes=names))
        monkeypatch.setattr(module, 'build_model', lambda *args, **kwargs: (Model(), names))
        return detector(TINY, 'none.pth')
    return install


def test_hard_negatives(tmp_path, oracle):
    """Alarms: one on an object, two beside it (one within the window of the other), one too low, one elsewhere."""
    root = write_set(tmp_path / 'set', [[(20, 20, 60, 60, 0)], [(100, 60, 140, 100, 1)]])
    model = oracle({'0.png': [(25, 25, 65, 65, .99), (80, 20, 110, 50, .9), (90, 70, 120, 100, .95),
                              (5, 80, 20, 100, .1)], '1.png': [(10, 10, 40, 40, .6)]})
    for most, scores in ((2000, [.95, .6]), (1, [.95])):
        report = balance_data(root, tmp_path / 'out', target=0, backgrounds=Backgrounds(detector=model, most=most))
        assert report['hard_negatives'] == len(scores) and report['copies'] == 0
        lines = [json.loads(line) for line in (tmp_path / 'out' / 'provenance.jsonl').read_text().splitlines()]
        assert [line['score'] for line in lines] == scores
        assert [line['window'] for line in lines] == [[60, 0, 160, 120], [0, 0, 100, 120]][:most]
        for image, name, boxes in added_to(tmp_path / 'out'):
            pixels = image.astype(int)
            assert boxes == [] and not (pixels[..., 2] - pixels[..., :2].max(axis=-1) > 60).any(), name
    assert check_data(tmp_path / 'out').numbers['images'] == 3


def test_free_windows_hold_no_object():
    rng = np.random.default_rng(0)
    truth = np.array([box[:4] for box in crowded(rng, 8)], float)
    corners = rng.uniform(0, 100, (60, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(3, 15, (60, 2))], axis=1)
    found = free_windows(boxes, rng.random(60), truth, (120, 160))
    assert len(found) > 3
    for _, (x1, y1, x2, y2) in found:
        assert all(x1 >= b[2] or y1 >= b[3] or x2 <= b[0] or y2 <= b[1] for b in truth)
    assert free_windows(np.zeros((0, 4)), [], truth, (120, 160)) == []


def test_images_with_objects_are_no_backgrounds(tmp_path, oracle):
    """Refused: a copy of an image of the set, one that an annotation file beside it gives a box, and, by a model, one
    in which it finds something; told are those, and that without a model nobody looked."""
    root = write_set(tmp_path / 'set', [[(20, 20, 60, 60, 0), (80, 20, 120, 60, 1)]])
    other = write_set(tmp_path / 'other', [[(20, 20, 60, 60, 0)], [], []], size=(100, 140))
    rng = np.random.default_rng(3)
    for name in ('free.png', 'cell.png'):
        cv2.imwrite(str(other / 'images' / name), rng.integers(60, 90, (100, 140, 3), np.uint8))
    (other / 'images' / 'twin.png').write_bytes((root / 'images' / '0.png').read_bytes())
    folder = other / 'images'
    report = balance_data(root, tmp_path / 'out', target=0, backgrounds=folder)
    reasons = {Path(file).name: why for file, why in report['backgrounds_refused'].items()}
    assert reasons.keys() == {'twin.png', '0.png'} and 'gives it 1 boxes' in reasons['0.png']
    assert report['backgrounds'] == report['backgrounds_unchecked'] == 4
    assert 'no hard negative: ' not in balance_text(report)
    model = oracle({'cell.png': [(5, 5, 50, 50, .8)]})
    report = balance_data(root, tmp_path / 'out', target=0, backgrounds=Backgrounds(folder, model))
    assert {Path(file).name for file in report['backgrounds_refused']} == {'twin.png', '0.png', 'cell.png'}
    assert (report['backgrounds'], report['backgrounds_unchecked'], report['hard_negatives']) == (3, 0, 0)
    assert 'not taken as background: ' in balance_text(report)
    assert report['alarms_looked_for'] and 'no hard negative: ' in balance_text(report)
    for name in ('1.png', '2.png', 'free.png', 'cell.png'):
        (folder / name).unlink()
    with pytest.raises(DataError, match='none of these 2 images is a background'):
        balance_data(root, tmp_path / 'out', target=0, backgrounds=folder)
