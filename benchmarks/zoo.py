#!/usr/bin/env python
"""Make a table of measured results: python benchmarks/zoo.py --table NAME --data DIR.

A table stands in benchmarks/tables/NAME.yml: rows (a config, configs/a.py or with changes by name configs/a.py+ema, and
options) and runs (a seed, a fold). Each row is trained and measured once for every run, by tools/train.py and
tools/test.py in processes of their own. A result is written into benchmarks/tables/NAME.csv as soon as it is there, and
docs/model_zoo.md with it. The command may be stopped and
given again: what has a result is left alone, a training that was cut off goes on from its last checkpoint.

A metric is named as tools/test.py gives it; ``train/accuracy`` and the like are those of the training, from
history.json (of the epoch whose checkpoint is measured). ``columns`` holds further columns of text: their name, then
row and text.

A row with ``make`` is measured on what a command makes of its checkpoint: ``make: projects/x/adapt.py {config}
{checkpoint} --out {out}``, a script of the repository, with {data} and {work} as below.

A row may need something made before its training, such as a balanced set or pretrained weights: ``prepare`` lists
the tools, or scripts of the repository, to run, once each, with {data} for the folder of all data sets, {work} for
the row's own and {seed}; {work} goes in options and ``test``, too. Tables of a project stand in a folder of its own,
``--tables``.
"""
import argparse
import json
import os
import sys
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path

from zoo_tables import needed, read_cells, read_table, write_cells, write_costs

from cxrdet.analysis.trainings import Trainings, checkpoint_of, cost_of, drop_checkpoints, measured

ROOT = Path(__file__).parents[1]
TABLES = ROOT / 'benchmarks' / 'tables'


@dataclass(frozen=True)
class Job:
    """One cell of work: a row of a table in one of its runs.

    Attributes:
        row: Name of the row.
        run: Name of the run.
        spec: The row's entry in the table.
        seed: Seed of the training.
        options: ``--cfg-options`` of the row and of the run.
        folder: Work folder.
    """
    row: str
    run: str
    spec: dict
    seed: int
    options: tuple[str, ...]
    folder: Path


def jobs_of(table: dict, folder: Path) -> list[Job]:
    """All cells of a table, run by run, so that a table which is stopped half-way has every row once."""
    jobs = []
    for run, settings in table['runs'].items():
        for name, spec in table['rows'].items():
            if run in spec.get('runs', table['runs']):
                work = folder / slug(name) / slug(run)
                options = filled([*spec.get('options', ()), *settings.get('options', ())], {'{work}': work})
                jobs.append(Job(name, run, spec, settings.get('seed', 0), tuple(options), work))
    return jobs


def stage(job: Job) -> int:
    """0 for rows that stand alone, 1 for trainings that start from checkpoints of others, 2 for what trains nothing."""
    return 2 if 'config' not in job.spec else 1 if 'checkpoints' in job.spec else 0


def slug(name: str) -> str:
    return ''.join(c if c.isalnum() else '_' for c in name).strip('_').lower()


