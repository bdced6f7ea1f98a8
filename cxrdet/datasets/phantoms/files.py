"""Writing a set of data so that a killed run can go on: no file is ever half written, none of others overwritten."""
import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cxrdet.core.errors import DataError

MANIFEST = 'prepared.json'
OWN = ('annotations', 'images', 'Data_Entry_2017_v2020.csv', 'Data_Entry_2017_v2020.csv.gz', 'Data_Entry_2017.csv',
       'Data_Entry_2017.csv.gz', 'BBox_List_2017.csv', 'train_val_list.txt', 'train_list.txt', 'val_list.txt',
       'test_list.txt', 'folds', 'splits.json')  # all that a prepared set consists of, of whatever kind
Progress = Callable[[str, int, int], None]  # called with (what, done, total) after each image


def write_whole(path: Path, data: bytes) -> None:
    """Write ``data`` beside ``path`` and rename it, so that ``path`` is either absent or whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f'.{path.name}.{os.getpid()}.part')
    try:
        part.write_bytes(data)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def write_json(path: Path, content: Any) -> None:
    """Write ``content`` as JSON with :func:`write_whole`."""
    write_whole(path, (json.dumps(content, indent=1) + '\n').encode())


def claim_folder(out_dir: Path, manifest: dict[str, Any], force: bool = False) -> None:
    """Make ``out_dir`` the home of the set that ``manifest`` describes.

    An empty or absent folder gets the manifest (``prepared.json``). A folder with the same manifest is left as it is,
    so that the run can go on; what a killed run left half-written is removed. A folder with another manifest is
    emptied of the names in ``OWN`` if ``force`` is set. A folder without manifest is somebody else's: it is never
    written to.

    Args:
        out_dir: Folder of the set.
        manifest: What the set is made from; JSON types only.
        force: Replace another prepared set.

    Raises:
        DataError: If the folder holds files but no prepared set, or another set and ``force`` is not set.
    """
    path = out_dir / MANIFEST
    if out_dir.exists() and not out_dir.is_dir():
        raise DataError(f'{out_dir}: expected a folder to write to, found a file. Choose another folder.')
    present = sorted(entry.name for entry in out_dir.iterdir()) if out_dir.exists() else []
    foreign = [name for name in present if not (name.startswith('.') and name.endswith('.part'))]
    if foreign and MANIFEST not in present:
        raise DataError(f'{out_dir}: the folder is not empty and holds no prepared set (there is no {MANIFEST}, but '
                        f'{", ".join(foreign[:5])}). Choose an empty or new folder.')
    if MANIFEST in present:
        found = _read_manifest(path)
        if found == manifest:
            for part in out_dir.glob('**/.*.part'):
                if time.time() - part.stat().st_mtime > 60:  # nobody's any more
                    part.unlink(missing_ok=True)
            return
        if not force:
            raise DataError(f'{out_dir}: the folder holds another prepared set ({_differences(found, manifest)}). '
                            'Choose another folder, or replace it by --force (force=True).')
        # The manifest goes last: until then a killed run leaves a set that is known to be another one.
        for name in OWN:
            entry = out_dir / name
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink(missing_ok=True)
    write_json(path, manifest)


def _read_manifest(path: Path) -> dict:
    try:
        found = json.loads(path.read_text(encoding='utf-8'))
    except (ValueError, OSError):
        return {}
    return found if isinstance(found, dict) else {}


def _differences(found: dict, manifest: dict) -> str:
    keys = [key for key in manifest if found.get(key) != manifest[key]] + [key for key in found if key not in manifest]
    return '; '.join(f'{key}: {found.get(key)!r} there, {manifest.get(key)!r} asked for' for key in keys)
