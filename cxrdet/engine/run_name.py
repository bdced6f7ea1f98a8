"""A folder of its own for every run, inside the work folder of its config."""
import os
import re
import time
from pathlib import Path

from cxrdet.core.errors import ConfigError

AUTO = 'auto'
_LONGEST = 200  # bytes; file systems take 255, and files beside the folder may be named after it
RUN_TIME = 'CXRDET_RUN_TIME'  # set by the launchers, so that all processes of a run name the same folder


def run_folder(work_dir: str | os.PathLike, config: str | os.PathLike, run_name: str, *, resume: bool | str = False,
               launcher: str = 'none') -> Path:
    """The folder of a run: ``work_dir/<run_name>``, for ``auto`` ``work_dir/<config name>_<YYYYMMDD_HHMMSS>``.

    Args:
        work_dir: of the config, which holds the folders of its runs.
        config: its file, after which the model is named in the model zoo.
        run_name: a name, or ``auto``: the local time of the start, which :data:`RUN_TIME` gives where it is set.
        resume: as for :func:`cxrdet.apis.train.train`; with ``auto`` and True the newest such folder with a checkpoint.
        launcher: of the processes; those of one run must name the same folder.

    Raises:
        ConfigError: if the name cannot be that of a folder, ``auto`` is to resume from a given file, or a launcher has
            not said when it started.
    """
    if run_name != AUTO:
        if (not run_name.strip(' .') or {'/', '\\'} & set(run_name) or not run_name.isprintable()
                or len(os.fsencode(run_name)) > _LONGEST):
            raise ConfigError(f'--run-name {run_name!r}: expected the name of a folder in {work_dir}, of at most '
                              f'{_LONGEST} bytes, or auto; another place is set by --work-dir.')
        return Path(work_dir) / run_name
    if resume and resume is not True:
        raise ConfigError(f'--run-name auto --resume {resume}: which run is to go on? --resume alone takes the newest, '
                          f'--run-name {Path(resume).parent.name} the one of that name; without --run-name give the '
                          'folder as --work-dir.')
    stem = Path(str(config)).stem
    if resume:
        earlier = [path for path in Path(work_dir).glob(f'{stem}_*')
                   if re.fullmatch(r'\d{8}_\d{6}', path.name.removeprefix(f'{stem}_')) and any(path.glob('*.pth'))]
        if earlier:
            return max(earlier)
    now = os.environ.get(RUN_TIME)
    if now is None and launcher != 'none':
        raise ConfigError(f'--run-name auto: the processes of a run must agree on the time. Start them by '
                          f'tools/dist_train.sh on one machine or tools/slurm_train.sh, set {RUN_TIME} to the same '
                          'value for all, or give a name.')
    return Path(work_dir) / f'{stem}_{now or time.strftime("%Y%m%d_%H%M%S")}'
