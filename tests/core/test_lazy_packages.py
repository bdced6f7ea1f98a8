"""Lazy packages on made-up ones: what is imported when, and that names, stars and errors are as Python has them."""
import importlib
import sys

import pytest

from cxrdet.core.lazy_packages import LateImports, LazyPackages, import_put_off, registered_names

FILES = {
    'zoo/__init__.py': 'from .birds import *\nfrom .fish import *\n',
    'zoo/birds/__init__.py': 'from .owl import Owl\nfrom .hawk import Hawk as Falcon\nfrom .sing import sing\n'
                             "from .nest import SIZE\n__all__ = ['Owl', 'Falcon', 'sing']\nlarge = SIZE > 2\n",
    'zoo/birds/owl.py': '@BIRDS.register_module()\nclass Owl:\n    pass\n',
    'zoo/birds/hawk.py': "if True:\n    @BIRDS.register_module(name='Falcon')\n    class Hawk:\n        pass\n",
    'zoo/birds/sing.py': 'def sing():\n    return "tu-whit"\n',
    'zoo/birds/nest.py': "SIZE = 3\nBIRDS.register_module('Nest', module=int)\nfor kind in ():\n"
                         '    BIRDS.register_module(module=kind)\n',
    'zoo/fish.py': 'class Carp:\n    pass\n\n\n_scales = 1\n',
    'zoo/broken.py': 'import no_such_package_at_all\n',
    'pond.py': 'try:\n    import zoo\n    from zoo import Carp\n    from zoo.birds import sing\nexcept ImportError:\n'
               '    Carp = None\n\n\ndef catch():\n    return Carp(), zoo.Owl, sing()\n',
}


@pytest.fixture
def zoo(tmp_path, monkeypatch):
    """The package, importable but not imported; returns the names of its modules that are."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(
            f'class BIRDS:\n    register_module = staticmethod(lambda *a, **k: lambda c: c)\n\n\n{text}')
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, 'meta_path', [LazyPackages(['zoo']), *sys.meta_path])
    importlib.invalidate_caches()
    yield lambda: {name for name in sys.modules if name.partition('.')[0] == 'zoo'}
    for name in [name for name in sys.modules if name.partition('.')[0] in ('zoo', 'pond')]:
        del sys.modules[name]


def test_a_module_is_imported_when_a_name_of_it_is_used(zoo):
    package = importlib.import_module('zoo')
    assert zoo() == {'zoo'}
    assert package.Owl is package.birds.Owl and package.Owl.__module__ == 'zoo.birds.owl'
    assert 'zoo.birds.hawk' not in zoo()
    from zoo.birds import Falcon
    assert Falcon.__name__ == 'Hawk' and 'zoo.fish' not in zoo()
    assert package.fish.Carp is package.Carp  # by a star from a module without __all__


def test_what_the_package_uses_itself_and_what_is_named_as_its_module_is_imported_at_once(zoo):
    birds = importlib.import_module('zoo.birds')
    assert birds.large and {'zoo.birds.nest', 'zoo.birds.sing'} < zoo() and 'zoo.birds.owl' not in zoo()
    assert importlib.import_module('zoo.birds.sing').sing() == birds.sing() == 'tu-whit'


def test_stars_lists_and_missing_names(zoo):
    space = {}
    exec('from zoo import *', space)
    assert {'Owl', 'Falcon', 'sing', 'Carp'} <= space.keys() and '_scales' not in space
    package = importlib.import_module('zoo')
    assert {'Owl', 'Carp'} <= set(dir(package))
    with pytest.raises(AttributeError, match="'zoo' has no attribute 'Emu'"):
        package.Emu  # noqa: B018
    with pytest.raises(ImportError, match='Emu'):
        exec('from zoo import Emu')
    with pytest.raises(ModuleNotFoundError, match='no_such_package_at_all'):
        importlib.import_module('zoo.broken')


def test_all_at_once(zoo):
    import_put_off('zoo')
    assert zoo() == {'zoo', 'zoo.fish', 'zoo.birds'} | {f'zoo.birds.{name}' for name in ('owl', 'hawk', 'sing', 'nest')}


def test_sources_say_what_is_registered_where(zoo):
    found = registered_names.__wrapped__('zoo')
    assert found.by_name == {'Owl': ['zoo.birds.owl'], 'Falcon': ['zoo.birds.hawk'], 'Nest': ['zoo.birds.nest']}
    assert found.otherwise == {'BIRDS': ['zoo.birds.nest']} and not zoo() - {'zoo'}
    assert registered_names.__wrapped__('zoo.birds.owl').by_name == {'Owl': ['zoo.birds.owl']}
    assert registered_names.__wrapped__('no_such_package_at_all') == ({}, {})


def test_late_imports(zoo, monkeypatch):
    monkeypatch.setattr(sys, 'meta_path', [LateImports({'pond': ['zoo', 'zoo.birds', 'no_such_package_at_all']}),
                                           *sys.meta_path])
    pond = importlib.import_module('pond')
    assert not zoo()
    carp, owl, song = pond.catch()
    package = importlib.import_module('zoo')
    assert type(carp) is package.Carp and owl is package.Owl and song == 'tu-whit'


def test_what_is_there_by_then_is_not_put_off(zoo, monkeypatch):
    package = importlib.import_module('zoo')
    monkeypatch.setattr(sys, 'meta_path', [LateImports({'pond': ['zoo']}), *sys.meta_path])
    pond = importlib.import_module('pond')
    assert pond.zoo is package and pond.Carp is package.Carp
