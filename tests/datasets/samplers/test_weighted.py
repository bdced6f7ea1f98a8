"""Weighted samplers: frequencies against what is expected, seeds, epochs, processes, resume."""
import multiprocessing
from collections import Counter

import numpy as np
import pytest
from torch import distributed as dist

from cxrdet.core.errors import ConfigError
from cxrdet.datasets.samplers.weighted import ClassBalancedSampler, LabelCountSampler
from cxrdet.registry import DATA_SAMPLERS

LABELS = np.array([[0, 0, 1], [1, 0, 0], [1, 1, 0], [0, 0, 1], [1, 0, 0], [np.nan, 0, 0]])


class Films:
    """A data set of the rows of LABELS."""

    metainfo = {'classes': ('Mass', 'Nodule', 'No Finding')}

    def __init__(self, labels=LABELS):
        self.labels = labels

    def __len__(self):
        return len(self.labels)

    def get_data_info(self, index):
        return {'gt_score': self.labels[index]}


def draws(sampler, epochs):
    counter = Counter()
    for epoch in range(epochs):
        sampler.set_epoch(epoch)
        counter.update(sampler)
    return counter


@pytest.mark.parametrize(('sampler', 'weights'), [
    (LabelCountSampler(Films(), 0), [1.04, 1.04, 2.04, 1.04, 1.04, 0.04]),
    (LabelCountSampler(Films(), 0, uncounted=['No Finding']), [0.04, 1.04, 2.04, 0.04, 1.04, 0.04]),
    (LabelCountSampler(Films(), 0, offset=1), [2, 2, 3, 2, 2, 1]),
    (ClassBalancedSampler(Films(), 0), [1 / 2, 1 / 3, 1 / 3 + 1, 1 / 2, 1 / 3, 1]),
    (ClassBalancedSampler(Films(), 0, power=0), [1, 1, 2, 1, 1, 1]),
], ids=['counts', 'findings', 'offset', 'balanced', 'natural'])
def test_frequencies(sampler, weights):
    """60,000 draws: a chi-square with five degrees of freedom stays below 25.7 in all but 0.01 % of the cases."""
    sampler.num_samples = 60_000
    counter = draws(sampler, 1)
    expected = 60_000 * np.array(weights) / np.sum(weights)
    assert ((np.array([counter[k] for k in range(6)]) - expected) ** 2 / expected).sum() < 25.7


@pytest.mark.parametrize(('uncounted', 'start', 'shares'), [
    ((), 'all classes count', {'Mass': 4.12 / 6.24, 'Nodule': 2.04 / 6.24, 'No Finding': 2.08 / 6.24}),
    (('No Finding',), 'not counted as labels: No Finding',
     {'Mass': 4.12 / 4.24, 'Nodule': 2.04 / 4.24, 'No Finding': 0.08 / 4.24})])
def test_the_log_tells_what_counts_and_the_share_of_the_draws(uncounted, start, shares, monkeypatch):
    lines = []
    monkeypatch.setattr('cxrdet.datasets.samplers.weighted.print_log', lambda line, **_: lines.append(line))
    LabelCountSampler(Films(), 0, uncounted=uncounted)
    line, = lines
    assert line.startswith(f'LabelCountSampler: {start}')
    for (name, share), films in zip(shares.items(), (3 / 6, 1 / 6, 2 / 6), strict=True):
        assert f'{name} {share:.1%} ({films:.1%})' in line


def test_shares_of_the_draws_of_nih_chestxray14():
    """The docstring's numbers: 60,361 of 112,120 films have no finding, the others 81,176 labels."""
    empty, findings = 60_361, 81_176 + 0.04 * (112_120 - 60_361)
    assert f'{empty * 1.04 / (empty * 1.04 + findings):.0%}'.replace('%', ' %') in LabelCountSampler.__doc__
    assert f'{empty * 0.04 / (empty * 0.04 + findings):.0%}'.replace('%', ' %') in LabelCountSampler.__doc__


