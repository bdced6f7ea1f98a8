#!/usr/bin/env python
"""Make the project's tables: python projects/comparison_detector/tables.py --data DATA.

Trains and measures what results/*.yml describe by benchmarks/zoo.py, then looks at the scores of the class left out,
and writes results/README.md. The command may be stopped and given again: what has a result is left alone, a training
that was cut off goes on from its last checkpoint. With --page it trains nothing and writes the page of what was
measured; with --try 2 all is done in two steps a training and a few images, below --work.
"""
import csv
import sys
from fnmatch import fnmatchcase
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
RESULTS = Path(__file__).resolve().parent / 'results'
TABLES = ('limited_data', 'new_class')
LEFT_OUT, TRAINED = 'Platelets', ('twelve reference images', 'comparison by cosine, twelve reference images')
WITH_ALL = ', 205 images'
SCORES = ('row', 'run', 'score', 'AUROC', 'low', 'high', 'left_out', 'known')
STAGES = ('row', 'run', 'class', 'boxes', 'proposed', 'nearest', 'named')
for folder in (ROOT, ROOT / 'benchmarks'):
    if str(folder) not in sys.path:
        sys.path.append(str(folder))


def shortened(results: Path, iterations: int, out: Path) -> Path:
    """Copies of the tables in ``out`` whose trainings have so many steps, on a few images: to try the command."""
    out.mkdir(parents=True, exist_ok=True)
    for name in TABLES:
        table = yaml.safe_load((results / f'{name}.yml').read_text(encoding='utf-8'))
        for run in table['runs'].values():
            run['options'] = [*run.get('options', ()), f'max_iters={iterations}']
        for row in table['rows'].values():
            if 'config' in row:
                row['train'] = [*row.get('train', ()), '--valid-limit', '4']
            row['test'] = [*row.get('test', ()), '--valid-limit', '24']
        (out / f'{name}.yml').write_text(yaml.safe_dump(table, sort_keys=False), encoding='utf-8')
    return out


def _lines(file: Path) -> list[dict]:
    if not file.is_file():
        return []
    with file.open(encoding='utf-8', newline='') as stream:
        return list(csv.DictReader(stream))


def measure_left_out(results: Path, data: Path, work: Path) -> None:
    """Look into every training without the class that is there and was not looked into yet.

    ``unknown.csv``: scores of the class before it was added, and of chance; ``stages.csv``: where it is lost then.
    """
    from zoo import Zoo, read_table

    from cxrdet.analysis.trainings import checkpoint_of
    from cxrdet.core.csv_text import csv_text
    from cxrdet.core.files import write_atomic
    from cxrdet.preflight.config import load_config
    from projects.comparison_detector.comparison_detector.left_out import stages, unknown_areas
    for job in Zoo('new_class', read_table(results / 'new_class.yml'), data=data, work=work, threads=1).jobs:
        adapted = job.folder / 'made' / 'model.pth'
        if job.row not in TRAINED or not adapted.is_file():
            continue
        cfg = load_config(job.spec['config'], data_root=data / 'bccd')
        for name, fields in (('unknown', SCORES), ('stages', STAGES)):
            lines = _lines(results / f'{name}.csv')
            if any((line['row'], line['run']) == (job.row, job.run) for line in lines):
                continue
            if name == 'stages':
                found = stages(cfg, adapted)
            else:
                found = unknown_areas(cfg, checkpoint_of(job.folder, 'last'), LEFT_OUT)
                found.append(dict(found[0], score='chance', AUROC=_chance(job.folder / 'predictions.npz'), low='',
                                  high='', known=''))
            lines += [dict(line, row=job.row, run=job.run) for line in found]
            rows = [[line[key] for key in fields] for line in lines]
            write_atomic(results / f'{name}.csv', csv_text([fields, *rows]))


def _chance(predictions: Path) -> float:
    """Average precision of the class at IoU 0.5 if the boxes that were given its name had scores at random."""
    from cxrdet.core.predictions import boxes_of_truth
    from cxrdet.core.sample_files import read_samples
    from projects.comparison_detector.comparison_detector.left_out import precision_by_chance
    samples = read_samples(predictions)
    found = [{'boxes': sample['pred_instances']['bboxes'].numpy(), 'scores': sample['pred_instances']['scores'].numpy(),
              'labels': sample['pred_instances']['labels'].numpy()} for sample in samples]
    return precision_by_chance(found, [boxes_of_truth(sample['instances']) for sample in samples],
                               ('RBC', 'WBC', LEFT_OUT).index(LEFT_OUT))


