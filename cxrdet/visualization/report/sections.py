"""The parts of the report, each a function from :class:`Content` to markup, or to None where it has nothing to say."""
from collections.abc import Mapping, Sequence
from typing import Any

from cxrdet.visualization.report.content import Content
from cxrdet.visualization.report.gallery import gallery
from cxrdet.visualization.report.html import Column, Html, number, scroller, sortable_table, tag
from cxrdet.visualization.report.svg import figures

__all__ = ['SECTIONS']

_SCORE_HELP = {'AP@0.5': 'average precision at IoU 0.5', 'AUROC': 'area under the ROC curve',
               'accuracy': 'share of its images that are called by its name'}


def summary(content: Content) -> Html:
    cards = [tag('div', tag('dt', score['name']), tag('dd', tag('span', number(score['value']), class_='value'), ' ',
                                                      _interval(score))) for score in content.scores]
    fit = content.diagnosis['fit']
    verdict = {'good': 'no sign of over- or underfitting', 'unknown': 'not judged: no training images were looked at'
               }.get(fit['verdict'], fit['verdict'])
    text = (f'Training against {fit["split"]}: {fit["metric"]} {number(fit["train"])} against {number(fit["val"])} – '
            f'{verdict}.')
    return Html(tag('dl', cards, class_='scores') + tag('p', text) + tag('p', content.scores_note, class_='soft'))


def advice(content: Content) -> Html:
    found = content.diagnosis['findings']
    if not found:
        return tag('p', 'No limit is passed: nothing stands out.')
    items = []
    for item in found:
        hints = [tag('li', tag('code', hint['name']), f': {hint["text"]}') for hint in item['advice']]
        kind = 'Note' if item['level'] == 'note' else 'Problem'
        items.append(tag('li', tag('strong', f'{kind}: '), item['text'], tag('ul', hints) if hints else None,
                         class_='note' if item['level'] == 'note' else None))
    return tag('ol', items, class_='findings')


def data(content: Content) -> Html:
    return _facts(content.data)


def model(content: Content) -> Html:
    return _facts(content.model)


def training(content: Content) -> Html:
    return Html((tag('p', content.training_note) if content.training_note else '') +
                (figures(content.training) if content.training else ''))


def classes(content: Content) -> Html:
    return sortable_table('Scores of each class', _class_columns(content), content.rows)


def curves(content: Content) -> Html | None:
    if not content.curves:
        return None
    groups = ''.join(tag('h3', title) + figures(panels) for title, panels in content.curves.items())
    return Html((tag('p', content.curves_note) if content.curves_note else '') + groups)


def confusion(content: Content) -> Html:
    table = content.diagnosis['confusion']
    if table is None:
        return _decisions(content)
    labels, matrix = table['labels'], table['matrix']
    head = tag('tr', tag('td'), [tag('th', name, scope='col') for name in labels])
    body = []
    for i, row in enumerate(matrix):
        total = sum(row)
        cells = [tag('td', value or '', class_='right' if i == j and labels[i] != 'background' else None,
                     style=f'--share:{value / total:.3f}' if value else None) for j, value in enumerate(row)]
        body.append(tag('tr', tag('th', f'{labels[i]} ({total})', scope='row'), cells))
    caption = 'Confusion matrix: true classes in the rows, predicted ones in the columns'
    shown = scroller(caption, tag('table', tag('caption', caption), tag('thead', head), tag('tbody', body),
                                  class_='confusion'))
    note = ('Boxes are matched one to one, first within their class, then across classes, from a score of '
            f'{content.diagnosis["score_thr"]:.2f} on; the row "background" holds false alarms, the column missed '
            'boxes.' if content.diagnosis['task'] == 'detection' else 'Each image counts for its most probable class.')
    most = [tag('li', f'{row["true"]} called {row["predicted"]}: {row["count"]} times ({row["share"]:.0%})')
            for row in content.diagnosis['confusions'][:5]]
    return Html(tag('p', f'{note} The darker a cell, the larger its share of the row; cells of right answers are '
                    'framed.') + shown + (tag('h3', 'Most frequent confusions') + tag('ol', most) if most else ''))


