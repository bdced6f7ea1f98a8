"""Do the installed distributions fit together? Asked when cxrdet is imported, of the packages' metadata alone.

MMEngine, MMCV, MMDetection and MMPretrain exist twice on the package index under the same import names: the official
line (``mmengine``, ``mmcv``, ``mmdet``, ``mmpretrain``; dormant since 2024) and the maintained one (``onedl-mmengine``,
``onedl-mmcv``, ``onedl-mmdetection``, ``onedl-mmpretrain``). Pip does not know that they exclude each other.
"""
import re
import sys
from collections.abc import Iterable
from importlib import import_module, metadata
from types import ModuleType
from typing import NamedTuple

from cxrdet.core.recipes import PREFIX, find_config
from cxrdet.ops.finder import WrappedLoader, WrappingFinder

OFFICIAL = {'mmengine': ('mmengine', 'mmengine-lite'), 'mmcv': ('mmcv', 'mmcv-lite', 'mmcv-full'),
            'mmdet': ('mmdet',), 'mmpretrain': ('mmpretrain',)}
ONEDL = {'mmengine': 'onedl-mmengine', 'mmcv': 'onedl-mmcv', 'mmdet': 'onedl-mmdetection',
         'mmpretrain': 'onedl-mmpretrain'}
DISTRIBUTIONS = (*(name for names in OFFICIAL.values() for name in names), *ONEDL.values(), 'torch', 'torchvision')
OLDEST_TORCH = (2, 4)


class Problem(NamedTuple):
    """What does not fit: the distributions found, why they do not work, and what pip must remove and install."""
    found: str
    reason: str
    remove: tuple[str, ...]
    install: tuple[str, ...]


class IncompatibleDistributions(ImportError):
    """The installed distributions do not fit together; the message holds the command that mends it."""


def check_distributions() -> None:
    """Compare the distributions of this environment.

    Raises: IncompatibleDistributions, which names what was found, why it does not work, and the one command to run.
    """
    found = problems(installed_versions())
    if found:
        raise IncompatibleDistributions(explain(found))


def installed_versions(names: Iterable[str] = DISTRIBUTIONS) -> dict[str, str]:
    """Version of each of ``names`` that is installed, from its metadata; imports nothing of them."""
    versions = {}
    for name in names:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def problems(installed: dict[str, str]) -> list[Problem]:
    """All that does not fit in ``installed`` (distribution name -> version); empty if cxrdet can work with it."""
    lines = [*_mixed_lines(installed), *_official_versions(installed)]
    official = not lines and bool(_official(installed)) and not any(name in installed for name in ONEDL.values())
    return [*lines, *_missing(installed, official), *_torch(installed)]


def explain(found: Iterable[Problem]) -> str:
    """The text of the error: each problem, then one command that mends them all."""
    found = list(found)
    lines = ['cxrdet cannot work with the installed packages:']
    for problem in found:
        lines += [f'  - found {problem.found}', f'    but {problem.reason}']
    return '\n'.join([*lines, 'This command mends it:', f'    {command(found)}'])


def command(found: Iterable[Problem]) -> str:
    """One command line for all problems: what must go first, then what must be there."""
    found = list(found)
    remove = list(dict.fromkeys(name for problem in found for name in problem.remove))
    install = list(dict.fromkeys(name for problem in found for name in problem.install))
    quoted = [f'"{name}"' if re.search('[<>=*]', name) else name for name in install]
    uninstall = [f"pip uninstall -y {' '.join(remove)}"] if remove else []
    return ' && '.join([*uninstall, f"pip install {' '.join(quoted)}"])


def _providers(installed: dict[str, str], module: str) -> list[str]:
    return [name for name in (*OFFICIAL[module], ONEDL[module]) if name in installed]


def _official(installed: dict[str, str]) -> list[str]:
    return [name for names in OFFICIAL.values() for name in names if name in installed]


