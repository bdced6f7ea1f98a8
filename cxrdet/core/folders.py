"""Folders of results: what a tool wrote there earlier is replaced as a whole, and nothing else is touched.

``.cxrdet/<tool>.json`` in a folder lists what the tool wrote into it, with sizes and digests. New results grow in
``.cxrdet/<tool>.tmp`` (in the folder itself, for it may be a mounted volume) and are moved into place when they are
complete. A run that is killed before that leaves the old results; one that is killed while it moves is completed by
the next, from ``.cxrdet/<tool>.commit``.
"""
import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from cxrdet.core.errors import DataError
from cxrdet.core.files import open_locked, read_text, sha256_of, write_json
from cxrdet.core.paths import name_fault, within

HOME = '.cxrdet'
_HALF_WRITTEN = re.compile(r'\..+\.(part|partial|tmp)(\.\w+)?')


def results_of(tool: str, folder: str | os.PathLike) -> set[str]:
    """Real paths of the files that a tool lists as written into a folder; empty where there is no list to be read."""
    try:
        written = _read_list(Path(folder) / HOME / f'{tool}.json', tool) or {'files': {}}
    except DataError:
        return set()
    return {os.path.realpath(os.path.join(folder, name)) for name in written['files']}


def keep_apart(out: str | os.PathLike, *sources: str | os.PathLike | None) -> None:
    """Raise DataError if ``out`` is the folder of one of the ``sources`` (the folder of a file), lies in it or around
    it; links are resolved."""
    other = os.path.realpath(out)
    for source in sources:
        if source is not None:
            one = os.path.realpath(source)
            one = one if os.path.isdir(one) else os.path.dirname(one)
            if within(one, [other]) or within(other, [one]):
                raise DataError(f'{out}: the new set must not lie in the folder of its source {source}, nor around it. '
                                'Choose another folder.')


