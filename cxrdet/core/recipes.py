"""The configs that come with the package: where they stand, and which one a name means."""
import sys
from pathlib import Path

from cxrdet.core.errors import ConfigError, did_you_mean

PREFIX = 'cxrdet::'
_PACKAGE = Path(__file__).parents[1]


def configs_folder() -> Path:
    """``configs/`` of the repository that the package is imported from, else the copy in the installed package."""
    beside = _PACKAGE.parent / 'configs'
    return beside if (beside / '_base_').is_dir() else _PACKAGE / '.mim' / 'configs'


def recipes() -> dict[str, Path]:
    """All configs that can be trained, by name: those that users start from first, then those of the ablations."""
    found = [path for path in configs_folder().rglob('*.py') if '_base_' not in path.parts]
    return {path.stem: path for path in sorted(found, key=lambda path: (len(path.parts), path))}


def find_config(name: str) -> str:
    """The file that a config argument means.

    Args:
        name: Path of a file; the name of a recipe, with or without ``.py`` (``densenet121_nih``); a path below the
            package's configs (``cxrdet::_base_/models/faster_rcnn_r50_fpn.py``); or one of an installed project
            (``mmdet::retinanet/…``), which is given back as it is. A file that is there goes first. The old path of a
            recipe that has moved below ``configs/`` means that recipe.

    Raises:
        ConfigError: If nothing has that name.
    """
    inside = name.removeprefix(PREFIX)
    if inside == name and ('::' in name or Path(name).is_file()):
        return name
    below = configs_folder() / (inside if inside.endswith('.py') else f'{inside}.py')
    if below.is_file():
        return str(below)
    known, stem = recipes(), Path(inside).stem
    if stem in known and (Path(inside).parent.name in ('', 'configs') or inside != name):
        return str(known[stem])
    if name and Path(name).is_dir():
        raise ConfigError(f'{name}: expected a config file, got a folder.')
    raise ConfigError(f'{name}: no such config file, nor a recipe of that name.'
                      f'{_with_a_mod(stem, known) or did_you_mean(stem, known)} "cxrdet list" lists the recipes.')


def make_projects_importable(config: str | Path) -> None:
    """Let a config name the modules of a project, ``custom_imports=dict(imports=['projects.NAME.PACKAGE'])``.

    The folder that holds ``projects/`` is put behind the others of ``sys.path``: that of the package's repository, and
    the one above a config ``projects/NAME/…``, wherever its repository stands.
    """
    above = [path.parent.parent for path in Path(config).absolute().parents if path.parent.name == 'projects']
    for folder in [_PACKAGE.parent, *above]:
        if (folder / 'projects').is_dir() and str(folder) not in sys.path:
            sys.path.append(str(folder))


def mods() -> dict[str, Path]:
    """The changes that a recipe takes behind its name (:mod:`cxrdet.preflight.mods`), by name."""
    return {path.stem: path for path in sorted((configs_folder() / '_base_' / 'mods').glob('*.py'))}


def _with_a_mod(stem: str, known: dict[str, Path]) -> str:
    """``faster_rcnn_fpn_cell_albu`` was a config once; ``faster_rcnn_fpn_cell+albumentations`` takes its place."""
    recipe = max((name for name in known if stem.startswith(f'{name}_')), key=len, default='')
    end = stem[len(recipe) + 1:]
    found = [mod for mod in mods() if recipe and end and mod.replace('_', '').startswith(end.replace('_', ''))]
    return f' Did you mean "{recipe}+{min(found, key=len)}"?' if found else ''
