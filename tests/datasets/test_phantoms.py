"""Phantoms: labels against pixels, statistics against the real sets', files against pycocotools and real tables."""
import contextlib
import csv
import dataclasses
import hashlib
import io
import json
from collections import Counter

import cv2
import numpy as np
import pytest
from PIL import Image

from cxrdet.core.errors import ConfigError, DataError
from cxrdet.datasets.phantoms import (
    CELL_CLASSES,
    CHEST_FINDINGS,
    cell_phantom,
    cell_set,
    cells,
    chest,
    chest_body,
    chest_phantom,
    chest_set,
    optics,
    shapes,
    write_cell_phantoms,
    write_chest_phantoms,
)

PUBLISHED_ENTRIES = ('Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,'
                     'OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]')
PUBLISHED_BOXES = 'Image Index,Finding Label,Bbox [x,y,w,h]'


def rng(*seed):
    return np.random.default_rng(seed)


# ----------------------------------------------------------------------------------------- one image

@pytest.mark.parametrize('draw', [
    lambda r: cell_phantom(r, 96),
    lambda r: dataclasses.astuple(chest_phantom(r, 96))[:4],
], ids=['cell', 'chest'])
def test_same_seed_same_image_and_labels(draw):
    first, again, other = draw(rng(3)), draw(rng(3)), draw(rng(4))
    assert first[0].dtype == np.uint8
    assert all(np.array_equal(a, b) for a, b in zip(first, again))
    assert not np.array_equal(first[0], other[0])


def test_the_global_generator_is_neither_used_nor_seeded():
    np.random.seed(5)
    before = np.random.get_state()[1].copy()
    one = cell_phantom(rng(0), 64)[0]
    np.random.seed(6)
    assert np.array_equal(one, cell_phantom(rng(0), 64)[0])
    np.random.seed(5)
    chest_phantom(rng(0), 64)
    assert np.array_equal(np.random.get_state()[1], before)


@pytest.mark.parametrize('size', [64, 200])
def test_cell_boxes_lie_in_the_image(size):
    for seed in range(6):
        image, boxes, labels = cell_phantom(rng(seed), size)
        assert image.shape == (size, size, 3)
        assert boxes.dtype == np.float32
        assert boxes.shape == (len(labels), 4)
        assert (boxes[:, :2] >= 0).all()
        assert (boxes[:, 2:] <= size).all()
        assert (boxes[:, 2:] > boxes[:, :2]).all()
        assert set(labels.tolist()) <= {0, 1, 2}


@pytest.mark.parametrize('label', range(3), ids=CELL_CLASSES)
def test_a_cell_box_is_the_extent_of_the_pixels_that_the_cell_changes(label):
    tried = 0
    for seed in range(12):
        scene = cells.sample_cells(rng(seed), 160)
        stain = cells.sample_stain(rng(seed))
        for cell in (one for one in scene.cells if one.label == label):
            density = cells.stain_density(cells.CellScene(160, (cell,)), stain)
            picture = optics.to_bytes(np.exp(-density) * 208)  # neither blur nor noise
            changed = (picture != 208).any(2)
            rows, cols = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
            assert cell.box == (cols[0], rows[0], cols[-1] + 1, rows[-1] + 1)
            tried += 1
    assert tried >= 8


def test_each_label_has_the_colours_of_its_kind():
    """In the middle of the cell: red cells absorb least, platelets and nuclei let blue pass, red cells do not."""
    colours = {label: [] for label in range(3)}
    for seed in range(8):
        image, boxes, labels = cell_phantom(rng(seed), 160)
        for box, label in zip(boxes, labels):
            x, y = int(box[0::2].mean()), int(box[1::2].mean())
            middle = image[max(y - 2, 0):y + 3, max(x - 2, 0):x + 3]
            colours[int(label)].append(np.median(middle.reshape(-1, 3), axis=0))
    red, white, platelet = (np.median(colours[label], axis=0) for label in range(3))
    # medians in the 292 images of BCCD: RBC (186, 161, 161), WBC (142, 119, 202), Platelets (158, 155, 199)
    assert np.abs(red - (186, 161, 161)).max() < 20
    assert white[2] - white[1] > 50
    assert platelet[2] - platelet[0] > 25


