"""Folders of results: what is replaced, what is an error, what a killed run leaves, and what others add."""
import json
import multiprocessing
import os
import signal
from pathlib import Path

import pytest

from cxrdet.core import folders
from cxrdet.core.errors import DataError
from cxrdet.core.folders import OutputFolder, keep_apart


def write(out, files, **options):
    """One run of a tool that writes these files."""
    with OutputFolder(out, 'tool', **options) as new:
        for name, text in files.items():
            (new / name).parent.mkdir(parents=True, exist_ok=True)
            (new / name).write_text(text)


def tree(folder):
    """Name -> text of all files, without the tool's own list."""
    return {path.relative_to(folder).as_posix(): path.read_text() for path in sorted(Path(folder).rglob('*'))
            if path.is_file() and '.cxrdet' not in path.parts}


def everything(folder):
    return sorted(path.relative_to(folder).as_posix() for path in Path(folder).rglob('*'))


NAMES = {'names': ('a.json', 'pictures')}


@pytest.mark.parametrize('options', [{}, NAMES, {'made_from': {'seed': 1}}])
def test_what_was_written_earlier_is_replaced_as_a_whole(tmp_path, options):
    out = tmp_path / 'new' / 'out'
    write(out, {'a.json': '1', 'pictures/x/1.png': '1', 'pictures/2.png': '2'}, **options)
    assert tree(out) == {'a.json': '1', 'pictures/2.png': '2', 'pictures/x/1.png': '1'}
    assert everything(out / '.cxrdet') == ['tool.json']
    with OutputFolder(out, 'tool', **options) as new:
        for name in folders._files_below(new):  # there are some where the results are made from the same
            (new / name).unlink()
        (new / 'pictures').mkdir(exist_ok=True)
        (new / 'pictures' / '3.png').write_text('3')
        assert tree(out)['a.json'] == '1'  # the old ones stand until the end
    assert tree(out) == {'pictures/3.png': '3'}
    assert (out / 'pictures' / 'x').exists() == ('made_from' in options)  # an empty folder was handed on


@pytest.mark.parametrize('there', ['pictures/slide.jpg', 'a.json'])
@pytest.mark.parametrize('options', [{}, NAMES])
def test_what_others_put_there_is_an_error_before_anything_else(tmp_path, options, there):
    (tmp_path / there).parent.mkdir(exist_ok=True)
    (tmp_path / there).write_text('mine')
    before = everything(tmp_path)
    with pytest.raises(DataError, match=f'not written by tool.*{there.partition("/")[0]}.*empty or new folder'):
        OutputFolder(tmp_path, 'tool', **options)
    assert everything(tmp_path) == before and (tmp_path / there).read_text() == 'mine'


def test_other_files_beside_the_named_results_are_no_obstacle(tmp_path):
    (tmp_path / 'notes.txt').write_text('mine')
    write(tmp_path, {'a.json': '1'}, **NAMES)
    assert tree(tmp_path) == {'a.json': '1', 'notes.txt': 'mine'}
    with pytest.raises(DataError, match='not written by other'):
        OutputFolder(tmp_path, 'other', names=('a.json',))  # each tool replaces its own


@pytest.mark.parametrize('kind', ['folder', 'file'])
def test_links_in_the_way_are_not_followed(tmp_path, kind):
    (tmp_path / 'home').mkdir()
    (tmp_path / 'home' / 'x.png').write_text('mine')
    (tmp_path / 'out').mkdir()
    (tmp_path / 'out' / 'pictures').symlink_to(tmp_path / 'home' / ('' if kind == 'folder' else 'x.png'))
    for options in ({}, NAMES, {'names': ('pictures/x.png',)}):
        with pytest.raises(DataError, match='not written by tool'):
            write(tmp_path / 'out', {'pictures/x.png': '1'}, **options)
    assert tree(tmp_path / 'home') == {'x.png': 'mine'}


