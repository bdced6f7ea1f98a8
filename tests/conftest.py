"""Fixtures that several test files share. Heavy imports stay inside the fixtures."""
import importlib.util
import os
from pathlib import Path

import pytest

os.environ.setdefault('NO_ALBUMENTATIONS_UPDATE', '1')
REPOSITORY = Path(__file__).parents[1]


@pytest.fixture(scope='session')
def real_data() -> Path:
    """Root folder of the real data sets: CXRDET_DATA, or ../shared/data beside the repository."""
    root = Path(os.environ.get('CXRDET_DATA', REPOSITORY.parent / 'shared' / 'data'))
    if not root.is_dir():
        pytest.skip(f'no real data at {root}')
    return root


@pytest.fixture(scope='session')
def cell_phantoms(tmp_path_factory) -> Path:
    """A small COCO set of made-up cells: annotations/{train,val}.json (8 and 4 images of 96 px), images/. Read only."""
    from cxrdet.datasets.phantoms import write_cell_phantoms
    folder = tmp_path_factory.mktemp('phantoms') / 'cell'
    return Path(write_cell_phantoms(folder, splits={'train': 8, 'val': 4}, size=96))


@pytest.fixture(scope='session')
def tool():
    """Load ``tools/<name>.py`` as a module, so that its ``main(argv)`` runs here, as if the process had just begun."""
    from mmengine.logging import MessageHub, MMLogger
    from mmengine.visualization import Visualizer

    def load(name: str):
        for manager in (MessageHub, MMLogger, Visualizer, *Visualizer.__subclasses__()):
            manager._instance_dict.clear()  # one process, one run: what an earlier test left would be used again
        spec = importlib.util.spec_from_file_location(f'tools_{name}', REPOSITORY / 'tools' / f'{name}.py')
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module
    return load