def test_no_cell_is_hidden_and_none_is_a_sliver():
    for seed in range(8):
        scene = cells.sample_cells(rng(seed), 128)
        cover = sum(np.pad(cell.mask.astype(int), ((cell.top, 128 - cell.top - cell.mask.shape[0]),
                                                   (cell.left, 128 - cell.left - cell.mask.shape[1])))
                    for cell in scene.cells)
        for cell in scene.cells:
            assert (cover[cell.window] > 1)[cell.mask].mean() <= (0.45, 0.25, 0.30)[cell.label]
            assert cell.mask.sum() >= 6


def test_cell_statistics_are_those_of_bccd():
    """BCCD, 640x480: median sides 103, 193 and 39 px of sqrt(640 * 480) = 554; a file has 11.5, 1.03 and 1.0 boxes."""
    sides, counts = {label: [] for label in range(3)}, Counter()
    for seed in range(50):
        boxes, labels = cells.sample_cells(rng(seed), 160).targets()
        counts.update(labels.tolist())
        inner = (boxes[:, :2] > 0).all(1) & (boxes[:, 2:] < 160).all(1)
        for box, label in zip(boxes[inner], labels[inner].tolist()):
            sides[label].append((box[2:] - box[:2]).mean() / 160)
    for label, expected in enumerate((103 / 554, 193 / 554, 39 / 554)):
        assert np.median(sides[label]) == pytest.approx(expected, rel=0.2)
    per_image = [counts[label] / 50 for label in range(3)]
    assert 9 < per_image[0] < 20
    assert 0.8 < per_image[1] < 1.4
    assert 0.8 < per_image[2] < 2.2


# ----------------------------------------------------------------------------------------- chest films

@pytest.mark.parametrize('view', ['PA', 'AP'])
def test_chest_film_without_findings(view):
    film = chest_phantom(rng(1), 96, findings=(), view=view)
    assert film.image.shape == (96, 96)
    assert film.findings == ()
    assert film.boxes.shape == (0, 4)
    assert film.labels.shape == (0,)
    assert film.view == view


def test_lungs_are_darker_than_heart_and_abdomen():
    scene = chest.sample_chest(rng(2), 128, findings=(), view='PA')
    image = chest.render_chest(rng(2), scene)
    canvas = scene.canvas
    lung = np.median(image[canvas.free_lung(chest_body.LEFT) | canvas.free_lung(chest_body.RIGHT)])
    abdomen = np.median(image[(canvas.y > canvas.outlines.bottom + 0.05) & (np.abs(canvas.x) < 0.2)])
    assert lung + 50 < np.median(image[canvas.heart])
    assert lung + 50 < abdomen


@pytest.mark.parametrize('name', CHEST_FINDINGS)
def test_findings_asked_for_are_labelled_and_boxed(name):
    for seed in range(12):
        boxes, labels = chest.sample_chest(rng(seed), 64, findings=[name]).targets()[1:]
        assert len(boxes) >= 1
        assert set(labels.tolist()) == {CHEST_FINDINGS.index(name)}
        assert (boxes[:, :2] >= 0).all()
        assert (boxes[:, 2:] <= 64).all()
        assert (boxes[:, 2:] > boxes[:, :2]).all()


def change(scene):
    """How the film differs from the same one without its findings, all else and all noise being equal."""
    canvas = scene.canvas
    bare = {name: np.zeros_like(getattr(canvas, name)) for name in ('opacity', 'clearing', 'lines', 'bare')}
    healthy = dataclasses.replace(scene, canvas=dataclasses.replace(canvas, **bare))
    return chest.render_chest(rng(9), scene).astype(float) - chest.render_chest(rng(9), healthy)


@pytest.mark.parametrize('name', ['Mass', 'Nodule'])
def test_the_box_of_a_round_finding_is_where_the_film_differs(name):
    exact = 0
    for seed in range(12):
        scene = chest.sample_chest(rng(seed), 192, findings=[name], view='PA')
        boxes = scene.targets()[1]
        if len(boxes) > 1:
            continue
        difference = cv2.GaussianBlur(change(scene), (0, 0), 0.7)
        mask = difference > 0.45 * np.quantile(difference, 0.9995)
        rows, cols = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        found = np.array((cols[0], rows[0], cols[-1] + 1, rows[-1] + 1))
        exact += np.abs(found - boxes[0]).max() <= 3
        assert difference.max() > 12
    assert exact >= 6


@pytest.mark.parametrize(('name', 'sign'), [('Atelectasis', 1), ('Consolidation', 1), ('Effusion', 1),
                                            ('Infiltration', 1), ('Pneumothorax', -1)])
