"""NIHChestXray14: labels, policies, splits, what is dropped, and what every image format becomes."""
import logging
import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.config import ConfigDict
from PIL import Image
from torch.utils.data import DataLoader

from cxrdet.core.errors import ConfigError, DataError
from cxrdet.core.splits import check_disjoint
from cxrdet.datasets.formats.images import read_image
from cxrdet.datasets.formats.nih import NIH_CLASSES
from cxrdet.datasets.nih import NIHChestXray14
from cxrdet.registry import DATASETS

pytestmark = pytest.mark.long

HEADER = ('Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,'
          'OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]')
FILMS = {'00000001_000.png': ('Cardiomegaly|Emphysema', 0, 1, 58, 'M', 'PA'),
         '00000001_001.png': ('Effusion', 1, 1, 59, 'M', 'AP'),
         '00000002_000.png': ('No Finding', 0, 2, 80, 'F', 'PA'),
         '00000003_000.png': ('Pneumonia|Infiltration', 0, 3, 7, 'F', 'AP'),
         '00000004_000.png': ('No Finding', 0, 4, 33, 'M', 'PA')}


@pytest.fixture
def root(tmp_path):
    """Five films in the table, four on the disk."""
    rows = [','.join(map(str, (name, *cells, 2, 2, 1, 1))) for name, cells in FILMS.items()]
    (tmp_path / 'Data_Entry_2017_v2020.csv').write_text('\n'.join([HEADER, *rows, '']))
    (tmp_path / 'images').mkdir()
    for k, name in enumerate(list(FILMS)[:4]):
        cv2.imwrite(str(tmp_path / 'images' / name), np.full((20, 24), 50 * k, np.uint8))
    return tmp_path


def build(root, **cfg):
    return DATASETS.build(dict(type='cxrdet.NIHChestXray14', data_root=str(root), **cfg))


def test_entries(root):
    dataset = build(root)
    assert len(dataset) == 4
    assert dataset.dropped == {'no_image': 1}
    assert dataset.metainfo['classes'] == NIH_CLASSES
    entry = dataset.get_data_info(1)
    score = entry.pop('gt_score')
    assert score.dtype == np.float32 and score.shape == (15, )
    assert np.flatnonzero(score).tolist() == [NIH_CLASSES.index('Effusion')]
    assert entry == dict(img_path=f'{root}/images/00000001_001.png', img_id='00000001_001.png', patient_id=1,
                         follow_up=1, age=59.0, sex='M', view='AP', sample_idx=1)
    assert dataset.get_cat_ids(0) == [0, 1]
    assert dataset.get_cat_ids(2) == [14]
    assert dataset.get_data_info(-1)['sample_idx'] == 3


def test_all_rows_without_a_look_at_the_images(root):
    dataset = build(root, require_images=False)
    assert len(dataset) == 5 and not dataset.dropped
    assert dataset.get_data_info(4)['img_path'] == f'{root}/00000004_000.png'


def test_what_is_said(root, monkeypatch):
    said = []
    monkeypatch.setattr('cxrdet.datasets.nih.print_log', lambda text, logger, level: said.append((level, text)))
    (root / 'some.txt').write_text('00000001_000.png\n00000003_000.png\n00000004_000.png\n')
    build(root, split_file='some.txt', metainfo=dict(classes=('Pneumonia', 'Cardiomegaly')))
    assert said == [(logging.WARNING, f'NIHChestXray14 {root}/Data_Entry_2017_v2020.csv ({root}/some.txt): '
                     '2 films of 2 patients; Pneumonia 1, Cardiomegaly 1; dropped rows: 2 not_in_split_file, '
                     '1 no_image.')]


@pytest.mark.parametrize('classes', [
    NIH_CLASSES[:14], ('No Finding', ), ('Pneumonia', 'No Finding', 'Cardiomegaly'), list(reversed(NIH_CLASSES))])
