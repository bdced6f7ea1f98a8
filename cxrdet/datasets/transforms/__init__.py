from cxrdet.datasets.transforms.loading import LoadImage  # noqa: F401