def test_the_box_of_a_finding_holds_what_changes_most(name, sign):
    """Opacities are brighter, escaped air is darker; at least two thirds of the strong change lie in the boxes."""
    for seed in range(5):
        scene = chest.sample_chest(rng(seed), 128, findings=[name], view='PA')
        difference = change(scene) * sign
        inside = np.zeros(difference.shape, bool)
        for x1, y1, x2, y2 in scene.targets()[1].astype(int):
            inside[max(y1 - 2, 0):y2 + 2, max(x1 - 2, 0):x2 + 2] = True
        strong = np.where(difference > 0.5 * np.quantile(difference, 0.995), difference, 0)
        assert strong[inside].sum() > 0.66 * strong.sum()
        drawn = np.any([mask for _, mask in scene.canvas.marks], axis=0)
        assert difference[drawn].mean() > difference[~drawn].mean() + 2


@pytest.mark.parametrize('view', ['PA', 'AP'])
def test_cardiomegaly_is_a_heart_of_more_than_half_the_chest(view):
    for findings, wide in ((['Cardiomegaly'], True), ([], False)):
        for seed in range(8):
            canvas = chest.sample_chest(rng(seed), 128, findings=findings, view=view).canvas
            heart, lungs = shapes.extent(canvas.heart), shapes.extent(canvas.lungs[-1] | canvas.lungs[1])
            assert ((heart[2] - heart[0]) / (lungs[2] - lungs[0]) > 0.505) == wide


def test_a_patient_keeps_the_build():
    patient = chest_body.sample_patient(rng(0))
    films = [chest.sample_chest(rng(seed), 64, findings=(), view='PA', patient=patient) for seed in range(4)]
    widths = [film.canvas.outlines.half_width for film in films]
    assert np.std(widths) < 0.03 * patient.half_width
    assert {film.patient for film in films} == {patient}


@pytest.mark.parametrize(('call', 'message'), [
    (lambda: cell_phantom(rng(0), 63), 'size is expected to be at least 64 pixels, got 63'),
    (lambda: chest_phantom(rng(0), 32), 'at least 64 pixels, got 32'),
    (lambda: chest_phantom(rng(0), 64, view='LL'), "expected to be PA or AP, got 'LL'"),
    (lambda: chest_phantom(rng(0), 64, findings=['Efusion']), 'Did you mean "Effusion"'),
    (lambda: shapes.extent(np.zeros((4, 4), bool)), 'empty mask'),
])
def test_wrong_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# ----------------------------------------------------------------------------------------- the cell set

def coco(path):
    from pycocotools.coco import COCO
    with contextlib.redirect_stdout(io.StringIO()):
        return COCO(str(path))


@pytest.fixture(scope='module')
def cell_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp('cells') / 'set'
    return write_cell_phantoms(folder, splits={'train': 4, 'val': 2, 'test': 0}, size=80)


def test_cell_set_is_read_by_pycocotools(cell_dir):
    data = coco(cell_dir / 'annotations' / 'train.json')
    assert [data.cats[key]['name'] for key in sorted(data.cats)] == list(CELL_CLASSES)
    assert len(data.imgs) == 4
    for index, key in enumerate(sorted(data.imgs)):
        stored = cv2.imread(str(cell_dir / 'images' / data.imgs[key]['file_name']))[..., ::-1]
        image, boxes, labels = cell_phantom(rng(0, 0, index), 80)
        assert stored.shape == image.shape
        assert np.abs(stored.astype(int) - image).mean() < 6  # JPEG
        found = data.imgToAnns[key]
        assert [item['category_id'] - 1 for item in found] == labels.tolist()
        given = np.array([item['bbox'] for item in found])
        assert np.array_equal(np.hstack([given[:, :2], given[:, :2] + given[:, 2:]]), boxes)
        assert [item['area'] for item in found] == (given[:, 2] * given[:, 3]).tolist()


def test_an_empty_split_is_a_valid_file(cell_dir):
    data = coco(cell_dir / 'annotations' / 'test.json')
    assert data.imgs == {}
    assert data.anns == {}
    assert len(data.cats) == 3


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob('*') if path.is_file()}


