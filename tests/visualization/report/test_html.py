"""Markup from text: nothing that is text can become markup."""
from html.parser import HTMLParser

import pytest

from cxrdet.visualization.report.html import Column, Html, number, scroller, sortable_table, tag

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


def test_text_and_attributes_are_escaped():
    read = Reader(tag('p', NASTY, title=NASTY, class_='x', data_value=0.5, hidden=True, lang=None))
    assert read.tags == [('p', {'title': NASTY, 'class': 'x', 'data-value': '0.5', 'hidden': None})]
    assert ''.join(read.texts) == NASTY


def test_children():
    assert tag('ul', [tag('li', i) for i in (1, 2.5)], None, 'a<b') == '<ul><li>1</li><li>2.5</li>a&lt;b</ul>'
    assert tag('br') == '<br>' and tag('p', Html('<b>x</b>')) == '<p><b>x</b></p>'


@pytest.mark.parametrize('value, text', [(None, '–'), (float('nan'), '–'), (float('inf'), '–'), (1234567, '1 234 567'),
                                         (0.12345, '0.123'), (0, '0'), (1.0, '1.000')])
def test_numbers(value, text):
    assert number(value) == text


def test_table():
    columns = [Column('class', 'Class', text=True), Column('ap', 'AP', 'help <me>', 'low', 'high')]
    rows = [{'class': NASTY, 'ap': 0.5, 'low': 0.4, 'high': 0.6, 'flag': True}, {'class': 'b', 'ap': None, 'low': None}]
    read = Reader(sortable_table('Scores', columns, rows))
    heads = [attributes for name, attributes in read.tags if name == 'th']
    assert [head.get('scope') for head in heads] == ['col', 'col', 'row', 'row']
    assert [head.get('aria-sort') for head in heads[:2]] == ['none', 'none']
    cells = [attributes for name, attributes in read.tags if name == 'td']
    assert [cell['data-value'] for cell in cells] == ['0.5', '']
    assert ('table', {'class': 'sortable'}) in read.tags and 'script' not in dict(read.tags)
    assert [name for name, _ in read.tags].count('button') == 2 and 'caption' in dict(read.tags)
    assert '⚑ weak' in read.texts and '[0.400, 0.600]' in read.texts and 'help <me>' in read.texts


def test_scroller_can_be_reached_by_keyboard():
    (name, attributes), = Reader(scroller('Wide', 'x')).tags
    assert name == 'div' and attributes == {'class': 'scroll', 'role': 'region', 'aria-label': 'Wide', 'tabindex': '0'}


def test_control_characters_are_written_out():
    assert tag('p', 'a\x1b[2J\u202eb', title='\x07') == '<p title="\\x07">a\\x1b[2J\\u202eb</p>'
