"""The device that a run computes on."""
import mmengine.device.utils
import torch
from mmengine.config import Config

from cxrdet.core.errors import ConfigError


def pick_device(device: str, *, option: str = '--device ') -> torch.device:
    """Return the device that ``device`` names; raises ConfigError if there is none of that name here."""
    if device == 'auto':
        return torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    try:
        target = torch.device(device)
        torch.zeros(1, device=target)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(f'{option}{device}: {str(error).splitlines()[0]}. Use "auto", "cpu" or a GPU that is there: '
                          f'{torch.cuda.device_count()} are') from error
    return target


def set_device(cfg: Config) -> None:
    """Let MMEngine's runner compute on ``cfg.device``: 'auto', 'cpu', 'cuda' or 'cuda:1'; where it is absent or None,
    MMEngine chooses, a GPU if there is one.

    Raises:
        ConfigError: If there is no such device, or several processes are to share one.
    """
    device = cfg.get('device')
    if device is None:
        return
    target = pick_device(str(device), option='device=')
    if cfg.get('launcher', 'none') != 'none' and target != pick_device('auto'):
        raise ConfigError(f'device={device}: of several processes each takes the GPU of its number. Leave the device '
                          'out; to compute on the CPU, set CUDA_VISIBLE_DEVICES=-1.')
    mmengine.device.utils.DEVICE = target.type
    if target.index is not None and target.type == 'cuda':
        torch.cuda.set_device(target)
