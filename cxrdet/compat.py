"""Do the installed distributions fit together? Asked when cxrdet is imported, of the packages' metadata alone.

MMEngine, MMCV, MMDetection and MMPretrain exist twice on the package index under the same import names: the official
line (``mmengine``, ``mmcv``, ``mmdet``, ``mmpretrain``; dormant since 2024) and the maintained one (``onedl-mmengine``,
``onedl-mmcv``, ``onedl-mmdetection``, ``onedl-mmpretrain``). Pip does not know that they exclude each other.
"""
import re
import sys
from collections.abc import Callable, Iterable
from functools import lru_cache
from importlib import import_module, metadata
from types import ModuleType
from typing import NamedTuple

from cxrdet.core import late_dynamo
from cxrdet.core.lazy_packages import LateImports, LazyPackages, import_put_off, registered_names
from cxrdet.core.recipes import PREFIX, find_config
from cxrdet.ops.finder import WrappedLoader, WrappingFinder

OFFICIAL = {'mmengine': ('mmengine', 'mmengine-lite'), 'mmcv': ('mmcv', 'mmcv-lite', 'mmcv-full'),
            'mmdet': ('mmdet',), 'mmpretrain': ('mmpretrain',)}
ONEDL = {'mmengine': 'onedl-mmengine', 'mmcv': 'onedl-mmcv', 'mmdet': 'onedl-mmdetection',
         'mmpretrain': 'onedl-mmpretrain'}
DISTRIBUTIONS = (*(name for names in OFFICIAL.values() for name in names), *ONEDL.values(), 'torch', 'torchvision')
OLDEST_TORCH = (2, 4)
LAZY_PACKAGES = ('mmengine.evaluator', 'mmengine.hooks', 'mmengine.infer', 'mmengine.model', 'mmengine.optim',
                 'mmengine.runner', 'mmengine._strategy', 'mmengine.visualization',
                 *(f'{package}.{part}' for package in ('mmdet', 'mmpretrain') for part in (
                     'datasets', 'engine', 'evaluation', 'models', 'utils', 'visualization')))
_READ = ('mmengine', 'mmdet', 'mmpretrain')  # packages whose sources say what they register
_NO_PARTS = ('mmengine.testing', 'mmengine.registry')
LATE_IMPORTS = {'mmdet.datasets.transforms.transforms': ('albumentations', 'imagecorruptions'),
                'torchvision.ops.roi_align': ('torch._dynamo.utils',),
                'mmdet.visualization.local_visualizer': ('matplotlib', 'matplotlib.colors', 'matplotlib.pyplot')}


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
        ours = isinstance(cfg_path, str) and cfg_path.startswith(PREFIX)
        return (find_config(cfg_path), None) if ours else theirs(cfg_path, filename)
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


def shorten_start() -> None:
    """Let a process of ours begin sooner, with the same results; for the command line, before MMEngine is imported.

    - Of MMEngine, MMDetection and MMPretrain the parts are imported that a run names, not all of them. The registries
      find the same classes as before: a name is looked for in the sources of the package that would have been imported
      for it, and the module that registers it is imported. What has been imported by then stays.
    - torch's compiler is imported when something is compiled, see :mod:`cxrdet.core.late_dynamo`.
    - A config is formatted once for its log, its two files and the check; pieces (``mmdet::_base_/…``) are not
      looked for in a hundred lists of models.

    Idempotent; imports MMEngine's registries and configs.
    """
    if not any(isinstance(finder, LazyPackages) for finder in sys.meta_path):
        sys.meta_path[:0] = [LateImports(LATE_IMPORTS), LazyPackages(LAZY_PACKAGES)]
    kind, configs = import_module('mmengine.registry').Registry, import_module('mmengine.config.config')
    if getattr(kind.get, 'finds_modules', False):
        return
    late_dynamo.install()
    kind.get = _finding_modules(kind.get)
    configs.Config.pretty_text = property(_remembering_last(configs.Config.pretty_text.fget))
    configs._get_external_cfg_path = _knowing_pieces(configs._get_external_cfg_path)


def _finding_modules(theirs: Callable) -> Callable:
    def get(self, key: str):
        if isinstance(key, str):
            scope, name = self.split_scope_key(key)
            if scope in (None, self.scope):
                self.import_from_location()
                _import_registered(self, name, upwards=scope is None)
        found = theirs(self, key)
        if found is None:  # registered in a way that no source shows
            import_all(self)
            found = theirs(self, key)
        return found
    get.finds_modules = True
    return get


def _remembering_last(theirs: Callable) -> Callable:
    """Formatting takes a quarter of a second, and is asked for four times of the same config."""
    last = ['', '']

    def pretty_text(self) -> str:
        content = repr(self._cfg_dict)
        if content != last[0]:
            last[:] = content, theirs(self)
        return last[1]
    return pretty_text


def _knowing_pieces(theirs: Callable) -> Callable:
    def get_external_cfg_path(package_path: str, cfg_file: str) -> str:
        if cfg_file.startswith('_base_/'):
            raise ValueError(f'{cfg_file} is a piece, which no list of models has')  # MMEngine takes the path, then
        return theirs(package_path, cfg_file)
    return get_external_cfg_path


def import_all(registry: object) -> None:
    """Import what registers itself in a registry, as without :func:`shorten_start`, for a list of all its names."""
    if getattr(type(registry).get, 'finds_modules', False):
        for package in _places(registry):
            import_put_off(package)


def _import_registered(registry: object, name: str, *, upwards: bool) -> None:
    """Import what registers ``name`` in a registry or, if nothing does, in those above it."""
    above = registry
    while above is not None and name not in above._module_dict:
        if _import_first(above, name, [*_places(above), above.scope]):
            return
        above = above.parent if upwards else None
    if above is None and registry.scope in _READ:  # MMPretrain registers a part of its own for MMDetection
        _import_first(registry, name, _READ)


def _import_first(registry: object, name: str, places: Iterable[str]) -> bool:
    """Whether a module of one of the packages ``places`` has registered ``name``."""
    for place in places if registry.scope in _READ else ():
        known = registered_names(place)
        others = known.otherwise.get(_variables(registry.scope).get(id(registry), ''), ())
        late = sorted(others, key=lambda other: '._' in other)  # those of distributed training last
        for module in (*known.by_name.get(name, ()), *late):
            for part in (module.rpartition('.')[0], module):  # its package may register something in place of it
                if name not in registry._module_dict and not part.startswith(_NO_PARTS):
                    import_module(part)
            if name in registry._module_dict:
                return True
    return False


def _places(registry: object) -> list[str]:
    """Packages that would have been imported to fill a registry."""
    return list(registry._locations) or [name for name in LAZY_PACKAGES if name.startswith('mmengine.')]


@lru_cache(maxsize=16)
def _variables(scope: str) -> dict[int, str]:
    """id of each registry of a package -> the name of its variable."""
    kind = import_module('mmengine.registry').Registry
    found = vars(import_module(f'{scope}.registry')).items()
    return {id(value): name for name, value in found if isinstance(value, kind) and value.scope == scope}
