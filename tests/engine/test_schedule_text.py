"""The text of a config is read without executing it."""
import pytest

from cxrdet.engine.schedule import NOT_SET, changed_settings, read_config_text


def test_what_mmengine_writes_is_read_back():
    from mmengine.config import Config
    content = dict(a=1, b=[dict(type='X', lr=-1e-4, ok=None), dict(type='Y', pair=(1, 2))], c={'0': True, 'x y': [1.5]},
                   d='it\'s "so"\nand so', empty={}, none=[])
    expected = dict(content, b=[content['b'][0], dict(type='Y', pair=[1, 2])])
    assert read_config_text(Config(content).pretty_text) == expected


def test_nothing_is_executed(tmp_path):
    target = tmp_path / 'run'
    text = f'import os\nos.system("touch {target}")\na = open({str(target)!r}, "w")\nb = dict(c=[f(x) for x in y])\n'
    assert read_config_text(text) == dict(a=f"open('{target}', 'w')", b=dict(c='[f(x) for x in y]'))
    assert not target.exists()


@pytest.mark.parametrize('text', ['a = dict(', 'a = ' + '[' * 100_000, '\0'])
def test_no_config(text):
    with pytest.raises(ValueError, match='text of a config|null bytes'):
        read_config_text(text)


def test_what_differs():
    old = dict(lr=1, part=dict(a=1, b=[dict(x=1), dict(x=2)], c=3), party=1)
    new = dict(lr=2, part=dict(a=1, b=[dict(x=1), dict(x=5), dict(x=6)], d=4), party=2)
    assert changed_settings(old, new, ('part', 'lr')) == [
        ('lr', 1, 2), ('part.b.1.x', 2, 5), ('part.c', 3, NOT_SET), ('part.b.2.x', NOT_SET, 6), ('part.d', NOT_SET, 4)]
    assert changed_settings(old, old, ('part', 'lr')) == changed_settings({}, {}, ('part',)) == []
