"""Test-time augmentation from a plain test pipeline: the same image in several views."""
import copy
import itertools
from collections.abc import Sequence

from cxrdet.core.errors import ConfigError

DIRECTIONS = ('horizontal', 'vertical', 'diagonal')


def tta_pipeline(pipeline: Sequence[dict], *, flips: Sequence[str] | None = None,
                 scales: Sequence[float] | None = None, combine: bool = False) -> list[dict]:
    """Turn a test pipeline into one that gives several views of each image, the plain one first.

    A scale multiplies the sizes of the pipeline's ``Resize`` steps (and a fixed ``size`` of ``Pad``), or else of the
    image. The flip comes behind the last of them, before anything pads the image, so that boxes can be brought back.
    The steps before are run once for all views.

    Args:
        pipeline: configs of the steps, the last one packs (``PackDetInputs`` or ``PackInputs``).
        flips: 'horizontal', 'vertical', 'diagonal' (both). Default: horizontal and vertical for detection, horizontal
            for classification.
        scales: factors beside 1. Default: 0.9 and 1.1 for detection, none for classification.
        combine: every flip at every scale. Off: each flip at scale 1, each scale unflipped.

    Raises: ConfigError for an unknown flip, a scale below 0.1 or above 10, or a pipeline that does not pack at its end,
        has a ``TestTimeAug`` already, or resizes in a way that no view can be derived from.
    """
    steps = [copy.deepcopy(dict(step)) for step in pipeline]
    kinds = [_name(step) for step in steps]
    if not steps or not kinds[-1].startswith('Pack') or 'TestTimeAug' in kinds:
        raise ConfigError('Test-time augmentation is derived from a test pipeline that ends in PackDetInputs or '
                          f'PackInputs and has no TestTimeAug; this one is {" -> ".join(kinds) or "empty"}. Give a '
                          'tta_pipeline in the config')
    _check_resizing(steps)
    boxes = kinds[-1] == 'PackDetInputs'
    flips = (('horizontal', 'vertical') if boxes else ('horizontal', )) if flips is None else tuple(flips)
    scales = ((0.9, 1.1) if boxes else ()) if scales is None else tuple(scales)
    if not set(flips) <= set(DIRECTIONS) or not all(0.1 <= scale <= 10 for scale in scales):
        raise ConfigError(f'flips must be of {", ".join(DIRECTIONS)} and scales from 0.1 to 10, got {flips} and '
                          f'{scales}')
    if boxes:
        kept = steps[-1].get('meta_keys') or ('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')
        steps[-1]['meta_keys'] = tuple(dict.fromkeys([*kept, 'ori_shape', 'scale_factor', 'flip', 'flip_direction']))
    resizes = [i for i, step in enumerate(steps) if 'Resize' in kinds[i] and {'scale', 'scale_factor'} & set(step)]
    loads = next((i for i, kind in enumerate(kinds) if not kind.startswith('Load')), len(kinds))
    first, last = (resizes[0], resizes[-1] + 1) if resizes else (loads, loads)
    views = [(None, 1.0), *((flip, 1.0) for flip in flips), *((None, scale) for scale in scales if scale != 1)]
    if combine:
        views = list(itertools.product((None, *flips), (1.0, *(scale for scale in scales if scale != 1))))
    # TestTimeAug takes all combinations of its lists; one list of whole pipelines can be any set of views
    composed = [dict(type='Compose', transforms=[
        *(_scaled(steps[first:last], scale) or ([dict(type='Resize', scale_factor=scale, keep_ratio=True)]
                                                if scale != 1 else [])),
        *([dict(type='RandomFlip', prob=1.0, direction=flip)] if flip else []), *_scaled(steps[last:], scale)])
        for flip, scale in views]
    return [*steps[:first], dict(type='TestTimeAug', transforms=[composed])]