def test_images_do_not_depend_on_how_many_there_are(cell_dir, tmp_path):
    fewer = write_cell_phantoms(tmp_path / 'fewer', splits={'val': 1, 'train': 2}, size=80)
    known = contents(cell_dir)
    images = [name for name in contents(fewer) if name.startswith('images/')]
    assert len(images) == 3
    assert all(contents(fewer)[name] == known[name] for name in images)
    other = write_cell_phantoms(tmp_path / 'other', splits={'train': 1}, size=80, seed=1)
    assert contents(other)['images/train_00000.jpg'] != known['images/train_00000.jpg']


WRITERS = {
    'cell': lambda folder, **kwargs: write_cell_phantoms(folder, splits={'train': 3, 'val': 1}, size=64, **kwargs),
    'chest': lambda folder, **kwargs: write_chest_phantoms(folder, num_images=4, size=64, **kwargs),
}


@pytest.mark.parametrize('kind', WRITERS)
def test_same_seed_same_bytes_and_a_killed_run_goes_on(kind, tmp_path):
    whole, broken = tmp_path / 'whole', tmp_path / 'broken'
    assert WRITERS[kind](whole) == whole

    def kill(what, done, total):
        if done == 2:
            raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt):
        WRITERS[kind](broken, progress=kill)
    assert [path.name for path in broken.iterdir()] == ['.cxrdet']  # there is never half a set
    images = next(broken.rglob('images'))
    kept = {path.name: path.stat().st_mtime_ns for path in images.iterdir()}
    assert len(kept) == 2
    calls = []
    WRITERS[kind](broken, progress=lambda *call: calls.append(call))
    assert contents(broken) == contents(whole)
    assert {name: (broken / 'images' / name).stat().st_mtime_ns for name in kept} == kept
    total = 3 if kind == 'cell' else 4
    assert [call[1:] for call in calls][:3] == [(1, total), (2, total), (3, total)]


@pytest.mark.parametrize('kind', WRITERS)
def test_another_set_is_replaced_only_by_force(kind, tmp_path):
    WRITERS[kind](tmp_path / 'set')
    before = contents(tmp_path / 'set')
    with pytest.raises(DataError, match=r'another prepared set \(seed: 0 there, 7 asked for\).*--force'):
        WRITERS[kind](tmp_path / 'set', seed=7)
    assert contents(tmp_path / 'set') == before
    WRITERS[kind](tmp_path / 'set', seed=7, force=True)
    WRITERS[kind](tmp_path / 'fresh', seed=7)
    assert contents(tmp_path / 'set') == contents(tmp_path / 'fresh')
    other = 'chest' if kind == 'cell' else 'cell'
    WRITERS[other](tmp_path / 'set', force=True)
    WRITERS[other](tmp_path / 'fresh2')
    assert contents(tmp_path / 'set') == contents(tmp_path / 'fresh2')


@pytest.mark.parametrize('force', [False, True])
def test_a_folder_of_somebody_else_is_never_written_to(force, tmp_path):
    (tmp_path / 'images').mkdir()
    (tmp_path / 'images' / 'mine.png').write_bytes(b'mine')
    for writer in WRITERS.values():
        with pytest.raises(DataError, match='in the way, not written by prepare_data.*images'):
            writer(tmp_path, force=force)
        with pytest.raises(DataError, match='expected a folder to write to, found a file'):
            writer(tmp_path / 'images' / 'mine.png', force=force)
    assert contents(tmp_path) == {'images/mine.png': b'mine'}


