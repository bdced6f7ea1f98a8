"""A data set that is only asked what it holds reads its files once; one that is built keeps nothing of that."""
import pytest

from cxrdet.datasets.cell import CellDataset
from cxrdet.datasets.described import Described


class Counted(Described):

    def __init__(self, name, pipeline, lazy_init):
        self.name, self.reads = name, 0

    def content(self):
        return self._once('content', self.read)

    def read(self):
        self.reads += 1
        return self.name * 2


def test_described_sets_read_once():
    one = Counted.described(dict(type='x', name='a', pipeline=[1], _scope_='mmdet'))
    assert (one.content(), one.content(), one.reads) == ('aa', 'aa', 1)
    assert Counted.described(one) is one
    built = Counted('b', [], False)
    assert (built.content(), built.content(), built.reads) == ('bb', 'bb', 2)


@pytest.mark.parametrize('ask', [CellDataset.read_classes, CellDataset.image_files, CellDataset.check_contents])
def test_a_described_set_in_place_of_its_config(ask, cell_phantoms):
    cfg = dict(type='cxrdet.CellDataset', data_root=str(cell_phantoms), ann_file='annotations/train.json')
    assert ask(CellDataset.described(cfg)) == ask(cfg)
