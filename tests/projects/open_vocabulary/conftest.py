"""A tiny detector and tiny sets. Heavy imports stay inside the fixtures."""
import copy

import pytest

DIMS = 16


@pytest.fixture(scope='session')
def tiny_model() -> dict:
    """Config of a detector of 16 channels at stride 8."""
    return dict(
        type='cxrdet.OpenVocabularyDetector',
        data_preprocessor=dict(type='mmdet.DetDataPreprocessor', mean=[127.] * 3, std=[64.] * 3, pad_size_divisor=16),
        backbone=dict(type='mmdet.ResNet', depth=18, base_channels=8, num_stages=3, strides=(1, 2, 1),
                      dilations=(1, 1, 1), out_indices=(1, 2), norm_eval=False, style='pytorch'),
        neck=dict(type='mmdet.ChannelMapper', in_channels=[16, 32], kernel_size=1, out_channels=DIMS, act_cfg=None,
                  norm_cfg=None, num_outs=2),
        text_encoder=dict(type='cxrdet.WordTransformer', vocabulary_size=50, dims=12, heads=2, unknown_share=0.),
        fusion=dict(type='cxrdet.FusionLayer', dims=DIMS, feedforward_dims=32),
        decoder=dict(type='cxrdet.QueryDecoder', dims=DIMS, num_queries=6, num_layers=2, feedforward_dims=32),
        loss=dict(type='cxrdet.PhraseLoss'))


@pytest.fixture
def build(tiny_model):
    """Build it with changes: ``build(prompt='a . b', decoder=dict(start='learned'))``; seeded, its words known."""
    import torch
    from mmengine.registry import DefaultScope

    import projects.open_vocabulary.open_vocabulary  # noqa: F401
    from cxrdet.registry import MODELS

    def make(*, words=('red disc', 'blue ring', 'the green square'), **changes):
        cfg = copy.deepcopy(tiny_model)
        for key, value in changes.items():
            merge = isinstance(value, dict) and isinstance(cfg.get(key), dict) and 'type' not in value
            cfg[key] = {**cfg[key], **value} if merge else value
        torch.manual_seed(0)
        with DefaultScope.overwrite_default_scope('mmdet'):
            model = MODELS.build(cfg)
        model.text_encoder.add_words(words)
        return model
    return make


@pytest.fixture
def sample():
    """A data sample: ``sample(phrases, boxes, labels, shape)``."""
    import torch
    from mmdet.structures import DetDataSample
    from mmengine.structures import InstanceData

    def make(phrases=None, boxes=(), labels=(), shape=(32, 48)):
        metainfo = dict(img_shape=shape, ori_shape=shape, scale_factor=(1., 1.), img_path='made-up.png')
        if phrases is not None:
            metainfo['phrases'] = tuple(phrases)
        return DetDataSample(metainfo=metainfo, gt_instances=InstanceData(
            bboxes=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4), labels=torch.tensor(labels).long()))
    return make


@pytest.fixture(scope='session')
def shapes(tmp_path_factory):
    """A small set of made-up shapes: 12 images for training, 6 for validation, 6 for testing. Read only."""
    from projects.open_vocabulary.open_vocabulary.phantom import write_phantoms
    return write_phantoms(tmp_path_factory.mktemp('shapes') / 'set', splits={'train': 12, 'val': 6, 'test': 6})


@pytest.fixture(scope='session')
def tiny_bert(tmp_path_factory):
    """The folder of a tiny BERT, made here."""
    import torch
    import transformers
    folder = tmp_path_factory.mktemp('bert')
    words = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', '.', 'red', 'white', 'cell', 'blood']
    (folder / 'vocab.txt').write_text('\n'.join(words))
    torch.manual_seed(0)
    transformers.BertModel(transformers.BertConfig(
        vocab_size=len(words), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=32), add_pooling_layer=False).save_pretrained(folder)
    transformers.BertTokenizer(str(folder / 'vocab.txt')).save_pretrained(folder)
    return folder
