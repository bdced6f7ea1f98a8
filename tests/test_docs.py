"""The generated pages are up to date, complete, and every link in the documentation leads somewhere."""
import re
from pathlib import Path

import pytest
from claims import claims_page, read_claims
from zoo_pages import evidence_table, model_zoo, plugin_table, read_results, results_table

from cxrdet.core.errors import DataError
from cxrdet.core.recipes import recipes
from cxrdet.preflight.config import load_config

REPOSITORY = Path(__file__).parents[1]
PAGES = [REPOSITORY / 'README.md', REPOSITORY / 'CONTRIBUTING.md', *sorted((REPOSITORY / 'docs').glob('*.md'))]
GOOD = """
plugins: []
tables: []
models:
- name: a
  config: configs/a.py
  status: smoke
  results:
  - {data: D, split: val, seed: 0, hardware: two cores, precision: float32, wall_time: 3 min, commit: abc,
     command: run,
     metrics: {mAP: 0.5}}
"""


@pytest.fixture(scope='module')
def meta():
    return read_results(REPOSITORY)


def test_pages_are_up_to_date(meta):
    assert (REPOSITORY / 'docs' / 'model_zoo.md').read_text() == model_zoo(meta), 'run make docs'
    assert (REPOSITORY / 'cxrdet/core/evidence.csv').read_text() == evidence_table(meta), 'run make docs'
    assert (REPOSITORY / 'configs/results.csv').read_text() == results_table(meta), 'run make docs'
    claims = claims_page(read_claims(REPOSITORY / 'benchmarks' / 'claims.yml'), meta)
    assert (REPOSITORY / 'docs' / 'claims.md').read_text() == claims, 'run make docs'
    assert plugin_table(meta) in (REPOSITORY / 'README.md').read_text(), 'run make docs'


def test_tables_plugins_and_configs_are_listed(meta):
    from mmengine.registry import Registry

    import cxrdet.registry as registries
    assert set(meta['tables']) == {path.stem for path in (REPOSITORY / 'benchmarks' / 'tables').glob('*.yml')}
    assert {model['config'] for model in meta['models']} <= set(meta['configs'])
    assert {path.parts[-2:] for path in recipes().values()} == {Path(name).parts[-2:] for name in meta['configs']}
    known = set()
    for registry in vars(registries).values():
        if isinstance(registry, Registry):
            registry.import_from_location()
            known |= {f'cxrdet.{name}' for name, plugin in registry.module_dict.items()
                      if not plugin.__module__.startswith('projects.')}
    assert {plugin['name'] for plugin in meta['plugins']} == known
    for entry in meta['plugins']:
        assert (REPOSITORY / entry['config']).is_file()


@pytest.mark.long
def test_the_named_config_shows_the_plugin(meta):
    """As a type in the config as it stands, before any tool adds to it, or as a module of the model that it builds."""
    from functools import cache

    from mmengine.config import Config
    from mmengine.registry import MODELS, DefaultScope

    import cxrdet  # noqa: F401
    from cxrdet.core.config_tree import walk
    read = cache(lambda file: Config.fromfile(REPOSITORY / file))

    def in_model(name: str, file: str) -> bool:
        with DefaultScope.overwrite_default_scope(read(file).default_scope):
            model = MODELS.build(read(file).model)
        kind = MODELS.get(name)
        return isinstance(kind, type) and any(type(module) is kind for module in model.modules())

    missing = [(plugin['name'], plugin['config']) for plugin in meta['plugins']
               if plugin['name'] not in {node.get('type') for node in walk(read(plugin['config'])._cfg_dict)}]
    assert [(name, file) for name, file in missing if not in_model(name, file)] == []


def repository(folder, metafile):
    (folder / 'configs').mkdir()
    (folder / 'configs' / 'a.py').touch()
    (folder / 'configs' / 'metafile.yml').write_text(metafile)
    return folder


def test_result_is_shown(tmp_path):
    page = model_zoo(read_results(repository(tmp_path, GOOD)))
    assert '| [a](../configs/a.py) | D | val | 0 | 3 min | 0.500 |' in page
    assert '```bash\nrun\n```' in page


@pytest.mark.parametrize(('old', 'new', 'message'), [
    ('status: smoke', 'status: good', 'model a: status must be one of smoke, trained, got good'),
    ('results:', 'notes:', 'status smoke without a result'),
    ('tables: []', 'tables: [none]', 'none.yml'),
    ('seed: 0, ', '', 'a result needs seed'),
])
def test_bad_metafile(tmp_path, old, new, message):
    root = repository(tmp_path, GOOD.replace(old, new))
    with pytest.raises(DataError, match=message):
        read_results(root)


def test_one_version():
    """The package's: in CITATION.cff, too; the changelog knows it, newest first."""
    import yaml

    from cxrdet.version import __version__
    assert yaml.safe_load((REPOSITORY / 'CITATION.cff').read_text())['version'] == __version__
    headings = re.findall(r'^## (.+)$', (REPOSITORY / 'docs' / 'changelog.md').read_text(), flags=re.M)
    assert headings[0] == 'Unreleased'
    assert headings[1].split(' - ')[0] == __version__


@pytest.mark.parametrize('page', PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r'\]\(([^)#]+)(?:#[^)]*)?\)', page.read_text()):
        if '://' not in target:
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize('name', ['README.md', 'docs/data.md'])
def test_configs_in_the_pages_work_in_any_folder(name, tmp_path):
    text = (REPOSITORY / name).read_text()
    blocks = [block for block in re.findall(r'```python\n(.*?)```', text, re.DOTALL) if '_base_ =' in block]
    assert blocks
    for block in blocks:
        (tmp_path / 'mine.py').write_text(block)
        assert {'model', 'train_dataloader', 'optim_wrapper'} <= load_config(tmp_path / 'mine.py').keys()


def feature_rows():
    lines = (REPOSITORY / 'docs' / 'features.md').read_text().splitlines()
    return [[cell.strip() for cell in line.strip('|').split(' | ')] for line in lines
            if line.startswith('| ') and not line.startswith(('| asked', '| fault', '| ---'))]


def test_every_feature_has_a_place_a_test_and_a_state(meta):
    plugins = {plugin['name'] for plugin in meta['plugins']}
    rows = feature_rows()
    assert len(rows) > 60
    for row in rows:
        assert all(row), row
        assert len(row) == 2 or row[3] in ('works', 'measured', 'to come'), row
        tests = re.findall(r'`([^`]+)`', row[min(2, len(row) - 1)])
        assert tests or row[-1] == 'to come', row
        for name in tests:
            assert (REPOSITORY / 'tests' / name).is_file(), name
        for name in re.findall(r'`([^`]+)`', ' '.join(row[1:])):
            if name.endswith(('.py', '.sh')):
                places = [REPOSITORY / folder / name for folder in ('', 'configs', 'configs/_base_/mods', 'tests')]
                assert name.removesuffix('.py') in recipes() or any(path.is_file() for path in places), name
            elif name.startswith('cxrdet.'):
                assert name in plugins, name