def errors(content: Content) -> Html | None:
    task = content.diagnosis['task']
    parts = (_box_errors if task == 'detection' else _label_errors)(content.diagnosis)
    return Html(''.join(parts)) if parts else None


def calibration(content: Content) -> Html:
    part = content.diagnosis['calibration']
    what = {'detection': 'A detection is right if it finds a box of its class.',
            'multi-label': 'All labels are taken together, then class by class.',
            'single-label': 'The most probable class of each image is held to its probability.'}
    text = (f'Expected calibration error {number(part["ece"])}; a temperature of {number(part["temperature"], 2)}, '
            f'fitted on the same images, would leave {number(part["ece_after"])}. '
            f'{what[content.diagnosis["task"]]} On the dotted line scores are shares of right answers; below it the '
            'model is too sure. Bars are 95 % bootstrap intervals by image or patient; in a bin with few entries, or '
            'with equal ones, they are too narrow.')
    return Html(tag('p', text) + figures(content.calibration))


def reproduce(content: Content) -> Html:
    return Html(tag('p', 'This page was made by') + tag('pre', content.command) + _facts(content.reproduce))


#: Anchor, title and function of each part, in the order of the page.
SECTIONS = (('summary', 'Scores', summary), ('advice', 'What to do', advice), ('data', 'Data', data),
            ('model', 'Model', model), ('training', 'Training', training), ('classes', 'Classes', classes),
            ('curves', 'Curves', curves), ('confusion', 'Confusion matrix', confusion), ('errors', 'Errors', errors),
            ('calibration', 'Calibration', calibration), ('pictures', 'Pictures', gallery),
            ('reproduce', 'How to reproduce this', reproduce))


def _facts(facts: Sequence[tuple[str, Any]]) -> Html:
    return tag('dl', [(tag('dt', name), tag('dd', value if isinstance(value, Html) else str(value)))
                      for name, value in facts], class_='facts')


def _interval(score: Mapping) -> Html | None:
    if number(score['low']) == '–':
        return None
    return tag('span', f'[{number(score["low"])}, {number(score["high"])}]', class_='interval')


def _class_columns(content: Content) -> list[Column]:
    task, name = content.diagnosis['task'], content.diagnosis['score_name']
    unit = 'boxes' if task == 'detection' else 'images'
    head = [Column('class', 'Class', text=True), Column('train', 'Training', f'{unit} in the training set'),
            Column('val', 'Judged', f'{unit} that are judged')]
    trained = Column('train_score', 'On training', f'{name} on training images')
    if task == 'detection':
        return [*head, Column('AP', 'AP', 'mean over IoU 0.5 to 0.95, with its 95 % interval', 'AP_low', 'AP_high'),
                Column('score', 'AP50', 'average precision at IoU 0.5', 'AP50_low', 'AP50_high'), trained,
                Column('precision', 'Precision', 'of the boxes that are shown'), Column('recall', 'Recall'),
                Column('F1', 'F1')]
    score = Column('score', name[:1].upper() + name[1:], _SCORE_HELP.get(name, ''), 'low', 'high')
    if task == 'multi-label':
        return [*head, score, trained, Column('AP', 'AP', 'average precision'),
                Column('threshold', 'Threshold', content.diagnosis['operating_point']),
                Column('sensitivity', 'Sensitivity'), Column('specificity', 'Specificity'),
                Column('precision', 'Precision'), Column('ece', 'ECE', 'expected calibration error')]
    return [*head, score, trained, Column('precision', 'Precision'), Column('F1', 'F1'),
            Column('AUROC', 'AUROC', 'against all other classes')]


