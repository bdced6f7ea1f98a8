"""Prototypes that fit the weights, in validation and in every checkpoint."""
from mmengine.hooks import Hook

from cxrdet.core.errors import ConfigError
from cxrdet.engine.process import unwrap
from cxrdet.registry import HOOKS

from .detector import ComparisonDetector


@HOOKS.register_module()
class PrototypeHook(Hook):
    """Reads the reference images before training, and keeps the prototypes of validation and checkpoints up to date.

    A checkpoint holds the prototypes that belong to its ``state_dict``, which are averages where an EMAHook runs, and
    the list of the reference files in ``meta['references']``. Runs after the EMAHook, before the CheckpointHook.
    """

    priority = 'LOW'

    def before_train(self, runner) -> None:
        """Read the reference images; ConfigError and DataError say what is wrong with them."""
        model = unwrap(runner.model)
        if not isinstance(model, ComparisonDetector):
            raise ConfigError(f'PrototypeHook is for a ComparisonDetector, the model is a {type(model).__name__}.')
        model.load_references(runner.train_dataloader.dataset.metainfo['classes'])
        counts = ', '.join(f'{name} {len(files)}' for name, files in model.listed.files.items())
        runner.logger.info(f'Reference images of {model.listed.root}: {counts}')

    def before_val_epoch(self, runner) -> None:
        model = unwrap(runner.model)
        if model.has_references:
            model.refresh_prototypes()

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        model = unwrap(runner.model)
        if model.has_references:
            weights = checkpoint['state_dict']
            fresh = model.computed_prototypes(weights)
            weights.update({name: value.to(weights[name].device) for name, value in fresh.items()})
            checkpoint['meta']['references'] = model.listed.as_dict()
