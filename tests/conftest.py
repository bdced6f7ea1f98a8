"""Fixtures that several test files share. Heavy imports stay inside the fixtures."""
import gc
import importlib.util
import json
import multiprocessing.util
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

import pytest

import cxrdet  # noqa: F401  the operators are there before a test imports mmdet or mmpretrain, whichever test is first

os.environ.setdefault('NO_ALBUMENTATIONS_UPDATE', '1')
REPOSITORY = Path(__file__).parents[1]
sys.path.append(str(REPOSITORY / 'benchmarks'))  # whose scripts import each other by name
sys.path.append(str(REPOSITORY))  # projects.NAME, as a config of the project names its modules


@pytest.fixture(scope='session', autouse=True)
def no_threads_of_opencv():
    """In a forked child, OpenCV waits for ever for threads that only its parent has."""
    import cv2
    cv2.setNumThreads(1)


@pytest.fixture(autouse=True)
def no_visualizer_of_another_test():
    """MMEngine gives a run the visualizer of an earlier one that began in the same second, whose folder is gone."""
    yield
    if 'mmengine.visualization' in sys.modules:
        from mmengine.visualization import Visualizer
        for kind in (Visualizer, *Visualizer.__subclasses__()):
            kind._instance_dict.clear()


@pytest.fixture(scope='session', autouse=True)
def nothing_is_left(tmp_path_factory):
    """All tests over, no process that they started runs on, and no file stands where they put temporary ones.

    But for those of torch's compiler and launcher, of ONNX Runtime (.ses) and Chromium, which go with the folder.
    """
    folder, before = tmp_path_factory.mktemp('temporary'), os.environ.get('TMPDIR')
    os.environ['TMPDIR'] = tempfile.tempdir = str(folder)
    yield
    gc.collect()  # the error of a test in a reference cycle still holds the loader in which it arose, and its workers
    multiprocessing.util._run_finalizers()  # as at the end of this process
    left = _left_in(folder)
    for _ in range(100):  # the workers of a killed run end when they look for it, every five seconds
        if not left:
            break
        time.sleep(0.2)
        left = _left_in(folder)
    assert not left
    assert not _children()
    tempfile.tempdir = None
    os.environ.pop('TMPDIR') if before is None else os.environ.update(TMPDIR=before)


def _left_in(folder: Path) -> list[Path]:
    from cxrdet.core.temporary import remove_stale
    remove_stale(folder)  # as the next run does with what a killed one has left
    return [path for path in folder.iterdir() if not path.name.startswith(
        ('torchinductor_', 'torchelastic_', 'pytorch-errorfile-', 'org.chromium.', '.ses'))]


def _children() -> list[str]:
    """The commands of the processes that this one has started and that still run; empty where there is no /proc."""
    found = []
    for place in Path('/proc').glob('[0-9]*'):
        try:
            state, parent = (place / 'stat').read_text().rpartition(')')[2].split()[:2]
            command = (place / 'cmdline').read_bytes().replace(b'\0', b' ').decode(errors='replace')
        except OSError:
            continue  # it has ended
        if int(parent) == os.getpid() and state != 'Z' and 'multiprocessing.resource_tracker' not in command:
            found.append(command)
    return found


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
def write_tfrecord():
    """Write a TFRecord file of the Comparison detector: ``write(path, [(name, pixels RGB, rows of five)])``."""
    import numpy as np

    from cxrdet.datasets.formats.tfrecord import masked_crc32c

    def varint(value):
        return bytes([value]) if value < 128 else bytes([value & 127 | 128]) + varint(value >> 7)

    def field(number, data):
        return varint(number << 3 | 2) + varint(len(data)) + data

    def feature(value):
        return field(1, field(1, value)) if isinstance(value, bytes) else field(3, field(1, varint(value)))

    def write(path, images):
        content = b''
        for name, pixels, rows in images:
            values = {'img': pixels.tobytes(), 'img_name': name.encode(), 'img_height': pixels.shape[0],
                      'img_width': pixels.shape[1], 'gtboxes_and_label': np.array(rows, '<i4').tobytes()}
            data = field(1, b''.join(field(1, field(1, key.encode()) + field(2, feature(value)))
                                     for key, value in values.items()))
            head = len(data).to_bytes(8, 'little')
            content += b''.join([head, masked_crc32c(head).to_bytes(4, 'little'), data,
                                 masked_crc32c(data).to_bytes(4, 'little')])
        path.write_bytes(content)
        return path
    return write


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


@pytest.fixture(scope='session')
def calls():
    """How many functions, of Python and of C, a call calls: a cost that is the same on every machine."""
    def count(function, *args, **kwargs) -> int:
        made = 0

        def note(frame, event, arg) -> None:
            nonlocal made
            made += event in ('call', 'c_call')
        sys.setprofile(note)
        try:
            function(*args, **kwargs)
        finally:
            sys.setprofile(None)
        return made
    return count


class Browser:
    """A headless Chromium that opens files: at a width, and with what it wrote to its console or asked of the network.

    Attributes:
        driver: Selenium's.
    """

    def __init__(self, driver):
        self.driver = driver

    def open(self, path, *, width=1280, height=900, dark=False):
        """Open a file and wait until it is loaded; return the driver."""
        self.driver.execute_cdp_cmd('Emulation.setDeviceMetricsOverride', dict(
            width=width, height=height, deviceScaleFactor=1, mobile=width < 600))
        self.driver.execute_cdp_cmd('Emulation.setEmulatedMedia', dict(features=[
            dict(name='prefers-color-scheme', value='dark' if dark else 'light')]))
        self.console(), self.requests()
        self.driver.get(Path(path).resolve().as_uri())
        return self.driver

    def console(self):
        """Lines of the console since the last call."""
        return [entry['message'] for entry in self.driver.get_log('browser')]

    def requests(self):
        """Addresses that were asked for since the last call, without images that stand in the page itself."""
        events = [json.loads(entry['message'])['message'] for entry in self.driver.get_log('performance')]
        found = [event['params']['request']['url'] for event in events
                 if event['method'] == 'Network.requestWillBeSent']
        return [url for url in found if not url.startswith('data:image/')]


@pytest.fixture(scope='session')
def browser():
    """A headless Chromium; see :class:`Browser`. Skipped where there is none, which CI does not let pass."""
    from selenium.webdriver import Chrome, ChromeOptions
    from selenium.webdriver.chrome.service import Service
    program = next(filter(None, map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome'))), None)
    service = shutil.which('chromedriver')
    if program is None or service is None:
        pytest.skip('no Chromium with chromedriver on the PATH: see .ci/install_browser')
    options = ChromeOptions()
    options.binary_location = program
    for argument in ('--headless=new', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--hide-scrollbars',
                     '--disable-background-networking', '--no-first-run'):
        options.add_argument(argument)
    options.set_capability('goog:loggingPrefs', {'browser': 'ALL', 'performance': 'ALL'})
    driver = Chrome(options=options, service=Service(service))
    yield Browser(driver)
    driver.quit()