@pytest.mark.parametrize(('call', 'message'), [
    (lambda folder: write_cell_phantoms(folder, splits={'valid': 3}), 'Unknown split "valid". Expected: train, val'),
    (lambda folder: write_cell_phantoms(folder, splits={'val': -1}), r'val must lie in \[0, .* got -1'),
    (lambda folder: write_cell_phantoms(folder, size=10), r'size must lie in \[64, .* got 10'),
    (lambda folder: write_cell_phantoms(folder, seed=-1), r'seed must lie in \[0, .* got -1'),
    (lambda folder: write_chest_phantoms(folder, num_images=0), r'num_images must lie in \[1, .* got 0'),
    (lambda folder: write_chest_phantoms(folder, size=63), r'size must lie in \[64, .* got 63'),
])
def test_wrong_numbers_are_refused_before_anything_is_written(call, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        call(tmp_path / 'set')
    assert not (tmp_path / 'set').exists()


# ----------------------------------------------------------------------------------------- the chest set

@pytest.fixture(scope='module')
def chest_dir(tmp_path_factory):
    return write_chest_phantoms(tmp_path_factory.mktemp('chest') / 'set', num_images=24, size=64)


def rows(path):
    with path.open(newline='') as stream:
        return list(csv.reader(stream))


def test_tables_have_the_published_columns(chest_dir):
    assert (chest_dir / 'Data_Entry_2017_v2020.csv').read_text().splitlines()[0] == PUBLISHED_ENTRIES
    assert (chest_dir / 'BBox_List_2017.csv').read_text().splitlines()[0] == PUBLISHED_BOXES


def test_columns_equal_those_of_the_real_tables(real_data):
    import gzip
    with gzip.open(real_data / 'nih_cxr14' / 'Data_Entry_2017_v2020.csv.gz', 'rt') as stream:
        assert stream.readline().strip() == PUBLISHED_ENTRIES
    with (real_data / 'nih_cxr14' / 'BBox_List_2017.csv').open() as stream:
        assert stream.readline().strip() == PUBLISHED_BOXES


def test_chest_table_images_and_boxes_agree(chest_dir):
    entries = rows(chest_dir / 'Data_Entry_2017_v2020.csv')[1:]
    boxed = {}
    for name, finding, *box in rows(chest_dir / 'BBox_List_2017.csv')[1:]:
        x, y, w, h = map(float, box)
        assert 0 <= x < x + w <= 1024
        assert 0 <= y < y + h <= 1024
        boxed.setdefault(name, set()).add({'Infiltrate': 'Infiltration'}.get(finding, finding))
    assert sorted(path.name for path in (chest_dir / 'images').iterdir()) == [row[0] for row in entries]
    assert len(entries) == 24
    for name, labels, follow_up, patient, age, sex, view, width, height, spacing, _ in entries:
        assert name == f'{int(patient):08d}_{int(follow_up):03d}.png'
        assert set(labels.split('|')) == boxed.get(name, {'No Finding'})
        assert 0 < int(age) < 100
        assert sex in 'MF'
        assert view in ('PA', 'AP')
        assert float(spacing) == 360 / 64
        with Image.open(chest_dir / 'images' / name) as image:
            assert (image.mode, image.size) == ('L', (int(width), int(height)))


def test_a_box_stands_in_1024_px_coordinates(chest_dir):
    row = rows(chest_dir / 'BBox_List_2017.csv')[1]
    film = next(film for film in chest_set._films(0, 24) if film.name == row[0])
    scene = chest.sample_chest(rng(0, chest_set._STREAM, film.number, film.follow_up + 1), 64, findings=film.findings,
                               view=film.view, patient=film.patient)
    x1, y1, x2, y2 = scene.targets()[1][0].tolist()
    assert [float(value) for value in row[2:]] == [16 * x1, 16 * y1, 16 * (x2 - x1), 16 * (y2 - y1)]


def test_a_patient_is_on_one_side_of_the_split_only(chest_dir):
    lists = [(chest_dir / name).read_text().split() for name in ('train_val_list.txt', 'test_list.txt')]
    assert sorted(lists[0] + lists[1]) == [row[0] for row in rows(chest_dir / 'Data_Entry_2017_v2020.csv')[1:]]
    patients = [{name.split('_')[0] for name in names} for names in lists]
    assert patients[0]
    assert patients[1]
    assert not patients[0] & patients[1]


def test_statistics_of_patients_and_findings():
    films = list(chest_set._films(0, 3000))
    per_patient = Counter(film.number for film in films)
    assert 1.8 < np.mean(list(per_patient.values())) < 2.6
    assert max(per_patient.values()) == 8
    share = Counter(name for film in films for name in film.findings)
    assert all(0.08 < share[name] / 3000 < 0.2 for name in CHEST_FINDINGS)
    assert 0.25 < sum(not film.findings for film in films) / 3000 < 0.4
    assert sum(len(film.findings) > 1 for film in films) > 0.15 * 3000
    assert 0.35 < sum(film.view == 'AP' for film in films) / 3000 < 0.55
    by_patient = {}
    for film in films:
        by_patient.setdefault(film.number, []).append(film)
    assert all([film.follow_up for film in group] == list(range(len(group))) for group in by_patient.values())
    assert all(len({film.patient for film in group}) == 1 for group in by_patient.values())
    assert all(a.age <= b.age for group in by_patient.values() for a, b in zip(group, group[1:]))
    assert [film.name for film in chest_set._films(0, 100)] == [film.name for film in films[:100]]


def test_a_simple_feature_separates_effusion_from_healthy(chest_dir):
    """The costophrenic angles fill with fluid: a mean over a corner of the lung is enough for AUROC > 0.9."""
    from sklearn.metrics import roc_auc_score
    scores, truth = [], []
    for seed in range(40):
        findings = ['Effusion'] if seed % 2 else []
        scene = chest.sample_chest(rng(seed), 64, findings=findings, view='PA')
        image, canvas = chest.render_chest(rng(seed), scene).astype(float), scene.canvas
        low = canvas.y > canvas.outlines.bottom - 0.14
        sides = [image[canvas.free_lung(side) & low & (np.abs(canvas.x) > 0.75 * canvas.outlines.half_width)].mean()
                 for side in (-1, 1)]
        upper = image[canvas.free_lung(-1) & (canvas.y < canvas.outlines.bottom - 0.3)].mean()
        scores.append(max(sides) - upper)
        truth.append(bool(findings))
    assert roc_auc_score(truth, scores) > 0.9


def test_versions_stand_in_the_manifest(cell_dir, chest_dir):
    assert json.loads((cell_dir / 'prepared.json').read_text()) == {
        'kind': 'cell-phantom', 'version': cell_set.CELL_VERSION, 'seed': 0, 'size': 80,
        'splits': {'train': 4, 'val': 2, 'test': 0}}
    assert json.loads((chest_dir / 'prepared.json').read_text()) == {
        'kind': 'chest-phantom', 'version': chest_set.CHEST_VERSION, 'seed': 0, 'size': 64, 'images': 24}


# ----------------------------------------------------------------------------------------- pieces

def test_curve_runs_through_its_points():
    points = np.array([(0.0, 0.0), (1.0, 2.0), (3.0, 1.0), (4.0, 4.0)])
    line = shapes.curve(points, steps=5)
    assert np.allclose(line[[0, 5, 10, 15]], points)
    assert len(shapes.curve(points, closed=True, steps=5)) == 20
    straight = shapes.curve([(0, 0), (1, 1), (2, 2), (3, 3)], steps=4)
    assert np.allclose(straight[:, 0], straight[:, 1])


def test_frame_grid_is_the_inverse_of_pixels():
    frame = shapes.Frame.sample(rng(0), 100, 5.0, 0.05, 0.1)
    x, y = frame.grid()
    points = np.stack([x, y], axis=-1)[[10, 50, 90], [20, 70, 5]]
    assert np.allclose(frame.pixels(points) / 16, [(20, 10), (70, 50), (5, 90)], atol=0.05)


def test_a_thin_line_is_faint():
    frame = shapes.Frame(100, np.array([(100.0, 0, 0), (0, 100.0, 0)]))
    layers = []
    for width in (0.002, 0.02):
        layers.append(frame.stroke([np.array([(0.1, 0.505), (0.9, 0.505)])], width))
    assert layers[0].max() / 255 == pytest.approx(0.2, abs=0.03)
    assert layers[1].max() > 250


def test_writing_leaves_the_threads_of_opencv_as_they_were(tmp_path):
    before = cv2.getNumThreads()
    WRITERS['cell'](tmp_path / 'cells')
    with pytest.raises(DataError):
        WRITERS['chest'](tmp_path / 'cells')
    assert cv2.getNumThreads() == before


def test_noise_has_the_stated_spread():
    field = optics.smooth_noise(rng(0), (200, 200), 4)
    assert abs(field.mean()) < 0.1
    assert 0.7 < field.std() < 1.1
    noise = optics.sensor_noise(rng(0), 201, 2.0)
    assert noise.shape == (201, 201, 3)
    assert 2.0 < noise.std() < 2.0 * np.sqrt(2)  # the colour's share is smoothed
    assert np.array_equal(optics.blur(field, 0.1), field)


def test_the_validation_set_of_the_demonstration_stays_as_hard_as_it_is(tmp_path):
    """Its scores stand in the model zoo: 50 images of 320 px, seed 0."""
    root = write_cell_phantoms(tmp_path / 'cells', splits={'val': 50})
    annotations = (root / 'annotations' / 'val.json').read_bytes()
    assert {(image['width'], image['height']) for image in json.loads(annotations)['images']} == {(320, 320)}
    assert hashlib.sha256(annotations).hexdigest() == '829b4bd2a9842f863a2af962e32738a5a07b6e3880fe85d3e75306df563bcf63'