class Zoo:
    """Runs the jobs of a table and keeps their results.

    Args:
        name: Of the table.
        table: From :func:`read_table`.
        data: Folder that holds the data sets.
        work: Folder for the runs.
        threads: Processor threads of a job.
        tables: Folder of the results, if it is not benchmarks/tables; no page is made from them.
    """

    def __init__(self, name: str, table: dict, *, data: Path, work: Path, threads: int,
                 tables: Path | None = None) -> None:
        self.name, self.table, self.data, self.threads = name, table, data / table['data'], threads
        self.tables = tables
        self.jobs = jobs_of(table, work / name)
        self.by_cell = {(job.row, job.run): job for job in self.jobs}
        self._lock, self._trainings = threading.Lock(), Trainings(threads=threads)

    def run(self, workers: int, rows: str = '*', runs: str = '*') -> list[str]:
        """Run what has no result yet, of the rows and runs that match; returns one line for every job that failed."""
        done = {(result['row'], result['run']) for result in read_cells(self.tables or TABLES, self.name)}
        open_jobs = [job for job in self.jobs if (job.row, job.run) not in done
                     and fnmatchcase(job.row, rows) and fnmatchcase(job.run, runs)]
        work = {(job.row, job.run): partial(self._store, job) for job in sorted(open_jobs, key=stage)}  # needs first
        needs = {(row, run): [(other, run) for other in needed(self.by_cell[row, run].spec)] for row, run in work}
        failures = self._trainings.run_all(work, workers=workers, needs=needs)
        return [f'{row}, {run}: {error}; see {self.by_cell[row, run].folder}' for (row, run), error in failures.items()]

    def _store(self, job: Job) -> None:
        result = self.measure(job)
        with self._lock:
            store(self.name, result, self.tables)
        print(f'{job.row}, {job.run}: {result["metrics"]} in {result["minutes"]} min', flush=True)

    def measure(self, job: Job) -> dict:
        """Train (or go on training), measure, and give the result as one cell of the table."""
        job.folder.mkdir(parents=True, exist_ok=True)
        options = [*job.options, *(f'{option}={self._checkpoint(row, job.run)}'
                                   for option, row in job.spec.get('checkpoints', {}).items())]
        common = ['--data-root', str(self.data), *(['--cfg-options', *options] if options else [])]
        self._prepare(job)
        if 'config' in job.spec:
            self._call(job, 'train', [job.spec['config'], '--work-dir', str(job.folder), '--seed', str(job.seed),
                                      '--resume', *job.spec.get('train', ()), *common])
            target = [job.spec['config'], str(checkpoint_of(job.folder, self.table['checkpoint']))]
        elif 'of' in job.spec:
            other = self.by_cell[job.spec['of'], job.run]
            target = [other.spec['config'], str(self._checkpoint(other.row, job.run))]
            common = common if job.options else ['--data-root', str(self.data), *(
                ['--cfg-options', *other.options] if other.options else [])]
        else:
            members = [self.by_cell[name, job.run] for name in job.spec['ensemble']]
            target = ['--ensemble', *(f'{other.spec["config"]}:{self._checkpoint(other.row, job.run)}'
                                      for other in members)]
        if 'make' in job.spec:
            target[1] = self._make(job, *target)
        more = filled(job.spec.get('test', ()), {'{work}': job.folder})
        self._call(job, 'test', [*target, '--work-dir', str(job.folder / 'test'), *more, *common])
        scalars, cost = measured(job.folder / 'test') | self._training(job), cost_of(job.folder)
        if 'config' in job.spec:
            drop_checkpoints(job.folder, but=checkpoint_of(job.folder, self.table['checkpoint']))
        return {'row': job.row, 'run': job.run, 'metrics': {
                    name: pick(scalars, key, job.folder) for name, key in self.table['metrics'].items()},
                'minutes': round(cost['wall'] / 60, 1), 'cpu_minutes': round(cost['cpu'] / 60, 1),
                'peak_mib': round(cost['peak'] / 1024), 'precision': self._precision(job), 'threads': self.threads,
                'interrupted': cost['interrupted'], **gpu(), 'commit': commit(), 'date': date.today().isoformat()}

    def _training(self, job: Job) -> dict[str, float]:
        """The figures ``train/...`` of the training whose checkpoint is measured; none of an ensemble."""
        from cxrdet.core.history import read_history, scalars
        if 'ensemble' in job.spec:
            return {}
        folder = self.by_cell[job.spec.get('of', job.row), job.run].folder
        if self.table['checkpoint'] == 'last':
            record = scalars(read_history(folder)[-1])
        else:
            record = (json.loads((folder / 'metrics.json').read_text())['best'] or {}).get('metrics', {})
        return {name: value for name, value in record.items() if name.startswith('train/') and value is not None}

    def _prepare(self, job: Job) -> None:
        """Run the tools of the row's ``prepare`` that have not come to their end before."""
        for number, command in enumerate(job.spec.get('prepare', ())):
            tool, *arguments = command.split()
            places = {'{data}': self.data.parent, '{work}': job.folder, '{seed}': job.seed}
            self._call(job, tool, filled(arguments, places), once=f'prepared_{number}')

    def _make(self, job: Job, config: str, checkpoint: str) -> str:
        """Run the row's ``make`` anew; give the checkpoint that it has made."""
        made = job.folder / 'made' / 'model.pth'
        made.parent.mkdir(exist_ok=True)
        made.unlink(missing_ok=True)
        script, *arguments = filled(job.spec['make'].split(), {
            '{config}': config, '{checkpoint}': checkpoint, '{out}': made, '{data}': self.data.parent,
            '{work}': job.folder})
        self._trainings.call([sys.executable, script, *arguments], job.folder, 'make', cwd=ROOT, title=script)
        return str(made)

    def _precision(self, job: Job) -> str:
        """What the training ran in, as its history.json says; of an ensemble, what the trainings of all members did."""
        rows = [job.row] if 'config' in job.spec else needed(job.spec)
        from cxrdet.core.history import read_history
        records = [read_history(self.by_cell[row, job.run].folder)[-1] for row in rows]
        return ', '.join(sorted({record['precision'] for record in records}))

    def _checkpoint(self, row: str, run: str) -> Path:
        """What the training of a row left, in the same run."""
        return checkpoint_of(self.by_cell[row, run].folder, self.table['checkpoint'])

    def costs(self) -> dict[str, dict]:
        """Parameters, multiply-adds and time of an image of every row that is trained, measured side by side."""
        from cost import measure_costs

        from cxrdet.preflight.config import load_config
        jobs = {job.row: job for job in reversed(self.jobs) if 'config' in job.spec}
        found = measure_costs({row: load_config(jobs[row].spec['config'], data_root=self.data,
                                                cfg_options=list(jobs[row].options))
                               for row in self.table['rows'] if row in jobs})
        return {row: cost | {'ms': round(cost['ms'], 2)} for row, cost in found.items()}

    def _call(self, job: Job, tool: str, arguments: list[str], once: str = '') -> None:
        script = tool if tool.endswith('.py') else f'tools/{tool}.py'
        self._trainings.call([sys.executable, script, *arguments], job.folder, Path(script).stem, cwd=ROOT, once=once,
                             title=script)


