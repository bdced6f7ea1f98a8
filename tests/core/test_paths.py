"""Names in data: what may be read by the text of a name, and where nothing may be written."""
import os

import pytest

from cxrdet.core.errors import DataError
from cxrdet.core.paths import is_outside, join_inside


@pytest.mark.parametrize('name', ['a.png', 'sub/a.png', './a.png', 'a..png', '...', 'é b.png', '..a/b', 'a\nb.png'])
def test_names_to_write(tmp_path, name):
    assert join_inside(tmp_path, name) == tmp_path / name


@pytest.mark.parametrize('name', ['', '.', './', '..', '../a.png', 'sub/../../a.png', 'sub/..', '/etc/a.png', '\\a.png',
                                  '..\\a.png', 'C:\\a.png', 'c:a.png', 'C:/a.png', '//host/share/a.png', 'a\0.png'])
def test_names_that_are_not_written(tmp_path, name):
    with pytest.raises(DataError, match='nothing is written there'):
        join_inside(tmp_path, name)


def test_links_to_write_through(tmp_path):
    (tmp_path / 'out').mkdir()
    (tmp_path / 'out' / 'sub').mkdir()
    (tmp_path / 'out' / 'away').symlink_to(tmp_path)
    (tmp_path / 'out' / 'a.png').symlink_to('../a.png')
    (tmp_path / 'out' / 'near').symlink_to('sub')
    for name in ('away/a.png', 'a.png', 'away/out/a.png'):
        with pytest.raises(DataError, match='is a link that leads out'):
            join_inside(tmp_path / 'out', name)
    assert join_inside(tmp_path / 'out', 'a.png', renamed=True) == tmp_path / 'out' / 'a.png'
    assert join_inside(tmp_path / 'out', 'near/a.png') == tmp_path / 'out' / 'near' / 'a.png'
    (tmp_path / 'link').symlink_to('out')
    assert join_inside(tmp_path / 'link', 'sub/a.png') == tmp_path / 'link' / 'sub' / 'a.png'


@pytest.mark.parametrize('name, outside', [
    ('a.png', False), ('sub/../a.png', False), ('../lists/../images/a.png', False), ('../other/a.png', False),
    ('link/a.png', False), ('ROOT/images/a.png', False), ('REAL/images/a.png', False), ('../../a.png', True),
    ('../../root2/a.png', True), ('/etc/passwd', True), ('ROOT/../a.png', True), ('sub/../../../a.png', True),
    ('C:\\data\\a.png', True), ('..a.png', False)])
def test_reading_is_judged_by_the_text(tmp_path, name, outside):
    (tmp_path / 'real' / 'images').mkdir(parents=True)
    (tmp_path / 'root').symlink_to('real')
    (tmp_path / 'real' / 'images' / 'link').symlink_to('/etc')  # the user's own, followed
    root = tmp_path / 'root'
    name = name.replace('ROOT', str(root)).replace('REAL', str(tmp_path / 'real'))
    assert is_outside(name, root / 'images', [root]) == outside


def test_roots(tmp_path, monkeypatch):
    """The folder of images that a config names is as good as its root; without a root the working folder is none."""
    monkeypatch.chdir(tmp_path)
    assert not is_outside('../b/a.png', 'data/images', ['data']) and is_outside('../b/a.png', 'data/images')
    assert not is_outside('a.png', '/mnt/films', ['data']) and is_outside('../a.png', '/mnt/films', ['data'])
    assert not is_outside(f'{os.getcwd()}/a.png', '') and not is_outside('../b', '/', [])
