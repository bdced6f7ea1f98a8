"""NIH ChestX-ray14: 112,120 frontal chest films with 14 findings read out of reports."""
import logging
import os
from collections import Counter
from collections.abc import Mapping
from functools import lru_cache

import numpy as np
from mmengine.dataset import BaseDataset
from mmengine.logging import print_log

from cxrdet.core.errors import ConfigError, DataError, did_you_mean
from cxrdet.core.issues import Finding, counts, raise_errors
from cxrdet.datasets.cell import match_classes
from cxrdet.datasets.described import Described, of_indices
from cxrdet.datasets.formats.files import outside_fault
from cxrdet.datasets.formats.nih import NIH_CLASSES, NihTable, find_images, find_table, read_table
from cxrdet.datasets.formats.voc import read_list
from cxrdet.datasets.transforms.loading import ImageNamed
from cxrdet.registry import DATASETS

LABEL_POLICIES = ('as_given', 'unknown', 'negatives_unknown', 'positives_unknown')


@DATASETS.register_module()
class NIHChestXray14(Described, ImageNamed, BaseDataset):
    """Films of NIH ChestX-ray14 with several labels each, from its table, for MMPretrain's multi-label heads.

    **Citation.** Wang et al., "ChestX-ray8: Hospital-scale Chest X-ray Database and Benchmarks on
    Weakly-Supervised Classification and Localization of Common Thorax Diseases", CVPR 2017. 112,120
    PNG images (1024 px) of 30,805 patients. **Licence.** The NIH Clinical Center puts no limit on the
    use, and asks for a link to its download site, for the citation, and to be named as the provider.

    **Labels.** 1 where the table names a finding, else 0; "No Finding" is a class like the others.
    The names were mined from radiology reports by a program (its authors expect over 90 % to be
    right), so a 0 means "the report does not speak of it". ``label_policy`` makes labels unknown
    (NaN), which losses and metrics leave out.

    **Unit of split** is the patient (``patient_id``). ``split_file`` is a list of image names: the
    official ``train_val_list.txt`` (86,524 films) and ``test_list.txt`` (25,596), which share no
    patient, or lists made by ``cxrdet prepare-data nih``. The view is a confounder: films in bed
    (AP) show more and other findings.

    **Overlaps.** ChestX-ray8 is an earlier stage of the same set; the RSNA Pneumonia Detection
    Challenge (2018), the SIIM-ACR Pneumothorax Segmentation set (2019) and ChestX-Det10 took their
    films from it. CheXpert, MIMIC-CXR and PadChest are of other hospitals.

    **What is dropped is counted** in ``dataset.dropped`` and logged: rows that the split list does
    not name (``not_in_split_file``), rows whose image is not there (``no_image``), and with
    ``partial_table`` names of the list that the table lacks (``not_in_table``).

    An entry holds ``img_path``, ``gt_score`` (float32 (C,): 1, 0 or NaN, as MMPretrain's
    ``PackInputs`` and ``MultiLabelClsHead`` take it), ``img_id`` (the file name), ``patient_id``
    (int), ``follow_up``, ``age`` (years, NaN where unknown), ``sex`` ('M', 'F') and ``view`` ('PA',
    'AP').

    Args:
        ann_file: the table, ``.csv`` or ``.csv.gz``, of either release, relative to ``data_root``; by
            default the one that is there, see :data:`cxrdet.datasets.formats.nih.TABLES`.
        metainfo: ``dict(classes=(...))`` for some of :data:`cxrdet.datasets.formats.nih.NIH_CLASSES`,
            in any order; the default is all 15 in that order, No Finding last.
        data_prefix: the folder of the images, relative to ``data_root``: a name or
            ``dict(img_path=name)``. They may lie in it, in ``images`` or in ``images_001`` …
            ``images_012`` below it (and ``images`` in these).
        split_file: list of image names to use, relative to ``data_root`` or, where there is none, to
            the working folder; by default all rows are used.
        label_policy: finding -> 'as_given', 'unknown' (all its labels are NaN), 'negatives_unknown'
            (0 becomes NaN) or 'positives_unknown' (1 becomes NaN).
        require_images: drop rows whose image is not there. False: keep all, for work on the labels
            alone.
        allow_outside: let names of the table lead out of ``data_root`` and of the folder of images;
            else an error.
        partial_table: count names of ``split_file`` that the table lacks instead of raising an error.
        allow_no_positives: accept a set in which no film has any of the classes.
        **kwargs: of ``mmengine.BaseDataset``: ``data_root``, ``pipeline``, ``indices``,
            ``test_mode``, ``lazy_init`` …

    Raises:
        DataError: a file is defective (with the line), the list names films that the table lacks, an
            image is there twice, no film is left, or none has any of the classes.
        ConfigError: an argument has a value that cannot be meant.
    """

    METAINFO = {'classes': NIH_CLASSES}
    SPLIT_HINT = '"cxrdet prepare-data nih" splits by patient.'

    def __init__(self, ann_file: str = '', metainfo: Mapping | None = None, *, data_prefix: str | dict = '',
                 split_file: str = '', label_policy: Mapping[str, str] | None = None, require_images: bool = True,
                 partial_table: bool = False, allow_outside: bool = False, allow_no_positives: bool = False,
                 **kwargs) -> None:
        if kwargs.get('filter_cfg') is not None:
            raise ConfigError('NIHChestXray14 has no filter_cfg; choose films by split_file.')
        if isinstance(data_prefix, Mapping) and set(data_prefix) != {'img_path'}:
            raise ConfigError(f'data_prefix must be a folder or dict(img_path=folder), got {dict(data_prefix)}.')
        self.split_file = str(split_file)
        self.label_policy = _checked_policy(label_policy)
        self.require_images = require_images
        self.partial_table = partial_table
        self.allow_no_positives = allow_no_positives
        self.allow_outside = allow_outside
        self.dropped: Counter = Counter()  # rows, by reason
        classes = match_classes((metainfo or {}).get('classes'), NIH_CLASSES, 'NIH ChestX-ray14')
        prefix = dict(data_prefix) if isinstance(data_prefix, Mapping) else {'img_path': str(data_prefix)}
        super().__init__(ann_file=ann_file, metainfo={**(metainfo or {}), 'classes': classes}, data_prefix=prefix,
                         **kwargs)

    def _image_paths(self) -> list[str]:
        return self._select()[1]  # rows without image are not of the set

    @classmethod
    def read_groups(cls, cfg: Mapping) -> dict[str, int]:
        """File name of each image -> its patient."""
        table, _ = cls.described(cfg)._select()
        return dict(zip(table.names.tolist(), table.patients.tolist()))

    @classmethod
    def read_labels(cls, cfg: Mapping) -> dict[str, np.ndarray]:
        """File name of each image -> its labels (C,): 1, 0 or NaN."""
        dataset = cls.described(cfg)
        table, _ = dataset._select()
        return dict(zip(table.names.tolist(), dataset._labels(table)))

    @classmethod
    def check_contents(cls, cfg: Mapping) -> None:
        """Raise DataError if no film has any of the classes, and ``allow_no_positives`` is not set."""
        dataset = cls.described(cfg)
        dataset._check_labels(dataset._labels(dataset._select()[0]))

    def _join_prefix(self) -> None:
        super()._join_prefix()
        self.data_prefix['img_path'] = self.data_prefix['img_path'] or self.data_root or '.'
        if self.split_file:
            below = os.path.join(self.data_root or '', self.split_file)
            self.split_file = below if os.path.isfile(below) or not os.path.isfile(self.split_file) else self.split_file

    def _select(self) -> tuple[NihTable, list[str]]:
        self.ann_file = str(self.ann_file or find_table(self.data_root or '.'))
        table, self.dropped = _read_once(self.ann_file), Counter()
        if self.split_file:
            table = self._keep(table, set(self._listed(table)), 'not_in_split_file')
        folder = self.data_prefix['img_path']
        raise_errors(Finding('error', 'outside_file', text, self.ann_file, f'line {line}')
                     for name, line in zip(table.names.tolist(), table.lines.tolist()) if (text := outside_fault(
                         name, os.path.join(folder, name), [self.data_root, folder], allowed=self.allow_outside)))
        if not self.require_images:
            return table, [os.path.join(self.data_prefix['img_path'], name) for name in table.names.tolist()]
        images = find_images(self.data_prefix['img_path'])
        table = self._keep(table, images, 'no_image')
        if not len(table):
            raise DataError(f'{self.data_prefix["img_path"]}: none of the images that {self._source()} names is there '
                            f'({len(images)} other images are). Check data_root and data_prefix.')
        return table, [images[name] for name in table.names.tolist()]

    def _keep(self, table: NihTable, wanted, reason: str) -> NihTable:
        kept = np.fromiter((name in wanted for name in table.names.tolist()), bool, len(table))
        if kept.all():
            return table
        self.dropped[reason] = len(table) - int(kept.sum())
        return table.take(kept)

    def _listed(self, table: NihTable) -> list[str]:
        if not os.path.isfile(self.split_file):
            raise DataError(f'{self.split_file}: no such list of images. "cxrdet prepare-data nih" writes '
                            'lists that are split by patient; split_file names the one to use.')
        names, known = read_list(self.split_file), set(table.names.tolist())
        strange = [name for name in names if name not in known]
        if strange and not (self.partial_table and len(strange) < len(names)):
            raise DataError(f'{self.split_file}: {len(strange)} of {len(names)} names are not in the table '
                            f'{self.ann_file}: {", ".join(strange[:5])}{", …" if len(strange) > 5 else ""}. Take the '
                            'list that belongs to the table, or, if the table is only a part, set partial_table=True.')
        if strange:
            self.dropped['not_in_table'] = len(strange)
        return names

    def _source(self) -> str:
        return f'{self.ann_file} ({self.split_file})' if self.split_file else self.ann_file

    def load_data_list(self) -> list[dict]:
        """Read the table. Returns one dict per film, in the order of the table, with the labels packed into bytes."""
        table, paths = self._select()
        labels = self._labels(table)
        self._check_labels(labels)
        self._log_contents(table, labels)
        columns = (table.names, table.patients, table.follow_ups, table.ages, table.sexes, table.views)
        packed = (row.tobytes() for row in labels)
        keys = ('img_path', 'gt_score', 'img_id', 'patient_id', 'follow_up', 'age', 'sex', 'view')
        return [dict(zip(keys, row)) for row in zip(paths, packed, *(column.tolist() for column in columns))]

    def get_data_info(self, idx: int) -> dict:
        """The entry of a film, see the class; ``sample_idx`` is added."""
        info = super().get_data_info(idx)
        info['gt_score'] = np.frombuffer(info['gt_score'], np.float16).astype(np.float32)
        return info

    def get_cat_ids(self, idx: int) -> list[int]:
        """Numbers of the classes that a film is positive for, as MMEngine's ``ClassBalancedDataset`` asks for them."""
        return np.flatnonzero(self.get_data_info(idx)['gt_score'] == 1).tolist()

    def _labels(self, table: NihTable) -> np.ndarray:
        classes = self._metainfo['classes']
        labels = table.labels[:, [NIH_CLASSES.index(name) for name in classes]].astype(np.float16)
        for name, policy in self.label_policy.items():
            if name in classes and policy != 'as_given':
                column = labels[:, classes.index(name)]
                unknown = {'unknown': column >= 0, 'negatives_unknown': column == 0, 'positives_unknown': column == 1}
                column[unknown[policy]] = np.nan
        return labels

    def _check_labels(self, labels: np.ndarray) -> None:
        chosen = np.asarray(of_indices(labels, self._indices))
        if self.allow_no_positives or not len(chosen) or (chosen == 1).any():
            return
        what = 'judge by' if self.test_mode else 'learn from'
        known = 'no label is known' if np.isnan(chosen).all() else 'every known label is negative'
        text = f'{self._source()}: no finding to {what} in {len(chosen)} films: {known}.'
        if len(chosen) < len(labels) and (labels == 1).any():
            text += (f' {int((labels == 1).any(axis=1).sum())} of all {len(labels)} films have one: indices (as '
                     '--train-limit and --valid-limit set them) take too few.')
        raise DataError(f'{text} Look at label_policy and the classes; if films without any are intended, set '
                        'allow_no_positives=True in the data set.')

    def _log_contents(self, table: NihTable, labels: np.ndarray) -> None:
        classes = self._metainfo['classes']
        positives = dict(zip(classes, (labels == 1).sum(axis=0).tolist()))
        text = f'NIHChestXray14 {self._source()}: {len(table)} films of {len(np.unique(table.patients))} patients; ' + \
            ', '.join(f'{name} {number}' for name, number in positives.items())
        if np.isnan(labels).any():
            text += f'; unknown labels: {int(np.isnan(labels).sum())}'
        if self.dropped:
            text += f'; dropped rows: {counts(self.dropped)}'
        unusual = self.dropped.keys() - {'not_in_split_file'} or not all(positives.values())
        print_log(text + '.', 'current', logging.WARNING if unusual else logging.INFO)


def _checked_policy(policy: Mapping[str, str] | None) -> dict[str, str]:
    policy = dict(policy or {})
    for name, value in policy.items():
        if name not in NIH_CLASSES:
            raise ConfigError(f'label_policy: unknown finding "{name}".{did_you_mean(name, NIH_CLASSES)}')
        if value not in LABEL_POLICIES:
            raise ConfigError(f'label_policy["{name}"]: expected one of {", ".join(LABEL_POLICIES)}, got {value!r}.'
                              f'{did_you_mean(str(value), LABEL_POLICIES)}')
    return policy


def _read_once(path: str) -> NihTable:
    """The table, kept until another is read: checks and training and validation sets read the same one."""
    try:
        status = os.stat(path)
    except OSError:
        return read_table(path)  # says what is wrong
    return _kept(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=1)
def _kept(path: str, _mtime: int, _size: int) -> NihTable:
    return read_table(path)
