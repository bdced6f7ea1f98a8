"""Readers of data sets. Their classes are named in ``plugins.py``: nothing is imported here, so that the readers of
files (``coco_io``, ``voc_io``, ``csv_io``, ``nih_io``, ``image_io``) and the checks of data need no framework."""
