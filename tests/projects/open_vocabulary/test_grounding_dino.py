"""MMDetection's Grounding DINO over the operator bridge, with a tiny text model that is made here."""
import copy
from pathlib import Path

import pytest
import torch

from cxrdet.core.errors import ConfigError
from projects.open_vocabulary.open_vocabulary.grounding_dino import LocalBert

CONFIG = Path(__file__).parents[3] / 'projects/open_vocabulary/configs/mm_grounding_dino_tiny_cell.py'
CLASSES = ('red blood cell', 'platelet')


@pytest.fixture(scope='module')
def model(tiny_bert):
    from mmengine.registry import MODELS, DefaultScope

    from cxrdet.preflight.config import load_config
    cfg = copy.deepcopy(load_config(CONFIG, cfg_options=[
        f'model.language_model.name={tiny_bert}', 'model.num_queries=30', 'model.encoder.num_layers=1',
        'model.decoder.num_layers=2', 'model.backbone.depths=[1,1,1,1]', 'model.test_cfg.max_per_img=20']))
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = MODELS.build(cfg.model)
        model.init_weights()  # else the code of the levels is what was in memory
    return model


def batch(**meta):
    from mmdet.structures import DetDataSample
    from mmengine.structures import InstanceData
    sample = DetDataSample(
        metainfo=dict(img_shape=(64, 96), ori_shape=(64, 96), pad_shape=(64, 96), batch_input_shape=(64, 96),
                      scale_factor=(1., 1.), **meta),
        gt_instances=InstanceData(bboxes=torch.tensor([[5., 5, 30, 30], [40, 10, 60, 50]]),
                                  labels=torch.tensor([1, 0])))
    return dict(inputs=[torch.zeros(3, 64, 96, dtype=torch.uint8)], data_samples=[sample])


@pytest.mark.long
def test_forward_with_prompt_and_with_the_text_of_the_set(model):
    model.eval()
    with torch.no_grad():
        assert model.set_prompt(None, (*CLASSES, 'x')) == (*CLASSES, 'x')  # those of a checkpoint
        plain, = model.test_step(batch())
        own, = model.test_step(batch(text=CLASSES, custom_entities=True))
        assert model.set_prompt('platelet') == ('platelet',)
        prompted, = model.test_step(batch())
    for result, labels in ((plain, 3), (own, 2), (prompted, 1)):
        found = result.pred_instances
        assert found.bboxes.shape == (len(found), 4)
        assert 0 < len(found) <= 20
        assert torch.isfinite(found.bboxes).all()
        assert int(found.labels.max()) < labels
    assert model.set_prompt(None) == ('platelet',)


@pytest.mark.long
def test_a_step_of_training(model):
    model.train()
    data = model.data_preprocessor(batch(text=CLASSES, custom_entities=True), True)
    losses, _ = model.parse_losses(model(**data, mode='loss'))
    losses.backward()
    assert torch.isfinite(losses)
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
    assert model.backbone.stages[0].blocks[0].attn.w_msa.qkv.weight.grad.any()


def test_codes_of_boxes_have_the_frequencies_of_published_weights():
    from mmdet.models.layers.transformer.utils import MLP, coordinate_to_encoding

    from projects.open_vocabulary.open_vocabulary.grounding_dino import _narrow_code
    boxes, layers = torch.rand(2, 3, 4), MLP(4 * 16, 8, 8, 2)
    wanted = coordinate_to_encoding(boxes, num_feats=16)
    torch.testing.assert_close(_narrow_code(layers, (coordinate_to_encoding(boxes, num_feats=32),))[0], wanted)
    torch.testing.assert_close(_narrow_code(layers, (wanted,))[0], wanted)


def test_folder_is_needed(tmp_path, monkeypatch):
    monkeypatch.setattr('mmdet.models.language_models.bert.AutoTokenizer', object)
    with pytest.raises(ConfigError, match='config.json'):
        LocalBert(str(tmp_path))
    monkeypatch.setattr('mmdet.models.language_models.bert.AutoTokenizer', None)
    with pytest.raises(ConfigError, match='pip install transformers'):
        LocalBert(str(tmp_path))


def test_prompt_is_needed():
    from projects.open_vocabulary.open_vocabulary.grounding_dino import PromptedGroundingDINO
    model = PromptedGroundingDINO.__new__(PromptedGroundingDINO)
    torch.nn.Module.__init__(model)
    model.prompt = None
    with pytest.raises(ConfigError, match='--prompt'):
        model.set_prompt(None)
    assert model.set_prompt('a . b') == model.set_prompt(None, ('c',)) == ('a', 'b')