def test_a_folder_of_ours_exchanged_for_a_link_is_left_alone(tmp_path):
    write(tmp_path / 'out', {'pictures/x.png': '1'})
    os.rename(tmp_path / 'out' / 'pictures', tmp_path / 'elsewhere')
    (tmp_path / 'out' / 'pictures').symlink_to(tmp_path / 'elsewhere')
    with pytest.raises(DataError, match='not as tool wrote them: pictures/x.png'):
        write(tmp_path / 'out', {})
    assert tree(tmp_path / 'elsewhere') == {'x.png': '1'}


def test_files_that_were_added_stay(tmp_path):
    write(tmp_path, {'pictures/1.png': '1', 'pictures/2.png': '2'})
    (tmp_path / 'pictures' / 'mine.png').write_text('mine')
    (tmp_path / 'notes.txt').write_text('mine')
    write(tmp_path, {'pictures/2.png': 'new'})
    assert tree(tmp_path) == {'notes.txt': 'mine', 'pictures/2.png': 'new', 'pictures/mine.png': 'mine'}
    with pytest.raises(DataError, match='not written by tool: pictures/mine.png'):
        write(tmp_path, {'pictures/mine.png': 'ours'})
    assert tree(tmp_path) == {'notes.txt': 'mine', 'pictures/2.png': 'new', 'pictures/mine.png': 'mine'}


def test_a_file_that_was_changed_is_an_error_and_one_that_was_removed_is_none(tmp_path):
    write(tmp_path, {'a.csv': '123', 'b.csv': '1'})
    (tmp_path / 'a.csv').write_text('124')  # of the same length
    with pytest.raises(DataError, match='not as tool wrote them: a.csv'):
        OutputFolder(tmp_path, 'tool')
    (tmp_path / 'a.csv').unlink()
    results = OutputFolder(tmp_path, 'tool')
    (tmp_path / 'b.csv').write_text('2')  # while the tool was computing
    with pytest.raises(DataError, match='not as tool wrote them: b.csv'), results:
        pass
    assert tree(tmp_path) == {'b.csv': '2'}


def test_the_same_content_in_the_way_is_taken_over(tmp_path):
    (tmp_path / 'pictures').mkdir()
    (tmp_path / 'pictures' / '1.png').write_text('1')
    write(tmp_path, {'pictures/1.png': '1', 'pictures/2.png': '2'}, names=())
    assert set(json.loads((tmp_path / '.cxrdet' / 'tool.json').read_text())['files']) == {
        'pictures/1.png', 'pictures/2.png'}


@pytest.mark.parametrize('error', [ValueError, KeyboardInterrupt])
@pytest.mark.parametrize('old', [False, True])
def test_a_run_that_fails_leaves_what_was_there(tmp_path, error, old):
    out = tmp_path / 'sub' / 'out'
    if old:
        write(out, {'a': 'old'})

    def fail():
        with OutputFolder(out, 'tool') as new:
            (new / 'a').write_text('half')
            raise error
    with pytest.raises(error):
        fail()
    assert everything(tmp_path) == (['sub', 'sub/out', 'sub/out/.cxrdet', 'sub/out/.cxrdet/tool.json', 'sub/out/a']
                                    if old else [])


# ------------------------------------------------------------------------------------------------- kills

def killed(run, *arguments):
    """Run a function in a process that ends as by SIGKILL."""
    process = multiprocessing.get_context('fork').Process(target=run, args=arguments)
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL


def kill(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize('old', [{}, {'a': 'old', 'gone': 'old'}])
def test_a_run_killed_while_it_computes(tmp_path, old):
    if old:
        write(tmp_path / 'out', old)

    def run():
        with OutputFolder(tmp_path / 'out', 'tool') as new:
            (new / 'a').write_text('half')
            kill()
    killed(run)
    assert tree(tmp_path / 'out') == old
    write(tmp_path / 'out', {'a': 'new'})
    assert tree(tmp_path / 'out') == {'a': 'new'} and everything(tmp_path / 'out' / '.cxrdet') == ['tool.json']


STEPS = ['os.rename', 'os.replace', 'Path.unlink', 'Path.rmdir', 'shutil.rmtree']


@pytest.mark.parametrize('added', [False, True])
@pytest.mark.parametrize('count', range(12))
def test_a_run_killed_while_it_moves_is_completed_by_the_next(tmp_path, monkeypatch, count, added):
    """Killed at each of the steps in turn: the next run finds the old or the new results, whole."""
    old = {'a': 'old', 'b/c': 'old', 'b/d': 'old', 'e/f': 'old'}
    new = {'a': 'new', 'b/c': 'new', 'g': 'new', 'h/i': 'new'}
    write(tmp_path, old)
    mine = {'b/mine': 'mine'} if added else {}
    for name, text in mine.items():
        (tmp_path / name).write_text(text)

    def run():
        left = [count]

        def step(call):
            def counted(*arguments, **options):
                if left[0] == 0:
                    kill()
                left[0] -= 1
                return call(*arguments, **options)
            return counted
        results = OutputFolder(tmp_path, 'tool')
        with results as folder:
            for name, text in new.items():
                (folder / name).parent.mkdir(exist_ok=True)
                (folder / name).write_text(text)
            for name in STEPS:
                owner, attribute = name.split('.')
                owner = Path if owner == 'Path' else getattr(folders, owner)
                monkeypatch.setattr(owner, attribute, step(getattr(owner, attribute)))
        kill()
    killed(run)
    with pytest.raises(RuntimeError), OutputFolder(tmp_path, 'tool'):
        raise RuntimeError  # the next run fails by itself; before, it has put the folder in order
    assert tree(tmp_path) in ({**old, **mine}, {**new, **mine})
    assert everything(tmp_path / '.cxrdet') == ['tool.json']
    write(tmp_path, {'a': 'newest'})
    assert tree(tmp_path) == {'a': 'newest', **mine}


def test_ctrl_c_while_it_moves(tmp_path, monkeypatch):
    write(tmp_path, {'a': 'old', 'b': 'old'})
    calls, replace = [], os.replace

    def interrupt(*paths):
        calls.append(paths)
        if len(calls) == 3:  # after the list of the new ones and the first of them
            raise KeyboardInterrupt
        return replace(*paths)
    monkeypatch.setattr(os, 'replace', interrupt)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path, {'a': 'new', 'b': 'new'})
    assert tree(tmp_path) == {'a': 'new', 'b': 'new'} and everything(tmp_path / '.cxrdet') == ['tool.json']


def test_two_runs_at_once(tmp_path):
    with OutputFolder(tmp_path, 'tool') as new:
        (new / 'a').write_text('1')
        with pytest.raises(DataError, match='another run of tool is writing'):
            OutputFolder(tmp_path, 'tool')
    assert tree(tmp_path) == {'a': '1'}


# ------------------------------------------------------------------------------------------------- made from the same

def test_results_made_from_the_same_are_kept(tmp_path):
    write(tmp_path, {'a': '1', 'b/c': '2'}, made_from={'seed': 1})
    inode = (tmp_path / 'b' / 'c').stat().st_ino
    with OutputFolder(tmp_path, 'tool', made_from={'seed': 1}) as new:
        assert tree(new) == {} and sorted(folders._files_below(new)) == ['a', 'b/c']
        (new / 'd').write_text('3')
    assert tree(tmp_path) == {'a': '1', 'b/c': '2', 'd': '3'} and (tmp_path / 'b' / 'c').stat().st_ino == inode


def test_results_made_from_something_else_need_force(tmp_path):
    write(tmp_path, {'a': '1'}, made_from={'seed': 1})
    with pytest.raises(DataError, match=r'another prepared set \(seed: 1 there, 2 asked for\).*--force'):
        OutputFolder(tmp_path, 'tool', made_from={'seed': 2})
    with OutputFolder(tmp_path, 'tool', made_from={'seed': 2}, force=True) as new:
        assert os.listdir(new) == []
    assert tree(tmp_path) == {}
    (tmp_path / 'mine').write_text('mine')
    with pytest.raises(DataError, match='not written by other'):
        OutputFolder(tmp_path, 'other', made_from={}, force=True)


