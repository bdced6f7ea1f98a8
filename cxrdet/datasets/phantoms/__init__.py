"""Phantoms: seeded, made-up images that look like the real ones and carry exact labels.

``cell_phantom`` and ``chest_phantom`` draw one image; ``write_cell_phantoms`` and ``write_chest_phantoms`` write a set.
"""
from cxrdet.datasets.phantoms.cell_set import write_cell_phantoms
from cxrdet.datasets.phantoms.cells import CELL_CLASSES, cell_phantom
from cxrdet.datasets.phantoms.chest import ChestFilm, chest_phantom
from cxrdet.datasets.phantoms.chest_findings import CHEST_FINDINGS
from cxrdet.datasets.phantoms.chest_set import write_chest_phantoms

__all__ = ['CELL_CLASSES', 'CHEST_FINDINGS', 'ChestFilm', 'cell_phantom', 'chest_phantom', 'write_cell_phantoms',
           'write_chest_phantoms']
