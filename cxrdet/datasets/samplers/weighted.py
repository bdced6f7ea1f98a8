"""Samplers that draw films with replacement, by weights that follow from their labels."""
from collections.abc import Iterator, Sequence

import numpy as np
from mmengine.dist import get_dist_info, sync_random_seed
from mmengine.logging import print_log
from torch.utils.data import Sampler

from cxrdet.core.classification.labels import class_balanced_weights, label_count_weights
from cxrdet.core.errors import ConfigError, did_you_mean
from cxrdet.datasets.label_matrix import label_matrix
from cxrdet.registry import DATA_SAMPLERS


class WeightedSampler(Sampler):
    """Draw an epoch's films with replacement, each with a probability in proportion to its weight.

    All processes make the same draw, from (seed, epoch) only, and take every ``world_size``-th film
    of it: they have equal lengths, and a resumed run draws what an unbroken one draws.

    Args:
        weights: (N,) weights of the films, 0 or more, not all 0.
        seed: Of the draws; None: one is agreed upon by the processes.
        num_samples: Films in an epoch, of all processes together; by default as many as there are. It
            is rounded up to a multiple of the number of processes.

    Raises: ConfigError if no film can be drawn, or ``num_samples`` is not positive.
    """

    def __init__(self, weights: np.ndarray, seed: int | None = None, *, num_samples: int | None = None) -> None:
        weights = np.asarray(weights, np.float64)
        if not weights.sum() > 0:
            raise ConfigError(f'{type(self).__name__}: no film can be drawn: the weights of all {len(weights)} are 0.')
        if num_samples is not None and num_samples < 1:
            raise ConfigError(f'{type(self).__name__}: num_samples must be at least 1, got {num_samples}.')
        self.rank, self.world_size = get_dist_info()
        self.probabilities = weights / weights.sum()
        self.seed = sync_random_seed() if seed is None else seed
        self.epoch = 0
        self.num_samples = -(-(num_samples or len(weights)) // self.world_size)  # of this process

    def __iter__(self) -> Iterator[int]:
        rng = np.random.default_rng((self.seed, self.epoch))
        drawn = rng.choice(len(self.probabilities), self.num_samples * self.world_size, p=self.probabilities)
        return iter(drawn[self.rank::self.world_size].tolist())

    def __len__(self) -> int:
        return self.num_samples

    def set_epoch(self, epoch: int) -> None:
        """Choose the draw of an epoch; MMEngine's ``DistSamplerSeedHook`` calls it."""
        self.epoch = epoch


@DATA_SAMPLERS.register_module()
class LabelCountSampler(WeightedSampler):
    """Draw films in proportion to (number of positive labels + 0.04): films with many findings come often.

    Every class counts as a label, "No Finding" too where it is a class: such films are then 43 % of
    the draws of NIH ChestX-ray14, where they are 54 % of the films. With ``uncounted=['No Finding']``
    they nearly vanish, 3 % of the draws. Which of the two the formula was written for is not known.
    Unknown labels (NaN) do not count. The log gives the share of draws and of films that show each class.

    Source: own project, a classifier of NIH ChestX-ray14.

    Args:
        dataset: A data set with labels, see :func:`cxrdet.datasets.label_matrix.label_matrix`.
        seed, num_samples: See :class:`WeightedSampler`.
        offset: Weight of a film without any positive label.
        uncounted: Names of classes that do not count as labels.

    Raises: ConfigError if ``uncounted`` names no class of the data set, or as
    :class:`WeightedSampler`.
    """

    def __init__(self, dataset, seed: int | None = None, *, offset: float = 0.04, uncounted: Sequence[str] = (),
                 num_samples: int | None = None) -> None:
        labels = label_matrix(dataset)
        classes = list((getattr(dataset, 'metainfo', None) or {}).get('classes') or range(labels.shape[1]))
        for name in uncounted:
            if name not in classes:
                raise ConfigError(f'LabelCountSampler: uncounted names "{name}", which is no class of the data set.'
                                  f'{did_you_mean(name, classes)} Its classes are {", ".join(map(str, classes))}.')
        counted = [k for k, name in enumerate(classes) if name not in uncounted]
        super().__init__(label_count_weights(labels[:, counted], offset), seed, num_samples=num_samples)
        print_log(_shares(self.probabilities, labels, classes, uncounted), logger='current')


def _shares(probabilities: np.ndarray, labels: np.ndarray, names: Sequence, uncounted: Sequence[str]) -> str:
    drawn, there = probabilities @ (labels == 1), (labels == 1).mean(axis=0)
    order = np.argsort(-drawn, kind='stable')
    return ('LabelCountSampler: ' + (f'not counted as labels: {", ".join(uncounted)}' if uncounted else
                                     'all classes count as labels') + '; share of the draws (of the films): ' +
            ', '.join(f'{names[i]} {drawn[i]:.1%} ({there[i]:.1%})' for i in order))


@DATA_SAMPLERS.register_module()
class ClassBalancedSampler(WeightedSampler):
    """Draw films so that every class is drawn equally often, films without any label being one more class.

    A film of several classes is drawn for each of them, so that the share of films that show a class
    is larger than its share of the draws.

    Args:
        dataset, seed, num_samples: As of :class:`LabelCountSampler`.
        power: 1 balances fully, 0 draws classes by their numbers of films, 0.5 lies between; see
            :func:`cxrdet.core.classification.labels.class_balanced_weights`.

    Raises: ConfigError as :class:`WeightedSampler`.
    """

    def __init__(self, dataset, seed: int | None = None, *, power: float = 1.0, num_samples: int | None = None) -> None:
        super().__init__(class_balanced_weights(label_matrix(dataset), power), seed, num_samples=num_samples)
