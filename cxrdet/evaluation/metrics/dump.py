"""Raw predictions as a file, for any model."""
from collections.abc import Sequence

from mmdet.evaluation import DumpDetResults

from cxrdet.registry import METRICS


@METRICS.register_module()
class DumpPredictions(DumpDetResults):
    """MMDetection's ``DumpDetResults``, for classifiers too, that notes the names of the classes with each sample.

    So files of several models can be brought together by name (``tools/test.py --ensemble-predictions``).

    Args:
        out_file_path: a ``.pkl`` file.
        collect_device: as for every MMEngine metric.
    """

    def process(self, data_batch: dict | None, data_samples: Sequence[dict]) -> None:
        classes = tuple((self.dataset_meta or {}).get('classes') or ())
        super().process(data_batch, [dict(sample, classes=classes) for sample in data_samples])