def test_chosen_classes_in_their_order(root, classes):
    cfg = ConfigDict(type='cxrdet.NIHChestXray14', data_root=str(root), metainfo=dict(classes=classes), pipeline=[])
    dataset = build(root, metainfo=cfg.metainfo)
    assert dataset.metainfo['classes'] == tuple(classes)
    assert NIHChestXray14.read_classes(cfg) == tuple(classes)
    for index, (labels, *_) in enumerate(list(FILMS.values())[:4]):
        assert dataset.get_data_info(index)['gt_score'].tolist() == [name in labels.split('|') for name in classes]


@pytest.mark.parametrize(('policy', 'expected'), [
    ('as_given', [0, 0, 0, 1]), ('unknown', [np.nan] * 4), ('negatives_unknown', [np.nan, np.nan, np.nan, 1]),
    ('positives_unknown', [0, 0, 0, np.nan])])
def test_label_policy(root, policy, expected):
    dataset = build(root, label_policy={'Pneumonia': policy, 'Hernia': 'as_given'}, metainfo=dict(
        classes=('Infiltration', 'Pneumonia')))
    labels = np.array([dataset.get_data_info(k)['gt_score'] for k in range(4)])
    np.testing.assert_array_equal(labels[:, 1], np.array(expected, np.float32))
    assert labels[:, 0].tolist() == [0, 0, 0, 1]


def test_split_file(root, tmp_path_factory, monkeypatch):
    (root / 'list.txt').write_text('00000003_000.png\n00000001_000.png')  # as published, without a newline at the end
    dataset = build(root, split_file='list.txt')
    assert [dataset.get_data_info(k)['img_id'] for k in range(2)] == ['00000001_000.png', '00000003_000.png']
    assert len(dataset) == 2 and dataset.dropped == {'not_in_split_file': 3}
    assert len(build(root, split_file=str(root / 'list.txt'))) == 2
    elsewhere = tmp_path_factory.mktemp('elsewhere')
    (elsewhere / 'other.txt').write_text('00000002_000.png\n')
    monkeypatch.chdir(elsewhere)  # beside the configs, not beside the data
    assert len(build(root, split_file='other.txt')) == 1
    assert len(build(root, indices=1)) == 1


@pytest.mark.parametrize(('content', 'message'), [
    ('00000001_000.png\n00000009_000.png\n', 'list.txt: 1 of 2 names are not in the table .*v2020.csv: 00000009_000'),
    ('', 'list.txt: the list of images is empty'),
    ('00000001_000.png\n00000001_000.png\n', 'list.txt: line 2 .*: lines 1 and 2 both name "00000001_000.png"'),
    ('00000004_000.png\n', r'none of the images that .* names is there \(4 other images are\)'),
])
def test_bad_split_files(root, content, message):
    (root / 'list.txt').write_text(content)
    with pytest.raises(DataError, match=message):
        build(root, split_file='list.txt')


def test_a_list_of_more_than_a_part_of_the_table(root):
    (root / 'list.txt').write_text('00000001_000.png\n00000009_000.png\n')
    dataset = build(root, split_file='list.txt', partial_table=True)
    assert dataset.dropped == {'not_in_table': 1, 'not_in_split_file': 4}
    (root / 'list.txt').write_text('00000009_000.png\n')
    with pytest.raises(DataError, match='1 of 1 names are not in the table'):
        build(root, split_file='list.txt', partial_table=True)


