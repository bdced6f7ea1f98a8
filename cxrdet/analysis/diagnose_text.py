"""The diagnosis of a trained model as text for the terminal, no line longer than :data:`WIDTH`."""
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from cxrdet.core.diagnosis import listed, quality_text
from cxrdet.core.terminal import visible
from cxrdet.evaluation.metrics.log_tables import text_table

WIDTH = 110
_NAME = 20  # longest class name that is shown whole
_MATRIX = 12  # most columns of a confusion matrix that is shown


def diagnosis_text(report: dict, *, worst: int = 5) -> str:
    """The whole report; ``worst``: how many of the worst images are shown."""
    parts = [_head(report) + _flags(report), _fit(report), _classes(report)]
    if report['task'] == 'detection':
        parts += [_errors(report), _sizes(report)]
    parts += [_confusion(report), _calibration(report), _confounding(report), _worst(report, worst), _findings(report)]
    return '\n\n'.join('\n'.join(visible(line, one_line=True) for line in part) for part in parts if part)


def _head(report: dict) -> list[str]:
    split, train = report['split'], report['images']['train']
    numbers = report['images'][split]
    images = f'{_split(split)}: {_count(numbers)} images'
    images += f'; training: {_count(train)} images' if train else '; no training images judged'
    return _wrapped(f'{report["config"]}, {report["checkpoint"]}') + _wrapped(
        f'{report["task"]}, {len(report["classes"])} classes; {images}')


def _flags(report: dict) -> list[str]:
    words = {True: 'yes', False: 'no', None: 'not known'}
    lines = _wrapped('Flags: ' + ', '.join(f'{name.replace("_", " ")} {words[value]}'
                                           for name, value in report['flags'].items()))
    quality = report['quality'] and f'Annotations of the training set: {quality_text(report["quality"])}'
    return lines + (_wrapped(quality) if quality else [])


def _count(numbers: dict) -> str:
    judged, total = numbers['judged'], numbers['total']
    return str(total) if judged == total else f'{judged} of {total}'


def _split(name: str) -> str:
    return {'val': 'validation'}.get(name, name)


def _fit(report: dict) -> list[str]:
    fit = report['fit']
    rows = [[fit['metric'], fit['train'], fit['val'], fit['gap']]]
    for name, pair in fit['more'].items():
        gap = None if pair['train'] is None or pair['val'] is None else pair['train'] - pair['val']
        rows.append([name, pair['train'], pair['val'], gap])
    judged = {'unknown': 'not judged, there is nothing to compare', 'good': 'neither over- nor underfitting',
              'overfit': 'overfitting', 'underfit': 'underfitting', 'overfit and underfit': 'over- and underfitting'}
    text = (f'Fit: {judged[fit["verdict"]]}. Limits: overfitting from a gap of {fit["metric"]} above 0.1 on, '
            f'underfitting below {fit["low"]:g} on training images.')
    if len(fit['over']) < len(report['classes']):
        text += f' Mean over {listed(fit["over"], 6)}.'
    return _wrapped(text) + _table(['', 'train', report['split'], 'gap'], rows)


#: By task: title of a column of the table of classes -> its key.
_COLUMNS = {
    'detection': {
        'class': 'class', 'in train': 'train', 'in {}': 'val', 'AP50 train': 'train_score', 'AP50 {}': 'score',
        'precision': 'precision', 'recall': 'recall', 'F1': 'F1'},
    'multi-label': {
        'class': 'class', 'train': 'train', '{}': 'val', 'AUROC tr.': 'train_score', 'AUROC {}': 'score',
        '95 %': 'interval', 'AP': 'AP', 'sens.': 'sensitivity', 'spec.': 'specificity', 'ECE': 'ece'},
    'single-label': {
        'class': 'class', 'in train': 'train', 'in {}': 'val', 'acc. train': 'train_score', 'acc. {}': 'score',
        'precision': 'precision', 'F1': 'F1', 'AUROC': 'AUROC'}}


def _classes(report: dict) -> list[str]:
    task, rows = report['task'], []
    columns = _COLUMNS[task]
    for row in report['per_class']:
        flags = [f'< {0.65 if task == "multi-label" else 0.3}'] if row['flag'] else []
        if task == 'multi-label':
            interval = '' if row['low'] is None else f'{row["low"]:.2f}-{row["high"]:.2f}'
            row, flags = row | {'interval': interval}, flags + ['few'] * (row['val'] < 10)
        rows.append([*(row[key] for key in columns.values()), ' '.join(flags)])
    about = 'accuracy is the share of the images of a class that are called by its name'
    if task == 'detection':
        micro = report['operating']
        rows.append(['all boxes', _total(rows, 1), _total(rows, 2), None, None, micro['precision'], micro['recall'],
                     micro['F1'], ''])
        about = f'precision, recall and F1 of detections with scores from {report["score_thr"]:.2f} on, at IoU 0.5'
    elif task == 'multi-label':
        about = (f'positives, AUROC with 95 % interval ({report["interval"]["about"]}), and sensitivity and '
                 f'specificity decided by {report["operating_point"]}')
    titles = [title.format(report['split']) for title in columns]
    return _wrapped(f'Classes; {about}') + _table([*titles, 'flag'], rows)


def _total(rows: list[list], column: int) -> int | None:
    values = [row[column] for row in rows]
    return None if None in values else sum(values)


