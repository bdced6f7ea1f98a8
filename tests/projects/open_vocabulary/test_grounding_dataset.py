"""The reader of phrases and boxes, and what it refuses."""
import copy
import json

import pytest
from mmengine.registry import DefaultScope

from cxrdet.core.errors import ConfigError, DataError
from projects.open_vocabulary.open_vocabulary.grounding_dataset import GroundingDataset, phrases_of
from projects.open_vocabulary.open_vocabulary.vocabulary_hook import VocabularyHook

CONTENT = {
    'images': [
        {'id': 7, 'file_name': 'a.png', 'width': 60, 'height': 40, 'caption': 'A red disc, a blue ring.',
         'phrases': [{'span': [0, 10], 'group': 'seen'}, {'span': [12, 23]}], 'negatives': ['green square']},
        {'id': 8, 'file_name': 'a.png', 'width': 60, 'height': 40, 'caption': 'two discs',
         'phrases': [{'span': [0, 9]}]}],
    'annotations': [
        {'id': 1, 'image_id': 7, 'phrase': 0, 'bbox': [1, 2, 10, 12]},
        {'id': 2, 'image_id': 7, 'phrase': 1, 'bbox': [20, 2, 9, 9]},
        {'id': 3, 'image_id': 8, 'phrase': 0, 'bbox': [1, 2, 10, 12]},
        {'id': 4, 'image_id': 8, 'phrase': 0, 'bbox': [30, 2, 5, 5]}]}


@pytest.fixture
def read(tmp_path):
    def make(content=CONTENT, **options):
        (tmp_path / 'set.json').write_text(json.dumps(content))
        with DefaultScope.overwrite_default_scope('mmdet'):
            return GroundingDataset(**{'ann_file': 'set.json', 'data_root': str(tmp_path), 'data_prefix': dict(img=''),
                                       'pipeline': [], 'test_mode': True, **options})
    return make


def of_shapes(shapes, split, **options):
    return GroundingDataset(ann_file=f'annotations/{split}.json', data_root=str(shapes),
                            data_prefix=dict(img='images/'), **options)


def test_samples(read):
    dataset = read()
    one, other = (dataset.get_data_info(number) for number in range(2))
    assert one['phrases'] == ('A red disc', 'a blue ring')
    assert one['phrase_groups'] == ('seen', None)
    assert [(box['bbox'], box['bbox_label']) for box in one['instances']] == [([1, 2, 11, 14], 0), ([20, 2, 29, 11], 1)]
    assert [box['bbox_label'] for box in other['instances']] == [0, 0]
    assert dataset.metainfo['classes'][:2] == ('phrase 1', 'phrase 2')
    assert list(dataset.phrases()) == ['A red disc', 'a blue ring', 'green square', 'two discs']


def changed(part, number, **values):
    content = copy.deepcopy(CONTENT)
    content[part][number].update(values)
    return content


@pytest.mark.parametrize('content, place', [
    (changed('images', 0, id=8), 'unique'), (changed('images', 1, caption=None), r'images\[1\].*caption'),
    (changed('images', 1, phrases=[]), r'images\[1\].*0 phrases'),
    (changed('images', 1, phrases=[{'span': [0, 10]}]), r'images\[1\]'),
    (changed('images', 1, phrases=[{}]), r'images\[1\]: phrases\[0\]'),
    (changed('annotations', 2, image_id=9), r'annotations\[2\].*9'),
    (changed('annotations', 2, phrase=1), r'annotations\[2\].*0 to 0'),
    (changed('annotations', 2, bbox=[1, 2, 3]), r'annotations\[2\]'),
    (changed('annotations', 2, bbox=[1, 2, -3, 4]), r'annotations\[2\].*degenerate'),
    (changed('annotations', 2, bbox=[99, 2, 3, 4]), r'annotations\[2\].*outside'),
    (changed('images', 0, phrases=['red disc']), r'images\[0\].*phrases\[0\].*span'),
    (changed('images', 0, phrases=[{'span': 3}]), r'images\[0\].*phrases\[0\].*span'),
    (changed('images', 0, negatives='green square'), r'images\[0\].*negatives'),
    ({'images': []}, 'annotations'), ([], 'images')])
def test_faults_are_named(read, content, place):
    with pytest.raises(DataError, match=place):
        read(content)


