"""The list of images to annotate next, of a detector."""
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch

from cxrdet.analysis.annotate_next import annotate_next
from cxrdet.core.errors import ConfigError, DataError

TINY = Path(__file__).parents[2] / 'configs' / 'faster_rcnn_bifpn_cell_tiny.py'
DIAGNOSIS = {'task': 'detection', 'classes': ['a', 'b'], 'per_class': [{'class': 'b', 'score': 0.25},
                                                                       {'class': 'a', 'score': 1.}]}


@pytest.fixture
def detector(monkeypatch):
    """Finds (score, label) by the name of the image."""
    from mmengine.structures import InstanceData
    answers = {'a.png': [(.5, 0), (.5, 0), (.04, 1)], 'b.png': [(.5, 1)], 'c.png': [(1., 1)], 'd.png': [],
               'e.png': [(.5, 1), (.5, 0)]}

    class Model(torch.nn.Module):
        def test_step(self, batch):
            for sample in batch['data_samples']:
                rows = np.array(answers[Path(sample.img_path).name]).reshape(-1, 2)
                sample.pred_instances = InstanceData(
                    bboxes=torch.zeros(len(rows), 4), scores=torch.tensor(rows[:, 0]),
                    labels=torch.tensor(rows[:, 1], dtype=torch.long))
            return batch['data_samples']
    module = import_module('cxrdet.inference.predict')
    monkeypatch.setattr(module.Checkpoint, 'read', lambda *args, **kwargs: SimpleNamespace(needed_classes=('a', 'b')))
    monkeypatch.setattr(module, 'build_model', lambda *args, **kwargs: (Model(), ('a', 'b')))
    return answers


def test_order_of_a_detector(tmp_path, detector):
    """A score of 0.5 is one bit; class b has the weakness 0.75: e 1 + 1.75, a 2, b 1.75; 0.04 is not looked at."""
    for name in detector:
        (tmp_path / 'new' / 'deep').mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(tmp_path / 'new' / 'deep' / name), np.zeros((40, 40, 3), np.uint8))
    rows = annotate_next(TINY, 'x.pth', tmp_path / 'new', DIAGNOSIS, out=tmp_path / 'next.csv')
    assert [(row['rank'], row['image'][5:], row['priority'], row['uncertainty'], row['class']) for row in rows] == [
        (1, 'e.png', 2.75, 2, 'b'), (2, 'a.png', 2, 2, 'a'), (3, 'b.png', 1.75, 1, 'b'), (4, 'c.png', 0, 0, 'b'),
        (5, 'd.png', 0, 0, '')]
    assert [row['weakness'] for row in rows] == [.75, 0, .75, .75, '']
    assert (tmp_path / 'next.csv').read_text().splitlines()[1] == '1,deep/e.png,2.75,2.0,b,0.75'
    with pytest.raises(ConfigError, match='x.pth has the classes a, b, the diagnosis is of b, a'):
        annotate_next(TINY, 'x.pth', tmp_path / 'new', DIAGNOSIS | {'classes': ['b', 'a']})
    with pytest.raises(DataError, match='no such image or folder'):
        annotate_next(TINY, 'x.pth', tmp_path / 'none', DIAGNOSIS)
