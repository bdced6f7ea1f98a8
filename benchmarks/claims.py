"""docs/claims.md, generated from benchmarks/claims.yml: what was claimed of a technique, and what we measured."""
from pathlib import Path
from statistics import mean, stdev

import yaml
from md_table import table

from cxrdet.core.errors import DataError
from cxrdet.core.paired import paired_difference

FIELDS = {'what', 'claimed', 'table', 'row', 'against', 'metric', 'low', 'high', 'measured', 'data'}
NOT_MEASURED = 'not measured'


def read_claims(path: Path) -> dict:
    """Read and check the claims.

    A claim has ``what`` and ``claimed``; what was measured stands in a table of the model zoo (``table``, ``row``,
    ``metric``; with ``against``, the difference from that row; with ``low`` and ``high``, the interval's metrics), or
    is written out (``measured``, ``data``). Without either it was not measured.

    Raises:
        DataError: With the claim and its field that is missing or unknown.
    """
    pages = yaml.safe_load(path.read_text(encoding='utf-8'))
    for claim in (claim for group in pages['groups'] for claim in group['claims']):
        where = f'{path}: claim {claim.get("what")}'
        if unknown := set(claim) - FIELDS:
            raise DataError(f'{where}: unknown {", ".join(sorted(unknown))}; expected {", ".join(sorted(FIELDS))}.')
        if missing := {'what', 'claimed', *(('row', 'metric') if 'table' in claim else ())} - set(claim):
            raise DataError(f'{where}: needs {", ".join(sorted(missing))}.')
        if ('measured' in claim) != ('data' in claim) or {'measured', 'table'} <= set(claim):
            raise DataError(f'{where}: expected table, or measured with data, or none of them.')
    return pages


def claims_page(pages: dict, meta: dict) -> str:
    """The page ``docs/claims.md``; ``meta`` is what :func:`zoo_pages.read_results` gives."""
    parts = ['# Claimed and measured', pages['text'].strip()]
    for group in pages['groups']:
        parts += [f'## {group["title"]}', group['text'].strip(), table(
            ['what', 'claimed', 'measured', 'on'],
            [[claim['what'], claim['claimed'], *_measured(claim, group['unit'], meta)] for claim in group['claims']])]
    return '\n\n'.join(parts) + '\n'


def _measured(claim: dict, unit: dict, meta: dict) -> tuple[str, str]:
    if 'measured' in claim:
        return claim['measured'], claim['data']
    content = meta['tables'].get(claim.get('table'), {'results': []})
    cells = {cell['run']: cell['metrics'] for cell in content['results'] if cell['row'] == claim['row']}
    values = {run: metrics[claim['metric']] for run, metrics in cells.items() if claim['metric'] in metrics}
    if not values:
        return NOT_MEASURED, ''
    runs = f'{len(values)} run' + 's' * (len(values) > 1)
    where = f'{content["data"]}: {claim["row"]}'
    if 'against' in claim:
        before = {cell['run']: cell['metrics'][claim['metric']] for cell in content['results']
                  if cell['row'] == claim['against'] and cell['run'] in values}
        if not before:
            return NOT_MEASURED, ''
        text = _difference([values[run] for run in before], list(before.values()), content, unit)
        return f'{text}, {runs}', f'{where}, against {claim["against"]}'
    text = _value(list(values.values()), unit)
    if 'low' in claim:
        low, high = (mean(metrics[claim[end]] for metrics in cells.values()) for end in ('low', 'high'))
        text += f' ({_number(low, unit)} to {_number(high, unit)})'
    return f'{text}, {runs}', where


def _number(value: float, unit: dict, sign: str = '') -> str:
    return f'{value * unit["factor"]:{sign}.{unit["digits"]}f}'


def _value(values: list[float], unit: dict) -> str:
    return _number(mean(values), unit) + (f' ± {_number(stdev(values), unit)}' if len(values) > 1 else '')


def _difference(values: list[float], before: list[float], content: dict, unit: dict) -> str:
    share = (content.get('baseline') or {}).get('test_to_train', 0.0)
    change, low, high = paired_difference(values, before, test_to_train=share)
    text = _number(change, unit, '+')
    return text if low != low else f'{text} ({_number(low, unit, "+")} to {_number(high, unit, "+")})'