def _listed(installed: dict[str, str], names: Iterable[str]) -> str:
    return ', '.join(f'{name} {installed[name]}' for name in names)


def _to_onedl(installed: dict[str, str], found: str, reason: str) -> Problem:
    """A problem mended by changing to the maintained line: a module that two distributions wrote is installed anew."""
    doubled = [ONEDL[module] for module in ONEDL
               if len(_providers(installed, module)) > 1 and ONEDL[module] in installed]
    return Problem(found, reason, (*_official(installed), *doubled), tuple(ONEDL.values()))


def _mixed_lines(installed: dict[str, str]) -> list[Problem]:
    found = [_to_onedl(installed, _listed(installed, names),
                       f"they all install the module '{module}' and have overwritten each other's files")
             for module in ONEDL if len(names := _providers(installed, module)) > 1]
    official, onedl = _official(installed), [name for name in ONEDL.values() if name in installed]
    if official and onedl and not found:
        found.append(_to_onedl(installed, f'{_listed(installed, official)} beside {_listed(installed, onedl)}',
                               'the official packages and those of the onedl line do not go together: each accepts '
                               'only versions of its own line'))
    return found


def _missing(installed: dict[str, str], official: bool) -> list[Problem]:
    return [Problem(f'neither {OFFICIAL[module][0]} nor {name}', f"cxrdet needs the module '{module}'", (),
                    (OFFICIAL[module][0] if official else name,))
            for module, name in ONEDL.items() if not _providers(installed, module)]


def _official_versions(installed: dict[str, str]) -> list[Problem]:
    """Limits of the official line, as its packages state them or (mmengine with torch 2.6) as they show."""
    found = []
    mmcv = next((name for name in OFFICIAL['mmcv'] if name in installed), None)
    mmengine = next((name for name in OFFICIAL['mmengine'] if name in installed), None)
    if mmcv and _release(installed[mmcv]) < (2, 0):
        found.append(_to_onedl(installed, _listed(installed, [mmcv]), 'mmcv 1 lacks what MMEngine needs: 2.0 at least'))
    if 'mmdet' in installed:
        mmdet = _release(installed['mmdet'])
        if mmdet < (3, 0):
            found.append(_to_onedl(installed, _listed(installed, ['mmdet']),
                                   'mmdet 2 is not built on MMEngine: 3.0 at least is needed'))
        elif mmdet <= (3, 3) and mmcv and _release(installed[mmcv]) >= (2, 2):
            found.append(_to_onedl(installed, _listed(installed, ['mmdet', mmcv]),
                                   'mmdet up to 3.3 refuses mmcv 2.2 and later when it is imported'))
    if mmengine and _release(installed[mmengine]) <= (0, 10) and _release(installed.get('torch', '0')) >= (2, 6):
        found.append(_to_onedl(installed, _listed(installed, [mmengine, 'torch']),
                               'the official mmengine cannot read its own checkpoints with torch 2.6 and later'))
    return found


def _torch(installed: dict[str, str]) -> list[Problem]:
    newer = tuple(f'{name}>={".".join(map(str, version))}'
                  for name, version in (('torch', OLDEST_TORCH), ('torchvision', _vision_for(OLDEST_TORCH))))
    if 'torch' not in installed:
        return [Problem('no torch', 'cxrdet needs torch and the torchvision that belongs to it', (), newer)]
    torch = _release(installed['torch'])
    if torch < OLDEST_TORCH:
        return [Problem(_listed(installed, ['torch']), 'cxrdet needs torch 2.4 or later', (), newer)]
    if torch[0] != 2:
        return []  # the pairs below are known for torch 2 only
    versions = installed['torch'] + installed.get('torchvision', '')
    if re.search(r'\d(a|\.dev)\d', versions):
        return []  # nightly builds of the two are numbered independently
    minor = _vision_for(torch)[1]
    if 'torchvision' not in installed:
        return [Problem(f"torch {installed['torch']} without torchvision", 'cxrdet needs both', (),
                        (f'torchvision==0.{minor}.*',))]
    if _release(installed['torchvision']) != (0, minor):
        return [Problem(_listed(installed, ['torch', 'torchvision']),
                        f'torch {torch[0]}.{torch[1]} belongs with torchvision 0.{minor}: the kernels of another one '
                        'cannot be loaded', (), (f'torchvision==0.{minor}.*',))]
    return []


