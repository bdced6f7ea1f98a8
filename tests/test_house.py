"""The house rules that a program can check: which way imports run, names, sizes, and that nothing is left behind."""
import ast
import re
import subprocess
from graphlib import TopologicalSorter
from importlib import import_module
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
PACKAGE = REPOSITORY / 'cxrdet'
MODULES = sorted(PACKAGE.rglob('*.py'))
PROJECTS = sorted(path for path in (REPOSITORY / 'projects').glob('*/*/**/*.py') if 'configs' not in path.parts)
ORDER = (('core', 'ops', 'registry', 'version', 'compat'), ('datasets', 'checkpoints', 'visualization'),
         ('models', 'engine', 'evaluation'), ('preflight', 'curation'), ('inference',), ('analysis',), ('apis',),
         ('cli', '__main__'))
FLOORS = {room: floor for floor, rooms in enumerate(ORDER) for room in rooms}
HOSTS = {'mmengine', 'mmcv', 'mmdet', 'mmpretrain'}


def imports(path: Path) -> set[str]:
    """Absolute names of all modules that a file imports, wherever in the file."""
    package = path.relative_to(REPOSITORY).with_suffix('').parts
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = '.'.join(package[:len(package) - node.level]) + '.' if node.level else ''
            module = (base + (node.module or '')).rstrip('.')
            found |= {f'{module}.{alias.name}' for alias in node.names} | ({module} - {'cxrdet'})
    return found


def room(parts: tuple[str, ...]) -> str:
    return parts[1] if len(parts) > 1 else parts[0]


@pytest.mark.parametrize('path', MODULES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_imports_run_upwards(path):
    own = room(path.relative_to(REPOSITORY).with_suffix('').parts)
    if own == '__init__':
        return  # the package's own front door
    for name in imports(path):
        top = name.split('.')[0]
        assert top not in ('tools', 'projects', 'tests', 'benchmarks'), f'{name} is not for the package'
        if top == 'cxrdet' and '.' in name:
            other = room(tuple(name.split('.')))
            assert FLOORS[other] <= FLOORS[own], f'{own} may not import {name}'
        if own == 'core':
            assert top not in HOSTS, f'core must be free of {top}'
        if own == 'registry':
            assert top not in HOSTS - {'mmengine'}, f'registry may import mmengine only, not {top}'


def test_no_circles():
    """Neither modules nor rooms import each other in a circle."""
    names = {'.'.join(path.relative_to(REPOSITORY).with_suffix('').parts).removesuffix('.__init__'): path
             for path in MODULES}
    modules = {name: {other for other in imports(path) if other in names and other != name}
               for name, path in names.items()}
    rooms = {}
    for name, others in modules.items():
        if name != 'cxrdet':
            rooms.setdefault(name.split('.')[1], set()).update(other.split('.')[1] for other in others - {'cxrdet'})
    for graph in (modules, {name: others - {name} for name, others in rooms.items()}):
        TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


def test_front_door_is_small():
    assert len(list((PACKAGE / 'apis').glob('*.py'))) <= 10


@pytest.mark.parametrize('path', PROJECTS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_a_project_stands_on_the_package_alone(path):
    project = path.relative_to(REPOSITORY).parts[1]
    for name in imports(path):
        top, _, rest = name.partition('.')
        assert top not in ('tools', 'tests', 'benchmarks', 'zoo'), f'{name} is not for a project'
        assert top != 'projects' or rest.partition('.')[0] in ('', project), f'{name} is of another project'


@pytest.mark.parametrize('path', [*MODULES, *PROJECTS], ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_package_raises_and_returns(path):
    """No assert, print, exit, and no seeding of the whole process in a constructor."""
    for node in ast.walk(ast.parse(path.read_text())):
        assert not isinstance(node, ast.Assert), f'line {node.lineno}: raise, never assert'
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in ('exit', 'quit'), f'line {node.lineno}'
            assert node.func.id != 'print' or path.name == '__main__.py', f'line {node.lineno}: print'


def test_hooks_have_one_duty():
    for path in sorted((PACKAGE / 'engine' / 'hooks').glob('*.py')):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef) and node.name.endswith('Hook'):
                assert node.end_lineno - node.lineno < 100, f'{path.name}: {node.name}'


@pytest.mark.parametrize(
    'registry', ['MODELS', 'DATASETS', 'TRANSFORMS', 'DATA_SAMPLERS', 'HOOKS', 'LOOPS', 'OPTIMIZERS', 'OPTIM_WRAPPERS',
                 'METRICS', 'WEIGHT_INITIALIZERS'])
def test_plugins_stand_where_one_looks_for_them(registry):
    """Every registered class, those of the projects too, has a docstring, a test file that names it, and is found by
    its scoped name."""
    import cxrdet.registry as registries
    for folder in (REPOSITORY / 'projects').glob('*/configs'):
        import_module(f'projects.{folder.parent.name}.{folder.parent.name}')
    registry = getattr(registries, registry)
    registry.import_from_location()
    tests = ''.join(path.read_text() for path in (REPOSITORY / 'tests').rglob('test_*.py'))
    assert registry.module_dict
    for name, plugin in registry.module_dict.items():
        assert plugin.__doc__, name
        assert plugin.__module__.startswith(('cxrdet.', 'projects.')), name
        assert re.search(rf'\b{name}\b', tests), f'no test names {name}'
        assert registry.parent.get(f'cxrdet.{name}') is plugin


def test_tree_names_no_place_of_ours():
    """No absolute paths of a developer's machine, and no file over 1 MiB."""
    listed = subprocess.run(['git', 'ls-files'], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    pattern = re.compile(r'(?<![\w.])/(?:home|root|Users|work)/\w')
    for name in listed.stdout.splitlines():
        path = REPOSITORY / name
        if not path.is_file():
            continue
        assert path.stat().st_size <= 2**20, name
        if path.suffix in ('.py', '.md', '.sh', '.txt', '.yml', '.toml', '') and path != Path(__file__):
            assert not pattern.search(path.read_text(errors='ignore')), name
