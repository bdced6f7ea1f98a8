"""One process or several: on GPUs MMEngine starts NCCL; on a machine without a GPU, gloo is started here."""
import os
import re
import signal
import subprocess
import sys
import threading
import time
from datetime import timedelta
from typing import Any

from cxrdet.core.errors import ConfigError, check_choice
from cxrdet.engine.loaders import fit_to_machine

_NEEDED = {
    'pytorch': ('RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'MASTER_ADDR', 'MASTER_PORT'),
    'slurm': ('SLURM_PROCID', 'SLURM_NTASKS', 'SLURM_NODELIST'),
    'mpi': ('OMPI_COMM_WORLD_RANK', 'OMPI_COMM_WORLD_SIZE', 'OMPI_COMM_WORLD_LOCAL_RANK', 'MASTER_ADDR'),
}
_STARTED_BY = {'pytorch': 'tools/dist_train.sh CONFIG GPUS (or python -m torch.distributed.run)',
               'slurm': 'tools/slurm_train.sh (srun)', 'mpi': 'mpirun, with MASTER_ADDR set'}
TIMEOUT = 300  # s
_WATCH_EVERY, _GRACE = 2.0, 30.0  # s
_FOLLOWS = re.compile(r'^Dist\w*Error:|\bgloo\b|\bNCCL\b|Connection (closed|reset) by peer|Broken pipe')
_PATIENCE = 15  # s


def init_distributed(launcher: str, cfg: Any) -> None:
    """Prepare this process, alone or as one of several; to be called before a Runner is built.

    Threads, workers and image caches are held to what it may use (:mod:`cxrdet.engine.loaders`). With GPUs the Runner
    starts the group itself; without, where it would fail in choosing one, a gloo group is started here, and
    ``cfg.model_wrapper_cfg`` keeps the model on the CPU. The launcher is told of the error that ended a process before
    those that follow from it in the others.

    Args:
        launcher: ``none``, ``pytorch``, ``slurm`` or ``mpi``.
        cfg: the config; ``env_cfg.dist_cfg.timeout`` (s, 300 where it says nothing) is how long a process waits for one
            that hangs.

    Raises:
        ConfigError: the launcher is unknown or has not started this process, or there are fewer GPUs than processes.
    """
    if launcher == 'none':
        fit_to_machine(cfg)
        return
    check_choice('launcher', launcher, ('none', *_NEEDED))
    missing = [name for name in _NEEDED[launcher] if name not in os.environ]
    if missing:
        raise ConfigError(f'--launcher {launcher}: {", ".join(missing)} not set in the environment: this process was '
                          f'not started by {_STARTED_BY[launcher]}. Start it so, or leave --launcher out.')
    _set_environment(launcher)
    timeout = cfg.setdefault('env_cfg', {}).setdefault('dist_cfg', {}).setdefault('timeout', TIMEOUT)
    _report_errors(timeout)
    if launcher == 'pytorch':
        _end_with_launcher()
    import torch
    from torch import distributed
    if torch.cuda.is_available():
        number, gpus = int(os.environ.get('LOCAL_RANK', 0)), torch.cuda.device_count()
        if number >= gpus:
            raise ConfigError(f'Process number {number} of this machine finds {gpus} GPUs: start at most {gpus} '
                              'processes, or compute on the CPU by setting CUDA_VISIBLE_DEVICES=-1.')
        fit_to_machine(cfg, launcher)
        return
    fit_to_machine(cfg, launcher)
    wrapper = dict(type='MMDistributedDataParallel', broadcast_buffers=False, device_ids=None,
                   find_unused_parameters=cfg.get('find_unused_parameters', False))
    cfg['model_wrapper_cfg'] = wrapper | (cfg.get('model_wrapper_cfg') or {})
    if not distributed.is_initialized():
        distributed.init_process_group('gloo', timeout=timedelta(seconds=timeout))


def is_first(launcher: str) -> bool:
    """Whether this process is the first of those that the launcher has started; to be asked at any time."""
    return launcher == 'none' or int(os.environ.get(_NEEDED[launcher][0], 0)) == 0


def _end_with_launcher() -> None:
    """End this process, by SIGTERM and, if it hangs, by SIGKILL, when the launcher that started it has been killed."""
    launcher = os.getppid()

    def watch() -> None:
        while os.getppid() == launcher:
            time.sleep(_WATCH_EVERY)
        sys.stderr.write('The launcher has ended: this process ends, too.\n')
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(_GRACE)
        os.kill(os.getpid(), signal.SIGKILL)
    threading.Thread(target=watch, daemon=True, name='launcher watch').start()


def _set_environment(launcher: str) -> None:
    """Translate the launcher's variables into those of torch."""
    if launcher == 'slurm':
        names = {'RANK': 'SLURM_PROCID', 'WORLD_SIZE': 'SLURM_NTASKS', 'LOCAL_RANK': 'SLURM_LOCALID'}
        if 'MASTER_ADDR' not in os.environ:
            nodes = subprocess.run(['scontrol', 'show', 'hostnames', os.environ['SLURM_NODELIST']],
                                   capture_output=True, text=True, check=True)
            os.environ['MASTER_ADDR'] = nodes.stdout.split()[0]
    elif launcher == 'mpi':
        names = {'RANK': 'OMPI_COMM_WORLD_RANK', 'WORLD_SIZE': 'OMPI_COMM_WORLD_SIZE',
                 'LOCAL_RANK': 'OMPI_COMM_WORLD_LOCAL_RANK', 'LOCAL_WORLD_SIZE': 'OMPI_COMM_WORLD_LOCAL_SIZE'}
    else:
        return
    os.environ.setdefault('MASTER_PORT', '29500')
    os.environ.update({ours: os.environ[theirs] for ours, theirs in names.items() if theirs in os.environ})


def _report_errors(timeout: float = TIMEOUT) -> None:
    """Let the launcher name the error that ended the run, rather than those that follow from it in other processes.

    An error of the connection waits here for the launcher to end this process; any other is noted, with its traceback,
    where ``torch.distributed.run`` looks for it.
    """
    previous = sys.excepthook

    def report(kind, error, trace):
        previous(kind, error, trace)
        if _FOLLOWS.search(f'{kind.__name__}: {error}'):
            error.follows_from_another = True
            sys.stderr.write('The lines above say only that another process has ended or hangs (none has answered for '
                             f'{timeout:g} s, see --timeout); its own error tells why.\n')
            sys.stderr.flush()
            time.sleep(_PATIENCE)
        elif isinstance(error, Exception) and 'TORCHELASTIC_ERROR_FILE' in os.environ:
            from torch.distributed.elastic.multiprocessing.errors import get_error_handler
            try:
                raise error.with_traceback(trace)  # it notes the traceback of the error in hand
            except Exception:
                get_error_handler().record_exception(error)
    sys.excepthook = report
