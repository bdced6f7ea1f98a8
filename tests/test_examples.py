"""The notebooks run from the first cell to the last, on tiny settings, and are kept without outputs."""
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).parents[1] / 'examples').glob('*.ipynb'))
TINY = {'cells': 'folder, train_images, val_images, epochs = "cells", 6, 4, 1'}


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request):
    nbformat = pytest.importorskip('nbformat')
    read = nbformat.read(request.param, as_version=4)
    nbformat.validate(read)
    return request.param.stem, read


def code(read) -> list:
    return [cell for cell in read.cells if cell.cell_type == 'code']


def test_is_kept_without_outputs(notebook):
    for cell in code(notebook[1]):
        assert not cell.outputs
        assert cell.execution_count is None


@pytest.mark.long
def test_runs(notebook, tmp_path, monkeypatch):
    from nbclient import NotebookClient
    for name in ('JUPYTER_RUNTIME_DIR', 'JUPYTER_DATA_DIR', 'IPYTHONDIR'):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    monkeypatch.setenv('PYTHONPATH', str(NOTEBOOKS[0].parents[1]))
    name, read = notebook
    first, = [cell for cell in code(read) if 'parameters' in cell.metadata.get('tags', ())]
    first.source = TINY[name]
    NotebookClient(read, timeout=300, resources={'metadata': {'path': str(tmp_path)}}).execute()
    pictures = [output for cell in code(read) for output in cell.outputs if 'image/' in str(output.get('data', {}))]
    assert len(pictures) == 3
    assert '</html>' in (tmp_path / 'cells' / 'report.html').read_text(encoding='utf-8')
