"""Markup from text: nothing that is text can become markup."""
from html.parser import HTMLParser

import pytest
from jinja2 import UndefinedError
from markupsafe import Markup

from cxrdet.visualization.report.page import TEMPLATES, Column, number

MACROS = TEMPLATES.get_template('macros.html').module
NASTY = '<script>alert("1")</script>&\'"'


class Reader(HTMLParser):
    """Names, attributes and text of a piece of markup."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.tags, self.texts = [], []
        self.feed(text)

    def handle_starttag(self, name, attributes):
        self.tags.append((name, dict(attributes)))

    def handle_data(self, data):
        self.texts.append(data)


def rendered(template, **values):
    return TEMPLATES.from_string(template).render(values)


def test_text_and_attributes_are_escaped():
    read = Reader(rendered('<p title="{{ text }}" data-value="{{ value }}">{{ text }}</p>', text=NASTY, value=0.5))
    assert read.tags == [('p', {'title': NASTY, 'data-value': '0.5'})]
    assert ''.join(read.texts) == NASTY


def test_what_is_written_of_values():
    assert rendered('{{ a }}, {{ b }}, {{ c }}, {{ d }}', a=1, b=2.5, c=None, d='a<b') == '1, 2.5, , a&lt;b'
    assert rendered('{{ markup }}', markup=Markup('<b>x</b>')) == '<b>x</b>'
    with pytest.raises(UndefinedError):
        rendered('{{ missing }}')


@pytest.mark.parametrize('value, text', [(None, '–'), (float('nan'), '–'), (float('inf'), '–'), (1234567, '1 234 567'),
                                         (0.12345, '0.123'), (0, '0'), (1.0, '1.000')])
def test_numbers(value, text):
    assert number(value) == text


def test_table():
    columns = [Column('class', 'Class', text=True), Column('ap', 'AP', 'help <me>', 'low', 'high')]
    rows = [{'class': NASTY, 'ap': 0.5, 'low': 0.4, 'high': 0.6, 'flag': True}, {'class': 'b', 'ap': None, 'low': None}]
    read = Reader(MACROS.sortable_table('Scores', columns, rows))
    heads = [attributes for name, attributes in read.tags if name == 'th']
    assert [head.get('scope') for head in heads] == ['col', 'col', 'row', 'row']
    assert [head.get('aria-sort') for head in heads[:2]] == ['none', 'none']
    cells = [attributes for name, attributes in read.tags if name == 'td']
    assert [cell['data-value'] for cell in cells] == ['0.5', '']
    assert ('table', {'class': 'sortable'}) in read.tags and 'script' not in dict(read.tags)
    assert [name for name, _ in read.tags].count('button') == 2 and 'caption' in dict(read.tags)
    assert '⚑ weak' in read.texts and '[0.400, 0.600]' in read.texts and 'help <me>' in read.texts


def test_tables_can_be_scrolled_by_keyboard():
    (name, attributes), *_ = Reader(MACROS.sortable_table('Wide', [], [])).tags
    assert name == 'div' and attributes == {'class': 'scroll', 'role': 'region', 'aria-label': 'Wide', 'tabindex': '0'}


def test_control_characters_are_written_out():
    text = rendered('<p title="{{ a }}">{{ b }}</p>', a='\x07', b='a\x1b[2J\u202eb')
    assert text == '<p title="\\x07">a\\x1b[2J\\u202eb</p>'
