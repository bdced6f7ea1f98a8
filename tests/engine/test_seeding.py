import importlib
import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.utils.data import ConcatDataset, DataLoader, Dataset, IterableDataset, Subset

from cxrdet.engine.seeding import WorkerSeeder, seed_dataset, seed_generators, worker_init_fn


def draw():
    return random.random(), float(np.random.rand()), float(torch.rand(()))


def test_the_same_key_gives_the_same_numbers():
    seed_generators(3, 0, 7)
    first = draw()
    assert draw() != first
    seed_generators(3, 0, 7)
    assert draw() == first


def test_every_part_of_the_key_and_every_generator_counts():
    seen = []
    for key in [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 1)]:
        seed_generators(*key)
        seen += draw()
    assert len(set(seen)) == len(seen)


def test_a_negative_seed_is_refused():
    with pytest.raises(ValueError, match='non-negative'):
        seed_generators(-1)


class Transform:
    def __init__(self):
        self.rng, self.random, self.torch = np.random.default_rng(), random.Random(), torch.Generator()
        self.inner = [SimpleNamespace(rng=np.random.default_rng())]

    def draw(self):
        return [self.rng.random(), self.random.random(), float(torch.rand((), generator=self.torch)),
                self.inner[0].rng.random()]


class Data(Dataset):
    def __init__(self, pipeline):
        self.pipeline = pipeline

    def __len__(self):
        return 8

    def __getitem__(self, index):
        return self.pipeline[0].draw() + list(draw())


def test_generators_of_transforms():
    parts = [Transform(), Transform()]
    wrapped = SimpleNamespace(datasets=[SimpleNamespace(dataset=Data(parts[:1])),
                                        SimpleNamespace(pipeline=SimpleNamespace(transforms=parts[1:]))])
    assert seed_dataset(wrapped, 1, 2) == 8
    first = [part.draw() for part in parts]
    assert len(set(sum(first, []))) == 8
    assert seed_dataset(wrapped, 1, 2) == 8
    assert [part.draw() for part in parts] == first
    seed_dataset(wrapped, 1, 3)
    assert [part.draw() for part in parts] != first


def test_shared_and_circular_parts_are_seeded_once():
    part = Transform()
    part.itself = part
    assert seed_dataset(SimpleNamespace(pipeline=[part, part]), 0) == 4


@pytest.mark.parametrize('dataset', [SimpleNamespace(), SimpleNamespace(pipeline=None), [1, 2], None, range(3)])
def test_nothing_to_seed(dataset):
    assert seed_dataset(dataset, 0) == 0


def test_a_method_of_its_own():
    seeds = []
    dataset = SimpleNamespace(pipeline=[SimpleNamespace(set_random_seed=seeds.append)])
    seed_dataset(dataset, 0)
    seed_dataset(dataset, 0)
    assert len(seeds) == 2
    assert seeds[0] == seeds[1]


def test_albumentations():
    alb = pytest.importorskip('albumentations')
    image = np.arange(16 * 16 * 3, dtype=np.uint8).reshape(16, 16, 3)
    compose = alb.Compose([alb.HorizontalFlip(p=0.5), alb.VerticalFlip(p=0.5), alb.Transpose(p=0.5)])
    dataset = SimpleNamespace(pipeline=[SimpleNamespace(aug=compose)])

    def results():
        seed_dataset(dataset, 5)
        return [compose(image=image)['image'].tobytes() for _ in range(40)]
    first = results()
    assert results() == first
    assert len(set(first)) == 8  # the three flips are drawn independently of each other


@pytest.mark.parametrize('workers', [1, 2])
def test_workers(workers):
    data = Data([Transform()])

    def epoch(key):
        seed_generators(key)
        loader = DataLoader(data, batch_size=1, num_workers=workers, worker_init_fn=worker_init_fn, collate_fn=list)
        return [sample[0] for sample in loader]
    first = epoch(0)
    assert epoch(0) == first
    assert epoch(1) != first
    numbers = sum(first, [])
    assert len(set(numbers)) == len(numbers) == 8 * 7  # no two workers and no two generators draw alike


class Numbers(IterableDataset):
    def __iter__(self):
        return iter(range(3))


def loader_of(data, *, persistent, workers=2, **more):
    return DataLoader(data, batch_size=2, num_workers=workers, persistent_workers=persistent, collate_fn=list, **more)


def run_epochs(loader, keys):
    """Samples and, after them, a number of the main process, of each epoch, as ReproducibleHook begins them."""
    epochs = []
    for key in keys:
        seed_generators(key)
        if loader._iterator is not None:
            loader.worker_init_fn.renew()
        epochs.append(([list(sample) for batch in loader for sample in batch], draw()))
    return epochs


@pytest.mark.parametrize('wrap', [lambda data: data, lambda data: ConcatDataset([data, data]),
                                  lambda data: Subset(data, [5, 1, 6, 2, 0])])
def test_persistent_workers_draw_what_new_ones_draw(wrap):
    data = wrap(Data([Transform()]))
    lasting = loader_of(data, persistent=True)
    lasting.worker_init_fn = WorkerSeeder(lasting)
    fresh = loader_of(data, persistent=False, worker_init_fn=worker_init_fn)
    epochs = run_epochs(lasting, [3, 4, 5])
    assert epochs == [run_epochs(fresh, [key])[0] for key in (3, 4, 5)]
    assert epochs != run_epochs(lasting, [6, 7, 8])
    assert epochs == run_epochs(lasting, [3, 4, 5])
    numbers = [number for samples, _ in epochs for sample in samples for number in sample]
    assert len(set(numbers)) == len(numbers)
    assert '__getitems__' not in vars(data)


def test_spawned_workers_with_a_generator_of_the_loader(tmp_path, monkeypatch):
    (tmp_path / 'spawned.py').write_text('import torch\n\n\nclass Data(torch.utils.data.Dataset):\n'
                                         '    def __len__(self):\n        return 4\n\n'
                                         '    def __getitem__(self, index):\n        return [float(torch.rand(()))]\n')
    monkeypatch.syspath_prepend(tmp_path)
    data, given = importlib.import_module('spawned').Data(), [torch.Generator().manual_seed(7) for _ in range(2)]
    lasting = loader_of(data, persistent=True, workers=1, generator=given[0], multiprocessing_context='spawn')
    lasting.worker_init_fn = WorkerSeeder(lasting)
    fresh = loader_of(data, persistent=False, workers=1, generator=given[1], worker_init_fn=worker_init_fn)
    assert run_epochs(lasting, [1, 1]) == run_epochs(fresh, [1, 1])


@pytest.mark.parametrize(('options', 'expected'), [
    (dict(num_workers=1, persistent_workers=True), True), (dict(num_workers=1), False), (dict(), False),
    (dict(num_workers=1, persistent_workers=True, batch_size=None), False)])
def test_which_workers_can_be_seeded(options, expected):
    assert WorkerSeeder.fits(DataLoader(Data([]), **options)) is expected
    assert not WorkerSeeder.fits(DataLoader([1, 2], **options))
    assert not WorkerSeeder.fits(DataLoader(Numbers(), **options))
