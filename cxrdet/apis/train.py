"""Train a detector or a classifier from a config."""
import gc
from collections.abc import Iterator

import torch
from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.runner import Runner
from mmengine.runner.checkpoint import CheckpointLoader

from cxrdet.checkpoints.checkpoint import Checkpoint, find_resumable, install_safe_loader, reading_ahead
from cxrdet.core.config_tree import place_of, walk
from cxrdet.core.errors import CheckpointError, ConfigError
from cxrdet.core.garbage import no_collection
from cxrdet.datasets.described import handed_over
from cxrdet.engine import process
from cxrdet.engine.distributed import init_distributed
from cxrdet.engine.hooks.precision import PrecisionHook
from cxrdet.engine.hooks.terminate import TerminateHook
from cxrdet.engine.loaders import fit_to_machine
from cxrdet.engine.lock import RunLock
from cxrdet.engine.process import memory_told, set_device
from cxrdet.engine.runner import GuardedRunner
from cxrdet.preflight.check import told_by_place
from cxrdet.preflight.config import drop_helpers
from cxrdet.preflight.data import check_run, follow_classes, pack_for_metrics


def train(cfg: Config, *, resume: bool | str = False, amp: bool = False, auto_scale_lr: bool = False,
          seed: int | None = None, deterministic: bool = False, from_scratch: bool = False, launcher: str = 'none',
          trust: bool = False, new_schedule: bool = False) -> Runner:
    """Check the config, let the classes follow the data, and train.

    Args:
        cfg: From :func:`cxrdet.apis.load_config`. ``cfg.device``: see :func:`cxrdet.engine.process.set_device`.
        resume: ``True`` goes on from the newest whole checkpoint of the work folder (and starts anew if there is none);
            a path goes on from that checkpoint.
        amp: Mixed precision where the hardware computes it, see :mod:`cxrdet.engine.process`.
        auto_scale_lr: Scale the learning rate by the batch size over all processes / ``auto_scale_lr.base_batch_size``.
        seed: Of all random generators; by default ``cfg.randomness.seed``.
        deterministic: Deterministic kernels; slower, and the same weights every time.
        from_scratch: Random initial weights: no ``init_cfg`` checkpoints, nothing frozen, batch norm trained.
        launcher: ``none``, ``pytorch``, ``slurm`` or ``mpi``.
        trust: Read checkpoints that can only be read by executing code in them. Off: they are refused.
        new_schedule: With ``resume``: rates, weight decay and the like come from ``cfg``, as in an unbroken run of it
            at the same place; weights, the optimizer's moments and counters from the checkpoint.

    Returns:
        The runner after training; ``runner.model`` holds the last weights.

    Raises:
        ConfigError, DataError, CheckpointError: With everything that was found wrong, before training starts; also if
            another run is training in the work folder.
        MemoryShortageError: With the switches that take less.
    """
    if new_schedule and not resume:
        raise ConfigError('--new-schedule goes with --resume: a new training has the schedule of its config anyway.')
    if 'members' in (cfg.get('model') or {}):
        raise ConfigError('An ensemble is not trained: train its members, each by its own config, and give their '
                          'checkpoints to cxrdet test.')
    torch.set_flush_denormal(True)  # gradients that fade below 1e-38 slow CPU kernels down several times
    install_safe_loader(trust=trust)
    RunLock(cfg.work_dir).look()
    cfg.launcher = launcher
    set_device(cfg)
    set_randomness(cfg, seed, deterministic)
    if from_scratch:
        drop_pretrained(cfg)
    process.set_training_precision(cfg, amp=amp)
    if auto_scale_lr:
        set_auto_scale_lr(cfg)
    set_resume(cfg, resume, trust=trust)
    with no_collection():
        found = check_run(cfg, mode='train')
    drop_helpers(cfg)
    follow_classes(found)
    pack_for_metrics(found)
    read = [contents.described for contents in found.contents if contents.part.top != 'test_dataloader']
    found.contents.clear()  # what files hold is not kept for the time of the training
    fit_to_machine(cfg) if launcher == 'none' else init_distributed(launcher, cfg)
    check_pretrained(cfg)
    with told_by_place(found.parts), memory_told('train', cfg), handed_over(read):
        del read
        return _run(cfg, trust=trust, new_schedule=new_schedule)


def _run(cfg: Config, *, trust: bool, new_schedule: bool) -> Runner:
    """Build the runner of a config that is ready, and train."""
    gc.freeze()  # what has been imported is not looked through for garbage, here nor, which would copy it, in workers
    runner = None
    try:
        runner = GuardedRunner.from_cfg(cfg)
        runner.new_schedule = new_schedule
        runner.register_hook(PrecisionHook())
        stop = TerminateHook()
        runner.register_hook(stop)
        validates = process.evaluation_precision(cfg, fp16=(cfg.get('val_cfg') or {}).get('fp16', False))
        process.evaluate_in(runner.model, validates)
        if cfg.get('resume'):
            resumed = Checkpoint.read(cfg.load_from, trust=trust)
            resumed.check_resumable()
            resumed.check_model(runner.model)
            resumed.keep(trust=trust)
            del resumed  # so that the runner alone has it
        with stop.listening():
            runner.train()
    finally:
        gc.unfreeze()
        if runner is not None:
            runner.close()
    return runner


