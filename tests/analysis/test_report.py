"""What the report tells, on made-up predictions of every task; a large one in the browser."""
import json
import re
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from sklearn.metrics import roc_auc_score

from cxrdet.analysis.report import content_of, fingerprint, training_panels
from cxrdet.apis import report
from cxrdet.core import predictions
from cxrdet.core.detection import matching
from cxrdet.core.detection.average_precision import IOUS
from cxrdet.core.diagnosis import quality_text
from cxrdet.core.errors import ConfigError, DataError
from cxrdet.core.history import to_json
from cxrdet.core.predictions import Collected
from cxrdet.datasets.formats.images import read_image
from cxrdet.evaluation.metrics import MultiLabelMetric
from cxrdet.evaluation.metrics.coco_backend import coco_tables, precision_and_recall
from cxrdet.inference.split_predictions import LoadedModel
from cxrdet.visualization.report import render_page
from cxrdet.visualization.report.pictures import choose

CLASSES = ('RBC', '<script>alert(1)</script>', 'Platelets')


@pytest.fixture(scope='module')
def images(tmp_path_factory):
    """Names of forty noisy pictures, as hard to pack as photographs are."""
    folder, rng = tmp_path_factory.mktemp('images'), np.random.default_rng(0)
    for number in range(40):
        noise = cv2.resize(rng.integers(0, 255, (60, 80, 3)).astype(np.uint8), (640, 480))
        cv2.imwrite(str(folder / f'{number}.jpg'), noise, [cv2.IMWRITE_JPEG_QUALITY, 90])
    return [str(path) for path in sorted(folder.glob('*.jpg'))]


def loaded(task, tmp_path='.', **cfg):
    cfg = Config(dict(val_dataloader=dict(dataset=dict(type='cxrdet.Made')), work_dir=str(tmp_path), **cfg))
    return LoadedModel(cfg, torch.nn.Sequential(torch.nn.Linear(4, 2)), CLASSES, task, dict(epoch=3, iter=30, seed=7),
                       f'{tmp_path}/best.pth')


def boxes(rng, count):
    corner = rng.random((count, 2)) * (540, 380)
    return np.concatenate([corner, corner + 30 + rng.random((count, 2)) * 60], axis=1)


def detections(images, number, *, objects=6, split='val', seed=0):
    """Images with found, missed, misplaced, misnamed and made-up boxes."""
    rng, records = np.random.default_rng(seed), []
    for i in range(number):
        truth, labels = boxes(rng, objects), rng.integers(3, size=objects)
        found = np.concatenate([truth[1:] + rng.normal(size=(objects - 1, 4)) * 6, boxes(rng, 2)])
        names = np.where(rng.random(objects + 1) < 0.15, rng.integers(3, size=objects + 1),
                         np.append(labels[1:], rng.integers(3, size=2)))
        scores = np.append(0.3 + 0.7 * rng.random(objects - 1), 0.8 * rng.random(2))
        order = np.argsort(-scores)
        records.append(dict(image=images[i % len(images)], width=640, height=480, facts={'img_id': i},
                            boxes=found[order], scores=scores[order], labels=names[order], gt_boxes=truth,
                            gt_labels=labels, gt_ignore=np.zeros(objects, bool)))
    labels = np.array([np.bincount(record['gt_labels'], minlength=3) for record in records], np.float64)
    return Collected('detection', CLASSES, split, labels, [record['facts'] for record in records], records, read_image)


