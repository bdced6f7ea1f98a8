"""MMEngine's Runner with what is looked at before and while weights are loaded."""
import copy
import logging
from pathlib import Path

from mmengine.dataset import InfiniteSampler
from mmengine.logging import MMLogger
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import DataLoader

from cxrdet.checkpoints.checkpoint import Checkpoint, check_share, recorded_loads
from cxrdet.core.config_tree import walk
from cxrdet.core.errors import CheckpointError, ConfigError
from cxrdet.engine.lock import RunLock
from cxrdet.engine.optimizers.no_weight_decay import exempt_from_decay
from cxrdet.engine.process import param_groups, unwrap
from cxrdet.engine.schedule import check_resumed, hyperparameters, restart_schedule, resumed_changes, tell_changes

_FOR_THE_FILE = ('Distributed training is not used', 'Hooks will be executed in the following order',
                 'paramwise_options -- ', '"FileClient" will be deprecated', '"HardDiskBackend" is the alias')
_FROZEN = ' is skipped since its requires_grad=False'  # a line for each parameter of what the config freezes


def only_in_file(record: logging.LogRecord) -> bool:
    """Whether a record is one of MMEngine's before the first line that matters: versions, config, order of hooks …"""
    message = record.getMessage()
    return record.funcName == '_log_env' or message.startswith(_FOR_THE_FILE) or message.endswith(_FROZEN)


def _raise(record: logging.LogRecord) -> None:
    """Raise the error with which a record could not be written; called where it is handled."""
    raise


class QuietRunner(Runner):
    """MMEngine's Runner, whose pages of versions, config and hooks go into the log file only."""

    def build_logger(self, log_level: int | str = 'INFO', log_file: str | None = None, **kwargs) -> MMLogger:
        """MMEngine's logger; it names its file first."""
        logger = super().build_logger(log_level, log_file, **kwargs)
        files = [handler.baseFilename for handler in logger.handlers if isinstance(handler, logging.FileHandler)]
        for handler in logger.handlers if files else ():
            if isinstance(handler, logging.FileHandler):
                handler.handleError = _raise  # logging would print it, and go on
            else:
                handler.addFilter(lambda record: not only_in_file(record))
        for path in files[:1]:
            logger.info(f'Log, with versions and config: {path}')
        return logger


class TestRunner(QuietRunner):
    """A Runner for testing, in everything MMEngine's, but: the config that a training left in the work folder stays.

    That of the test stands in the test's own folder, ``<time>/vis_data/config.py``.
    """
    __test__ = False  # no test of pytest

    def dump_config(self) -> None:
        if self.cfg.filename is None or not Path(self.work_dir, Path(self.cfg.filename).name).exists():
            super().dump_config()


