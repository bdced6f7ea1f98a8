"""Attention and fusion against an explicit softmax, in float64."""
import math

import pytest
import torch

from cxrdet.core.errors import ConfigError
from projects.open_vocabulary.open_vocabulary.fusion import Attention, FusionLayer, mean_of_words, sine_code


def explicit(layer, query, key, value, mask=None):
    """Multi-head attention head by head, pair by pair, by definition."""
    q, k, v = layer.query(query), layer.key(key), layer.value(value)
    width = q.shape[-1] // layer.heads
    heads = []
    for head in range(layer.heads):
        part = slice(head * width, (head + 1) * width)
        weights = torch.einsum('bqd,bkd->bqk', q[..., part], k[..., part]) / math.sqrt(width)
        if mask is not None:
            weights = weights.masked_fill(~mask[:, None], float('-inf'))
        weights = weights.exp() / weights.exp().sum(dim=-1, keepdim=True)
        heads.append(torch.einsum('bqk,bkd->bqd', weights, v[..., part]))
    return layer.out(torch.cat(heads, dim=-1))


@pytest.mark.parametrize('masked', [False, True])
@pytest.mark.parametrize('heads, context', [(4, None), (1, 6), (2, 5)])
def test_attention_is_the_explicit_softmax(heads, context, masked):
    torch.manual_seed(heads)
    layer = Attention(8, context_dims=context, heads=heads).double()
    query, key = torch.randn(2, 3, 8).double(), torch.randn(2, 5, context or 8).double()
    value = torch.randn_like(key)
    mask = torch.tensor([[1, 1, 0, 1, 0], [1, 0, 0, 0, 0]]).bool() if masked else None
    torch.testing.assert_close(layer(query, key, value, mask=mask), explicit(layer, query, key, value, mask))


def test_heads_must_share_the_channels():
    with pytest.raises(ConfigError, match='10 dimensions.*4 heads'):
        Attention(10, heads=4)


@pytest.fixture
def fused():
    torch.manual_seed(0)
    layer = FusionLayer(8, heads=2, feedforward_dims=16).double()
    image, text, positions = (torch.randn(2, length, 8).double() for length in (6, 4, 6))
    return layer, image, text, positions


def test_fusion_is_both_attentions_from_the_same_state(fused):
    layer, image, text, positions = fused
    text_mask = torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1]]).bool()
    image_mask = torch.tensor([[1] * 6, [1, 1, 1, 0, 0, 1]]).bool()
    pixels, words = layer.image_norm(image), layer.text_norm(text)
    placed = pixels + positions
    wanted = (layer.image_feedforward(image + explicit(layer.image_to_text, placed, words, words, text_mask)),
              layer.text_feedforward(text + explicit(layer.text_to_image, words, placed, pixels, image_mask)))
    got = layer(image, text, positions=positions, image_mask=image_mask, text_mask=text_mask)
    torch.testing.assert_close(got, wanted)


def test_padding_changes_nothing(fused):
    layer, image, text, positions = fused
    mask = torch.ones(2, 4).bool()
    short = layer(image, text, positions=positions, image_mask=None, text_mask=mask)
    padded = layer(torch.cat((image, image * 9), dim=1), torch.cat((text, text * 9), dim=1),
                   positions=torch.cat((positions, positions), dim=1),
                   image_mask=torch.arange(12).expand(2, -1) < 6, text_mask=torch.arange(8).expand(2, -1) < 4)
    torch.testing.assert_close((padded[0][:, :6], padded[1][:, :4]), short)


def test_order_of_words_permutes_them_only(fused):
    layer, image, text, positions = fused
    mask, order = torch.tensor([[1, 1, 0, 1], [1, 1, 1, 1]]).bool(), torch.tensor([2, 0, 3, 1])
    one = layer(image, text, positions=positions, image_mask=None, text_mask=mask)
    other = layer(image, text[:, order], positions=positions, image_mask=None, text_mask=mask[:, order])
    torch.testing.assert_close(other, (one[0], one[1][:, order]))


def test_mean_of_words():
    words = torch.tensor([[[1., 2.], [3., 4.], [9., 9.]], [[5., 6.], [7., 7.], [8., 8.]], [[1., 1.]] * 3])
    mask = torch.tensor([[1, 1, 0], [1, 0, 0], [0, 0, 0]]).bool()
    assert mean_of_words(words, mask).tolist() == [[2., 3.], [5., 6.], [0., 0.]]


def test_sine_code_tells_places_apart():
    places = torch.rand(20, 2)
    code = sine_code(places, 16)
    assert code.shape == (20, 16)
    assert torch.cdist(code, code).fill_diagonal_(9).min() > 0
    torch.testing.assert_close(sine_code(places[3:4], 16)[0], code[3])  # each on its own