def labelled(images, number, *, single=False, patients=True, split='val', seed=0):
    rng, records = np.random.default_rng(seed), []
    for i in range(number):
        truth = np.eye(3)[rng.integers(3)] if single else (rng.random(3) < 0.4).astype(float)
        logits = rng.normal(size=3) * 1.5 + 3 * truth - 1.5
        prob = np.exp(logits) / np.exp(logits).sum() if single else 1 / (1 + np.exp(-logits))
        facts = {'patient_id': i // 2, 'view': 'AP' if rng.random() < 0.5 else 'PA'} if patients else {}
        records.append(dict(image=images[i % len(images)], width=640, height=480, facts=facts, probabilities=prob,
                            truth=truth))
    labels = np.array([record['truth'] for record in records])
    return Collected('single-label' if single else 'multi-label', CLASSES, split, labels,
                     [record['facts'] for record in records], records, read_image)


def test_detector(images):
    content = content_of(loaded('detection'), detections(images, 30), detections(images, 20, split='train', seed=1),
                         pictures=8, samples=20)
    scores = {score['name']: score for score in content.scores}
    assert scores['mAP']['value'] == pytest.approx(content.diagnosis['fit']['more']['mAP@0.5:0.95']['val'])
    assert scores['mAP at IoU 0.5']['value'] == pytest.approx(content.diagnosis['fit']['val'])
    operating, at = content.diagnosis['operating'], content.diagnosis['score_thr']
    for name in ('precision', 'recall', 'F1'):
        assert scores[f'{name} at score {at:.2f}']['value'] == pytest.approx(operating[name])
    for row in content.rows:
        assert row['score'] == pytest.approx(row['AP50']) and row['AP_low'] < row['AP'] < row['AP_high']
    assert len(content.pictures) == 8 and len(content.curves['FROC at IoU 0.5']) == 4
    assert content.calibration[0].note.startswith(f'calibration error {content.diagnosis["calibration"]["ece"]:.3f}')
    tabled = [row['mean_score'] for row in content.diagnosis['calibration']['bins'] if row['count']]
    assert content.calibration[0].lines[-1].x.tolist() == pytest.approx(tabled)
    assert 'draws of whole images' in content.scores_note and 'No patients are known' in content.scores_note
    text = render_page(content)
    assert '<script>alert' not in text and text.count('&lt;script&gt;alert(1)&lt;/script&gt;') > 10


@pytest.mark.parametrize('low', [True, False])
def test_the_annotations_of_the_training_set_are_told(low, images):
    quality = dict(images=9, boxes=20, of='boxes', faulty=2, share=0.1, images_without_boxes=1, limit=0.05, low=low,
                   counts={'tiny_box': 2}, examples=[])
    content = content_of(loaded('detection'), detections(images, 4), pictures=0, samples=3, quality=quality)
    assert dict(content.data)['Annotations of the training set'] == ('2 of 20 boxes faulty, 1 of 9 images without '
                                                                     'boxes')
    assert ('low_quality' in [item['code'] for item in content.diagnosis['findings']]) == low
    assert quality_text(quality | {'of': 'images', 'faulty': 0}) == '0 of 9 images faulty'
    assert 'faulty' not in ''.join(map(str, content_of(loaded('detection'), detections(images, 4), pictures=0,
                                                       samples=3).data))


def test_more_than_a_hundred_detections_of_an_image(images):
    """AP50, its bracket, the diagnosis and the calibration are of the hundred best of a class, as COCO has it.

    Of six equal images, ranks 1 to 5 find five of ten boxes, ranks 101 to 105 the rest: AP50 is 51 / 101, with the
    latter 0.55; and as all draws of equal images are equal, the bracket lies about the value.
    """
    truth = np.array([[60 * i, 10, 60 * i + 40, 50] for i in range(10)], np.float64)
    false = np.array([[4 * i, 300, 4 * i + 30, 330] for i in range(140)], np.float64)
    found = np.concatenate([truth[:5], false[:95], truth[5:], false[95:]])
    records = [dict(image=path, width=640, height=480, facts={'img_id': i}, boxes=found, labels=np.zeros(150, int),
                    scores=np.linspace(0.9, 0.1, 150), gt_boxes=truth, gt_labels=np.zeros(10, int),
                    gt_ignore=np.zeros(10, bool)) for i, path in enumerate(images[:6])]
    judged = Collected('detection', CLASSES, 'val', np.tile([10., 0, 0], (6, 1)), [{}] * 6, records)
    tables = coco_tables(records, [{'boxes': truth, 'labels': record['gt_labels']} for record in records], CLASSES)
    reference = precision_and_recall(*tables)[0][0, :, 0, 0].mean()
    assert reference == pytest.approx(51 / 101)
    content = content_of(loaded('detection'), judged, pictures=0, samples=10)
    row = content.rows[0]
    assert row['AP50'] == pytest.approx(reference) and row['score'] == pytest.approx(reference)
    assert row['AP50_low'] == pytest.approx(reference, abs=0.011) == row['AP50_high']
    assert content.diagnosis['fit']['val'] == pytest.approx(reference)
    assert content.diagnosis['errors']['mAP'] == pytest.approx(reference)
    assert content.diagnosis['calibration']['detections'] == 600
    assert content.calibration[0].note.endswith('600 entries')


def test_predictions_are_paired_with_truth_once_a_split(images, monkeypatch):
    """Whatever stands on the page: boxes are compared once an image, and matched once at each overlap that is asked."""
    asked: dict[str, list] = {'splits': [], 'images': [], 'overlaps': []}

    def count(module, name, key, what):
        call = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *args, **kwargs: (asked[key].append(what(*args)), call(
            *args, **kwargs))[1])
    count(predictions, 'pair_boxes', 'splits', lambda *_: 1)
    count(matching, 'overlaps', 'images', lambda *_: 1)
    count(matching.Pairing, 'assign', 'overlaps', lambda pairing, iou, _: (id(pairing), iou))
    content_of(loaded('detection'), detections(images, 12), detections(images, 5, split='train', seed=1), samples=3,
               pictures=6)
    assert (len(asked['splits']), len(asked['images'])) == (2, 12 + 5)
    assert len(asked['overlaps']) == 2 * len(IOUS) + 1  # and once across classes, for the confusion matrix
    assert len(set(asked['overlaps'])) == 2 * len(IOUS)


