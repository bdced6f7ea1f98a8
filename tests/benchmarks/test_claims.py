"""What was claimed beside what was measured: figures by hand, and that every claim leads somewhere."""
from pathlib import Path

import pytest
import yaml
from claims import claims_page, read_claims

from cxrdet.core.errors import DataError

REPOSITORY = Path(__file__).parents[2]
META = {'tables': {'t': {'data': 'cells', 'results': [
    {'row': 'plain', 'run': 'seed 0', 'metrics': {'mAP': 0.50, 'low': 0.4, 'high': 0.6}},
    {'row': 'plain', 'run': 'seed 1', 'metrics': {'mAP': 0.54, 'low': 0.5, 'high': 0.6}},
    {'row': 'new', 'run': 'seed 0', 'metrics': {'mAP': 0.53}},
    {'row': 'once', 'run': 'seed 1', 'metrics': {'mAP': 0.55}}]}}}


def page(claim, factor=100, digits=1):
    group = dict(title='Gains', text='Of cells.', unit=dict(factor=factor, digits=digits),
                 claims=[dict(what='A', claimed='+2') | claim])
    return claims_page(dict(text='Both.', groups=[group]), META).splitlines()[-1]


@pytest.mark.parametrize(('claim', 'line'), [
    (dict(table='t', row='new', against='plain', metric='mAP'),
     '| A | +2 | +3.0, 1 run | cells: new, against plain |'),
    (dict(table='t', row='plain', metric='mAP'), '| A | +2 | 52.0 ± 2.8, 2 runs | cells: plain |'),  # 4 / sqrt(2)
    (dict(table='t', row='plain', metric='mAP', low='low', high='high'),
     '| A | +2 | 52.0 ± 2.8 (45.0 to 60.0), 2 runs | cells: plain |'),
    (dict(table='t', row='new', against='once', metric='mAP'), '| A | +2 | not measured |  |'),  # no run of both
    (dict(table='t', row='new', metric='loss'), '| A | +2 | not measured |  |'),
    (dict(table='other', row='new', metric='mAP'), '| A | +2 | not measured |  |'),
    (dict(measured='5 MiB', data='one core'), '| A | +2 | 5 MiB | one core |'),
    ({}, '| A | +2 | not measured |  |')])
def test_a_claim_beside_its_measurement(claim, line):
    assert page(claim) == line


@pytest.mark.parametrize(('claim', 'message'), [
    (dict(what='A', claimed='1', tabel='t'), 'claim A: unknown tabel'), (dict(what='A'), 'claim A: needs claimed'),
    (dict(what='A', claimed='1', table='t'), 'claim A: needs metric, row'),
    (dict(what='A', claimed='1', measured='2'), 'claim A: expected table, or measured with data')])
def test_bad_claims(claim, message, tmp_path):
    path = tmp_path / 'claims.yml'
    path.write_text(yaml.safe_dump(dict(text='', groups=[dict(claims=[claim])])))
    with pytest.raises(DataError, match=message):
        read_claims(path)


def test_claims_name_rows_that_exist():
    for group in read_claims(REPOSITORY / 'benchmarks' / 'claims.yml')['groups']:
        for claim in group['claims']:
            if 'table' in claim:
                rows = yaml.safe_load((REPOSITORY / f'benchmarks/tables/{claim["table"]}.yml').read_text())
                assert {claim['row'], claim.get('against', claim['row'])} <= set(rows['rows']), claim['what']
                assert {claim['metric'], *(claim[end] for end in ('low', 'high') if end in claim)} <= (
                    set(rows['metrics'])), claim['what']


@pytest.mark.parametrize('claimed', [  # the gains, in points of mAP, of the plan for the cell detector; then its goal
    ('Augmentation', '+5 to +8'), ('Focal and GIoU', '+3 to +5'), ('Warm-up', '+2 to +3'),
    ('EfficientNet', '+5 to +10'), ('BiFPN', '+2 to +3'), ('CBAM', '+1 to +2'), ('Multi-scale', '+2 to +3'),
    ('OHEM', '+2 to +3'), ('Test-time', '+1 to +2'), ('Ensemble', '+3 to +5'),
    ('Medical preprocessing', '+5 to +10'), ('All of it', '85 to 95')])
def test_every_claimed_gain_is_there(claimed):
    claims = read_claims(REPOSITORY / 'benchmarks' / 'claims.yml')['groups'][0]['claims']
    assert [claim['claimed'] for claim in claims if claim['what'].startswith(claimed[0])] == [claimed[1]]
