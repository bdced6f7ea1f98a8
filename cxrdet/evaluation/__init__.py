from cxrdet.evaluation import metrics  # noqa: F401