class OutputFolder:
    """The folder that a tool writes its results into: ``with OutputFolder(...) as new:`` gives an empty folder.

    At the end of the block its content takes the place of what the tool wrote into the folder earlier. Where the block
    raises, the folder stays as it was. What somebody else put there is never replaced or deleted: a file in the way is
    an error, raised by the constructor as far as it can be known, else before anything is moved. So is a file that the
    tool wrote and somebody changed. Files that were added beside ours stay.

    Args:
        path: The folder; made if need be.
        tool: Name of the list of what was written; each tool replaces its own results only.
        names: Where results will stand, relative to ``path``; None: the folder must be empty, or hold earlier results.
        inputs: Files and folders that the tool reads. With ``names``, none of them may be a result that would be
            replaced; without, none may lie in ``path``, through links neither.
        made_from: What determines the results, JSON types only. Results that were made from the same, complete or left
            by a run that was killed, stand in the new folder already (write no file in place, but beside it, and rename
            it); other earlier results are an error unless ``force``.
        force: Replace results that were made from something else.

    Raises:
        DataError: ``path`` is no folder that can be written to, something is in the way, or another run is writing.
    """

    def __init__(self, path: str | os.PathLike, tool: str, *, names: Iterable[str] | None = None,
                 inputs: Iterable[str | os.PathLike] = (), made_from: Mapping[str, Any] | None = None,
                 force: bool = False) -> None:
        self.path, self.tool, self.force = Path(path), tool, force
        self.names = None if names is None else list(names)
        self.made_from = None if made_from is None else json.loads(json.dumps(made_from))
        self.inputs = list(inputs)
        self._home = self.path / HOME
        self._new, self._commit = self._home / f'{tool}.tmp', self._home / f'{tool}.commit'
        self._seen: dict[str, tuple] = {}  # files found to be as they were written: name -> inode, size, time
        for place in (self.path, self._home):
            if os.path.lexists(place) and (not place.is_dir() or place == self._home and place.is_symlink()):
                raise DataError(f'{place}: expected a folder to write to, found a file or link. Choose another folder.')
        if self._home.exists():
            with self._lock():
                self._recover()
        self._check(self._written())

    def __enter__(self) -> Path:
        self._made = [place for place in (self.path, *self.path.parents) if not place.exists()]
        with suppress(OSError):
            self._home.mkdir(parents=True, exist_ok=True)
        if not os.access(self._home, os.W_OK | os.X_OK):
            raise DataError(f'{self.path}: this folder cannot be made or written to. Choose another one.')
        with ExitStack() as held:
            held.callback(self._remove_empty)
            held.enter_context(self._lock())
            self._recover()
            old = self._written()
            self._check(old)
            self._begin(old)
            self._held = held.pop_all()
        return self._new / 'new'

    def __exit__(self, kind: type | None, *_) -> None:
        """Move the new results into place, unless the block has raised."""
        with self._held:
            if self.made_from is None or kind is None or issubclass(kind, Exception):  # not after Ctrl-C: to go on
                self._held.callback(shutil.rmtree, self._new, ignore_errors=True)
            if kind is None:
                self._replace()

    def _remove_empty(self) -> None:
        for place in (self._home, *self._made):
            with suppress(OSError):  # there are results in it
                place.rmdir()

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """Hold the lock of the tool in this folder; the system releases it when the process ends, however it does."""
        path = self._home / f'{self.tool}.lock'
        try:
            stream, _ = open_locked(path)
        except BlockingIOError:
            raise DataError(f'{self.path}: another run of {self.tool} is writing into this folder. Wait for its end, '
                            'or choose another folder.') from None
        except OSError as error:
            raise DataError(f'{self.path}: this folder cannot be written to: {error.strerror}. Choose another '
                            'one.') from None
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
            os.close(stream)

    # ------------------------------------------------------------------------------------ what was written earlier

    def _written(self) -> dict | None:
        """The list of what the tool wrote earlier: ``files`` (name -> record) and ``made_from``; None: nothing."""
        return _read_list(self._home / f'{self.tool}.json', self.tool)

    def _changed(self, name: str, record: Mapping[str, Any]) -> bool:
        """Whether a file is there and is not the one that was written."""
        path = self.path / name
        if not os.path.lexists(path):
            return False
        if self._linked_parent(name):
            return True
        if path.is_symlink():
            return record.get('link') != os.readlink(path)
        state = path.stat()
        key = (state.st_ino, state.st_size, state.st_mtime_ns)
        if not path.is_file() or record.get('size') != state.st_size:
            return True
        if self._seen.get(name) != key:
            if record.get('sha256') != sha256_of(path):
                return True
            self._seen[name] = key
        return False

    def _linked_parent(self, name: str) -> bool:
        """Whether a folder on the way to a name is a link, or no folder."""
        places = [self.path / parent for parent in Path(name).parents if parent != Path('.')]
        return any(place.is_symlink() or (place.exists() and not place.is_dir()) for place in places)

    # ------------------------------------------------------------------------------------ checks

    def _check(self, old: dict | None) -> None:
        """Raise DataError where something is in the way; nothing is touched."""
        files = {} if old is None else old['files']
        self._check_recipe(old)
        self._refuse((name for name, record in files.items() if self._changed(name, record)),
                     f'not as {self.tool} wrote them')
        if self.names is not None:
            self._refuse((name for name in self.names if self._linked_parent(name) or self._is_foreign(name, files)),
                         f'not written by {self.tool}')
        elif old is None and self.path.is_dir():
            self._refuse((entry.name for entry in os.scandir(self.path) if entry.name != HOME),
                         f'not written by {self.tool} (there is no {HOME}/{self.tool}.json)')
        self._check_inputs(files)

    def _check_recipe(self, old: dict | None) -> None:
        if old is None or self.made_from is None or self.force or old['made_from'] == self.made_from:
            return
        found = old['made_from'] if isinstance(old['made_from'], dict) else {}
        different = '; '.join(f'{key}: {found.get(key)!r} there, {self.made_from.get(key)!r} asked for'
                              for key in {**self.made_from, **found} if found.get(key) != self.made_from.get(key))
        raise DataError(f'{self.path}: the folder holds another prepared set ({different}). Choose another folder, or '
                        'replace it by --force (force=True).')

    def _is_foreign(self, name: str, files: Mapping[str, Any]) -> bool:
        path = self.path / name
        if not os.path.lexists(path) or name in files:
            return False
        return path.is_symlink() or not any(other.startswith(f'{name}/') for other in files)

    def _check_inputs(self, files: Mapping[str, Any]) -> None:
        root, resolve = os.path.realpath(self.path), lru_cache(maxsize=4096)(os.path.realpath)
        for path in self.inputs:
            for place in _places(os.fspath(path), resolve):
                if within(place, [root]) and (self.names is None or os.path.relpath(place, root) in files):
                    raise DataError(f'{path}: this input lies in {self.path}, the folder of the results, and would be '
                                    'replaced by them. Choose another folder for the results.')

    def _refuse(self, names: Iterable[str], fault: str) -> None:
        names = sorted(names)
        if names:
            raise DataError(f'{self.path}: in the way, {fault}: {", ".join(names[:5])}'
                            f'{f" and {len(names) - 5} more" if len(names) > 5 else ""}. Nothing was changed. '
                            'Choose an empty or new folder, or move them away.')

    # ------------------------------------------------------------------------------------ writing

    def _begin(self, old: dict | None) -> None:
        """Make the folder for the new results; with those made from the same in it, if that is asked for."""
        recipe, new = self._new / 'made_from.json', self._new / 'new'
        left = recipe.is_file() and self.made_from is not None and read_text(recipe) == json.dumps(self.made_from)
        if not left:
            if self._new.exists():
                shutil.rmtree(self._new)
            new.mkdir(parents=True)
            if self.made_from is not None:
                write_json(recipe, self.made_from)
        for name in _files_below(new):
            if _HALF_WRITTEN.fullmatch(Path(name).name):
                (new / name).unlink()
        if old is not None and self.made_from is not None and old['made_from'] == self.made_from:
            for name in old['files']:
                if os.path.lexists(self.path / name) and not os.path.lexists(new / name):
                    (new / name).parent.mkdir(parents=True, exist_ok=True)
                    _link_or_copy(self.path / name, new / name)

    def _replace(self) -> None:
        old = self._written() or {'files': {}}
        new = self._new / 'new'
        files = {}
        for name in sorted(_files_below(new)):
            known = old['files'].get(name)
            same = known and os.path.lexists(self.path / name) and os.path.samestat(
                os.lstat(self.path / name), os.lstat(new / name))
            files[name] = known if same else _record(new / name)
        self._refuse((name for name, record in old['files'].items() if self._changed(name, record)),
                     f'not as {self.tool} wrote them')
        self._refuse((name for name, record in files.items() if _below_home(name) or self._linked_parent(name) or (
            name not in old['files'] and self._changed(name, record))), f'not written by {self.tool}')
        made_from = {} if self.made_from is None else {'made_from': self.made_from}
        write_json(self._new / 'list.json', {'tool': self.tool, **made_from, 'files': files}, indent=1)
        os.rename(self._new, self._commit)  # from here on the next run would complete it
        try:
            self._move(old['files'], files)
        except KeyboardInterrupt:
            self._recover()
            raise

    def _recover(self) -> None:
        """Complete what a killed run has begun to move into place."""
        if not self._commit.is_dir():
            return
        if (self._commit / 'list.json').is_file():
            old = (self._written() or {'files': {}})['files']
            files = json.loads(read_text(self._commit / 'list.json'))['files']
            still = {name: record for name, record in old.items() if self._is_old(name, files)}
            self._refuse((name for name, record in still.items() if self._changed(name, record)),
                         f'not as {self.tool} wrote them, and an earlier run was killed while it replaced them')
            self._move(old, files)
        else:
            shutil.rmtree(self._commit)

    def _is_old(self, name: str, files: Mapping[str, Any]) -> bool:
        """While results are moved: whether under a name of the old results there is still the old one, if any."""
        return name not in files or os.path.lexists(self._commit / 'new' / name)

    def _move(self, old: Mapping[str, Any], files: Mapping[str, Any]) -> None:
        """Take the old results away and move the new ones into place; may be repeated after a kill at any point."""
        stale = [name for name in old if self._is_old(name, files)]
        for name in stale:
            (self.path / name).unlink(missing_ok=True)
        for folder in sorted({parent for name in stale for parent in Path(name).parents[:-1]}, reverse=True):
            with suppress(OSError):  # it holds what others added, or is not there
                (self.path / folder).rmdir()
        _merge(self._commit / 'new', self.path)
        os.replace(self._commit / 'list.json', self._home / f'{self.tool}.json')
        shutil.rmtree(self._commit)