@pytest.mark.parametrize(('cfg', 'error', 'message'), [
    (dict(split_file='none.txt'), DataError, 'none.txt: no such list of images. "cxrdet prepare-data nih"'),
    (dict(ann_file='none.csv'), DataError, 'none.csv: cannot read the table'),
    (dict(data_prefix='none'), DataError, 'none: no such folder of images'),
    (dict(data_prefix=dict(img='images')), ConfigError, r"data_prefix must be a folder or dict\(img_path=folder\)"),
    (dict(metainfo=dict(classes=('Pneumona', ))), DataError, 'no class "Pneumona".*Did you mean "Pneumonia"'),
    (dict(metainfo=dict(classes='Mass')), ConfigError, 'must be a sequence of names'),
    (dict(metainfo=dict(classes=('Mass', 'Mass'))), ConfigError, 'none twice'),
    (dict(label_policy={'Mas': 'unknown'}), ConfigError, 'label_policy: unknown finding "Mas". Did you mean "Mass"'),
    (dict(label_policy={'Mass': 'unkown'}), ConfigError, r'label_policy\["Mass"\]: expected one of as_given, .*, got '
     '\'unkown\'. Did you mean "unknown"'),
    (dict(filter_cfg=dict(a=1)), ConfigError, 'has no filter_cfg'),
])
def test_bad_configs(root, cfg, error, message):
    with pytest.raises(error, match=message):
        build(root, **cfg)


def test_a_changed_table_is_read_anew(root):
    assert len(build(root)) == 4
    path = root / 'Data_Entry_2017_v2020.csv'
    path.write_text('\n'.join(path.read_text().splitlines()[:3]) + '\n')
    assert len(build(root)) == 2
    path.write_text(path.read_text().replace('Effusion', 'Effusions'))
    with pytest.raises(DataError, match='line 3 .*unknown finding "Effusions"'):
        build(root)


def test_for_the_check_before_a_run(root):
    (root / 'list.txt').write_text('\n'.join(FILMS))
    cfg = dict(type='cxrdet.NIHChestXray14', data_root=str(root), split_file='list.txt', pipeline=[dict(type='None')])
    assert NIHChestXray14.read_classes(cfg) == NIH_CLASSES
    assert [path.name for path in NIHChestXray14.image_files(cfg)] == list(FILMS)[:4]
    assert NIHChestXray14.read_groups(cfg) == dict(zip(FILMS, (1, 1, 2, 3)))


@pytest.mark.parametrize('cfg, words', [
    ({'metainfo': {'classes': ('Hernia', 'Mass')}}, 'in 4 films: every known label is negative'),
    ({'metainfo': {'classes': ('Effusion', )}, 'indices': 1, 'test_mode': True},
     'to judge by in 1 films: .* 1 of all 4 films have one: indices'),
    ({'metainfo': {'classes': ('Effusion', )}, 'indices': [0, 3]}, 'to learn from in 2 films'),
    ({'metainfo': {'classes': ('Mass', )}, 'label_policy': {'Mass': 'unknown'}}, 'no label is known')])
def test_set_without_a_positive(root, cfg, words):
    for call in (lambda **cfg: build(root, **cfg),
                 lambda **cfg: NIHChestXray14.check_contents({'data_root': str(root), **cfg})):
        with pytest.raises(DataError, match=f'{words}.*allow_no_positives=True'):
            call(**cfg)
        call(**cfg, allow_no_positives=True)
        call(metainfo={'classes': ('Effusion', )}, indices=-3)


def test_it_goes_to_workers_and_through_mmpretrains_pipeline(root):
    from mmengine.registry import init_default_scope
    init_default_scope('mmpretrain')
    meta_keys = ('img_id', 'patient_id', 'view')
    dataset = build(root, label_policy={'Hernia': 'unknown'}, pipeline=[
        dict(type='cxrdet.LoadImage'), dict(type='PackInputs', meta_keys=meta_keys)])
    packed = pickle.loads(pickle.dumps(dataset))[3]
    assert packed['inputs'].shape == (3, 20, 24) and packed['inputs'].unique().tolist() == [150]
    sample = packed['data_samples']
    assert (sample.img_id, sample.patient_id, sample.view) == ('00000003_000.png', 3, 'AP')
    score = sample.gt_score.numpy()
    assert np.isnan(score[NIH_CLASSES.index('Hernia')]) and np.nansum(score) == 2


