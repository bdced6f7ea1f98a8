"""The gallery of the report: pictures with a filter by class and kind of error."""
import base64

from cxrdet.visualization.report.content import Content, Picture
from cxrdet.visualization.report.html import Html, tag

__all__ = ['gallery']

_KEY = (('found', 'found: right class, IoU of 0.5 or more'), ('false', 'false alarm'), ('missed', 'missed'))


def gallery(content: Content) -> Html:
    """The pictures with their filter; without script all of them are shown."""
    if not content.pictures:
        return tag('p', 'No image has an error to show.')
    names = content.diagnosis['classes']
    used = sorted({label for picture in content.pictures for label, _ in picture.marks})
    present = {kind for picture in content.pictures for _, kind in picture.marks}
    kinds = [(kind, text) for kind, text in content.kinds.items() if kind in present]
    controls = tag('div', _select('class', 'Class', [(label, names[label]) for label in used]),
                   _select('kind', 'Kind of error', kinds), tag('span', role='status', class_='soft'),
                   class_='controls', role='group', aria_label='Filter of the pictures')
    key = tag('ul', [tag('li', tag('span', class_=look, aria_hidden='true'), text) for look, text in _KEY],
              class_='key', aria_label='Boxes') if content.diagnosis['task'] == 'detection' else None
    cards = [_card(picture) for picture in content.pictures]
    return tag('div', tag('p', content.pictures_note), key, controls, tag('ul', cards, class_='cards'),
               class_='gallery')


def _select(name: str, title: str, options) -> Html:
    choices = [tag('option', 'all', value=''), *(tag('option', text, value=value) for value, text in options)]
    return tag('label', title, tag('select', choices, id=f'filter-{name}', autocomplete='off'), for_=f'filter-{name}')


def _card(picture: Picture) -> Html:
    source = f'data:image/jpeg;base64,{base64.b64encode(picture.jpeg).decode()}'
    width, height = picture.size
    image = tag('img', src=source, alt=f'{picture.name}: {picture.text}', width=width, height=height)
    marks = ' '.join(sorted({f'{int(label)}:{kind}' for label, kind in picture.marks}))
    figure = tag('figure', tag('button', image, type='button', aria_expanded='false', title='Larger or smaller'),
                 tag('figcaption', tag('strong', picture.name), tag('br'), picture.text))
    return tag('li', figure, class_='card', data_marks=marks)
