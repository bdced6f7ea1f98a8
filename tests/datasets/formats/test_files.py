"""Image files: names in other spellings, what lies outside, loops of links."""
import unicodedata
from pathlib import Path

import pytest

from cxrdet.core.issues import DataTable, Place
from cxrdet.datasets.formats.files import add_image, files_below, spelled_on_disk, tell_missing, tell_outside

NFC, NFD = (unicodedata.normalize(form, 'zellé.png') for form in ('NFC', 'NFD'))


@pytest.mark.parametrize(('there', 'name', 'expected'), [
    (['a.png'], 'a.png', 'a.png'), ([NFD], NFC, NFD), ([NFC], NFD, NFC), ([NFC, NFD], NFD, NFD),
    (['sub/a.png'], 'sub\\a.png', 'sub/a.png'), (['sub/a.png', 'sub\\a.png'], 'sub\\a.png', 'sub\\a.png'),
    (['a b.png'], 'a%20b.png', 'a b.png'), (['a%20b.png', 'a b.png'], 'a%20b.png', 'a%20b.png'),
    ([f'sub/{NFD}'], f'sub\\{NFC}', f'sub/{NFD}'), (['100%.png'], '100%.png', '100%.png'),
    (['a b%20c.png', 'a b c.png'], 'a%20b%20c.png', 'a b c.png'), ([], 'sub\\a.png', 'sub\\a.png'),
    ([f'x/{NFC}', f'x/{NFD}'], f'x\\{NFC}', f'x\\{NFC}'),  # two files could be meant
    ([], 'a\\\0.png', 'a\\\0.png')])
def test_a_name_is_understood_where_one_file_is_meant(tmp_path, there, name, expected):
    for file in there:
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).touch()
    assert spelled_on_disk(name, tmp_path) == expected
    table = DataTable('coco')
    add_image(table, tmp_path, name, Place('f', 'row'))
    assert table.names == [expected] and table.files == [f'{tmp_path}/{expected}']
    assert [finding.code for finding in table.findings] == (['image_name'] if name != expected else [])


def test_missing_and_outside(tmp_path):
    (tmp_path / 'set' / 'folder.png').mkdir(parents=True)
    (tmp_path / 'set' / 'empty.png').touch()
    (tmp_path / 'set' / 'a.png').write_bytes(b'x')
    names = ['a.png', 'empty.png', 'folder.png', 'no\\b.png', '../out.png', '/etc/hosts', 'C:\\x.png', 'z\0',
             '../set/a.png']
    table = DataTable('coco')
    for row, name in enumerate(names):
        add_image(table, tmp_path / 'set', name, Place('f', f'row {row}'))
    tell_outside(table, [tmp_path / 'set'])
    tell_missing(table, range(len(names)))
    assert [(finding.code, finding.image) for finding in table.findings] == [
        *(('outside_file', row) for row in (4, 5, 6, 7)), ('empty_file', 1), ('missing_file', 2), ('missing_file', 3)]
    assert table.outside == {4, 5, 6, 7} and 'backslashes' in table.findings[-1].text
    table.outside, table.findings = set(), []
    tell_outside(table, [tmp_path / 'set'], allowed=True)
    assert table.outside == {7}


def test_loops_of_links_end_and_nothing_above_is_entered(tmp_path):
    (tmp_path / 'set' / 'sub').mkdir(parents=True)
    (tmp_path / 'set' / 'sub' / 'a.png').touch()
    (tmp_path / 'above.png').touch()
    for link, target in {'self': 'self', 'up': '..', 'sub/back': '../sub', 'root': '/', 'one': 'two', 'two': 'one',
                         'b.png': 'b.png'}.items():
        (tmp_path / 'set' / link).symlink_to(target)
    assert [Path(path).name for path in files_below(tmp_path / 'set')] == ['b.png', 'a.png']
