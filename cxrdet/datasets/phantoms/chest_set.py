"""A data set of chest phantoms on disk, laid out as NIH ChestX-ray14 is published.

Wang et al., "ChestX-Ray8: Hospital-scale Chest X-ray Database and Benchmarks on Weakly-Supervised Classification and
Localization of Common Thorax Diseases", CVPR 2017. The unit of the split is the patient: every fifth one is test.
"""
import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from cxrdet.core.classification.labels import NO_FINDING
from cxrdet.core.csv_text import csv_text
from cxrdet.core.errors import check_numbers
from cxrdet.core.files import write_atomic
from cxrdet.core.folders import prepared_folder
from cxrdet.datasets.formats.images import image_bytes
from cxrdet.datasets.formats.nih import BOX_COLUMNS, BOX_FINDINGS, BOX_PIXELS
from cxrdet.datasets.phantoms.chest import ChestScene, render_chest, sample_chest
from cxrdet.datasets.phantoms.chest_body import Patient, sample_patient
from cxrdet.datasets.phantoms.chest_findings import CHEST_FINDINGS, PREVALENCE
from cxrdet.datasets.phantoms.optics import one_thread

CHEST_VERSION = 2  # raise it whenever the same seed gives other films
ENTRY_COLUMNS = ('Image Index', 'Finding Labels', 'Follow-up #', 'Patient ID', 'Patient Age', 'Patient Gender',
                 'View Position', 'OriginalImage[Width', 'Height]', 'OriginalImagePixelSpacing[x', 'y]')
BOX_NAMES = {name: published for published, name in BOX_FINDINGS.items()}
FILM_WIDTH_MM = 360.0
_STREAM = 14  # keeps these random numbers apart from those of other phantoms


@one_thread()
def write_chest_phantoms(out_dir: str | Path, *, num_images: int = 1000, size: int = 256, seed: int = 0,
                         force: bool = False, progress: Callable[[str, int, int], None] | None = None) -> Path:
    """Write a set of chest phantoms in the layout of NIH ChestX-ray14.

    The list of boxes has those of every finding, unlike the published one; each fifth patient is test. A patient has
    one to eight films, with the same build and lasting findings. A film depends on (seed, patient, follow-up, size)
    only; the same seed gives the same bytes with the same versions of numpy and OpenCV. Re-running keeps finished
    images and adds the missing ones.

    Args:
        out_dir: Folder of the set; made if it is not there.
        num_images: Number of films; the last patient's may be cut short.
        size: Side of the images in pixels, at least 64.
        seed: Seed of the set, 0 or more.
        force: Replace another set in ``out_dir``.
        progress: Called with ('films', done, total) after each film.

    Returns: ``out_dir``.

    Raises:
        ConfigError: If a number is out of range.
        DataError: If the folder holds something else and ``force`` is not set.
    """
    out_dir = Path(out_dir)
    check_numbers('chest phantoms', num_images=(num_images, '[1, inf)'), size=(size, '[64, 8192]'),
                  seed=(seed, '[0, inf)'))
    manifest = {'kind': 'chest-phantom', 'version': CHEST_VERSION, 'seed': seed, 'size': size, 'images': num_images}
    with prepared_folder(out_dir, manifest, force=force) as new:
        _write_films(new, num_images, size, seed, progress)
    return out_dir


def _write_films(out_dir: Path, num_images: int, size: int, seed: int, progress: Callable | None) -> None:
    tables = ('Data_Entry_2017_v2020.csv', 'BBox_List_2017.csv', 'train_val_list.txt', 'test_list.txt')
    entries, boxes, lists = [ENTRY_COLUMNS], [BOX_COLUMNS], ([], [])
    for done, film in enumerate(_films(seed, num_images), 1):
        scene = _finish_image(out_dir / 'images' / film.name, film, seed, size)
        findings, extents, labels = scene.targets()
        spacing = round(FILM_WIDTH_MM / size, 4)
        entries.append((film.name, '|'.join(findings) or NO_FINDING, film.follow_up, film.number, film.age,
                        film.patient.sex, scene.view, size, size, spacing, spacing))
        for (x1, y1, x2, y2), label in zip(extents.tolist(), labels.tolist(), strict=True):
            name = CHEST_FINDINGS[label]
            box = (round(value * BOX_PIXELS / size, 4) for value in (x1, y1, x2 - x1, y2 - y1))
            boxes.append((film.name, BOX_NAMES.get(name, name), *box))
        lists[film.number % 5 == 0].append(film.name)
        if progress is not None:
            progress('films', done, num_images)
    for name, content in zip(tables, (csv_text(entries), csv_text(boxes), *map(_lines, lists)), strict=True):
        write_atomic(out_dir / name, content)


@dataclasses.dataclass(frozen=True)
class _Film:
    """What is known of a film before anything is drawn; ``number`` is the patient's, from 1."""

    number: int
    follow_up: int
    patient: Patient
    age: int
    view: str
    findings: tuple[str, ...]

    @property
    def name(self) -> str:
        return f'{self.number:08d}_{self.follow_up:03d}.png'


def _films(seed: int, count: int) -> Iterator[_Film]:
    number = given = 0
    while given < count:
        number += 1
        rng = np.random.default_rng((seed, _STREAM, number, 0))
        patient = sample_patient(rng)
        portable = rng.choice((0.1, 0.85), p=(0.55, 0.45))  # out-patients and those in bed
        sick = rng.random(len(CHEST_FINDINGS)) < [0.85 * PREVALENCE[name] for name in CHEST_FINDINGS]
        films, age = min(int(rng.geometric(0.45)), 8), patient.age
        for follow_up in range(films):
            view = 'AP' if rng.random() < portable else 'PA'
            passing = rng.random(len(CHEST_FINDINGS)) < (0.04 if view == 'AP' else 0.02)
            present = (sick & (rng.random(len(CHEST_FINDINGS)) < 0.85)) | passing
            age = min(age + int(rng.random() < 0.2), 95)
            if given < count:
                given += 1
                yield _Film(number, follow_up, patient, age, view,
                            tuple(name for name, there in zip(CHEST_FINDINGS, present, strict=True) if there))


def _finish_image(path: Path, film: _Film, seed: int, size: int) -> ChestScene:
    rng = np.random.default_rng((seed, _STREAM, film.number, film.follow_up + 1))
    scene = sample_chest(rng, size, findings=film.findings, view=film.view, patient=film.patient)
    if not path.exists():
        write_atomic(path, image_bytes(render_chest(rng, scene), path), durable=False)
    return scene


def _lines(names: list[str]) -> str:
    return ''.join(f'{name}\n' for name in names)
