"""All data sets of the registry. Imported when a config first names one, see :mod:`cxrdet.registry`."""
from cxrdet.datasets.cell import CellDataset, CellVOCDataset  # noqa: F401
from cxrdet.datasets.csv_labels import CSVImageDataset  # noqa: F401
from cxrdet.datasets.detection_folder import CellTFRecordDataset, DetectionFolder, YOLODataset  # noqa: F401
from cxrdet.datasets.nih import NIHChestXray14  # noqa: F401
from cxrdet.datasets.patch_camelyon import PatchCamelyon  # noqa: F401