def _vision_for(torch: tuple[int, int]) -> tuple[int, int]:
    """The torchvision release of a torch 2.N: 0.(N + 15)."""
    return 0, torch[1] + 15


def _release(version: str) -> tuple[int, int]:
    """Major and minor number; ValueError for a text that does not begin with them."""
    match = re.match(r'(\d+)(?:\.(\d+))?', version)
    if match is None:
        raise ValueError(f"a distribution's version should begin with a number, not {version!r}")
    return int(match[1]), int(match[2] or 0)


class _SwitchedOff(WrappedLoader):

    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        module.WITH_MULTIMODAL = False


class MultimodalFinder(WrappingFinder):
    """An entry of ``sys.meta_path`` that turns MMPretrain's multi-modal models off, as if transformers were absent.

    They are imported with ``mmpretrain.models`` as soon as transformers is installed, and those of the installed
    MMPretrain need names that transformers 5 no longer has: without this no model at all can be imported there.
    """
    name = 'mmpretrain.utils.dependency'
    wrapper = _SwitchedOff


def avoid_new_transformers() -> None:
    """Leave MMPretrain's multi-modal models out where transformers is 5 or newer. Idempotent; imports nothing."""
    version = installed_versions(['transformers']).get('transformers', '')
    if int(re.match(r'\d*', version)[0] or 0) < 5:
        return
    if MultimodalFinder.name in sys.modules:
        sys.modules[MultimodalFinder.name].WITH_MULTIMODAL = False
    else:
        MultimodalFinder.put_first()


class _ThenOurs(WrappedLoader):

    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        _join_mmengine(module)


class RegistryFinder(WrappingFinder):
    """An entry of ``sys.meta_path`` by which our registries are made as soon as MMEngine's are."""
    name = 'mmengine.registry'
    wrapper = _ThenOurs


class _ThenOurBases(WrappedLoader):

    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        _find_our_bases(module)


class ConfigFinder(WrappingFinder):
    """An entry of ``sys.meta_path`` by which MMEngine finds ``_base_ = 'cxrdet::…'``."""
    name = 'mmengine.config.config'
    wrapper = _ThenOurBases


def _join_mmengine(_registry: ModuleType) -> None:
    """Make our registries; keep MMEngine from printing what MMDetection and MMPretrain note at the level DEBUG."""
    import_module('cxrdet.registry')
    import_module('mmengine.logging.logger').print = _print_unless_noise


def _print_unless_noise(message: object) -> None:
    if not str(message).startswith('Could not import OneDL'):
        sys.stdout.write(f'{message}\n')


def _find_our_bases(module: ModuleType) -> None:
    """MMEngine knows a list of packages that a base may come from (``mmdet::…``), and ours is none of them."""
    theirs = module.Config._get_cfg_path
    if getattr(theirs, 'knows_cxrdet', False):
        return

    def get_cfg_path(cfg_path: str, filename: str) -> tuple[str, str | None]:
        return (find_config(cfg_path), None) if cfg_path.startswith(PREFIX) else theirs(cfg_path, filename)
    get_cfg_path.knows_cxrdet = True
    module.Config._get_cfg_path = staticmethod(get_cfg_path)


def register_with_mmengine() -> None:
    """Make the registries of scope ``cxrdet`` and have our configs found, if MMEngine is imported, or else when it will
    be. Idempotent."""
    for finder, join in ((RegistryFinder, _join_mmengine), (ConfigFinder, _find_our_bases)):
        if module := sys.modules.get(finder.name):
            join(module)
        else:
            finder.put_first()
