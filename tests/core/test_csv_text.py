"""CSV for spreadsheets: nothing in it is computed, and reading undoes writing."""
import csv
import io
import random

import numpy as np
import pytest

from cxrdet.core.csv_text import csv_text, escape_cell, read_table, unescape_cell

SIGNS = '=+-@\t\r\n\'"＝,; \\$a1.eE\0\u2028\u202eß\x1b'


@pytest.mark.parametrize('cell, expected', [
    ('=1+cmd|calc!A0', "'=1+cmd|calc!A0"), ('+SUM(A1)', "'+SUM(A1)"), ('-2+3', "'-2+3"), ('@SUM(A1)', "'@SUM(A1)"),
    ('\t=1', "'\t=1"), ('\ra', "'\ra"), (' =1', "' =1"), ('＝1', "'＝1"), ('-', "'-"), ("'=1", "''=1"),
    ('-1.5', '-1.5'), ('+3e-4', '+3e-4'), (-1.5, '-1.5'), (-2, '-2'), (np.float32(-0.5), '-0.5'), (None, ''),
    (float('-inf'), '-inf'), ('a=1', 'a=1'), ("'s", "'s"), ('', ''), (True, 'True'), ('1-2', '1-2')])
def test_cells(cell, expected):
    assert escape_cell(cell) == expected
    if isinstance(cell, str):
        assert unescape_cell(expected) == cell


def test_random_text_comes_back():
    rng = random.Random(0)
    for _ in range(2000):
        rows = [[''.join(rng.choices(SIGNS, k=rng.randrange(6))) for _ in range(rng.randrange(1, 4))]
                for _ in range(rng.randrange(1, 4))]
        text = csv_text(rows)
        seen = list(csv.reader(io.StringIO(text, newline=''), strict=True))
        assert [list(map(unescape_cell, row)) for row in seen] == rows
        for row in seen:  # what a spreadsheet sees
            assert not any(cell.lstrip(' ')[:1] in tuple('=+-@\t\r\n＝') and not _is_number(cell) for cell in row)


def _is_number(text):
    try:
        return bool(np.isfinite(float(text)))
    except ValueError:
        return False


@pytest.mark.parametrize('first', ['sep=;', '"sep=;"'])
@pytest.mark.parametrize('end', ['\n', '\r\n', '\r'])
def test_the_line_in_which_a_spreadsheet_names_its_separator(tmp_path, first, end):
    (tmp_path / 'a.csv').write_bytes(end.join([first, 'a,1;b', '1;2', '3']).encode())
    assert read_table(tmp_path / 'a.csv') == (['a,1', 'b'], [(3, ('1', '2'))], [(4, '1 cells, but the header has 2')])


def test_lines_are_counted_and_torn_quotes_are_told(tmp_path):
    (tmp_path / 'a.csv').write_bytes(b'a,b\r\n"1\n2",3\r4,\'=5\n6,"7')
    header, rows, faults = read_table(tmp_path / 'a.csv')
    assert header == ['a', 'b'] and rows == [(2, ('1\n2', '3')), (4, ('4', '=5'))]
    assert [line for line, _ in faults] == [5] and 'not readable as CSV' in faults[0][1]