class GuardedRunner(QuietRunner):
    """A Runner for training, in everything MMEngine's, but:

    - It holds the lock of its work folder (:class:`cxrdet.engine.lock.RunLock`) until :meth:`close`.
    - Weights that fill less than half of what they are loaded into (``init_cfg``, ``load_from``) are refused, unless
      the config has ``allow_partial_weights = True``.
    - What a resumed run changes is told, and what it cannot change is refused (:mod:`cxrdet.engine.schedule`).
    - A last batch of one image is refused where the batch norm of a head would fail on it, before the first batch.
    - ``auto_scale_lr`` scales the peak of OneCycleLR, too, which MMEngine leaves as it is.
    - Parameters whose modules say so are left out of the weight decay (:func:`exempt_from_decay`).

    Attributes:
        new_schedule: whether a resumed run takes its rates from the config instead of the checkpoint.
    """
    new_schedule = False
    lock: RunLock | None = None

    def __init__(self, *args, **kwargs) -> None:
        try:
            super().__init__(*args, **kwargs)
        except BaseException:
            self.close()
            raise

    def setup_env(self, env_cfg: dict) -> None:
        """Set up the processes, then take the lock; nothing has been written yet."""
        super().setup_env(env_cfg)
        self.lock = RunLock(self.work_dir)
        self.lock.acquire()

    def dump_config(self) -> None:
        """Leave the config of an earlier run there until this one may begin, see :meth:`load_or_resume`."""

    def build_optim_wrapper(self, optim_wrapper):
        """Build the optimizer wrapper; what asks for no weight decay gets none."""
        return exempt_from_decay(self.model, super().build_optim_wrapper(optim_wrapper))

    def scale_lr(self, optim_wrapper, auto_scale_lr: dict | None = None) -> None:
        """Scale the rates by the size of batches, and with them the peak of OneCycleLR, which alone sets the rates."""
        groups = param_groups(optim_wrapper)
        before = [group['lr'] for group in groups]
        super().scale_lr(optim_wrapper, auto_scale_lr)
        ratio = next((group['lr'] / lr for group, lr in zip(groups, before, strict=True) if lr), 1)
        if ratio == 1:
            return
        for group, lr in zip(groups, before, strict=True):
            group['lr'] = lr * ratio  # the one by which the log is written, too
        self.param_schedulers = copy.deepcopy(self.param_schedulers)  # those of the config stay as they were
        for scheduler in walk(self.param_schedulers):
            if str(scheduler.get('type')).rpartition('.')[2].startswith('OneCycle'):
                peak = scheduler['eta_max']
                scheduler['eta_max'] = [one * ratio for one in peak] if isinstance(peak, list) else peak * ratio

    def train(self) -> nn.Module:
        """Train; where batch norm has one value, say so."""
        try:
            return super().train()
        except ValueError as error:
            if 'Expected more than 1 value per channel' not in str(error):
                raise
            raise ConfigError('train_dataloader: a batch of one image, which is so small that a batch norm has one '
                              'value of each channel. Set train_dataloader.drop_last=True, or larger images or '
                              f'batches ({error}).') from error

    def load_or_resume(self) -> None:
        """Load weights or go on from a checkpoint; then the config of this run takes its place in the work folder."""
        super().load_or_resume()
        super().dump_config()

    def close(self) -> None:
        """Release the work folder."""
        if self.lock is not None:
            self.lock.release()

    def call_hook(self, fn_name: str, **kwargs) -> None:
        """Call the hooks, unless another run has taken the folder over."""
        self.lock.check()
        super().call_hook(fn_name, **kwargs)

    def _init_model_weights(self) -> None:
        check_last_batch(self.model, self.train_dataloader)
        try:
            with recorded_loads() as loads:
                super()._init_model_weights()
        except AssertionError as error:
            if 'is not in the pretrained model' not in str(error):
                raise
            raise CheckpointError(f'init_cfg.prefix: {error}: no weight in the file begins so.') from error
        for load in loads if not self._resume else ():
            init_cfg = getattr(load.module, 'init_cfg', None)
            source = init_cfg.get('checkpoint') if isinstance(init_cfg, dict) else None
            check_share(load, source or 'pretrained weights', accept=self._accepts_part)

    def load_checkpoint(self, filename: str, *args, **kwargs) -> dict:
        """Load weights (``load_from``), or the weights of a checkpoint to resume from."""
        with recorded_loads() as loads:
            checkpoint = super().load_checkpoint(filename, *args, **kwargs)
        if self._resume:
            Checkpoint(checkpoint, filename).check_resumable()
            checkpoint['meta'].pop('config', None)  # MMEngine would execute it
            changes = resumed_changes(self, checkpoint)
            check_resumed(self, checkpoint, changes, new_schedule=self.new_schedule)
            tell_changes(changes, new_schedule=self.new_schedule)
        for load in loads if not self._resume else ():
            if load.module is unwrap(self.model):
                check_share(load, str(filename), accept=self._accepts_part)
        return checkpoint

    def resume(self, filename: str, resume_optimizer: bool = True, resume_param_scheduler: bool = True,
               map_location: str = 'default') -> None:
        """Go on from a checkpoint; with ``new_schedule``, at the rates that the config gives for that place."""
        fresh = hyperparameters(self.optim_wrapper)
        super().resume(filename, resume_optimizer, resume_param_scheduler and not self.new_schedule, map_location)
        if self.new_schedule:
            restart_schedule(self, fresh)

    @property
    def _accepts_part(self) -> bool:
        return bool(self.cfg.get('allow_partial_weights', False))


def check_last_batch(model: nn.Module, loader: DataLoader) -> None:
    """Raise ConfigError if a batch of the training will hold one image and a head's batch norm has to work on it.

    Batch norm over features without positions (``BatchNorm1d``) cannot be computed from one sample. The box head of a
    detector has hundreds of regions of one image.
    """
    batches = loader.batch_sampler
    size, images = getattr(batches, 'batch_size', None), len(loader.sampler)
    endless = isinstance(loader.sampler, InfiniteSampler)
    if not size or not (size == 1 or (images % size == 1 and not endless and not getattr(batches, 'drop_last', False))):
        return
    names = [name for name, part in unwrap(model).named_modules() if isinstance(part, nn.BatchNorm1d)
             and any(place in name for place in ('head', 'neck')) and 'roi_head' not in name
             and all(p.requires_grad for p in part.parameters())]
    if names:
        what = 'every batch holds' if size == 1 else f'{images} images in batches of {size} leave a last batch of'
        raise ConfigError(f'train_dataloader: {what} one image, of which the batch norm in {names[0]} cannot be '
                          'computed. Set train_dataloader.drop_last=True, or another train_dataloader.batch_size.')
