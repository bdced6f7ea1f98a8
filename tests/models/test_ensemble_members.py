"""A member that a config file describes gets its number of classes where a training would set it, and nowhere else."""
import cxrdet  # noqa: F401  # isort: skip (it serves the operators that mmdet imports)
import pytest
from mmengine.config import Config
from mmengine.registry import MODELS
from torch import nn

from cxrdet.models.ensemble_members import build_member
from cxrdet.preflight.data import follow_classes

# Numbers of MMDetection's own configs: a re-identification network of 380 persons (deepsort), text encoders, 183 kinds
# of stuff (htc), one class of proposals, an unused classifier (-1), and the heads of 80 classes of COCO.
OTHERS = dict(reid=380, language_model=256, text_encoder=256, target_generator=7, teacher_backbone=1000,
              rfp_backbone=-1, backbone=-1, neck=5, rpn_head=1, shared_head=1000, semantic_head=183, train_cfg=11,
              test_cfg=11)
HEADS = dict(bbox_head='num_classes', mask_head='num_classes', panoptic_head='num_things_classes')


class Told(nn.Module):
    """Keeps the config that it is built from."""

    def __init__(self, **config):
        super().__init__()
        self.config = config


@pytest.mark.parametrize('inside', [False, True], ids=['top', 'in roi_head'])
def test_numbers_of_other_things_stay(inside, tmp_path):
    kind = dict(type=f'{__name__}.Told')
    MODELS.register_module(kind['type'], module=Told, force=True)
    tree = {name: kind | dict(num_classes=number) for name, number in OTHERS.items()}
    tree |= {name: kind | {key: 80} for name, key in HEADS.items()} | kind
    tree = kind | dict(roi_head=tree) if inside else tree
    Config(dict(default_scope='mmdet', model=tree)).dump(tmp_path / 'config.py')
    built = build_member(dict(config=str(tmp_path / 'config.py'), classes=['a', 'b', 'c']), 'members[0]').model.config
    trained = Config(dict(default_scope='mmdet', model=tree))
    follow_classes(trained, classes=['a', 'b', 'c'])
    for model in (built, trained.model):
        model = model['roi_head'] if inside else model
        assert {name: model[name]['num_classes'] for name in OTHERS} == OTHERS
        assert [model[name][key] for name, key in HEADS.items()] == [3, 3, 3]
