"""A tiny comparison detector, its reference images cut from phantoms, and a training of one epoch."""
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[3]
CONFIG = """
_base_ = '{repository}/configs/faster_rcnn_bifpn_cell_tiny.py'
custom_imports = dict(imports=['cxrdet', 'projects.comparison_detector.comparison_detector'])
custom_hooks = [dict(type='cxrdet.PrototypeHook')]
model = dict(
    type='cxrdet.ComparisonDetector',
    references=dict(root='{references}', per_class=2, size=32),
    backbone=dict(base_channels=16, stem_channels=16),
    neck=dict(in_channels=[16, 32, 64, 128], out_channels=16, num_layers=1),
    rpn_head=dict(in_channels=16, feat_channels=16),
    roi_head=dict(bbox_roi_extractor=dict(out_channels=16), bbox_head=dict(
        type='cxrdet.ComparisonBBoxHead', in_channels=16, fc_out_channels=16, background='mean',
        reg_class_agnostic=True)))
train_cfg = dict(max_epochs=1, val_interval=1)
param_scheduler = []
val_cfg = dict(fp16=False)
train_dataloader = dict(batch_size=2, num_workers=0, persistent_workers=False)
val_dataloader = dict(num_workers=0, persistent_workers=False)
test_dataloader = dict(num_workers=0, persistent_workers=False)
"""


@pytest.fixture(scope='session')
def references(cell_phantoms, tmp_path_factory) -> Path:
    """Three reference images of each class of the phantoms. Read only."""
    from cxrdet.curation.references import cut_references
    folder = tmp_path_factory.mktemp('references') / 'cut'
    assert cut_references(cell_phantoms, folder, per_class=3, min_size=2) == {'RBC': 3, 'WBC': 3, 'Platelets': 3}
    return folder


@pytest.fixture(scope='session')
def config(references, tmp_path_factory) -> Path:
    """The config of a tiny comparison detector."""
    path = tmp_path_factory.mktemp('config') / 'tiny_comparison.py'
    path.write_text(CONFIG.format(repository=REPOSITORY, references=references))
    return path


@pytest.fixture(scope='session')
def trained(tool, config, cell_phantoms, tmp_path_factory) -> Path:
    """The work folder of a training of one epoch with averaged weights (EMA). Read only."""
    folder = tmp_path_factory.mktemp('trained')
    assert tool('train').main([str(config), '--data-root', str(cell_phantoms), '--work-dir', str(folder)]) == 0
    return folder


@pytest.fixture
def build(config):
    """Build the model of the tiny config, with changes of it, for some number of classes."""
    from mmengine.config import Config
    from mmengine.registry import MODELS, init_default_scope

    def build(classes=3, head=None, **changes):
        cfg = Config.fromfile(str(config))
        init_default_scope('mmdet')
        cfg.merge_from_dict({'model': changes | {'roi_head': {'bbox_head': dict(num_classes=classes, **(head or {}))}}})
        return MODELS.build(cfg.model)
    return build
