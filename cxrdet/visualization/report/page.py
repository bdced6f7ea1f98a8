"""The report as one HTML file that needs nothing else: no network, no other file."""
import base64
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined

from cxrdet.core.terminal import visible
from cxrdet.visualization.plots import drawn, look_of
from cxrdet.visualization.report.content import Content

#: Macro of ``sections.html`` -> title, in the order of the page.
SECTIONS = {'summary': 'Scores', 'advice': 'What to do', 'data': 'Data', 'model': 'Model', 'training': 'Training',
            'classes': 'Classes', 'curves': 'Curves', 'confusion': 'Confusion matrix', 'errors': 'Errors',
            'calibration': 'Calibration', 'pictures': 'Pictures', 'reproduce': 'How to reproduce this'}
_SCORE_HELP = {'AP@0.5': 'average precision at IoU 0.5', 'AUROC': 'area under the ROC curve',
               'accuracy': 'share of its images that are called by its name'}


class Column(NamedTuple):
    """A column of a table."""

    key: str  # in the rows
    title: str  # in its head
    help: str = ''  # what it means, shown when the pointer rests on the head, and listed below the table
    low: str = ''  # keys of the ends of an interval that is written behind the value
    high: str = ''
    text: bool = False  # holds words, not numbers


def render_page(content: Content) -> str:
    """Return the page. All text of ``content`` is escaped, so names of classes and files are harmless."""
    parts = TEMPLATES.get_template('sections.html').make_module(
        {'content': content, 'columns': _columns(content.diagnosis), 'filters': _filters(content),
         'wrong_calls': _wrong_calls(content.diagnosis)})
    sections = [(name, title, body) for name, title in SECTIONS.items() if (body := getattr(parts, name)().strip())]
    return TEMPLATES.get_template('page.html').render(title=content.title, about=content.about, sections=sections)


def number(value: float | None, digits: int = 3) -> str:
    """Whole numbers in groups of thousands, others with ``digits`` decimals; '–' for None, NaN."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return '–'
    if isinstance(value, int):
        return f'{value:,}'.replace(',', ' ')
    return f'{value:.{digits}f}'


def _columns(diagnosis: Mapping[str, Any]) -> dict[str, list[Column]]:
    name, decided = diagnosis['score_name'], diagnosis.get('operating_point', '')
    unit = 'boxes' if diagnosis['task'] == 'detection' else 'images'
    of_class = Column('class', 'Class', text=True)
    head = [of_class, Column('train', 'Training', f'{unit} in the training set'),
            Column('val', 'Judged', f'{unit} that are judged')]
    score = Column('score', name[:1].upper() + name[1:], _SCORE_HELP.get(name, ''), 'low', 'high')
    trained = Column('train_score', 'On training', f'{name} on training images')
    return {
        'detection': [*head, Column('AP', 'AP', 'mean over IoU 0.5 to 0.95, with its 95 % interval', 'AP_low',
                                    'AP_high'),
                      Column('score', 'AP50', 'average precision at IoU 0.5', 'AP50_low', 'AP50_high'), trained,
                      Column('precision', 'Precision', 'of the boxes that are shown'), Column('recall', 'Recall'),
                      Column('F1', 'F1')],
        'multi-label': [*head, score, trained, Column('AP', 'AP', 'average precision'),
                        Column('threshold', 'Threshold', decided), Column('sensitivity', 'Sensitivity'),
                        Column('specificity', 'Specificity'), Column('precision', 'Precision'),
                        Column('ece', 'ECE', 'expected calibration error')],
        'single-label': [*head, score, trained, Column('precision', 'Precision'), Column('F1', 'F1'),
                         Column('AUROC', 'AUROC', 'against all other classes')],
        'decisions': [of_class, Column('tp', 'Found', 'present and called'),
                      Column('fn', 'Missed', 'present and not called'),
                      Column('fp', 'False alarms', 'absent and called'),
                      Column('tn', 'Rightly absent', 'absent and not called')],
        'wrong_calls': [of_class, Column('kind', 'Kind', text=True), Column('file', 'Image', text=True),
                        Column('probability', 'Probability'),
                        Column('usual', 'Usual', 'share of the judged images that have the finding'),
                        Column('excess', 'Excess', 'how much worse than always saying the usual share, in nats')],
        'confounding': [of_class, Column('fact', 'Goes with', text=True),
                        Column('V', 'Cramér’s V', 'strength of the tie, 0 to 1'),
                        Column('fact_alone', 'AUROC of the fact alone', 'of knowing nothing else about the image'),
                        Column('AUROC', 'AUROC of the model'),
                        Column('within', 'AUROC within', 'of the model among images that share the fact')]}


def _wrong_calls(diagnosis: Mapping[str, Any]) -> list[dict]:
    calls = diagnosis.get('wrong_calls', {})
    return [{**call, 'kind': kind, 'file': call['image'].rpartition('/')[2]}
            for name, kind in (('misses', 'missed'), ('false_alarms', 'false alarm')) for call in calls.get(name, ())]


def _filters(content: Content) -> list[tuple[str, str, list]]:
    marks = {mark for picture in content.pictures for mark in picture.marks}
    labels, kinds = ({mark[part] for mark in marks} for part in (0, 1))
    return [('class', 'Class', [(label, content.diagnosis['classes'][label]) for label in sorted(labels)]),
            ('kind', 'Kind of error', [(kind, text) for kind, text in content.kinds.items() if kind in kinds])]


def _shown(value: Any) -> Any:
    return '' if value is None else value if hasattr(value, '__html__') else visible(value)


#: The templates escape whatever is not markup already.
TEMPLATES = Environment(loader=PackageLoader(__package__, ''), autoescape=True, finalize=_shown, trim_blocks=True,
                        lstrip_blocks=True, undefined=StrictUndefined)
TEMPLATES.filters |= {'number': number, 'drawn': drawn, 'look': look_of,
                      'base64': lambda data: base64.b64encode(data).decode()}
