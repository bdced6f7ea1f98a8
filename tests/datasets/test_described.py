"""A data set that is only asked what it holds reads its files once; one that is built keeps nothing of that."""
import pytest

from cxrdet.datasets.cell import CellDataset
from cxrdet.datasets.described import Described, handed_over


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


@pytest.fixture
def reads(monkeypatch):
    """Files that CellDataset has had read."""
    from cxrdet.datasets.formats import coco
    files, read = [], coco.read
    monkeypatch.setattr(coco, 'read', lambda file, *rest: files.append(file) or read(file, *rest))
    return files


def examined(cfg):
    known = CellDataset.described(cfg)
    CellDataset.check_contents(known)
    return known


def content(dataset):
    rows = [dataset.get_data_info(row) for row in range(len(dataset))]
    return rows, dataset.metainfo, dataset.dropped, dataset.cat_ids


def test_what_the_check_has_read_is_handed_over_once(reads, cell_phantoms):
    cfg = dict(data_root=str(cell_phantoms), ann_file='annotations/train.json')
    plain = content(CellDataset(**cfg))
    with handed_over([examined(cfg), dict(cfg)]):
        reads.clear()
        assert content(CellDataset(**cfg, pipeline=[])) == plain and not reads
        assert content(CellDataset(**cfg)) == plain and len(reads) == 1  # nothing is kept
    with handed_over([examined(cfg)]):
        pass
    reads.clear()
    assert content(CellDataset(**cfg)) == plain and len(reads) == 1


@pytest.mark.parametrize('changed', [{'ann_file': 'annotations/val.json'}, {'on_bad_annotation': 'drop'},
                                     {'return_classes': True}, {'allow_outside': True}])
def test_another_set_reads_its_own_files(reads, cell_phantoms, changed):
    cfg = dict(data_root=str(cell_phantoms), ann_file='annotations/train.json')
    plain = content(CellDataset(**cfg | changed))
    with handed_over([examined(cfg)]):
        reads.clear()
        assert content(CellDataset(**cfg | changed)) == plain and len(reads) == 1


def test_other_classes_and_a_file_that_has_changed(reads, cell_phantoms, tmp_path):
    file = tmp_path / 'train.json'
    file.write_bytes((cell_phantoms / 'annotations' / 'train.json').read_bytes())
    cfg = dict(ann_file=str(file), data_prefix=dict(img=str(cell_phantoms / 'images')))
    one = dict(cfg, metainfo=dict(classes=(CellDataset(**cfg).metainfo['classes'][1],)))
    plain = content(CellDataset(**one))
    with handed_over([examined(cfg)]):
        reads.clear()
        assert content(CellDataset(**one)) == plain and not reads  # the table is the same, its entries are made anew
    with handed_over([examined(cfg)]):
        file.write_text(file.read_text() + ' ')
        reads.clear()
        CellDataset(**cfg)
        assert len(reads) == 1


def test_a_set_that_is_not_handed_over_is_not_kept():
    import weakref
    known = Counted.described(dict(name='a'))
    known.content()
    sets, gone = [known], weakref.ref(known)
    with handed_over(sets):
        del sets, known
        assert gone() is None
