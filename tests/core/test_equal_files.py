"""Equal files in two folders, against a comparison of all with all."""
import filecmp
import os

import numpy as np
import pytest

from cxrdet.core.equal_files import equal_files, equal_groups


@pytest.fixture
def folders(tmp_path):
    """Files of few sizes: some equal, some that differ in one byte at the start, in the middle or at the end."""
    rng = np.random.default_rng(0)
    paths = [[], []]
    for kind, size in enumerate((1, 100, 5000, 20_000)):
        base = rng.bytes(size)
        for side in (0, 1):
            for number, place in enumerate((None, 0, size // 2, size - 1)):
                content = bytearray(base)
                if place is not None:
                    content[place] = (content[place] + 1 + 2 * number + side) % 256
                paths[side].append(tmp_path / f'{side}_{kind}_{number}')
                paths[side][-1].write_bytes(content)
    return paths


def test_as_a_comparison_of_all_with_all(folders):
    one, other = folders
    expected = [str(b) for b in other if any(filecmp.cmp(a, b, shallow=False) for a in one)]
    pairs = equal_files(one, other)
    assert [b for _, b in pairs] == expected and len(expected) >= 4
    assert all(filecmp.cmp(a, b, shallow=False) for a, b in pairs)


def test_the_same_files_links_empty_and_missing_ones(folders, tmp_path):
    one, _ = folders
    assert equal_files(one[::-1], one) == [(str(path), str(path)) for path in one]
    (tmp_path / 'link').symlink_to(one[5])
    os.link(one[6], tmp_path / 'hard')
    for name in ('empty', 'other'):
        (tmp_path / name).touch()
    odd = [tmp_path / 'link', tmp_path / 'hard', tmp_path / 'other', tmp_path / 'none', tmp_path, 'zero\0byte']
    assert equal_files([*one[4:], tmp_path / 'empty', tmp_path / 'none'], odd) == [
        (str(one[5]), str(odd[0])), (str(one[6]), str(odd[1]))]
    assert equal_files([], one) == equal_files(one, []) == []


def test_files_of_different_sizes_are_not_opened(folders, tmp_path, monkeypatch):
    (tmp_path / 'long').write_bytes(b'1' * 77)
    monkeypatch.setattr('builtins.open', lambda *_: pytest.fail('opened'))
    assert equal_files(folders[0], [tmp_path / 'long']) == []


def test_groups_of_one_list_against_a_comparison_of_all_with_all(folders):
    paths = [str(path) for side in folders for path in side]
    expected = {frozenset(other for other in paths if filecmp.cmp(path, other, shallow=False)) for path in paths}
    found = equal_groups([*paths, paths[0]])
    assert len(found) == len({frozenset(same) for same in found})
    assert {frozenset(same) for same in found} == {same for same in expected if len(same) > 1}
    assert equal_groups([]) == []
