from cxrdet.datasets.cell import CellDataset, CellVOCDataset  # noqa: F401
