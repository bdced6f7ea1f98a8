"""The decoder: shapes, padding, where queries start."""
import pytest
import torch

from cxrdet.core.errors import ConfigError
from projects.open_vocabulary.open_vocabulary.decoder import PhraseScores, QueryDecoder, Tokens


def tokens(count=10, batch=2, dims=8):
    generator = torch.Generator().manual_seed(0)
    places = torch.rand(batch, count, 4, generator=generator) * 0.6 + 0.2
    return Tokens(torch.randn(batch, count, dims, generator=generator),
                  torch.randn(batch, count, dims, generator=generator), places, None)


@pytest.fixture
def phrases():
    return torch.randn(2, 3, 8, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def phrase_mask():
    return torch.tensor([[1, 1, 1], [1, 0, 0]]).bool()


def decoder(**options):
    torch.manual_seed(0)
    return QueryDecoder(8, num_queries=4, num_layers=2, heads=2, feedforward_dims=16, **options).eval()


@pytest.mark.parametrize('start', ['image', 'learned'])
def test_layers_and_proposals(start, phrases, phrase_mask):
    layers, proposed = decoder(start=start)(tokens(), phrases, phrase_mask)
    assert [tuple(part.logits.shape) for part in layers] == [(2, 4, 3)] * 2
    assert [tuple(part.boxes.shape) for part in layers] == [(2, 4, 4)] * 2
    assert all(((part.boxes > 0) & (part.boxes < 1)).all() for part in layers)
    assert (layers[-1].logits[1, :, 1:] == -50).all()
    assert (proposed is None) == (start == 'learned')
    if proposed:
        assert proposed.logits.shape == (2, 10, 3)


def test_boxes_start_at_the_tokens_that_fit_a_phrase_best(phrases, phrase_mask):
    model, image = decoder(), tokens()
    layers, proposed = model(image, phrases, phrase_mask)
    for number in range(2):
        best = proposed.logits[number].amax(dim=1).topk(4).indices
        torch.testing.assert_close(layers[0].boxes[number], image.places[number, best])  # corrections start at 0


def test_padding_of_the_image_changes_nothing(phrases, phrase_mask):
    model, image = decoder(), tokens()
    one, _ = model(image, phrases, phrase_mask)
    padded = Tokens(*(torch.cat((part, part + 1), dim=1) for part in image[:3]), torch.arange(20).expand(2, -1) < 10)
    other, _ = model(padded, phrases, phrase_mask)
    torch.testing.assert_close(other, one)


def test_more_queries_than_tokens(phrases, phrase_mask):
    layers, _ = decoder()(tokens(count=3), phrases, phrase_mask)
    assert layers[0].logits.shape == (2, 3, 3)


def test_score_is_the_cosine_over_the_temperature():
    scores = PhraseScores()
    scores.offset.data.zero_()
    logits = scores(torch.tensor([[[3., 4.]]]), torch.tensor([[[5., 0.], [0., -2.], [1., 1.]]]),
                    torch.tensor([[True, True, False]]))
    torch.testing.assert_close(logits, torch.tensor([[[6., -8., -50.]]]))
    scores.log_scale.data.fill_(99.)
    assert scores(torch.ones(1, 1, 2), torch.ones(1, 1, 2), torch.ones(1, 1).bool()).item() == pytest.approx(100)


@pytest.mark.parametrize('options', [dict(num_queries=0), dict(num_layers=0), dict(start='middle'), dict(dims=9)])
def test_faulty_arguments(options):
    with pytest.raises(ConfigError):
        QueryDecoder(**{'dims': 8, 'heads': 2, **options})