@pytest.mark.parametrize('lost', ['detections of one class', 'all detections', 'boxes of one class', 'all boxes',
                                  'everything'])
@pytest.mark.parametrize('number', [1, 4])
def test_detector_that_finds_nothing_and_sets_without_boxes(lost, number, images):
    judged = detections(images, number)
    for record in judged.records:
        for labels, parts in (('labels', ('boxes', 'scores', 'labels')),
                              ('gt_labels', ('gt_boxes', 'gt_ignore', 'gt_labels'))):
            whole = 'boxes' if labels == 'gt_labels' else 'detections'
            keep = record[labels] != 1 if lost == f'{whole} of one class' else np.full(
                len(record[labels]), lost not in (f'all {whole}', 'everything'))
            record.update({part: record[part][keep] for part in parts})
    content = content_of(loaded('detection'), judged, pictures=2, samples=3)
    recall = content.rows[1]['recall']
    if lost in ('detections of one class', 'all detections'):
        assert recall == 0 and content.rows[1]['AP'] == 0
    elif lost != 'everything':
        assert recall is None or np.isnan(recall)
    assert not re.search(r'\bnan\b', re.sub('base64,[^"]*', '', render_page(content)))


@pytest.mark.parametrize('single', [False, True])
@pytest.mark.parametrize('number', [1, 4])
def test_classifier_of_one_class_or_none(single, number, images):
    judged = labelled(images, number, single=single)
    for record in judged.records:
        record['truth'] = np.eye(3)[0] if single else np.full(3, np.nan)
    task = 'single-label' if single else 'multi-label'
    content = content_of(loaded(task), judged, pictures=2, samples=3, cam=False)
    assert content.rows[1]['AUROC' if single else 'score'] is None and 'Rep' in render_page(content)


def test_multi_label_classifier(images):
    content = content_of(loaded('multi-label'), labelled(images, 60), pictures=5, samples=20, cam=False)
    scores = {score['name']: score for score in content.scores}
    assert scores['mean AUROC']['value'] == pytest.approx(content.diagnosis['fit']['val'])
    assert 'percentiles of 20 bootstrap draws of whole patients' in content.scores_note
    assert 'of a single class is by percentiles of 1000 bootstrap draws of whole patients' in content.scores_note
    assert dict(content.data)['Judged'] == '60 validation images, 30 patients'
    assert set(content.kinds) == {'missed', 'false'} and len(content.pictures) == 5
    assert all(kind in content.kinds for picture in content.pictures for _, kind in picture.marks)
    text = render_page(content)
    assert 'Right and wrong decisions of each class' in text and 'Decisions by 0.5 for every class' in text
    assert 'The worst single decisions' in text