@contextmanager
def prepared_folder(out_dir: str | os.PathLike, manifest: dict[str, Any], *, force: bool = False,
                    inputs: Iterable[str | os.PathLike] = ()) -> Iterator[Path]:
    """An :class:`OutputFolder` of a set that is made from ``manifest``, which is written as ``prepared.json``: finished
    files of the same set are kept, so that a killed run goes on. Other arguments and errors as there.
    """
    with OutputFolder(out_dir, 'prepare_data', inputs=inputs, made_from=manifest, force=force) as new:
        write_json(new / 'prepared.json', manifest, indent=1)
        yield new


def _read_list(path: Path, tool: str) -> dict | None:
    if not path.exists():
        return None
    try:
        found = json.loads(read_text(path, 'list of results'))
        files = {name: dict(record) for name, record in found['files'].items()}
    except (ValueError, TypeError, KeyError, AttributeError):
        raise DataError(f'{path}: the list of what {tool} wrote here cannot be read. Move the folder away, or choose '
                        'another one.') from None
    strange = [name for name in files if name_fault(name) or _below_home(name)]
    if strange:
        raise DataError(f'{path}: the list names {strange[0]!r:.100}, which {tool} cannot have written. Distrust the '
                        'origin of the folder, and choose another one.')
    return {'files': files, 'made_from': found.get('made_from')}


