from cxrdet.evaluation.metrics.detection_metric import DetectionMetric  # noqa: F401