def test_more_phrases_than_foreseen(read):
    with pytest.raises(DataError, match='2 phrases.*max_phrases'):
        read(max_phrases=1)
    with pytest.raises(ConfigError, match='max_phrases'):
        read(max_phrases=0)


def test_exchanged_phrases(read):
    dataset = read(exchange=True)
    assert len(dataset) == 1  # the other image has one phrase only
    assert [(box['bbox'][0], box['bbox_label']) for box in dataset.get_data_info(0)['instances']] == [(1, 1), (20, 0)]


@pytest.mark.parametrize('share, images', [(1., 12), (0.3, 4), (0.01, 1)])
def test_share_of_the_images(shapes, share, images):
    dataset = of_shapes(shapes, 'train', pipeline=[], share=share)
    assert len(dataset) == images
    assert dataset.get_data_info(0)['img_id'] == 1
    assert share < 0.1 or dataset.get_data_info(images - 1)['img_id'] == 12


def test_exchange_moves_every_phrase(shapes):
    plain, exchanged = (of_shapes(shapes, 'test', pipeline=[], exchange=exchange) for exchange in (False, True))
    kept = {info['img_id']: info for info in (plain.get_data_info(number) for number in range(len(plain)))}
    for number in range(len(exchanged)):
        info = exchanged.get_data_info(number)
        for before, after in zip(kept[info['img_id']]['instances'], info['instances']):
            assert before['bbox'] == after['bbox']
            assert before['bbox_label'] != after['bbox_label']


def pipeline(*steps):
    return [dict(type='cxrdet.LoadImage'), dict(type='LoadAnnotations', with_bbox=True), *steps,
            dict(type='PackDetInputs', meta_keys=('phrases', 'phrase_groups', 'img_shape'))]


def test_packed_sample_with_negatives(shapes):
    with DefaultScope.overwrite_default_scope('mmdet'):
        dataset = of_shapes(shapes, 'train', pipeline=pipeline(dict(type='cxrdet.NegativePhrases', count=2)))
    for number in range(4):
        info, sample = dataset.get_data_info(number), dataset[number]['data_samples']
        own = len(info['phrases'])
        assert sample.phrases[:own] == info['phrases']
        assert len(sample.phrases) == own + 2
        assert set(sample.phrases[own:]) <= set(info['known_negatives'])
        assert sample.phrase_groups == ('seen',) * own + (None, None)
        assert sample.gt_instances.labels.tolist() == [box['bbox_label'] for box in info['instances']]


def test_phrases_are_found_in_wrapped_sets(read):
    from mmengine.dataset import ConcatDataset, RepeatDataset
    dataset = read()
    wrapped = ConcatDataset([dataset, dataset])
    assert list(phrases_of(RepeatDataset(dataset, times=2))) == list(dataset.phrases())
    assert list(phrases_of(wrapped)) == [*dataset.phrases(), *dataset.phrases()]


def test_a_set_without_phrases_is_refused():
    with pytest.raises(ConfigError, match='ClassPrompts'):
        list(phrases_of([1]))


def test_vocabulary_comes_from_the_training_set(read, build):
    model = build(words=())
    runner = type('Runner', (), dict(model=model, train_dataloader=type('Loader', (), dict(dataset=read()))))
    VocabularyHook().before_train(runner)
    assert list(model.text_encoder.vocabulary) == [
        'a', 'blue', 'disc', 'discs', 'green', 'red', 'ring', 'square', 'two']
    VocabularyHook().before_train(runner)
    assert len(model.text_encoder.vocabulary) == 9
    runner.model = model.backbone
    with pytest.raises(ConfigError, match='text_encoder'):
        VocabularyHook().before_train(runner)


def test_image_of_another_size_is_refused(shapes, tmp_path):
    content = json.loads((shapes / 'annotations' / 'val.json').read_text())
    content['images'][0]['width'] = 100
    (tmp_path / 'val.json').write_text(json.dumps(content))
    with DefaultScope.overwrite_default_scope('mmdet'):
        dataset = GroundingDataset(ann_file=str(tmp_path / 'val.json'), data_prefix=dict(img=str(shapes / 'images')),
                                   pipeline=pipeline())
    with pytest.raises(DataError, match='val_00000.png'):
        dataset[0]
    assert dataset[1]['inputs'].shape == (3, 96, 96)
