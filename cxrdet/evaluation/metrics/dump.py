from collections.abc import Sequence

from mmdet.evaluation import DumpDetResults
from mmengine.evaluator import BaseMetric

from cxrdet.core.sample_files import check_sample_path, write_samples
from cxrdet.registry import METRICS


@METRICS.register_module()
class DumpPredictions(DumpDetResults):
    """MMDetection's ``DumpDetResults``, for classifiers too, that notes the names of the classes with each sample.

    So files of several models can be brought together by name (``cxrdet test
    --ensemble-predictions``). They hold numbers and text
    (:mod:`cxrdet.core.sample_files`); MMDetection's own metric writes pickles.
    """

    def __init__(self, out_file_path: str, collect_device: str = 'cpu') -> None:
        BaseMetric.__init__(self, collect_device)  # the parent insists on a pickle
        check_sample_path(out_file_path)
        self.out_file_path = out_file_path

    def process(self, data_batch: dict | None, data_samples: Sequence[dict]) -> None:
        classes = tuple((self.dataset_meta or {}).get('classes') or ())
        super().process(data_batch, [dict(sample, classes=classes) for sample in data_samples])

    def compute_metrics(self, results: list[dict]) -> dict:
        write_samples(self.out_file_path, results)
        return {}