def _below_home(name: str) -> bool:
    return name.split('/')[0].casefold() == HOME


def _merge(source: Path, target: Path) -> None:
    """Move all that is in a folder into another one; folders that are in both are merged."""
    for entry in sorted(source.iterdir()):
        place = target / entry.name
        if entry.is_dir() and not entry.is_symlink() and place.is_dir():
            _merge(entry, place)
            entry.rmdir()
        else:
            os.replace(entry, place)


def _files_below(folder: Path) -> list[str]:
    """All files and links below a folder, as names relative to it with slashes; links are not followed."""
    found = []
    for root, folders, files in os.walk(folder):
        links = [name for name in folders if os.path.islink(os.path.join(root, name))]
        found += [Path(root, name).relative_to(folder).as_posix() for name in files + links]
    return found


def _record(path: Path) -> dict[str, Any]:
    """What tells a file or link from any other."""
    if path.is_symlink():
        return {'link': os.readlink(path)}
    return {'size': path.stat().st_size, 'sha256': sha256_of(path)}


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:  # a file system without hard links
        shutil.copy2(source, target, follow_symlinks=False)


def _places(path: str, resolve: Callable[[str], Any]) -> Iterator[str]:
    """A path with the links of its folders resolved, and what it leads to, link after link."""
    for _ in range(40):  # as many as the system follows
        folder, name = os.path.split(os.path.abspath(path))
        path = os.path.join(resolve(folder), name)
        yield path
        if not os.path.islink(path):
            return
        path = os.path.join(os.path.dirname(path), os.readlink(path))