@pytest.mark.parametrize('patients', [True, False])
def test_one_interval_of_an_auroc_everywhere(patients, images, tmp_path):
    """In the metric, the diagnosis, the table of the report and its ROC panels: by hand of films of one patient each
    drawn as a whole; without patients DeLong's on the logit scale."""
    judged = labelled(images, 60, patients=patients)
    for number, record in enumerate(judged.records):
        record['image'] = f'{number}.png'
    true, prob = judged.matrix('truth'), judged.matrix('probabilities')
    if patients:
        draws = np.random.default_rng(0).integers(30, size=(1000, 30))  # two films each; 50 draws at a time
        times = np.repeat([np.bincount(draw, minlength=30) for draw in draws], 2, axis=1)
        areas = []
        for label, score in zip(true.T, prob.T):
            wins = score[label == 1][:, None] > score[label == 0]
            over, under = times[:, label == 1], times[:, label == 0]
            areas.append(((over @ wins) * under).sum(axis=1) / over.sum(axis=1) / under.sum(axis=1))
        expected = np.quantile(areas, (0.025, 0.975), axis=1)
    else:
        area, spread = np.array([delong_by_hand(true[:, i], prob[:, i]) for i in range(3)]).T
        middle, width = np.log(area / (1 - area)), 1.959964 * spread / area / (1 - area)
        expected = 1 / (1 + np.exp(-np.array([middle - width, middle + width])))
    content = content_of(loaded('multi-label'), judged, pictures=0, samples=20, cam=False)
    for rows in (content.rows, content.diagnosis['per_class']):
        np.testing.assert_allclose([[row[end] for row in rows] for end in ('low', 'high')], expected, rtol=1e-6)
    what = 'bootstrap' if patients else 'DeLong'
    for panel, low, high in zip(content.curves['ROC'], *expected, strict=True):
        assert panel.note.endswith(f' [{low:.2f}, {high:.2f}] {what}')
    about = content.diagnosis['interval']['about']
    assert what in about and all(about in text for text in (content.scores_note, content.curves_note))
    metric = MultiLabelMetric(out_dir=str(tmp_path))
    metric.dataset_meta = {'classes': CLASSES}
    metric.process(None, [{'pred_score': torch.tensor(record['probabilities']), 'img_path': record['image'],
                           'gt_score': torch.tensor(record['truth'])} | record['facts'] for record in judged.records])
    found = metric.evaluate(60)
    np.testing.assert_allclose([[found[f'multi-label/AUROC_{name}_{end}'] for name in CLASSES]
                                for end in ('low', 'high')], expected, rtol=1e-6)
    assert json.loads((tmp_path / 'metrics.json').read_text())['interval'] == about


def delong_by_hand(true, score):
    """Area and DeLong's standard error, pair by pair."""
    wins = (score[true == 1][:, None] > score[true == 0]).astype(float)
    variances = [wins.mean(axis=axis).var(ddof=1) / wins.shape[1 - axis] for axis in (0, 1)]
    return wins.mean(), np.sqrt(sum(variances))


def test_the_mean_over_findings_is_among_the_scores(images):
    judged = replace(labelled(images, 60), classes=('Effusion', 'Mass', 'No Finding'))
    model = loaded('multi-label')._replace(classes=judged.classes)
    scores = {score['name']: score for score in content_of(model, judged, pictures=0, samples=20, cam=False).scores}
    areas = [roc_auc_score(judged.matrix('truth')[:, i], judged.matrix('probabilities')[:, i]) for i in (0, 1)]
    assert scores['AUROC of findings']['value'] == pytest.approx(np.mean(areas))
    assert scores['mean AUROC']['value'] != pytest.approx(np.mean(areas))


def test_single_label_classifier(images):
    content = content_of(loaded('single-label'), labelled(images, 60, single=True, patients=False), pictures=5,
                         samples=20, cam=False)
    scores = {score['name']: score for score in content.scores}
    assert scores['accuracy']['value'] == pytest.approx(content.diagnosis['fit']['val'])
    ece = content.diagnosis['calibration']['ece']
    assert content.calibration[0].note.startswith(f'calibration error {ece:.3f}')
    text = render_page(content)
    assert 'id="confusion"' in text and 'No patients are known' in text
    wrong = [picture for picture in content.pictures if len(picture.marks) == 2]
    assert len(wrong) == 5, 'a wrong image misses its class and raises a false alarm for another'


