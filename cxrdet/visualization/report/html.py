"""HTML put together so that no text can become markup: strings are escaped, only :class:`Html` is taken as it is."""
import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

from cxrdet.core.terminal import visible

__all__ = ['Column', 'Html', 'number', 'scroller', 'sortable_table', 'tag']

_VOID = {'br', 'img', 'input', 'meta', 'col', 'hr'}


class Html(str):
    """Text that is markup already."""


def tag(_name: str, *children: Any, **attributes: Any) -> Html:
    """Return ``<name attributes>children</name>``.

    Args:
        children: strings and numbers, which are escaped, :class:`Html`, None (nothing), or iterables of these.
        attributes: ``_`` becomes ``-`` and a last one is dropped (``class_``); None and False leave an attribute out,
            True gives it no value.
    """
    shown = ''.join(f' {_attribute(key)}' + ('' if value is True else f'="{escape(visible(value))}"')
                    for key, value in attributes.items() if value is not None and value is not False)
    if _name in _VOID:
        return Html(f'<{_name}{shown}>')
    return Html(f'<{_name}{shown}>{"".join(_flat(children))}</{_name}>')


def number(value: float | None, digits: int = 3) -> str:
    """A number as text: whole ones in groups of thousands, others with ``digits`` decimals; '–' for None, NaN."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return '–'
    if isinstance(value, int):
        return f'{value:,}'.replace(',', ' ')
    return f'{value:.{digits}f}'


class Column(NamedTuple):
    """A column of a table.

    Attributes:
        key: in the rows.
        title: in its head.
        help: what it means, shown when the pointer rests on the head, and listed below the table.
        low, high: keys of the ends of an interval that is written behind the value.
        text: holds words, not numbers.
    """

    key: str
    title: str
    help: str = ''
    low: str = ''
    high: str = ''
    text: bool = False


def sortable_table(caption: str, columns: Sequence[Column], rows: Sequence[Mapping]) -> Html:
    """A table whose heads are buttons that sort it; the first column heads the rows. Without script it is a table."""
    heads = [tag('th', tag('button', column.title, tag('span', class_='arrow', aria_hidden='true'), type='button',
                           title=column.help or None),
                 scope='col', aria_sort='none', class_=None if column.text else 'number') for column in columns]
    body = [tag('tr', [_cell(column, row, first=i == 0) for i, column in enumerate(columns)],
                class_='flag' if row.get('flag') else None) for row in rows]
    explained = [tag('div', tag('dt', column.title), tag('dd', column.help)) for column in columns if column.help]
    table = tag('table', tag('caption', caption), tag('thead', tag('tr', heads)), tag('tbody', body), class_='sortable')
    return Html(scroller(caption, table) + (tag('dl', explained, class_='help') if explained else ''))


def scroller(name: str, *children: Any) -> Html:
    """A region that scrolls sideways where it is too wide, by keyboard too."""
    return tag('div', *children, class_='scroll', role='region', aria_label=name, tabindex='0')


def _cell(column: Column, row: Mapping, *, first: bool) -> Html:
    value = row.get(column.key)
    text = str(value) if column.text and value is not None else number(value)
    if column.low and row.get(column.low) is not None and text != '–':
        text = [text, ' ', tag('span', f'[{number(row[column.low])}, {number(row[column.high])}]', class_='interval')]
    if first and row.get('flag'):
        text = [text, ' ', tag('span', '⚑ weak', class_='badge')]
    sort = None if column.text else '' if value is None or value != value else value
    return tag('th' if first else 'td', text, scope='row' if first else None, data_value=sort,
               class_=None if column.text else 'number')


def _attribute(key: str) -> str:
    return key.rstrip('_').replace('_', '-')


def _flat(children: Iterable) -> Iterable[str]:
    for child in children:
        if child is None:
            continue
        if isinstance(child, Html):
            yield child
        elif isinstance(child, (str, int, float)):
            yield escape(visible(child))
        else:
            yield from _flat(child)
