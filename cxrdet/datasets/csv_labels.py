"""Classification sets that stand in a metadata CSV beside a label2id JSON."""
import logging
import os
from collections import Counter
from collections.abc import Mapping, Sequence

from mmengine.logging import print_log
from mmpretrain.datasets import BaseDataset

from cxrdet.core.errors import ConfigError, DataError, did_you_mean
from cxrdet.core.terminal import visible
from cxrdet.datasets.described import Described
from cxrdet.datasets.formats.csv_labels import CsvRow, balanced_choice, read_label2id, read_rows, split_rows
from cxrdet.datasets.transforms.loading import ImageNamed
from cxrdet.registry import DATASETS

DEFAULT_SHARES = {'train': 0.8, 'val': 0.2}


@DATASETS.register_module()
class CSVImageDataset(Described, ImageNamed, BaseDataset):
    """One class an image: ``metadata.csv`` (path, label, optional split and group) and ``label2id.json``.

    - **Classes** are those of the JSON, in the order of their ids, which must be 0 … n-1.
    - **Faults are told by line** of the CSV, all of them counted and the first ten named.
    - **Splits.** Where the CSV has a split column, ``split`` picks its rows. Where it has none, the
      rows are dealt out by ``shares`` and ``split_seed``: classes in equal shares, groups whole,
      whatever the order of the rows. The unit of the split is the group (the patient); a group in two
      splits is an error. Without a group column every image counts for itself, and a warning says so.
    - **Fewer samples.** ``indices=N`` (``--train-limit``, ``--valid-limit``) takes N samples of the
      split, drawn with a fixed seed in turns from the classes, for files are often sorted by class.

    Samples have ``img_path``, ``gt_label`` and, with a group column, ``group``. Licence, citation and
    known overlaps are those of the data that you bring.

    Args:
        ann_file: the CSV, relative to ``data_root``.
        metainfo: ``dict(classes=(...))`` to hold the JSON to these names; any other than the JSON's
            is an error.
        label2id: the JSON, relative to ``data_root``.
        split: the rows to take; ``None`` takes all.
        columns: names of the columns ``path``, ``label``, ``split`` and ``group``, where they are
            called otherwise than :data:`cxrdet.datasets.formats.csv_labels.COLUMNS` says.
        shares: without a split column: name of a split -> its share. Default: train 0.8, val 0.2.
        split_seed: without a split column: of the draw.
        split_names: with a split column: the values that it may hold.
        allow_outside: let paths lead out of ``data_root`` and of the folder of images, by ".." or
            absolute.
        **kwargs: of ``mmpretrain.BaseDataset``: ``data_root``, ``data_prefix`` (the folder that paths
            are relative to, below ``data_root``), ``pipeline``, ``indices``, ``test_mode`` …

    Raises:
        DataError: a file cannot be read, or rows are faulty, or the split is empty.
        ConfigError: an argument has a value that cannot be meant.
    """

    SPLIT_HINT = ('Sets of one CSV without a split column need the same split_seed, shares and columns: '
                  '--cfg-options split_seed=1 reaches all of them.')

    def __init__(self, ann_file: str = 'metadata.csv', metainfo: dict | None = None, *,
                 label2id: str = 'label2id.json', split: str | None = None, columns: Mapping[str, str] | None = None,
                 shares: Mapping[str, float] | None = None, split_seed: int = 0,
                 split_names: Sequence[str] = ('train', 'val', 'test'), allow_outside: bool = False, **kwargs) -> None:
        if kwargs.get('classes') is not None:
            raise ConfigError('CSVImageDataset takes its classes from the label2id file; remove classes=...')
        self.label2id = os.path.join(kwargs.get('data_root') or '', os.path.expanduser(label2id))
        self.split = split
        self.columns = dict(columns or {})
        self.shares = dict(DEFAULT_SHARES if shares is None else shares)
        self.split_seed = split_seed
        self.split_names = tuple(split_names)
        self.allow_outside = allow_outside
        if not self.shares or not all(share > 0 for share in self.shares.values()):
            raise ConfigError(f'shares must map the name of each split to a share above 0, got {self.shares}.')
        super().__init__(ann_file, metainfo, **kwargs)

    def _image_paths(self) -> list[str]:
        return [os.path.join(self.img_prefix, row.path) for row in self._rows(self._class_names())]

    @classmethod
    def read_groups(cls, cfg: dict) -> dict[str, str | None]:
        """Absolute path of each image -> its group (patient); ``None`` without a group column."""
        dataset = cls.described(cfg)
        folder = os.path.abspath(dataset.img_prefix)
        return {os.path.normpath(os.path.join(folder, row.path)): row.group
                for row in dataset._rows(dataset._class_names())}

    @classmethod
    def read_labels(cls, cfg: dict) -> dict[str, str]:
        """Absolute path of each image -> the name of its class."""
        dataset = cls.described(cfg)
        folder, classes = os.path.abspath(dataset.img_prefix), dataset._class_names()
        return {os.path.normpath(os.path.join(folder, row.path)): classes[row.label] for row in dataset._rows(classes)}

    def _class_names(self) -> tuple[str, ...]:
        classes = read_label2id(self.label2id)
        given = self._metainfo.get('classes')
        if given is not None and tuple(given) != classes:
            lost = [name for name in given if name not in classes]
            hint = did_you_mean(lost[0], classes) if lost else ''
            raise DataError(f'{self.label2id}: the classes here are {", ".join(classes)}, in this order, but '
                            f'metainfo (or the checkpoint) names {", ".join(map(str, given))}.{hint} '
                            'Labels go by position, so both must be the same.')
        return classes

    def _rows(self, classes: tuple[str, ...]) -> list[CsvRow]:
        rows = self._once('rows', lambda: read_rows(
            self.ann_file, classes, columns=self.columns, splits=self.split_names, split=self.split,
            folder=self.img_prefix, roots=None if self.allow_outside else [self.data_root]))
        if self.split is not None:
            known = self.shares if rows[0].split is None else dict.fromkeys(self.split_names)
            if self.split not in known:
                raise ConfigError(f'{self.ann_file}: split="{self.split}" is none of {", ".join(known)}.'
                                  f'{did_you_mean(self.split, known)}')
            parts = self._parts(rows)
            rows = [row for row, part in zip(rows, parts, strict=True) if part == self.split]
            if not rows:
                raise DataError(f'{self.ann_file}: no row has the split "{self.split}"; there are: '
                                f'{", ".join(sorted(set(parts)))}.')
        return rows

    def _parts(self, rows: list[CsvRow]) -> list[str]:
        if rows[0].split is not None:
            return [row.split for row in rows]
        if rows[0].group is None:
            print_log(f'{self.ann_file}: no split and no group column: each image is dealt out for itself. If several '
                      'show one patient, name the column: columns=dict(group=...).', 'current', logging.WARNING)
        try:
            return split_rows(rows, self.shares, seed=self.split_seed)
        except DataError as error:
            raise DataError(f'{self.ann_file}: {error}') from None

    def load_data_list(self) -> list[dict]:
        """Read both files. Returns one dict an image, in the order of the CSV."""
        classes = self._metainfo['classes'] = self._class_names()
        rows = self._rows(classes)
        count = Counter(row.label for row in rows)
        idle = [name for label, name in enumerate(classes) if not count[label]]
        text = f'{type(self).__name__} {self.ann_file}, split {self.split or "all"}: {len(rows)} images in ' \
               f'{len(classes)} classes (' + ', '.join(f'{name} {count[i]}' for i, name in enumerate(classes)) + ')'
        print_log(visible(text, one_line=True), 'current', logging.WARNING if idle else logging.INFO)
        return [{'img_path': os.path.join(self.img_prefix, row.path), 'gt_label': row.label}
                | ({} if row.group is None else {'group': row.group}) for row in rows]

    def filter_data(self) -> list[dict]:
        """Turn a number of samples into a choice that holds all classes; nothing is taken out here."""
        if isinstance(self._indices, int) and self._indices > 0:
            self._indices = balanced_choice([entry['gt_label'] for entry in self.data_list], self._indices)
        return self.data_list
