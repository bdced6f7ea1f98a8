"""Text encoders: vocabulary, padding, what is kept, and models of Hugging Face from a folder."""
import copy
import json

import pytest
import torch

from cxrdet.core.errors import ConfigError, DataError
from projects.open_vocabulary.open_vocabulary.text_encoders import HuggingFaceText, WordTransformer


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    encoder = WordTransformer(20, dims=8, heads=2, max_words=5)
    encoder.add_words(['red blood cell', 'white cell', 'über'])
    return encoder.eval()


def test_vocabulary_is_in_the_order_of_the_alphabet(encoder):
    assert list(encoder.vocabulary) == ['blood', 'cell', 'red', 'white', 'über']
    assert encoder.add_words(['a red cell']) == 1
    assert encoder.vocabulary['a'] == 6  # rows of old words stay


def test_checkpoint_brings_the_vocabulary(encoder):
    other = WordTransformer(20, dims=8, heads=2, max_words=5).eval()
    other(['red'])
    other.load_state_dict(encoder.state_dict())
    assert other.vocabulary == encoder.vocabulary
    torch.testing.assert_close(other(['white cell']), encoder(['white cell']))


def test_vocabulary_has_an_end(encoder):
    with pytest.raises(ConfigError, match='vocabulary_size'):
        encoder.add_words(['a b c d e f g h i j k l m n o p q'])


def test_long_words_are_cut_alike(encoder):
    encoder.add_words(['ü' * 30])
    assert 'ü' * 16 in encoder.vocabulary
    assert encoder._numbers(['Ü' * 40])[0] == [encoder.vocabulary['ü' * 16]]


def test_unknown_words_share_a_vector_and_are_told(encoder, caplog):
    features, _ = encoder(['cell'])
    unknown, _ = encoder(['lymphocyte'])
    torch.testing.assert_close(encoder(['monocyte'])[0], unknown)
    assert not torch.allclose(features, unknown)


def test_unknown_words_are_told_once(encoder, monkeypatch):
    told = []
    monkeypatch.setattr('projects.open_vocabulary.open_vocabulary.text_encoders.print_log',
                        lambda text, **_: told.append(text))
    encoder(['whit cell', 'whit', 'cell'])
    encoder(['whit of a cell'])
    assert len(told) == 2
    assert '"whit" Did you mean "white"?' in told[0]
    assert 'whit' not in told[1]


def test_padding_and_company_change_nothing(encoder):
    alone, mask = encoder.encode(['red cell'])
    assert mask.tolist() == [[True, True]]
    together, mask = encoder.encode(['white', 'red cell', 'red blood cell'])
    assert mask.tolist() == [[True, False, False], [True, True, False], [True] * 3]
    torch.testing.assert_close(together[1, :2], alone[0])
    kept, same = encoder(['white', 'red cell', 'red blood cell'])
    torch.testing.assert_close(kept[mask], together[mask])
    assert same.equal(mask)


def test_words_have_places(encoder):
    one, other = encoder.encode(['red cell', 'cell red'])[0]
    assert not torch.allclose(one[0], other[1])


@pytest.mark.parametrize('phrase', ['...', 'a b c d e f'])
def test_phrases_without_words_or_too_long_are_refused(encoder, phrase):
    with pytest.raises(DataError, match='1 to 5 words'):
        encoder([phrase])


def test_features_are_computed_once_until_the_weights_change(encoder, monkeypatch):
    asked, encode = [], encoder.encode
    monkeypatch.setattr(encoder, 'encode', lambda phrases: asked.append(list(phrases)) or encode(phrases))
    before, _ = encoder(['red', 'cell', 'red'])
    encoder(['cell', 'white'])
    assert asked == [['red', 'cell'], ['white']]
    weights = copy.deepcopy(encoder.state_dict())
    weights['words.weight'] += 1
    encoder.load_state_dict(weights)
    after, _ = encoder(['red', 'cell', 'red'])
    assert not torch.allclose(before, after)
    encoder.train().eval()
    encoder(['cell'])
    assert asked[2:] == [['red', 'cell'], ['cell']]
    encoder.train()
    assert encoder(['cell'])[0].requires_grad
    assert not encoder._kept


def test_training_meets_the_unknown_word():
    encoder = WordTransformer(5, dims=8, heads=2, unknown_share=0.5, num_layers=0)
    encoder.add_words(['red'])
    encoder.train()
    features, _ = encoder(['red'] * 200)
    drawn = encoder.norm(encoder.words.weight[:2])
    as_unknown = (features[:, 0] - drawn[0]).abs().amax(dim=1) < 1e-5
    assert 60 < int(as_unknown.sum()) < 140
    torch.testing.assert_close(features[~as_unknown][:, 0], drawn[1].expand(int((~as_unknown).sum()), -1))


@pytest.mark.parametrize('frozen', [True, False])
def test_hugging_face_model_from_a_folder(tiny_bert, frozen):
    encoder = HuggingFaceText(str(tiny_bert), frozen=frozen).train()
    assert encoder.out_channels == 16
    features, mask = encoder(['white blood cell', 'red'])
    assert mask.sum(dim=1).tolist() == [3, 1]  # without [CLS] and [SEP]
    assert features.requires_grad is not frozen
    assert encoder.model.training is not frozen
    alone, there = encoder.eval()(['red'])
    together, both = encoder(['white blood cell', 'red'])
    torch.testing.assert_close(alone[there], together[1][both[1]])


def test_detector_with_a_hugging_face_model(tiny_bert, build, sample):
    model = build(text_encoder=dict(type='cxrdet.HuggingFaceText', folder=str(tiny_bert)))
    images = torch.randn(2, 3, 32, 48)
    samples = [sample(['red cell', 'white cell'], [[4, 4, 20, 20]], [1]), sample(['blood'])]
    losses, _ = model.train().parse_losses(model.loss(images, samples))
    losses.backward()
    assert torch.isfinite(losses)
    assert all(parameter.grad is None for parameter in model.text_encoder.parameters())
    assert model.word_projection[0].weight.grad.any()
    with torch.no_grad():
        assert len(model.eval().predict(images, samples)[1].pred_instances) == 6


def test_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(ConfigError, match='config.json'):
        HuggingFaceText(str(tmp_path))
    (tmp_path / 'config.json').write_text(json.dumps({'model_type': 'none such'}))
    with pytest.raises(ConfigError, match='cannot be read'):
        HuggingFaceText(str(tmp_path))


def test_transformers_is_asked_for_only_where_it_is_used(monkeypatch):
    monkeypatch.setitem(__import__('sys').modules, 'transformers', None)
    with pytest.raises(ConfigError, match='pip install transformers'):
        HuggingFaceText('anywhere')
