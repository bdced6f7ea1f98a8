"""Random numbers follow from the seed and the position in a run: a resumed run draws what an unbroken one draws."""
from mmengine.dataset import worker_init_fn as mmengine_worker_init_fn
from mmengine.hooks import Hook

from cxrdet.engine.process import by_iteration, position, unwrap
from cxrdet.engine.seeding import WorkerSeeder, seed_dataset, seed_generators, worker_init_fn
from cxrdet.registry import HOOKS

_REPLACED = (None, mmengine_worker_init_fn, worker_init_fn)  # functions of a loader in whose place ours stands

@HOOKS.register_module()
class ReproducibleHook(Hook):
    """Seed all generators from (seed, rank, epoch) at the start of every epoch and of every validation.

    Epoch-based runs: workers of the data loaders take their seeds from there as well, persistent ones as if they were
    new. These are in fact started anew in every epoch if the run is deterministic: transforms may remember earlier
    epochs (mmdet's ``CachedMosaic``). A ``worker_init_fn`` of your own is left alone, and seeds as it will.

    Iteration-based runs: the generators are seeded from (seed, rank, iteration) before every iteration, and at every
    checkpoint the workers are started anew, as a resumed run would. This needs ``mmengine.InfiniteSampler``.

    A gradient that is still being accumulated when a checkpoint is written is put into it (single process only).
    """
    priority = 'LOWEST'  # after the CheckpointHook

    def __init__(self) -> None:
        self._saved, self._gradients = False, {}

    def before_train(self, runner) -> None:
        for name, parameter in unwrap(runner.model).named_parameters():
            if name in self._gradients:
                parameter.grad = self._gradients[name].to(parameter)
        self._gradients = {}
        sampler = runner.train_dataloader.sampler
        if by_iteration(runner) and not hasattr(sampler, 'skip'):
            runner.logger.warning(f'With {type(sampler).__name__} an iteration-based run that is resumed may draw '
                                  'other random numbers than an unbroken one; use InfiniteSampler.')

    def before_train_epoch(self, runner) -> None:
        self._start(runner, runner.train_dataloader, position(runner), 0)

    def before_val_epoch(self, runner) -> None:
        self._start(runner, runner.val_dataloader, position(runner), 1)

    def after_val(self, runner) -> None:
        if by_iteration(runner):
            self._seed(runner, runner.train_dataloader, runner.iter, 0)

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        loader = runner.train_dataloader
        if by_iteration(runner):
            self._seed(runner, loader, runner.iter + 1, 0)
            if self._saved and hasattr(loader.sampler, 'skip'):
                loader._iterator = None
                runner.train_loop.dataloader_iterator.skip_iter(runner.iter + 1)
        self._saved = False

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        if 'optimizer' not in checkpoint:
            return
        self._saved = True
        gradients = {name: parameter.grad.cpu() for name, parameter in unwrap(runner.model).named_parameters()
                     if parameter.grad is not None}
        if gradients and runner.world_size == 1:
            checkpoint['gradients'] = gradients

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        self._gradients = checkpoint.get('gradients', {}) if runner._resume else {}

    def _start(self, runner, loader, *position: int) -> None:
        self._seed(runner, loader, *position)
        function = loader.worker_init_fn
        fresh = getattr(function, 'func', function) in _REPLACED
        if fresh:
            loader.worker_init_fn = WorkerSeeder(loader) if WorkerSeeder.fits(loader) else worker_init_fn
        if fresh or runner.deterministic:
            loader._iterator = None  # ends persistent workers
        elif isinstance(function, WorkerSeeder) and loader._iterator is not None:
            function.renew()

    @staticmethod
    def _seed(runner, loader, *position: int) -> None:
        key = (runner.seed, runner.rank, *position)
        seed_generators(*key)
        seed_dataset(loader.dataset, *key)
