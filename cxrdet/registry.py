"""Child registries of MMEngine's, scope ``cxrdet``.

A config names a part of ours as ``type='cxrdet.BiFPN'``, whatever its ``default_scope`` is. The modules behind
``locations`` are imported when the first such name is looked up, so importing this file costs MMEngine's own registry
and nothing else, and cannot fail because of a heavier dependency.
"""
from mmengine import registry as _root
from mmengine.registry import Registry


def _child(name: str, parent: Registry, location: str) -> Registry:
    return Registry(name, parent=parent, scope='cxrdet', locations=[location])


MODELS = _child('model', _root.MODELS, 'cxrdet.models')
WEIGHT_INITIALIZERS = _child('weight initializer', _root.WEIGHT_INITIALIZERS, 'cxrdet.models')
DATASETS = _child('dataset', _root.DATASETS, 'cxrdet.datasets.plugins')
TRANSFORMS = _child('transform', _root.TRANSFORMS, 'cxrdet.datasets.transforms')
DATA_SAMPLERS = _child('data sampler', _root.DATA_SAMPLERS, 'cxrdet.datasets.samplers')
HOOKS = _child('hook', _root.HOOKS, 'cxrdet.engine.hooks')
LOOPS = _child('loop', _root.LOOPS, 'cxrdet.engine.loops')
OPTIMIZERS = _child('optimizer', _root.OPTIMIZERS, 'cxrdet.engine.optimizers')
OPTIM_WRAPPERS = _child('optim_wrapper', _root.OPTIM_WRAPPERS, 'cxrdet.engine.optimizers')
METRICS = _child('metric', _root.METRICS, 'cxrdet.evaluation')
VISUALIZERS = _child('visualizer', _root.VISUALIZERS, 'cxrdet.visualization')
FUNCTIONS = _child('function', _root.FUNCTIONS, 'cxrdet.engine')
