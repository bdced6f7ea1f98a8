"""Validation that also computes the model's loss on the validation images."""
import logging
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from mmengine.dist import all_gather_object
from mmengine.evaluator import Evaluator
from mmengine.logging import print_log
from mmengine.runner import ValLoop
from torch.utils.data import DataLoader

from cxrdet.core.config_tree import leaves
from cxrdet.core.errors import ConfigError
from cxrdet.engine.process import evaluation_precision, unwrap
from cxrdet.registry import LOOPS


@LOOPS.register_module()
class ValLossLoop(ValLoop):
    """MMEngine's ValLoop, which also reports the loss on the validation images::

        val_cfg = dict(type='cxrdet.ValLossLoop')

    The scalars are ``val/loss`` (the sum that training minimises) and its parts, ``val/loss_cls`` ...: means over all
    images of all processes, for detectors and classifiers. So ``save_best='val/loss', rule='less'`` works.

    The model stays in evaluation mode and without gradients. Models that sample boxes for their loss use generators
    with the same seed for each batch. The ground truth must be in the pixels that the model sees: the pipeline has
    ``LoadAnnotations`` before ``Resize``. Processes with fewer batches repeat their last one without counting it.

    Args:
        runner, dataloader, evaluator: as for ValLoop; the Runner gives them.
        fp16: prediction and loss in mixed precision where the hardware computes it (:mod:`cxrdet.engine.process`).
            Off: in float32, unless the config names a precision.
        seed: of the random numbers inside the loss.

    Raises: ConfigError if the pipeline resizes before it loads the annotations, or loads none.
    """

    def __init__(self, runner, dataloader: DataLoader | dict, *, evaluator: Evaluator | dict | list,
                 fp16: bool = False, seed: int = 0) -> None:
        super().__init__(runner, dataloader, evaluator, fp16=fp16)
        self.seed = seed
        self.precision = evaluation_precision(runner.cfg, fp16=fp16)
        self._sums: dict[str, float] = {}
        self._images = 0
        self._with_loss = True
        for dataset in leaves(self.dataloader.dataset):
            _check_order(dataset)

    def run(self) -> dict:
        """Validate once; returns the metrics with those of the loss among them."""
        self.runner.call_hook('before_val')
        self.runner.call_hook('before_val_epoch')
        self.runner.model.eval()
        self._reset()
        batches = all_gather_object(len(self.dataloader))
        self._with_loss = min(batches) > 0
        data_batch = None
        for idx, data_batch in enumerate(self.dataloader):
            self.run_iter(idx, data_batch)
        if self._with_loss:
            for idx in range(len(self.dataloader), max(batches)):
                self._losses(idx, data_batch)
        metrics = self.evaluator.evaluate(len(self.dataloader.dataset))
        metrics.update(self._means())
        self.runner.call_hook('after_val_epoch', metrics=metrics)
        self.runner.call_hook('after_val')
        return metrics

    @torch.no_grad()
    def run_iter(self, idx: int, data_batch: dict[str, Sequence]) -> None:
        """Add the loss of a batch, then predict and evaluate it as ValLoop does."""
        self.runner.call_hook('before_val_iter', batch_idx=idx, data_batch=data_batch)
        if self._with_loss:
            images = len(data_batch['inputs'])
            for name, value in self._losses(idx, data_batch).items():
                self._sums[name] = self._sums.get(name, 0.0) + value * images
            self._images += images
        with self.precision.autocast():
            outputs = self.runner.model.val_step(data_batch)
        self.evaluator.process(data_samples=outputs, data_batch=data_batch)
        self.runner.call_hook('after_val_iter', batch_idx=idx, data_batch=data_batch, outputs=outputs)

    @torch.no_grad()
    def _losses(self, idx: int, data_batch: dict[str, Sequence]) -> dict[str, float]:
        if any('gt_instances' in sample and 'bboxes' not in sample.gt_instances
               for sample in data_batch.get('data_samples') or ()):
            raise ConfigError('ValLossLoop needs the ground truth, but the samples have no boxes: put '
                              'dict(type="LoadAnnotations", with_bbox=True) behind the loading of the image in the '
                              'validation pipeline')
        model = unwrap(self.runner.model)
        with _generators(self.seed + idx), self.precision.autocast():
            losses = model(**model.data_preprocessor(data_batch, False), mode='loss')
        _, parts = model.parse_losses(losses)
        return dict(zip(parts, torch.stack([part.float() for part in parts.values()]).tolist(), strict=True))

    def _means(self) -> dict[str, float]:
        shares = all_gather_object((self._sums, self._images))
        images = sum(share[1] for share in shares)
        if not self._with_loss or not images:
            print_log('No validation loss: there are fewer batches of validation images than processes',
                      logger='current', level=logging.WARNING)
            return {}
        return {f'val/{name}': sum(sums[name] for sums, _ in shares) / images for name in self._sums}

    def _reset(self) -> None:
        self._sums.clear()
        self._images = 0
        # MMEngine's LogProcessor shows every scalar with "loss" or "time" in its name, such as the score of a class
        # named "bone loss", as the mean of its last values, which are validations here. Without a history it is exact.
        scalars = self.runner.message_hub.log_scalars
        for name in [name for name in scalars if name.startswith('val/') and name not in ('val/time', 'val/data_time')]:
            del scalars[name]


@contextmanager
def _generators(seed: int) -> Iterator[None]:
    """Seed the generators of torch, NumPy and Python inside, and leave them as they were."""
    numpy_state, python_state = np.random.get_state(), random.getstate()
    device = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices=device):
        torch.default_generator.manual_seed(seed)
        if device:
            torch.cuda.manual_seed(seed)
        np.random.seed(seed)
        random.seed(seed)
        try:
            yield
        finally:
            np.random.set_state(numpy_state)
            random.setstate(python_state)


def _check_order(dataset) -> None:
    """Raise ConfigError if a data set resizes images before it loads the boxes."""
    steps = [type(step).__name__ for step in getattr(getattr(dataset, 'pipeline', None), 'transforms', ())]
    loads = next((i for i, step in enumerate(steps) if step.endswith('LoadAnnotations')), None)
    if loads is not None and any('Resize' in step for step in steps[:loads]):
        raise ConfigError('ValLossLoop needs the boxes in the pixels of the resized image, but the validation pipeline '
                          f'has {" -> ".join(steps)}: put {steps[loads]} before the resizing')