@pytest.mark.parametrize('seed, kept', [(1, ['a']), (2, [])])
def test_what_a_killed_run_has_finished_is_taken_over_if_it_is_made_from_the_same(tmp_path, seed, kept):
    def run():
        with OutputFolder(tmp_path, 'tool', made_from={'seed': 1}) as new:
            (new / 'a').write_text('1')
            (new / '.b.123.part').write_text('half')
            kill()
    killed(run)
    assert tree(tmp_path) == {}
    with OutputFolder(tmp_path, 'tool', made_from={'seed': seed}) as new:
        assert os.listdir(new) == kept
    assert tree(tmp_path) == dict.fromkeys(kept, '1')


# ------------------------------------------------------------------------------------------------- inputs

@pytest.mark.parametrize('source', ['out/images', 'out', 'link/images', 'link', 'files/x.png'])
def test_inputs_in_the_folder_are_refused(tmp_path, source):
    write(tmp_path / 'out', {'images/x.png': '1'})
    (tmp_path / 'link').symlink_to('out')
    (tmp_path / 'files').mkdir()
    (tmp_path / 'files' / 'y.png').symlink_to('../out/images/x.png')
    (tmp_path / 'files' / 'x.png').symlink_to('y.png')
    with pytest.raises(DataError, match='this input lies in'):
        OutputFolder(tmp_path / 'out', 'tool', inputs=[tmp_path / 'files', tmp_path / source])
    OutputFolder(tmp_path / 'out', 'tool', inputs=[tmp_path / 'files'])


def test_with_names_an_input_may_lie_beside_the_results_but_may_not_be_one(tmp_path):
    write(tmp_path, {'pictures/x.png': '1'}, **NAMES)
    (tmp_path / 'slide.png').write_text('')
    OutputFolder(tmp_path, 'tool', inputs=[tmp_path / 'slide.png'], **NAMES)
    with pytest.raises(DataError, match='this input lies in'):
        OutputFolder(tmp_path, 'tool', inputs=[tmp_path / 'pictures' / 'x.png'], **NAMES)


@pytest.mark.parametrize('out', ['set', 'set/sub/out', '.', 'link', 'link/out', 'set/labels.csv'])
def test_keep_apart(tmp_path, out):
    (tmp_path / 'set').mkdir()
    (tmp_path / 'set' / 'labels.csv').write_text('')
    (tmp_path / 'link').symlink_to('set')
    for source in ('set', 'set/labels.csv'):
        with pytest.raises(DataError, match='must not lie in the folder of its source'):
            keep_apart(tmp_path / out, None, tmp_path / source)
    keep_apart(tmp_path / 'settings', tmp_path / 'set')


# ------------------------------------------------------------------------------------------------- lists of others

@pytest.mark.parametrize('name', ['../precious', '/etc/hosts', 'a/../../precious', '.cxrdet/other.json'])
def test_a_list_that_names_other_places_is_not_believed(tmp_path, name):
    write(tmp_path / 'out', {'a': '1'})
    (tmp_path / 'precious').write_text('1')
    path = tmp_path / 'out' / '.cxrdet' / 'tool.json'
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, 'files': {name: content['files']['a']}}))
    with pytest.raises(DataError, match='cannot have written'):
        OutputFolder(tmp_path / 'out', 'tool')
    assert (tmp_path / 'precious').exists()


@pytest.mark.parametrize('text', ['', '[]', '{"files": 3}', '{"files": {"a": 3}}'])
def test_a_torn_list(tmp_path, text):
    (tmp_path / '.cxrdet').mkdir()
    (tmp_path / '.cxrdet' / 'tool.json').write_text(text)
    with pytest.raises(DataError, match='cannot be read'):
        OutputFolder(tmp_path, 'tool')


def test_results_may_not_be_named_like_the_list(tmp_path):
    with pytest.raises(DataError, match='not written by tool: .cxrdet/tool.json'):
        write(tmp_path, {'.cxrdet/tool.json': '{}'})


@pytest.mark.parametrize('make', [lambda p: p.write_text(''), lambda p: (p.mkdir(), (p / '.cxrdet').symlink_to('..'))])
def test_no_folder(tmp_path, make):
    make(tmp_path / 'out')
    with pytest.raises(DataError, match='expected a folder'):
        OutputFolder(tmp_path / 'out', 'tool')


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(DataError, match='cannot be made or written to'), OutputFolder(tmp_path / 'file/out', 'tool'):
        pass
