"""Pipelines of views: which views, in which order, and what is refused."""
import pytest

from cxrdet.core.errors import ConfigError
from cxrdet.engine.tta import check_views, tta_model, tta_pipeline

LOAD, BOXES = dict(type='cxrdet.LoadImage'), dict(type='LoadAnnotations', with_bbox=True)
RESIZE, PAD = dict(type='Resize', scale=(416, 320), keep_ratio=True), dict(type='Pad', size=(416, 320))
PACK = dict(type='PackDetInputs', meta_keys=('img_id', 'instances'))
CLASSIFY = [LOAD, dict(type='ResizeEdge', scale=256, edge='short'), dict(type='CenterCrop', crop_size=224),
            dict(type='PackInputs')]


def views(pipeline):
    """(flip, size that Resize asks for, size that Pad asks for) of each view."""
    found = []
    for view in pipeline[-1]['transforms'][0]:
        steps = {step['type']: step for step in view['transforms']}
        size = steps.get('Resize', steps.get('ResizeEdge', {}))
        found.append((steps.get('RandomFlip', {}).get('direction'), size.get('scale', size.get('scale_factor')),
                      steps.get('Pad', {}).get('size')))
    return found


def test_the_five_views_of_detection():
    given = [LOAD, BOXES, RESIZE, PAD, PACK]
    pipeline = tta_pipeline(given)
    assert pipeline[:2] == [LOAD, BOXES]
    assert [step['type'] for step in pipeline[2:]] == ['TestTimeAug']
    assert views(pipeline) == [(None, (416, 320), (416, 320)), ('horizontal', (416, 320), (416, 320)),
                               ('vertical', (416, 320), (416, 320)), (None, (374, 288), (416, 320)),
                               (None, (458, 352), (458, 352))]
    kinds = [step['type'] for step in pipeline[2]['transforms'][0][1]['transforms']]
    assert kinds == ['Resize', 'RandomFlip', 'Pad', 'PackDetInputs']
    keys = pipeline[2]['transforms'][0][0]['transforms'][-1]['meta_keys']
    assert keys == ('img_id', 'instances', 'ori_shape', 'scale_factor', 'flip', 'flip_direction')
    assert PACK['meta_keys'] == ('img_id', 'instances')  # what was given stays


def test_all_combinations():
    found = views(tta_pipeline([LOAD, RESIZE, PACK], flips=['diagonal'], scales=[1.0, 1.5], combine=True))
    assert found == [(None, (416, 320), None), (None, (624, 480), None), ('diagonal', (416, 320), None),
                     ('diagonal', (624, 480), None)]


def test_without_a_resize_the_image_itself_is_scaled():
    assert views(tta_pipeline([LOAD, PACK], flips=[])) == [(None, None, None), (None, 0.9, None), (None, 1.1, None)]


def test_the_longest_edge_grows_with_the_scale():
    shortest = dict(type='ResizeShortestEdge', scale=240, max_size=320)
    found = [step['transforms'][0] for step in tta_pipeline([LOAD, shortest, PACK], flips=[])[-1]['transforms'][0]]
    assert [(step['scale'], step['max_size']) for step in found] == [(240, 320), (216, 288), (264, 352)]


def test_classification_is_mirrored():
    assert views(tta_pipeline(CLASSIFY)) == [(None, 256, None), ('horizontal', 256, None)]
    assert views(tta_pipeline(CLASSIFY, flips=[], scales=[1.1])) == [(None, 256, None), (None, 282, None)]


def test_merging_model_fits_the_task():
    assert tta_model(CLASSIFY) == dict(type='cxrdet.MeanScoreTTAModel')
    assert tta_model([LOAD, PACK]) == dict(type='cxrdet.WBFTTAModel')


@pytest.mark.parametrize(('steps', 'more', 'message'), [
    ([], {}, 'ends in PackDetInputs or PackInputs and has no TestTimeAug; this one is empty'),
    ([LOAD, RESIZE], {}, 'this one is LoadImage -> Resize'),
    (tta_pipeline([LOAD, PACK]), {}, 'this one is LoadImage -> TestTimeAug'),
    ([LOAD, dict(type='FixShapeResize', width=160, height=120), PACK], {},
     'from this pipeline: FixShapeResize has neither scale nor scale_factor. Give a tta_pipeline'),
    ([LOAD, dict(type='ProposalBroadcaster', transforms=[RESIZE]), PACK], {}, 'ProposalBroadcaster has Resize inside'),
    ([LOAD, dict(type='RandomChoice', transforms=[[RESIZE], [PAD]]), PACK], {}, 'RandomChoice has Resize inside'),
    ([LOAD, dict(type='RandomApply', transforms=dict(type='mmdet.Resize', scale=9)), PACK], {}, 'RandomApply has'),
    ([LOAD, PACK], dict(flips=['left']), 'flips must be of horizontal, vertical, diagonal'),
    ([LOAD, PACK], dict(scales=[float('inf')]), 'scales from 0.1 to 10'),
    ([LOAD, PACK], dict(scales=[0]), 'scales from 0.1 to 10'),
])
def test_what_is_refused(steps, more, message):
    with pytest.raises(ConfigError, match=message):
        tta_pipeline(steps, **more)


def test_flip_behind_padding_is_refused():
    flips = [dict(type='RandomFlip', prob=1.0), dict(type='RandomFlip', prob=0.0)]
    check_views([LOAD, dict(type='TestTimeAug', transforms=[[RESIZE], flips, [PAD], [PACK]])])
    check_views(tta_pipeline([LOAD, RESIZE, PAD, PACK]))
    with pytest.raises(ConfigError, match='Resize -> Pad -> RandomFlip -> PackDetInputs'):
        check_views([LOAD, dict(type='TestTimeAug', transforms=[[RESIZE], [PAD], flips, [PACK]])])
    with pytest.raises(ConfigError, match='tta_pipeline must have a TestTimeAug step; it has LoadImage'):
        check_views([LOAD])
