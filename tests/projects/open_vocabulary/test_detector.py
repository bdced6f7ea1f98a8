"""OpenVocabularyDetector: order of phrases, gradients, numbers of phrases, prompts."""
import pytest
import torch

from cxrdet.core.errors import ConfigError, DataError

PHRASES = ('red disc', 'blue ring', 'the green square')


@pytest.fixture
def images():
    return torch.randint(0, 256, (2, 3, 32, 48), generator=torch.Generator().manual_seed(0)).float()


def predicted(model, images, samples, rescale=True):
    with torch.no_grad():
        return model.eval().predict((images - 127) / 64, samples, rescale=rescale)


def by_phrase(result):
    """Boxes and scores of each phrase, best first, by its text."""
    found = result.pred_instances
    return {phrase: (found.bboxes[found.labels == number], found.scores[found.labels == number])
            for number, phrase in enumerate(result.phrases)}


def test_order_of_phrases_permutes_the_outputs_only(build, sample, images):
    model, turned = build(), PHRASES[::-1]
    for one, other in zip(predicted(model, images, [sample(PHRASES), sample(PHRASES[:2])]),
                          predicted(model, images, [sample(turned), sample(turned[1:])])):
        one, other = by_phrase(one), by_phrase(other)
        assert list(one) == list(other)[::-1]
        for phrase in one:
            torch.testing.assert_close(one[phrase], other[phrase], rtol=1e-4, atol=1e-5)


def test_company_in_the_batch_changes_nothing(build, sample, images):
    model = build()
    together = predicted(model, images, [sample(PHRASES), sample(PHRASES[:1])])
    alone = predicted(model, images[1:], [sample(PHRASES[:1])])
    torch.testing.assert_close(by_phrase(together[1]), by_phrase(alone[0]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('start', ['image', 'learned'])
def test_every_parameter_gets_a_gradient(build, sample, images, start):
    model = build(decoder=dict(start=start)).train()
    samples = [sample(PHRASES, [[4, 4, 20, 20], [4, 4, 20, 20], [25, 8, 40, 30]], [0, 2, 1]),
               sample(PHRASES[:2], [[1, 2, 17, 30]], [1])]
    for _ in range(2):  # the last layers of the boxes start at 0, which holds back the gradient once
        losses, _ = model.parse_losses(model.loss(images, samples))
        model.zero_grad()
        losses.backward()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter -= 0.01 * parameter.grad if parameter.grad is not None else 0
    without = [name for name, parameter in model.named_parameters()
               if parameter.grad is None or not parameter.grad.any()]
    assert not without


@pytest.mark.parametrize('count', [1, 200])
def test_one_phrase_and_two_hundred(build, sample, images, count):
    phrases = [f'thing {number}' for number in range(count)]
    result, = predicted(build(words=()), images[:1], [sample(phrases)])
    assert result.pred_instances.labels.unique().tolist() == list(range(count))
    assert len(result.pred_instances) == 6 * count
    assert torch.isfinite(result.pred_instances.bboxes).all()


def test_no_phrase_is_an_error(build, sample, images):
    model = build()
    for phrases in (None, ()):
        with pytest.raises(ConfigError, match='without a phrase.*made-up.png'):
            predicted(model, images[:1], [sample(phrases)])
    with pytest.raises(ConfigError, match='--prompt'):
        model.set_prompt(None)


def test_prompt_is_for_images_without_phrases(build, sample, images):
    model = build(prompt='red disc . blue ring')
    own, given = predicted(model, images, [sample(), sample(PHRASES[2:])])
    assert own.phrases == ('red disc', 'blue ring')
    assert given.phrases == PHRASES[2:]
    assert model.set_prompt(None) == ('red disc', 'blue ring')
    assert model.set_prompt('a . b . c') == ('a', 'b', 'c')
    assert predicted(model, images[:1], [sample()])[0].phrases == ('a', 'b', 'c')


def test_labels_must_be_numbers_of_phrases(build, sample, images):
    with pytest.raises(DataError, match='made-up.png.*labels 1 to 2.*2 phrases'):
        build().loss(images[:1], [sample(PHRASES[:2], [[1, 1, 9, 9], [2, 2, 9, 9]], [1, 2])])


def test_phrases_of_the_same_words_share_their_boxes(build, sample):
    one = sample(('A man', 'a hat', 'a man'), [[1, 1, 9, 9], [2, 2, 8, 8], [20, 5, 30, 30]], [0, 1, 2])
    assert build()._truth(one, one.phrases).named.int().tolist() == [[1, 0, 1], [0, 1, 0], [1, 0, 1]]


def test_an_image_without_boxes_can_be_learnt_from(build, sample, images):
    losses = build().loss(images[:1], [sample(PHRASES[:1])])
    assert all(torch.isfinite(value) for value in losses.values())


def test_boxes_go_back_to_the_original_image(build, sample, images):
    model, one = build(), sample(PHRASES[:1])
    one.set_metainfo(dict(ori_shape=(64, 192), scale_factor=(0.25, 0.5)))
    inner, = predicted(model, images[:1], [one.clone()], rescale=False)
    outer, = predicted(model, images[:1], [one.clone()])
    wanted = inner.pred_instances.bboxes * torch.tensor([4., 2., 4., 2.])
    torch.testing.assert_close(outer.pred_instances.bboxes, wanted)


def test_padding_of_an_image_is_masked(build, sample, images):
    """What stands in the padding of a batch, beyond the reach of convolutions, changes nothing."""
    model = build(data_preprocessor=None)
    padded = torch.zeros(1, 3, 32, 480)
    padded[..., :48] = images[:1] / 64
    other = padded.clone()
    other[..., 300:] = 3.
    one, two = (predicted(model, part * 64 + 127, [sample(PHRASES)])[0] for part in (padded, other))
    torch.testing.assert_close(by_phrase(one), by_phrase(two), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('test_cfg, boxes', [
    (dict(max_per_phrase=2), 6), (dict(max_per_img=5), 5), (dict(max_per_phrase=99), 18), (dict(nms_iou=1e-6), None)])
def test_how_many_boxes_are_given(build, sample, images, test_cfg, boxes):
    result, = predicted(build(test_cfg=test_cfg), images[:1], [sample(PHRASES)])
    found = result.pred_instances
    assert (found.scores.diff() <= 0).all()
    if boxes is not None:
        assert len(found) == boxes
    else:
        from torchvision.ops import box_iou
        for boxes, _ in by_phrase(result).values():
            assert len(boxes)
            assert (box_iou(boxes, boxes).fill_diagonal_(0) <= 1e-6).all()


@pytest.mark.parametrize('test_cfg', [dict(max_per_phrase=0), dict(nms=0.5), dict(nms_iou=2.)])
def test_faulty_test_cfg(build, test_cfg):
    with pytest.raises(ConfigError, match='test_cfg'):
        build(test_cfg=test_cfg)


def test_tensors_of_a_plain_call(build, images):
    logits, boxes = build(prompt='red disc . blue ring').eval()(images, mode='tensor')
    assert logits.shape == (2, 6, 2)
    assert boxes.shape == (2, 6, 4)


def test_a_step_of_training_in_bfloat16(build, sample, images):
    model = build().train()
    with torch.autocast('cpu', torch.bfloat16):
        losses, _ = model.parse_losses(model.loss(images, [sample(PHRASES, [[4, 4, 20, 20]], [0]), sample(PHRASES)]))
    losses.backward()
    assert torch.isfinite(losses)
