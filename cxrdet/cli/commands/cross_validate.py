"""Train and measure a config on folds of its data, or with several seeds.

Images of training and validation are dealt out anew: patients stay whole, labels are spread evenly; a test set of its
own is left alone. WORK_DIR/cross_validation.json tells mean, spread and intervals of all metrics, over the runs and of
all out-of-fold predictions together; the ensemble of the runs is written as one model. --against compares a second
config on the same folds. A command that was stopped goes on when it is given again.
"""
import argparse
from pathlib import Path

from cxrdet.cli import arguments
from cxrdet.cli.commands.test import BOX_FUSIONS
from cxrdet.core.terminal import say


def folds(text: str) -> int | Path:
    """A type of argument: a number of folds, or a table of folds that is there."""
    try:
        return arguments.whole(2)(text)
    except argparse.ArgumentTypeError as error:
        if Path(text).is_file():
            return Path(text)
        told = '' if text.lstrip('-').isdigit() else ', which is no table of folds (folds.csv) either'
        raise argparse.ArgumentTypeError(f'{error}{told}') from None


def add_arguments(parser) -> None:
    arguments.add_config(parser)
    how = parser.add_mutually_exclusive_group(required=True)
    how.add_argument('--folds', type=folds, metavar='K|FILE.csv', help='K folds, or those of an earlier folds.csv')
    how.add_argument('--seeds', type=arguments.whole(2), metavar='N', help='N trainings that differ in their seed')
    parser.add_argument('--against', metavar='CONFIG', help='a second config, compared with the first run by run')
    parser.add_argument('--jobs', type=arguments.whole(1), metavar='N',
                        help='trainings at a time (default: one a GPU, or else one a processor core)')
    parser.add_argument('--checkpoint', choices=['last', 'best'], default='last',
                        help='which is measured (default: last; the best is chosen on the fold that it is measured on, '
                             'so that its scores are too good)')
    parser.add_argument('--fusion', choices=[*BOX_FUSIONS, 'probs', 'logits'],
                        help='of the ensemble, as of cxrdet test (default: wbf, or the mean of probabilities)')
    parser.add_argument('--work-dir', type=arguments.new_folder, metavar='DIR',
                        help='folder for everything (default: work_dirs/<config name>_<K>_folds or _seeds)')
    arguments.add_seed(parser, 'of the folds and all trainings; of several seeds the first (default: 0)')
    parser.add_argument('--amp', action='store_true', help='train in mixed precision where the hardware computes it')
    parser.add_argument('--from-scratch', action='store_true', help='no pretrained weights, nothing frozen')
    arguments.add_limit(parser, 'train', 'training samples of each run')
    arguments.add_trust(parser)
    arguments.add_data_root(parser)
    arguments.add_cfg_options(parser, 'train_cfg.max_epochs=12')


def run(args) -> None:
    from mmengine.logging import MMLogger

    from cxrdet.analysis.cross_validation import RESULTS, Plan, cross_validate, report_text
    from cxrdet.preflight.config import load_config
    MMLogger.get_instance('cross_validation', logger_name='cxrdet', log_level='WARNING')
    configs = {}
    for path in filter(None, (args.config, args.against)):
        cfg = load_config(path, cfg_options=args.cfg_options, data_root=args.data_root)
        name = Path(cfg.work_dir).name
        configs[f'{name}_against' if name in configs else name] = cfg
    how = f'{args.seeds}_seeds' if args.seeds else f'{args.folds}_folds' if isinstance(args.folds, int) else 'folds'
    work_dir = args.work_dir or Path('work_dirs', f'{next(iter(configs))}_{how}')
    trust = ('--trust-checkpoint',) if args.trust_checkpoint else ()
    train = tuple(f'--{name}' for name in ('amp', 'from-scratch') if getattr(args, name.replace('-', '_')))
    limit = ('--train-limit', str(args.train_limit)) if args.train_limit else ()
    result = cross_validate(configs, work_dir, Plan(
        folds=args.folds, seeds=args.seeds, seed=args.seed, checkpoint=args.checkpoint, train=train + limit + trust,
        test=trust, fusion=args.fusion, jobs=args.jobs), tell=say)
    say(f'{report_text(result)}\n{Path(work_dir, RESULTS)}')
