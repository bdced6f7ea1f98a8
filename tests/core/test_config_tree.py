"""What is found in configs of data sets with wrappers around them."""
from types import SimpleNamespace

import pytest

from cxrdet.core.config_tree import datasets_of, innermost, leaves, place_of

ONE, TWO = dict(type='A', ann_file='a.json'), dict(type='B', data_root='b')
BOTH = dict(type='ConcatDataset', datasets=[dict(type='RepeatDataset', times=2, dataset=ONE), TWO])


@pytest.mark.parametrize('given, expected', [(None, {}), ({}, {}), (ONE, ONE), (BOTH, ONE), (dict(dataset=BOTH), ONE)])
def test_innermost(given, expected):
    assert innermost(given) == expected


@pytest.mark.parametrize('loader, expected', [(None, []), (dict(dataset=ONE), [ONE]), (dict(dataset=BOTH), [ONE, TWO])])
def test_datasets_of(loader, expected):
    assert datasets_of(loader) == expected


def test_leaves_of_configs_and_of_what_is_built():
    assert leaves(dict(dataset=BOTH)) == [ONE, TWO] and leaves(TWO) == [TWO]
    one, two = SimpleNamespace(pipeline=1), SimpleNamespace(pipeline=2)
    assert leaves(SimpleNamespace(datasets=[SimpleNamespace(dataset=one), two])) == [one, two]


@pytest.mark.parametrize(('wanted', 'place'), [(BOTH, 'a'), (ONE, 'a.datasets.0.dataset'), (TWO, 'a.datasets.1'),
                                               ({}, None)])
def test_place_of(wanted, place):
    assert place_of(wanted, BOTH, 'a') == place
