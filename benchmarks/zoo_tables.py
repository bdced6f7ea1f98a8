"""Tables of results: what a table is stands in NAME.yml, what was measured in NAME.csv, a line for each row and run.

The sizes and speeds of all rows that were measured with ``--costs`` stand in costs.csv.
"""
import csv
import io
from collections.abc import Iterable
from pathlib import Path

import yaml
from false_alarms import count

FIELDS = {'title', 'text', 'data', 'split', 'metrics', 'runs', 'rows', 'checkpoint'}
OPTIONAL = {'baseline', 'columns', 'commands', 'pictures'}
BASELINE_FIELDS = {'row', 'metrics', 'test_to_train'}
ROW_FIELDS = {'config', 'options', 'checkpoints', 'prepare', 'train', 'test', 'of', 'ensemble', 'runs'}
#: What a cell has beside its metrics.
CELL_FIELDS = {'row': str, 'run': str, 'minutes': float, 'cpu_minutes': float, 'peak_mib': int, 'precision': str,
               'threads': int, 'interrupted': int, 'gpu': str, 'commit': str, 'date': str}
COST_FIELDS = {'table': str, 'row': str, 'parameters': int, 'multiply_adds': int, 'ms': float}


def read_table(path: Path) -> dict:
    """Read and check a table's description.

    Raises:
        ValueError: With the file and the field that is missing or unknown.
    """
    table = yaml.safe_load(path.read_text(encoding='utf-8'))
    if wrong := FIELDS ^ (set(table) - OPTIONAL):
        raise ValueError(f'{path}: missing or unknown: {", ".join(sorted(wrong))}; '
                         f'expected {", ".join(sorted(FIELDS))}')
    if table['checkpoint'] not in ('best', 'last'):
        raise ValueError(f'{path}: checkpoint must be best or last, got {table["checkpoint"]}')
    if 'baseline' in table:
        _check_baseline(path, table, table['baseline'])
    if unknown := {row for texts in table.get('columns', {}).values() for row in texts} - set(table['rows']):
        raise ValueError(f'{path}: columns: no row {", ".join(sorted(unknown))}')
    for name, row in table['rows'].items():
        if unknown := set(row) - ROW_FIELDS:
            raise ValueError(f'{path}: row {name}: unknown {", ".join(sorted(unknown))}')
        if missing := [other for other in needed(row) if 'config' not in table['rows'].get(other, {})]:
            raise ValueError(f'{path}: row {name}: no trained row {", ".join(missing)}')
        if not {'config', 'of', 'ensemble'} & set(row):
            raise ValueError(f'{path}: row {name}: needs config, of or ensemble')
    return table


def _check_baseline(path: Path, table: dict, baseline: dict) -> None:
    if set(baseline) != BASELINE_FIELDS or baseline['row'] not in table['rows'] or (
            set(baseline['metrics']) - set(table['metrics'])):
        raise ValueError(f'{path}: baseline: expected row (one of the rows), metrics (of those of the table) and '
                         f'test_to_train (see cxrdet.core.paired), got {baseline}')


def needed(spec: dict) -> list[str]:
    """The rows whose checkpoints a row is made with."""
    return [*spec.get('ensemble', []), *spec.get('checkpoints', {}).values(), *([spec['of']] if 'of' in spec else [])]


def read_tables(folder: Path, names: Iterable[str]) -> dict[str, dict]:
    """The tables of these names, each its description with ``configs`` (by row), ``results`` and ``costs``.

    Raises:
        ValueError: With the file and what is wrong in it.
    """
    tables, costs = {}, read_costs(folder)
    for name in names:
        table = read_table(folder / f'{name}.yml')
        configs = {row: spec['config'] for row, spec in table['rows'].items() if 'config' in spec}
        tables[name] = table | dict(configs=configs, results=read_cells(folder, name), costs=costs.get(name, {}))
        if (looked_at := folder / f'{name}_false_alarms.csv').is_file():
            tables[name]['false_alarms'] = count(looked_at)
    return tables


def read_cells(folder: Path, name: str) -> list[dict]:
    """What was measured of a table: per cell the fields of CELL_FIELDS and ``metrics``; [] where nothing was.

    Raises:
        ValueError: With the line and the field that is missing, unknown or no number.
    """
    path = folder / f'{name}.csv'
    if not path.is_file():
        return []
    metrics = list(read_table(folder / f'{name}.yml')['metrics'])
    lines = _lines(path, CELL_FIELDS | dict.fromkeys(metrics, float))
    return [{key: value for key, value in line.items() if key not in metrics}
            | {'metrics': {key: line[key] for key in metrics if key in line}} for line in lines]


def read_costs(folder: Path) -> dict[str, dict[str, dict]]:
    """Sizes and speeds by table and row."""
    found: dict[str, dict[str, dict]] = {}
    for cost in _lines(folder / 'costs.csv', COST_FIELDS) if (folder / 'costs.csv').is_file() else ():
        found.setdefault(cost.pop('table'), {})[cost.pop('row')] = cost
    return found


def write_cells(folder: Path, name: str, cells: list[dict]) -> None:
    """Write the cells of a table in the order of its rows and runs."""
    table = read_table(folder / f'{name}.yml')
    order = {cell: i for i, cell in enumerate((row, run) for row in table['rows'] for run in table['runs'])}
    cells = sorted(cells, key=lambda cell: order.get((cell['row'], cell['run']), len(order)))
    lines = [{**cell, **cell['metrics']} for cell in cells]
    _write(folder / f'{name}.csv', ['row', 'run', *table['metrics'], *list(CELL_FIELDS)[2:]], lines)


def write_costs(folder: Path, name: str, costs: dict[str, dict]) -> None:
    """Put the rows' costs of one table in place of those that were there."""
    known = read_costs(folder) | {name: costs}
    _write(folder / 'costs.csv', list(COST_FIELDS), [
        dict(table=table, row=row, **cost) for table in sorted(known) for row, cost in known[table].items()])


def _write(path: Path, fields: list[str], lines: list[dict]) -> None:
    from cxrdet.core.files import write_atomic
    text = io.StringIO()
    writer = csv.DictWriter(text, fields, extrasaction='ignore', lineterminator='\n')
    writer.writeheader()
    writer.writerows(lines)
    write_atomic(path, text.getvalue())


def _lines(path: Path, kinds: dict[str, type]) -> list[dict]:
    """The lines of a CSV file, each with its fields that are not empty, as what they are."""
    with path.open(encoding='utf-8', newline='') as file:
        reader = csv.DictReader(file)
        if wrong := set(kinds) ^ set(reader.fieldnames or ()):
            raise ValueError(f'{path}: missing or unknown columns: {", ".join(sorted(wrong))}')
        return [{key: _typed(kinds[key], text, f'{path}, line {reader.line_num}', key) for key, text in line.items()
                 if text} for line in reader]


def _typed(kind: type, text: str, where: str, key: str) -> object:
    try:
        return kind(text)
    except ValueError:
        raise ValueError(f'{where}: expected a number for {key}, got {text}') from None
