"""The table of MMDetection's families over the operator bridge."""
import json

import pytest


@pytest.fixture(scope='module')
def bridge(benchmark):
    return benchmark('bridge')


@pytest.fixture(scope='module')
def results(bridge):
    return json.loads(bridge.RESULTS.read_text())


def test_the_page_is_made_from_the_results(bridge, results):
    assert bridge.DOCUMENT.read_text() == bridge.document(results)


def test_every_family_has_a_row(bridge, results):
    folder = bridge.configs_folder()
    assert list(results['rows']) == bridge.families(folder)
    for family, row in results['rows'].items():
        assert row['config'] == bridge.config_of(folder, family)
        assert (folder / family / row['config']).is_file()


def test_what_fails_has_a_reason(results):
    for row in results['rows'].values():
        assert row['reason'] or (row['forward'], row['backward']) == ('yes', 'yes')


@pytest.mark.parametrize('family', ['carafe', 'dcn', 'dcnv2', 'dyhead', 'guided_anchoring'])
def test_families_of_the_operators_in_pytorch(results, family):
    assert results['rows'][family]['forward'] == results['rows'][family]['backward'] == 'yes'


def test_a_crash_is_a_row(bridge, monkeypatch):
    """A process that ends without a word ends one row."""
    monkeypatch.setattr(bridge, 'measure', lambda *args: __import__('os')._exit(3))
    row = bridge.run(bridge.configs_folder(), 'atss')
    assert (row['forward'], row['reason']) == ('no', 'the process ended with code 3')
