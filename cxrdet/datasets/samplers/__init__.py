from cxrdet.datasets.samplers.weighted import ClassBalancedSampler, LabelCountSampler  # noqa: F401