def tta_model(pipeline: Sequence[dict]) -> dict:
    """The model that merges the views of a pipeline: of boxes with weighted boxes fusion, of scores with their mean."""
    if _name(pipeline[-1]) == 'PackInputs':
        return dict(type='cxrdet.MeanScoreTTAModel')
    return dict(type='cxrdet.WBFTTAModel')


def check_views(pipeline: Sequence[dict]) -> None:
    """Raise ConfigError for a ``tta_pipeline`` without views, or one that flips an image after it has been padded.

    There, the boxes of the flipped image would be brought back to the wrong place.
    """
    if not any(_name(step) == 'TestTimeAug' for step in pipeline):
        raise ConfigError('tta_pipeline must have a TestTimeAug step; it has '
                          f'{" -> ".join(map(_name, pipeline)) or "no step"}')
    for path in _paths(pipeline):
        kinds = [_name(step) for step in path]
        turned = [i for i, step in enumerate(path) if kinds[i] == 'RandomFlip' and step.get('prob') != 0]
        if turned and any('Pad' in kind for kind in kinds[:turned[-1]]):
            raise ConfigError('tta_pipeline flips images that are padded already, so that their boxes cannot be '
                              f'brought back: {" -> ".join(kinds)}. Put RandomFlip before Pad')


def _check_resizing(steps: Sequence[dict]) -> None:
    """Raise ConfigError for a resizing inside another step, or without a size that can be multiplied.

    A second resizing before it would put the boxes of views in wrong places, or have no effect.
    """
    for step in steps:
        hidden = next((name for name in map(_name, _inside(step)) if 'Resize' in name), None)
        if hidden or ('Resize' in _name(step) and not any(step.get(key) for key in ('scale', 'scale_factor'))):
            what = f'has {hidden} inside' if hidden else 'has neither scale nor scale_factor'
            raise ConfigError(f'Test-time augmentation cannot be derived from this pipeline: {_name(step)} {what}. '
                              'Give a tta_pipeline in the config')


def _inside(step: dict) -> list[dict]:
    """The steps within a step (``transforms=[...]``, lists in lists too), at any depth."""
    def steps_of(value) -> list[dict]:
        if isinstance(value, (list, tuple)):
            return [found for part in value for found in steps_of(part)]
        return [value, *_inside(value)] if isinstance(value, dict) and 'type' in value else []
    return [found for key, value in step.items() if key != 'type' for found in steps_of(value)]


def _paths(pipeline: Sequence[dict]) -> list[list[dict]]:
    """The plain pipelines of all views."""
    paths: list[list[dict]] = [[]]
    for step in pipeline:
        inner: list[list[dict]] = [[step]]
        if _name(step) == 'TestTimeAug':
            inner = [[sub for part in chosen for sub in _flat(part)] for chosen in itertools.product(
                *step['transforms'])]
        paths = [path + end for path in paths for end in inner]
    return paths


def _flat(step: dict) -> list[dict]:
    return [sub for part in step['transforms'] for sub in _flat(part)] if _name(step) == 'Compose' else [step]


def _name(step: dict) -> str:
    return str(step['type']).rpartition('.')[2]


def _scaled(steps: Sequence[dict], scale: float) -> list[dict]:
    """The steps with the sizes that ``Resize`` and ``Pad`` ask for multiplied."""
    scaled = [copy.deepcopy(step) for step in steps]
    for step in scaled:
        if 'Resize' in _name(step):
            step.update({key: _times(step[key], scale, whole=key != 'scale_factor')
                         for key in ('scale', 'scale_factor', 'max_size') if step.get(key) is not None})
        elif 'Pad' in _name(step) and step.get('size') is not None and scale > 1:
            step['size'] = _times(step['size'], scale, whole=True)
    return scaled


def _times(value, scale: float, whole: bool):
    if isinstance(value, (list, tuple)):
        return tuple(_times(part, scale, whole) for part in value)
    return round(value * scale) if whole else value * scale
