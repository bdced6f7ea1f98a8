"""What a distillation has beside the student goes on over a resumption."""
import torch
from mmengine.hooks import Hook

from cxrdet.core.errors import CheckpointError
from cxrdet.engine.process import unwrap
from cxrdet.registry import HOOKS

KEY = 'distillation_adapters'


@HOOKS.register_module()
class DistillationHook(Hook):
    """Keep the adapters of :class:`cxrdet.DistilledDetector` in the checkpoint, beside the student's weights.

    The ``state_dict`` of a checkpoint stays the student's alone; the adapters stand under a key of their own
    (``distillation_adapters``), which only a resumed distillation reads. Does nothing where a model has none.

    Raises: CheckpointError on resuming from a checkpoint that lacks the model's adapters.
    """

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        if own := _adapters(runner):
            checkpoint[KEY] = {name: value.detach().cpu().clone() for name, value in own.items()}

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        own = _adapters(runner)
        if not own or not runner._resume:
            return
        saved = checkpoint.get(KEY) or {}
        if {name: value.shape for name, value in saved.items()} != {name: value.shape for name, value in own.items()}:
            raise CheckpointError(f'This checkpoint cannot be resumed from: it does not hold the adapters of this '
                                  f'distillation ({len(own)} entries under "{KEY}", as cxrdet.DistillationHook writes '
                                  'them). Go on with the settings of imitation that it was written with.')
        with torch.no_grad():
            for name, value in own.items():
                value.copy_(saved[name])


def _adapters(runner) -> dict[str, torch.Tensor]:
    adapters = getattr(unwrap(runner.model), 'adapters', None)
    return dict(adapters.named_parameters()) if isinstance(adapters, torch.nn.ModuleList) else {}