def test_every_class_is_drawn_equally_often():
    """Of single labels, where the share of draws that show a class is its probability."""
    labels = np.eye(3)[[0] * 90 + [1] * 9 + [2]]
    counter = draws(ClassBalancedSampler(Films(labels), 1), 300)
    shown = sum(labels[index] * number for index, number in counter.items()) / 30_000
    assert shown == pytest.approx([1 / 3] * 3, abs=5 * np.sqrt(2 / 9 / 30_000))


def test_epochs_differ_and_follow_from_the_seed():
    def epoch(seed, number):
        sampler = LabelCountSampler(Films(), seed, num_samples=50)
        sampler.set_epoch(number)
        return list(sampler)

    assert epoch(3, 7) == epoch(3, 7)  # as a resumed run does, without the epochs before
    assert epoch(3, 7) != epoch(3, 8) != epoch(4, 8)
    assert len({tuple(epoch(3, number)) for number in range(20)}) == 20


@pytest.mark.parametrize('num_samples', [None, 10])
def test_processes_share_one_draw(monkeypatch, num_samples):
    whole = list(ClassBalancedSampler(Films(), 5, num_samples=num_samples and 12 or 8))
    parts = []
    for rank in range(4):
        monkeypatch.setattr('cxrdet.datasets.samplers.weighted.get_dist_info', lambda rank=rank: (rank, 4))
        sampler = ClassBalancedSampler(Films(), 5, num_samples=num_samples)
        parts.append(list(sampler))
        assert len(sampler) == len(parts[-1]) == (3 if num_samples else 2)
    assert [index for row in zip(*parts) for index in row] == whole


def in_a_process(rank, store, queue):
    """What a process of two draws without a seed given."""
    dist.init_process_group('gloo', init_method=f'file://{store}', rank=rank, world_size=2)
    sampler = LabelCountSampler(Films(), num_samples=41)
    sampler.set_epoch(3)
    queue.put((rank, sampler.seed, list(sampler)))
    dist.destroy_process_group()


@pytest.mark.long
def test_two_real_processes_agree_upon_a_seed(tmp_path):
    context = multiprocessing.get_context('fork')
    queue = context.Queue()
    processes = [context.Process(target=in_a_process, args=(rank, tmp_path / 'store', queue)) for rank in range(2)]
    for process in processes:
        process.start()
    (_, seed, first), (_, other_seed, second) = sorted(queue.get(timeout=60) for _ in processes)
    for process in processes:
        process.join(60)
    assert seed == other_seed
    alone = LabelCountSampler(Films(), seed, num_samples=42)
    alone.set_epoch(3)
    assert [index for pair in zip(first, second, strict=True) for index in pair] == list(alone)


def test_by_its_name_and_mmengines_arguments():
    sampler = DATA_SAMPLERS.build(dict(type='cxrdet.LabelCountSampler'), default_args=dict(dataset=Films(), seed=1))
    assert len(sampler) == 6
    assert list(sampler) == list(LabelCountSampler(Films(), 1))


def test_the_global_generator_is_left_alone():
    np.random.seed(0)
    before = np.random.get_state()[1].copy()
    list(LabelCountSampler(Films(), 0))
    assert (np.random.get_state()[1] == before).all()


@pytest.mark.parametrize(('call', 'message'), [
    (lambda: LabelCountSampler(Films(), 0, uncounted=['No finding']),
     'uncounted names "No finding", which is no class of the data set. Did you mean "No Finding"'),
    (lambda: LabelCountSampler(Films(np.zeros((2, 3))), 0, offset=0), 'no film can be drawn: the weights of all 2 are'),
    (lambda: ClassBalancedSampler(Films(np.zeros((0, 3))), 0), 'no film can be drawn: the weights of all 0 are 0'),
    (lambda: LabelCountSampler(Films(), 0, num_samples=0), 'num_samples must be at least 1, got 0'),
    (lambda: LabelCountSampler(Films(), 0, offset=-1), 'offset must lie in .*, got -1'),
    (lambda: ClassBalancedSampler(Films(), 0, power=-1), 'power must lie in .*, got -1'),
])
def test_errors(call, message):
    with pytest.raises(ConfigError, match=message):
        call()