def page(results: Path) -> str:
    """The page of what has been measured."""
    from md_table import table
    from zoo_tables import read_cells, read_table
    parts = ['# Results', 'Written by `python projects/comparison_detector/tables.py --data DATA`.']
    for name in TABLES:
        described, cells = read_table(results / f'{name}.yml'), read_cells(results, name)
        parts += [f'## {described["title"]}', described['text'].strip(),
                  f'Data: {described["data"]}, {described["split"]}.']
        names = [key for key in described['metrics'] if not key.endswith((' low', ' high'))]
        lines = [[cell['row'], cell['run'], *(_figure(cell['metrics'], key) for key in names),
                  f'{cell["cpu_minutes"]:.1f}' if cell['cpu_minutes'] else ''] for cell in cells]
        parts += [table(['row', 'run', *names, 'CPU minutes'], lines)] if lines else ['Not measured yet.']
    trained = [[cell['row'], cell['run'], _figure(cell['metrics'], f'{LEFT_OUT}@0.5')]
               for cell in read_cells(results, TABLES[0]) if cell['row'].endswith(WITH_ALL)]
    if trained:
        parts += [f'For comparison, from the first table: models trained on all images, with {LEFT_OUT}.',
                  table(['row', 'run', f'{LEFT_OUT}@0.5'], trained)]
    parts += ['## A score for "none of the known classes"',
              f'The detectors of the table above before {LEFT_OUT} were added: AUROC with which a score of a true box '
              'of the validation images tells platelets from RBC and WBC. 0.5 is chance. "distance" is that to the '
              'nearest prototype (`unknown_scores` of predictions), "softmax" is 1 less the greatest probability of a '
              'known class, "background" its probability.']
    scores = _lines(results / 'unknown.csv')
    lines = [[line['row'], line['run'], line['score'], _interval(line['AUROC'], line['low'], line['high'])]
             for line in scores if line['score'] != 'chance']
    parts += [table(['row', 'run', 'score', 'AUROC'], lines)] if lines else ['Not measured yet.']
    lines = [[line['row'], line['run'], f'{float(line["AUROC"]):.3f}'] for line in scores if line['score'] == 'chance']
    if lines:
        parts += [f'Chance: AP@0.5 of {LEFT_OUT} if the boxes that the adapted detector gives that name had scores at '
                  'random.', table(['row', 'run', 'Platelets@0.5 by chance'], lines)]
    parts += ['## Where the class left out is lost',
              f'The same detectors after {LEFT_OUT} were added. "proposed": the share of the true boxes of the '
              'validation images that a proposal covers with an IoU of at least 0.5. Where the true box itself is the '
              'region: "nearest", the share whose best class is theirs, and "named", the share of which it also beats '
              'the background.']
    lines = [[line['row'], line['run'], line['class'], line['boxes'],
              *(f'{float(line[key]):.3f}' for key in STAGES[4:])] for line in _lines(results / 'stages.csv')]
    parts += [table(['row', 'run', *STAGES[2:]], lines)] if lines else ['Not measured yet.']
    return '\n\n'.join(parts) + '\n'


def _figure(metrics: dict, name: str) -> str:
    return _interval(*(metrics.get(key) for key in (name, f'{name} low', f'{name} high')))


def _interval(value, low, high) -> str:
    if value in (None, ''):
        return ''
    return f'{float(value):.3f}' + (f' ({float(low):.3f} to {float(high):.3f})' if low not in (None, '') else '')


def _names(tables: list[str], kind: str) -> list[str]:
    """The rows, or runs, of tables."""
    found = [yaml.safe_load((RESULTS / f'{name}.yml').read_text(encoding='utf-8'))[kind] for name in tables]
    return list(dict.fromkeys(name for names in found for name in names))


def main(argv: list[str] | None = None) -> int:
    from cxrdet.cli.arguments import Parser, whole
    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument('--data', type=Path, help='folder that holds the data sets, bccd/ among them')
    parser.add_argument('--work', type=Path, default=ROOT / 'work_dirs' / 'comparison_detector',
                        help='folder for the runs')
    parser.add_argument('--page', action='store_true', help='train nothing; write what has been measured')
    parser.add_argument('--tables', nargs='+', choices=TABLES, default=list(TABLES), help='these only')
    parser.add_argument('--rows', default='*', metavar='PATTERN', help="only rows whose name matches: '*20 images'")
    parser.add_argument('--runs', default='*', metavar='PATTERN', help="only runs whose name matches, e.g. 'seed 0'")
    parser.add_argument('--jobs', type=whole(1), default=1, metavar='N', help='trainings at the same time (default: 1)')
    parser.add_argument('--threads', type=whole(1), default=1, metavar='N',
                        help='processor threads of each (default: 1)')
    parser.add_argument('--try', dest='tried', type=whole(1), metavar='N', help='N steps only, results below --work')
    args = parser.parse_args(argv)
    if args.data is None and not args.page:
        parser.error('give --data DATA, or --page')
    if not args.page:
        if not (args.data / 'bccd').is_dir():
            parser.error(f'--data {args.data}: expected the folder that holds the set bccd/, there is none')
        for option, pattern in (('rows', args.rows), ('runs', args.runs)):
            names = _names(args.tables, option)
            if not any(fnmatchcase(name, pattern) for name in names):
                parser.error(f'--{option} {pattern}: expected one of the {option}, or a pattern: {"; ".join(names)}')
    from cxrdet.core.errors import CxrdetError
    from cxrdet.core.files import write_atomic
    work, results = args.work.resolve(), RESULTS
    data = args.data and args.data.resolve()  # before the trainings change the folder
    if args.tried:
        work = work / f'{args.tried}_steps'
        results = shortened(RESULTS, args.tried, work / 'results')
    codes = [0]
    if not args.page:
        from zoo import main as train
        codes = [train(['--table', name, '--tables', str(results), '--data', str(data), '--work',
                        str(work), '--rows', args.rows, '--runs', args.runs, '--jobs', str(args.jobs), '--threads',
                        str(args.threads)]) for name in args.tables]
        try:
            measure_left_out(results, data, work)
        except CxrdetError as error:
            print(f'error: {error}', file=sys.stderr)
            codes.append(2)
    write_atomic(results / 'README.md', page(results))
    return max(codes)


if __name__ == '__main__':
    sys.exit(main())
