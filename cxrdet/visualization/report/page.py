"""The report as one HTML file that needs nothing else: no network, no other file."""
from html import escape
from importlib.resources import files
from string import Template

from cxrdet.core.terminal import visible
from cxrdet.visualization.report.content import Content
from cxrdet.visualization.report.html import Html, tag
from cxrdet.visualization.report.sections import SECTIONS

__all__ = ['render_page']


def render_page(content: Content) -> str:
    """Return the page. All text of ``content`` is escaped, so names of classes and files are harmless."""
    shown = [(anchor, title, body) for anchor, title, make in SECTIONS if (body := make(content)) is not None]
    links = [tag('li', tag('a', title, href=f'#{anchor}')) for anchor, title, _ in shown]
    header = tag('header', tag('h1', content.title), tag('p', content.about, class_='soft'),
                 tag('nav', tag('ul', links), aria_label='Parts of the report'))
    parts = [tag('section', tag('h2', title, id=f'{anchor}-title'), body, id=anchor, aria_labelledby=f'{anchor}-title')
             for anchor, title, body in shown]
    footer = tag('footer', 'Made by cxrdet. Figures of a model on one data set: they say nothing about its use on '
                 'patients.')
    body = Html(header + tag('main', parts, id='main', tabindex='-1') + footer)
    page = Template(_read('template.html'))
    return page.substitute(title=escape(visible(content.title)), style=_read('style.css'), script=_read('script.js'),
                           body=body)


def _read(name: str) -> str:
    return (files(__package__) / name).read_text(encoding='utf-8')
