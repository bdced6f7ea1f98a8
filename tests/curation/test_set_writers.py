"""Images of a set put into a new folder: copies, links, what is in the way, what is there already."""
import os

import pytest

from cxrdet.core.errors import DataError
from cxrdet.core.issues import DataTable, Place
from cxrdet.curation.set_writers import place_images


@pytest.fixture
def table(tmp_path):
    """Two images, a.png and b.png."""
    table = DataTable('coco')
    for name in ('a.png', 'b.png'):
        (tmp_path / name).write_bytes(name.encode())
        table.add_image(name, str(tmp_path / name), Place('x.json'))
    return table


@pytest.mark.parametrize('link', [False, True])
def test_images_that_are_there_stay_where_an_earlier_run_wrote_them(tmp_path, table, link):
    out, done = tmp_path / 'out', []
    place_images(table, [0, 1], out, table.names, link=link, progress=lambda *state: done.append(state))
    assert done == [(1, 2), (2, 2)]
    states = [os.lstat(out / name) for name in table.names]
    assert [(out / name).read_bytes() for name in table.names] == [b'a.png', b'b.png']
    assert [(out / name).is_symlink() for name in table.names] == [link] * 2
    place_images(table, [0, 1], out, table.names, link=link, keep=True)
    assert [os.lstat(out / name).st_ino for name in table.names] == [state.st_ino for state in states]
    place_images(table, [0, 1], out, table.names, link=not link, keep=True)
    assert [(out / name).is_symlink() for name in table.names] == [not link] * 2
    with pytest.raises(DataError, match=r'a\.png: its name "a\.png" and that of another image'):
        place_images(table, [0, 1], out, table.names)


@pytest.mark.parametrize('names, text', [
    (['c.png', 'c.png'], r'b\.png: the image .*a\.png has the name "c\.png" already'),
    (['sub/c.png', 'link/c.png'], r'b\.png: its name "link/c\.png" .* are one on this file system'),
    (['../c.png', 'c.png'], 'nothing is written there')])
@pytest.mark.parametrize('keep', [False, True])
def test_two_images_never_become_one(tmp_path, table, names, text, keep):
    (tmp_path / 'out' / 'sub').mkdir(parents=True)
    (tmp_path / 'out' / 'link').symlink_to('sub')
    with pytest.raises(DataError, match=text):
        place_images(table, [0, 1], tmp_path / 'out', names, keep=keep)


def test_an_image_that_cannot_be_read(tmp_path, table):
    (tmp_path / 'b.png').unlink()
    with pytest.raises(DataError, match=r'b\.png: the image file cannot be copied: No such file'):
        place_images(table, [0, 1], tmp_path / 'out', table.names)