def _box_errors(diagnosis: Mapping) -> list[Html]:
    rows = diagnosis['errors']['types']
    most = max([row['gain'] or 0 for row in rows] + [1e-9])
    body = [tag('tr', tag('th', row['type'], scope='row'), tag('td', row['count'], class_='number'),
                tag('td', number(row['share'], 2), class_='number'), tag('td', number(row['gain']), class_='number'),
                tag('td', _meter((row['gain'] or 0) / most))) for row in rows]
    names = ('Kind', 'Count', 'Share', 'mAP@0.5 to gain', 'Compared')
    head = tag('tr', [tag('th', name, scope='col') for name in names])
    caption = f'Errors of the boxes with a score of {diagnosis["score_thr"]:.2f} or more, and what mending them gives'
    parts = [tag('p', 'Kinds as in TIDE: localisation (right class, IoU 0.1 to 0.5), classification (wrong class, IoU '
                 'of 0.5 or more), both, duplicate (a second box on the same object), background (nothing there) and '
                 'missed. The gain is in mAP at IoU 0.5 over all detections, if all errors of the kind were mended.'),
             scroller(caption, tag('table', tag('caption', caption), tag('thead', head), tag('tbody', body)))]
    sizes = diagnosis['by_size']['absolute']
    if sizes:
        keys = [key for key in ('boxes', 'found', 'recall') if key in sizes[0]]
        table = tag('table', tag('caption', 'Boxes by size (small below 32², large from 96² square pixels on)'),
                    tag('thead', tag('tr', [tag('th', name.capitalize(), scope='col') for name in ('Size', *keys)])),
                    tag('tbody', [tag('tr', tag('th', row['size'], scope='row'), [
                        tag('td', number(row[key]), class_='number') for key in keys]) for row in sizes]))
        parts.append(scroller('Boxes by size', table))
    return parts


def _decisions(content: Content) -> Html:
    """Of several labels an image: one confusion matrix of two by two a class, in a row."""
    columns = [Column('class', 'Class', text=True), Column('tp', 'Found', 'present and called'),
               Column('fn', 'Missed', 'present and not called'), Column('fp', 'False alarms', 'absent and called'),
               Column('tn', 'Rightly absent', 'absent and not called')]
    rows = [{**row, 'flag': False} for row in content.rows]
    note = ('An image may have several labels, so each class has a confusion matrix of its own, which is a row here. '
            f'Decisions by {content.diagnosis["operating_point"]}.')
    return Html(tag('p', note) + sortable_table('Right and wrong decisions of each class', columns, rows))


def _label_errors(diagnosis: Mapping) -> list[Html]:
    parts = []
    calls = [{**call, 'kind': kind} for name, kind in (('misses', 'missed'), ('false_alarms', 'false alarm'))
             for call in diagnosis.get('wrong_calls', {}).get(name, ())]
    if calls:
        columns = [Column('class', 'Class', text=True), Column('kind', 'Kind', text=True),
                   Column('file', 'Image', text=True), Column('probability', 'Probability'),
                   Column('usual', 'Usual', 'share of the judged images that have the finding'),
                   Column('excess', 'Excess', 'how much worse than always saying the usual share, in nats')]
        parts.append(sortable_table('The worst single decisions', columns, [
            {**call, 'file': call['image'].rpartition('/')[2]} for call in calls]))
    if diagnosis['confounding']:
        columns = [Column('class', 'Class', text=True), Column('fact', 'Goes with', text=True),
                   Column('V', 'Cramér’s V', 'strength of the tie, 0 to 1'),
                   Column('fact_alone', 'AUROC of the fact alone', 'of knowing nothing else about the image'),
                   Column('AUROC', 'AUROC of the model'),
                   Column('within', 'AUROC within', 'of the model among images that share the fact')]
        parts.append(sortable_table('Labels that go with a fact about the image', columns, diagnosis['confounding']))
    return parts


def _meter(share: float) -> Html:
    width = f'width:{100 * min(max(share, 0), 1):.0f}%'
    return tag('span', tag('span', style=width), class_='meter', aria_hidden='true')