def encoded_as(kind, image):
    """The same film, (H, W) uint8 with the full range 0 to 255, as files of several kinds have it."""
    if kind == 'grey':
        return Image.fromarray(image)
    if kind == 'rgba':  # an alpha that would hide half of it if it were blended
        alpha = np.where(np.arange(image.shape[1]) < image.shape[1] // 2, 0, 255) * np.ones_like(image)
        return Image.fromarray(np.dstack([image] * 3 + [alpha.astype(np.uint8)]))
    if kind == '16 bit':
        return Image.fromarray(image.astype(np.uint16) * 16)  # twelve bits in sixteen: lost by a division by 256
    shuffled = np.random.default_rng(0).permutation(256).astype(np.uint8)  # palette: number -> grey value
    film = Image.fromarray(np.argsort(shuffled).astype(np.uint8)[image], 'P')
    film.putpalette(np.repeat(shuffled, 3).tolist())
    return film


@pytest.mark.parametrize('kind', ['grey', 'rgba', '16 bit', 'palette'])
def test_every_kind_of_png_arrives_as_the_film(tmp_path, kind):
    film = np.random.default_rng(1).integers(0, 256, (40, 30)).astype(np.uint8)
    film[0, :2] = 0, 255
    encoded_as(kind, film).save(tmp_path / 'film.png')
    image = read_image(tmp_path / 'film.png')
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image, np.repeat(film[:, :, None], 3, axis=2))


def test_real_films(real_data):
    """779 films; four of them RGBA with the same values in all three colours."""
    dataset = build(real_data / 'nih_cxr14')
    assert len(dataset) == 779
    assert dataset.dropped == {'no_image': 112120 - 779}
    rgba = [name for name in (real_data / 'nih_cxr14' / 'images').iterdir() if name.read_bytes()[25] == 6]
    assert len(rgba) == 4
    for path in rgba:
        image, grey = read_image(path), np.asarray(Image.open(path))[:, :, :3]
        assert image.shape == (256, 256, 3) and image.std() > 20
        np.testing.assert_array_equal(image, grey[:, :, ::-1])
        assert np.ptp(image.astype(int), axis=2).max() == 0


def test_all_rows_with_the_official_lists(real_data):
    """86,524 and 25,596 films that share no patient; small in memory."""
    root, sizes, patients = real_data / 'nih_cxr14', {}, {}
    for name in ('train_val', 'test'):
        cfg = dict(data_root=str(root), split_file=f'{name}_list.txt', require_images=False)
        dataset = build(root, split_file=f'{name}_list.txt', require_images=False)
        sizes[name] = len(dataset)
        patients[name] = set(NIHChestXray14.read_groups(cfg).values())
        assert dataset.data_bytes.nbytes + dataset.data_address.nbytes < 300 * len(dataset)
        assert not dataset.data_list  # workers get the bytes, not a list of dicts
    assert sizes == {'train_val': 86524, 'test': 25596}
    check_disjoint(patients)
    assert len(patients['train_val']) + len(patients['test']) == 30805


def private_memory(process):
    """MiB that a process shares with no other."""
    lines = Path(f'/proc/{process}/smaps_rollup').read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith('Private_')) / 1024


@pytest.mark.long
@pytest.mark.skipif(not Path('/proc/self/smaps_rollup').exists(), reason='memory of a process is read from Linux')
def test_workers_share_the_films(real_data):
    """112,120 films as a list of dicts cost a worker over 40 MiB once it has touched them; as bytes almost nothing."""
    dataset = build(real_data / 'nih_cxr14', require_images=False, pipeline=[lambda entry: entry['sample_idx']])
    loader = DataLoader(dataset, batch_size=128, num_workers=2, shuffle=True, multiprocessing_context='fork')
    batches = iter(loader)
    next(batches)
    before = [private_memory(worker.pid) for worker in batches._workers]
    assert sum(1 for _ in zip(range(400), batches)) == 400
    after = [private_memory(worker.pid) for worker in batches._workers]
    assert max(late - early for late, early in zip(after, before)) < 8