def _errors(report: dict) -> list[str]:
    errors = report['errors']
    rows = [[row['type'], row['count'], None if row['share'] is None else f'{row["share"]:.0%}', row['gain']]
            for row in errors['types']]
    rows.append(['all false detections', None, '', errors['false_positive_gain']])
    rows.append(['all boxes not found', None, '', errors['false_negative_gain']])
    now = '-' if errors['mAP'] is None else f'{errors["mAP"]:.3f}'
    text = (f'Errors as in TIDE: counts from score {report["score_thr"]:.2f} on; gain: of mAP@0.5 (now {now}), over '
            'all scores, if all errors of this type alone were mended')
    return _wrapped(text) + _table(['error', 'count', 'share', 'gain'], rows)


def _sizes(report: dict) -> list[str]:
    lines = [f'Sizes, from score {report["score_thr"]:.2f} on; false detections go by their own size']
    for name, title in (('absolute', 'area, px'), ('relative', 'share of image')):
        rows = []
        for row in report['by_size'][name]:
            low, high = ('' if row[end] is None else f'{row[end]:.0f}' if name == 'absolute' else f'{row[end]:.2%}'
                         for end in ('low', 'high'))
            rows.append([row['size'], f'from {low}' if row['high'] is None else f'{low} - {high}', row['boxes'],
                         row['found'], row['recall'], row['detections'] - row['hits'], row['localisation'],
                         row['background']])
        lines += _table(['size', title, 'boxes', 'found', 'recall', 'false', 'localis.', 'backgr.'], rows)
    return lines


def _confusion(report: dict) -> list[str]:
    lines, matrix = [], report['confusion']
    if matrix and len(matrix['labels']) <= _MATRIX:
        number = len(matrix['labels'])
        row, column = (_NAME, 10) if number <= 6 else (_NAME, 8) if number <= 8 else (12, 6)
        lines = ['Confusion matrix, one to one: true classes in the rows, predicted ones in the columns']
        lines += _table(['', *(name[:column] for name in matrix['labels'])], [
            [label[:row], *counts] for label, counts in zip(matrix['labels'], matrix['matrix'])])
    if report['confusions']:
        of = 'boxes' if report['task'] == 'detection' else 'images'
        lines += ['Most common confusions']
        for row in report['confusions'][:5]:
            lines += _wrapped(f'{row["true"]} called {row["predicted"]}: {row["count"]} ({row["share"]:.0%} of its '
                              f'{of})', '  ', '    ')
    elif matrix:
        lines += ['No class was taken for another.']
    return lines


def _calibration(report: dict) -> list[str]:
    part = report['calibration']
    if part['ece'] is None:
        return ['Calibration: nothing to judge']
    what = {'detection': 'scores of all detections against hits at IoU 0.5',
            'multi-label': 'probabilities of all labels',
            'single-label': 'probability of the class that was called, against being right'}[report['task']]
    lines = _wrapped(f'Calibration ({what}): expected calibration error {part["ece"]:.3f} (limit 0.1); with '
                     f'temperature {part["temperature"]:.2f}, fitted on the same images, {part["ece_after"]:.3f}')
    bins = [row for row in part['bins'] if row['count']]
    return lines + _table(['scores', 'number', 'mean score', 'share right'], [
        [f'{row["low"]:.2f} - {row["high"]:.2f}', row['count'], row['mean_score'], row['share_right']] for row in bins])


def _confounding(report: dict) -> list[str]:
    rows = report.get('confounding')
    if not rows:
        return []
    return _wrapped('Confounding: labels that go with a fact about the images (Cramér\'s V >= 0.1 over both splits); '
                    'AUROC of the fact alone, of the model, and of the model among images of the same fact') + _table(
        ['class', 'fact', 'V', 'fact alone', 'model', 'same fact'],
        [[row['class'], row['fact'], row['V'], row['fact_alone'], row['AUROC'], row['within']] for row in rows])


def _worst(report: dict, most: int) -> list[str]:
    rows = report['worst'][:most]
    lines = ['Worst images'] if rows else []
    for row in rows:
        lines += _wrapped(f'{_tail(row["image"])}: {row["why"]}', '  ', '    ', lines=3)
    for name, title in (('false_alarms', 'Most confident false alarms'), ('misses', 'Most confident misses')):
        calls = report.get('wrong_calls', {}).get(name, [])[:most]
        if calls:
            lines.append(f'{title} (usual: share of the images that have it)')
            for row in calls:
                lines += _wrapped(f'{_tail(row["image"])}: {row["class"]} {row["probability"]:.3f}, usual '
                                  f'{row["usual"]:.3f}', '  ', '    ')
    return lines


def _tail(path: str) -> str:
    name = Path(path).name
    return name if len(name) <= 60 else '…' + name[-59:]


def _findings(report: dict) -> list[str]:
    found = report['findings']
    problems = sum(item['level'] == 'problem' for item in found)
    lines = [f'Findings: {problems} problem{"s" * (problems != 1)}, {len(found) - problems} '
             f'note{"s" * (len(found) - problems != 1)}']
    first: dict[str, int] = {}
    for number, item in enumerate(found, 1):
        lines += _wrapped(f'{number}. {item["level"]}: {item["text"]}', '', '   ')
        if first.setdefault(item['code'], number) < number:
            lines.append(f'   -> as for {first[item["code"]]}')
            continue
        for switch in item['advice']:
            lines += _wrapped(f'-> {switch["name"]}: {switch["text"]}', '   ', '      ')
    return lines


def _wrapped(text: str, first: str = '', later: str = '  ', *, lines: int | None = None) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=first, subsequent_indent=later, max_lines=lines, placeholder=' …',
                         break_on_hyphens=False)


def _table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[str]:
    cells = [[row[0] if len(row[0]) <= _NAME else row[0][:_NAME - 1] + '…', *row[1:]] for row in (header, *rows)]
    return ['  ' + line for line in text_table(cells, digits=3)]
