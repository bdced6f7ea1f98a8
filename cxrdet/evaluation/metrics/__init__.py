from cxrdet.evaluation.metrics.confusion_metric import ConfusionMatrixMetric  # noqa: F401
from cxrdet.evaluation.metrics.detection_metric import DetectionMetric  # noqa: F401
from cxrdet.evaluation.metrics.dump import DumpPredictions  # noqa: F401
from cxrdet.evaluation.metrics.froc_metric import FROCMetric  # noqa: F401
from cxrdet.evaluation.metrics.multi_label_metric import MultiLabelMetric  # noqa: F401