def set_randomness(cfg: Config, seed: int | None, deterministic: bool) -> None:
    randomness = dict(cfg.get('randomness') or dict(seed=None))  # MMEngine's own default; stock configs name none
    if seed is not None:
        randomness['seed'] = seed
    if deterministic:
        randomness['deterministic'] = True
    cfg.randomness = randomness


def set_auto_scale_lr(cfg: Config) -> None:
    if 'base_batch_size' not in (cfg.get('auto_scale_lr') or {}):
        raise ConfigError('--auto-scale-lr: the config must say for which total batch size its learning rate holds: '
                          'auto_scale_lr = dict(base_batch_size=8).')
    cfg.auto_scale_lr.enable = True


def set_resume(cfg: Config, resume: bool | str, *, trust: bool = False) -> None:
    """Point ``cfg`` at the checkpoint to go on from; it is read here, and kept for the runner."""
    if not resume:
        return
    found = find_resumable(cfg.work_dir, trust=trust) if resume is True else Checkpoint.read(resume, trust=trust)
    cfg.resume = found is not None
    if found is None:
        print_log(f'{cfg.work_dir}: nothing to resume from, the training starts anew', logger='current')
        return
    cfg.load_from = found.source
    found.keep(trust=trust)


def _pretrained(cfg: Config) -> Iterator[tuple[dict, dict]]:
    """The parts of the model that load a checkpoint, each with the initialiser that does."""
    return ((node, init) for node in walk(cfg.model) for init in _initialisers(node) if _loads(init))


def _initialisers(node: dict) -> list:
    given = node.get('init_cfg')
    return given if isinstance(given, list) else [given]


def _loads(init: object) -> bool:
    return isinstance(init, dict) and _type(init) in ('Pretrained', 'ConvertedPretrained')


def _type(part: dict) -> str:
    """The name of a part's class without its scope."""
    return str(part.get('type')).rpartition('.')[2]


def drop_pretrained(cfg: Config) -> None:
    """Make the model trainable from random weights.

    Raises:
        ConfigError: If a hook freezes parts of the model, which would then stay random.
    """
    for node in walk(cfg.model):
        if node.get('pretrained'):  # an older way, which DetectoRS of MMDetection still takes; True in timm's backbones
            node['pretrained'] = False if node['pretrained'] is True else None
    hooks = {key: cfg.get(key) for key in ('default_hooks', 'custom_hooks')}
    for hook in walk(hooks):
        if _type(hook) == 'GradualUnfreezeHook':
            raise ConfigError('--from-scratch trains all parts of the model, but GradualUnfreezeHook '
                              f'({place_of(hook, hooks, "")[1:]}) freezes some, which would stay random. Leave one of '
                              'the two out; +linear_probe brings that hook.')
    for node, _ in list(_pretrained(cfg)):
        others = [init for init in _initialisers(node) if not _loads(init)]
        node['init_cfg'] = others or None
        for part in (node, node.get('backbone') or {}):  # a classifier names the weights, its backbone what is frozen
            if part.get('frozen_stages', -1) >= 0:
                del part['frozen_stages']
            if part.get('norm_eval'):
                part['norm_eval'] = False
            if isinstance(part.get('norm_cfg'), dict):
                part['norm_cfg']['requires_grad'] = True


def check_pretrained(cfg: Config) -> None:
    """Read every pretrained checkpoint ahead of its model, so that a missing one is known at once."""
    from cxrdet.models.weights import read_weights  # the models take seconds to import
    for node, init in _pretrained(cfg):
        source, stock = init.get('checkpoint'), _type(init) == 'Pretrained'
        if not isinstance(source, str):
            raise ConfigError(f'{place_of(init, cfg.model, "model")}.checkpoint: expected a file or address, got '
                              f'{source}.')
        try:
            with reading_ahead():
                CheckpointLoader.load_checkpoint(source, map_location='cpu') if stock else read_weights(source)
        except (OSError, CheckpointError) as error:  # URLError is an OSError
            raise ConfigError(
                f'The pretrained weights {source} of {node.get("type")} cannot be read: {str(error).rstrip(".")}. '
                'Without a network, give a local file (--cfg-options '
                f'{place_of(init, cfg.model, "model")}.checkpoint=FILE.pth), or train from random weights '
                'with --from-scratch.') from error