def test_many_classes_get_panels_of_the_most_frequent(images):
    judged = labelled(images, 40, patients=False)
    names = tuple(f'class {i}' for i in range(30))
    rng = np.random.default_rng(0)
    for record in judged.records:
        record['truth'], record['probabilities'] = (rng.random(30) < 0.3).astype(float), rng.random(30)
    labels = np.array([record['truth'] for record in judged.records])
    wide = Collected('multi-label', names, 'val', labels, judged.facts, judged.records, read_image)
    model = loaded('multi-label')._replace(classes=names)
    content = content_of(model, wide, pictures=0, samples=5, cam=False)
    assert len(content.curves['ROC']) == 24 and 'the 24 most frequent classes' in content.scores_note
    assert content.pictures == [] and len(content.rows) == 30


@pytest.mark.parametrize('marks, most, expected', [
    ([], 4, []),
    ([{1}, set(), {1}, {2}, {1}], 2, [0, 3]),  # half the worst, then what is rare
    ([{1}, {1}, {1}, {1}, {1}, {2}, {3}], 4, [0, 1, 5, 6]),
    ([{1}, {2}], 9, [0, 1])])
def test_which_pictures(marks, most, expected):
    assert choose(marks, most) == expected


def test_fingerprint_follows_files_and_labels(images, tmp_path):
    records = detections(images, 6).records
    first = fingerprint(records)
    assert fingerprint(records[::-1]) == first and len(first) == 64
    moved = [dict(record) for record in records]
    for record in moved:
        target = tmp_path / record['image'].rpartition('/')[2]
        target.write_bytes(open(record['image'], 'rb').read())
        record['image'] = str(target)
    assert fingerprint(moved) == first
    moved[0] |= {'gt_boxes': moved[0]['gt_boxes'] + 1}
    assert fingerprint(moved) != first


def test_groups():
    def judged(*facts):
        return Collected('detection', CLASSES, 'val', np.zeros((0, 3)), [], [{'facts': fact} for fact in facts])
    groups = judged({'patient_id': 3}, {'patient_id': 3}, {}).groups()
    assert judged({'group': 'a'}, {'group': 'b'}).groups().tolist() == [0, 1]
    assert groups[0] == groups[1] != groups[2]
    assert judged({}, {}).groups() is None


def test_history_is_found_or_asked_for(tmp_path):
    model = loaded('detection', tmp_path)
    place = model.cfg, model.checkpoint
    panels, note = training_panels(*place)
    assert panels == [] and note.startswith('No history.json was found')
    (tmp_path / 'log' / 'vis_data').mkdir(parents=True)
    (tmp_path / 'log' / 'vis_data' / 'scalars.json').write_text('{"loss": 2, "lr": 0.1, "epoch": 1, "iter": 4}\n')
    panels, note = training_panels(*place)
    assert panels[0].lines[0].y.tolist() == [2] and 'From the log of MMEngine' in note
    records = [{'epoch': i, 'iter': i, 'train': {'loss': 1 / i}, 'time': {'train': 60.}} for i in (1, 2)]
    (tmp_path / 'history.json').write_text(to_json(records))
    panels, note = training_panels(*place)
    assert panels[0].lines[0].y.tolist() == [1, 0.5] and note == '2 epochs, 2 minutes with validation.'
    with pytest.raises(DataError, match='nowhere: no such file'):
        training_panels(*place, tmp_path / 'nowhere')


@pytest.mark.parametrize('options, text', [
    (dict(out='page.pdf'), 'expected a name that ends in .html'),
    (dict(split='train'), 'split must be one of val, test'),
    (dict(samples=0), 'samples must lie in'), (dict(score_thr=2), r'score_thr must lie in \[0, 1\]')])
def test_errors(options, text):
    with pytest.raises(ConfigError, match=text):
        report('none.py', 'none.pth', **{'out': 'x.html', **options})


def test_no_image():
    with pytest.raises(ConfigError, match='val set has no image to judge'):
        content_of(loaded('detection'), Collected('detection', CLASSES, 'val', np.zeros((0, 3)), []))


@pytest.mark.long
@pytest.mark.parametrize('task', ['detection', 'multi-label'])
def test_five_thousand_images(task, images, browser, tmp_path):
    """Below 15 MB, and few elements for the browser to lay out."""
    judged = detections(images, 5000) if task == 'detection' else labelled(images, 5000)
    content = content_of(loaded(task), judged, samples=50, cam=False)
    path = tmp_path / 'large.html'
    path.write_text(render_page(content), encoding='utf-8')
    assert len(content.pictures) == 60
    assert path.stat().st_size < 15e6
    assert browser.open(path).execute_script('return document.querySelectorAll("*").length') < 20_000