def filled(arguments: Iterable[str], places: dict[str, object]) -> list[str]:
    """Arguments with values in place of the names, such as ``{work}``, that stand in them."""
    found = []
    for argument in arguments:
        for name, value in places.items():
            argument = argument.replace(name, str(value))
        found.append(argument)
    return found


def pick(scalars: dict, key: str, folder: Path) -> float:
    if key not in scalars:
        raise ValueError(f'{folder}: the test gave no {key}; it gave {", ".join(sorted(scalars))}')
    return round(float(scalars[key]), 4)


def gpu() -> dict[str, str]:
    """The name of the GPU that the tools compute on; nothing where there is none."""
    import torch
    return {'gpu': torch.cuda.get_device_name(0)} if torch.cuda.is_available() else {}


def commit() -> str:
    """The commit that is checked out; empty where no repository tracks the package."""
    import cxrdet
    from cxrdet.core.commit import commit_of
    return (commit_of(Path(cxrdet.__file__).parent) or ('', False))[0][:7]


def store(name: str, result: dict, tables: Path | None = None) -> None:
    """Put a result into the table's CSV file, and write the pages made from it: none of those of other ``tables``."""
    write_cells(tables or TABLES, name, [*read_cells(tables or TABLES, name), result])
    if tables is None:
        _write_pages()


def _write_pages() -> None:
    from zoo_pages import write_docs
    write_docs(ROOT)


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--table', required=True, help='name of a file in benchmarks/tables, without .yml')
    parser.add_argument('--data', required=True, type=Path, help='folder that holds the data sets')
    parser.add_argument('--work', type=Path, default=ROOT / 'work_dirs' / 'zoo', help='folder for the runs')
    parser.add_argument('--jobs', type=int, default=1, metavar='N', help='trainings at the same time (default: 1)')
    parser.add_argument('--threads', type=int, default=2, metavar='N', help='processor threads of each (default: 2)')
    parser.add_argument('--rows', default='*', metavar='PATTERN', help="only rows whose name matches, e.g. 'ResNet*'")
    parser.add_argument('--runs', default='*', metavar='PATTERN', help="only runs whose name matches, e.g. 'fold 0'")
    parser.add_argument('--tables', type=Path, metavar='DIR', help='folder of the table, of a project (default: '
                                                                   'benchmarks/tables)')
    parser.add_argument('--costs', action='store_true', help='measure the size and speed of the models; train nothing')
    args = parser.parse_args(argv)
    try:
        table = read_table((args.tables or TABLES) / f'{args.table}.yml')
    except (OSError, ValueError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    zoo = Zoo(args.table, table, data=args.data.resolve(), work=args.work.resolve(), threads=args.threads,
              tables=args.tables and args.tables.resolve())
    os.chdir(ROOT)  # options may name files of the repository
    if args.costs:
        write_costs(zoo.tables or TABLES, args.table, zoo.costs())
        if zoo.tables is None:
            _write_pages()
        return 0
    failures = zoo.run(args.jobs, args.rows, args.runs)
    for line in failures:
        print(f'error: {line}', file=sys.stderr)
    return 1 if failures else 0


if __name__ == '__main__':
    sys.exit(main())
