"""Readers of data sets. Their classes are named in ``plugins.py``: nothing is imported here, so that the readers of
files (:mod:`cxrdet.datasets.formats`) and the checks of data need no framework."""
