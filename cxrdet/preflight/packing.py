"""What a metric reads of each sample is packed with it: stock pipelines pack less than some metrics of ours need."""
from mmengine.config import Config

from cxrdet.preflight.arguments import takes
from cxrdet.preflight.types import Part, parts


def pack_for_metrics(cfg: Config) -> None:
    """Add to the ``meta_keys`` of validation and test pipelines what the metrics there read; ``cfg`` is changed.

    A metric names it in ``sample_keys`` (its class's), e.g. ``('instances',)``, the ground truth in pixels of the
    original image.
    """
    found = list(parts(cfg))
    for split in ('val', 'test'):
        keys = {key: None for part in found if part.path.split('.')[0] == f'{split}_evaluator'
                for key in getattr(part.found, 'sample_keys', ())}
        for part in found:
            if keys and part.path.startswith(f'{split}_dataloader.') and _packs(part):
                packed = tuple(part.cfg.get('meta_keys', takes(part.found).defaults['meta_keys']))
                part.cfg['meta_keys'] = packed + tuple(key for key in keys if key not in packed)


def _packs(part: Part) -> bool:
    return callable(part.found) and part.key in ('pipeline', 'transforms') and 'meta_keys' in takes(part.found).defaults
