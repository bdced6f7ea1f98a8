"""Steps of a pipeline that give an image its phrases, or keep them true."""
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from cxrdet.core.errors import ConfigError, DataError, check_numbers
from cxrdet.datasets.transforms.base import Transform
from cxrdet.registry import TRANSFORMS

from .prompts import mirrored, read_prompt, read_synonyms, words_of

_ROOT = Path(__file__).parents[3]


@TRANSFORMS.register_module()
class ClassPrompts(Transform):
    """Turn the classes of a detection set into phrases, for training; labels stay or follow.

    Required keys: ``gt_bboxes_labels``, where there are boxes. Added: ``phrases``. Without ``synonyms``, ``shuffle``
    and ``drop``, the phrases are the classes and their numbers the labels, as a model with these classes as ``prompt``
    takes them.

    Args:
        classes: of the data set, in the order of its labels, or a prompt: ``'RBC . WBC . Platelets'``.
        synonyms: a file as :func:`read_synonyms` takes it; each image draws one phrase a class. A relative name is
            looked for from the current folder, then from the one that holds ``projects/``.
        shuffle: also draw their order.
        drop: share of the classes without a box that are left out of an image's phrases, in [0, 1].
        seed: of the draws.

    Raises: ConfigError, DataError for faulty arguments; DataError for labels that are no class.
    """

    def __init__(self, classes: Sequence[str] | str, *, synonyms: str | None = None, shuffle: bool = False,
                 drop: float = 0., seed: int = 0) -> None:
        check_numbers('ClassPrompts', drop=(drop, '[0, 1]'))
        self.classes, self.synonyms, self.shuffle = read_prompt(classes), synonyms, shuffle
        self.drop, self.seed = drop, seed
        self._names = {name: (name,) for name in self.classes}
        if synonyms:
            beside = _ROOT / synonyms
            self._names = read_synonyms(synonyms if Path(synonyms).is_file() or not beside.is_file() else beside,
                                        self.classes)
        self._rng = np.random.default_rng(seed)

    def phrases(self) -> Iterator[str]:
        """All that it may call a class."""
        for names in self._names.values():
            yield from names

    def transform(self, results: dict) -> dict:
        labels = np.asarray(results.get('gt_bboxes_labels', np.zeros(0, np.int64)))
        if len(labels) and not 0 <= labels.min() <= labels.max() < len(self.classes):
            raise DataError(f'{results.get("img_path")}: a label of {labels.max()}, but {len(self.classes)} classes in '
                            'ClassPrompts')
        kept = [number for number in range(len(self.classes))
                if number in labels or not self.drop or self._rng.random() >= self.drop] or [0]
        if self.shuffle:
            kept = [kept[number] for number in self._rng.permutation(len(kept))]
        place = np.full(len(self.classes), -1)
        place[kept] = np.arange(len(kept))
        if 'gt_bboxes_labels' in results:
            results['gt_bboxes_labels'] = place[labels].astype(np.int64) if len(labels) else labels
        results['phrases'] = tuple(names[self._rng.integers(len(names)) if len(names) > 1 else 0]
                                   for names in (self._names[self.classes[number]] for number in kept))
        return results


@TRANSFORMS.register_module()
class MirrorPhrases(Transform):
    """Behind MMDetection's RandomFlip: left and right, upper and lower change places in the phrases, too.

    Required keys: ``flip``, ``flip_direction``, ``phrases``. Only where a phrase tells a place in the image: in medical
    images "left" is usually the patient's, which mirroring turns into a lie of another kind; do not mirror these.

    Raises: ConfigError if there was no RandomFlip before.
    """

    def transform(self, results: dict) -> dict:
        if 'flip' not in results:
            raise ConfigError('MirrorPhrases: expected a RandomFlip before it')
        if results['flip']:
            results['phrases'] = tuple(mirrored(phrase, results['flip_direction']) for phrase in results['phrases'])
        return results


@TRANSFORMS.register_module()
class NegativePhrases(Transform):
    """Add phrases that name nothing in the image, for training; the labels stay.

    Required keys: ``phrases``; ``known_negatives``, phrases known to name nothing in it, where the set has some. Else
    they are drawn from those of the other images, which :class:`GroundingDataset` hands over, but for phrases whose
    words are all in one of the image's own, or the other way round.

    Args:
        count: how many are added at most.
        seed: of the draws.
    """

    def __init__(self, count: int = 2, *, seed: int = 0) -> None:
        check_numbers('NegativePhrases', count=(count, '[0, inf)'))
        self.count, self.seed = count, seed
        self.pool: list[str] = []
        self._rng = np.random.default_rng(seed)

    def transform(self, results: dict) -> dict:
        known = results.get('known_negatives') or ()
        own = [set(words_of(phrase)) for phrase in results['phrases']]
        source = known or self.pool
        chosen: list[str] = []
        for number in self._rng.permutation(len(source))[:10 * self.count + 10]:
            words = set(words_of(source[number]))
            if known or not any(words <= other or other <= words for other in own):
                chosen.append(source[number])
            if len(chosen) == self.count:
                break
        results['phrases'] = (*results['phrases'], *chosen[:self.count])
        if 'phrase_groups' in results:
            results['phrase_groups'] = (*results['phrase_groups'], *(None for _ in chosen[:self.count]))
        return results
