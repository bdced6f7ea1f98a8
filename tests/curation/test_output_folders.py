"""Tools that write several files into a folder leave those of others alone, and say so before they compute."""
import pytest
from mmengine.config import Config

from cxrdet.analysis.report import report
from cxrdet.core.errors import DataError
from cxrdet.curation.browse import browse
from cxrdet.engine.distributed import is_first
from cxrdet.inference.ensemble import bundle


@pytest.mark.parametrize('name, call', [
    ('train_01.png', lambda folder: browse(Config({'train_dataloader': {'dataset': {}}}), folder, number=17)),
    ('ensemble.py', lambda folder: bundle(Config(), folder)), ('ensemble.pth', lambda folder: bundle(Config(), folder)),
    ('roc.png', lambda folder: report('none.py', 'none.pth', out=folder / 'x.html', curves=folder))])
def test_files_of_others(tmp_path, name, call):
    (tmp_path / name).write_text('mine')
    with pytest.raises(DataError, match=f'in the way, not written by .*: {name}'):
        call(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [name] and (tmp_path / name).read_text() == 'mine'


@pytest.mark.parametrize('launcher, name', [('pytorch', 'RANK'), ('slurm', 'SLURM_PROCID')])
def test_one_of_several_processes_writes(monkeypatch, launcher, name):
    assert is_first('none')
    for rank in (0, 1):
        monkeypatch.setenv(name, str(rank))
        assert is_first(launcher) == (rank == 0)
