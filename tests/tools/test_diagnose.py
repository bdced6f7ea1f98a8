"""tools/diagnose.py from the command line: models whose errors are known, made to order; text, JSON and exit codes."""
import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from cxrdet.core.errors import ConfigError
from cxrdet.core.recipes import find_config

ROOT = Path(__file__).parents[2]
TINY, CSV, CHEST = map(find_config, ('faster_rcnn_bifpn_cell_tiny', 'resnet18_crops_64', 'resnet18_chest_phantom'))


class Oracle(torch.nn.Module):
    """Predicts what ``answer`` makes of a sample."""

    def __init__(self, answer, multi_label=None):
        super().__init__()
        self.answer, self.multi_label = answer, multi_label

    def test_step(self, batch):
        return [self.answer(sample) for sample in batch['data_samples']]


@pytest.fixture
def diagnose(tool, monkeypatch, tmp_path, capsys):
    """Run the tool with an oracle in place of the model; gives the report of the JSON file and the text."""
    def run(config, data_root, classes, answer, *options, multi_label=None):
        from cxrdet.inference import split_predictions as collect
        from cxrdet.preflight.data import follow_classes

        def build_model(cfg, *args, **kwargs):
            follow_classes(cfg, classes=classes)
            return Oracle(answer, multi_label), classes
        monkeypatch.setattr(collect, 'build_model', build_model)
        checkpoint = tmp_path / 'epoch_1.pth'
        torch.save({'meta': {'dataset_meta': {'classes': classes}}, 'state_dict': {}}, checkpoint)
        assert tool('diagnose').main([str(config), str(checkpoint), '--data-root', str(data_root), '--workers', '0',
                                      '--device', 'cpu', '--out', str(tmp_path / 'out.json'), *options]) == 0
        text = capsys.readouterr().out
        text = text[text.index(str(config).split()[0]):]
        assert max(map(len, text.splitlines())) <= 110
        return json.loads((tmp_path / 'out.json').read_text()), text
    return run


def codes(report):
    return [item['code'] for item in report['findings']]


def boxes_of(sample, change):
    """The true boxes of a sample as predictions, after ``change`` of (box, label, score)."""
    from mmengine.structures import InstanceData
    rows = [row for box in sample.instances for row in change(np.array(box['bbox']), box['bbox_label'])]
    sample.pred_instances = InstanceData(
        bboxes=torch.tensor(np.array([row[0] for row in rows]).reshape(-1, 4)),
        labels=torch.tensor([row[1] for row in rows], dtype=torch.long),
        scores=torch.tensor([row[2] for row in rows], dtype=torch.float64))
    return sample


@pytest.fixture(scope='module')
def cells(tmp_path_factory):
    from cxrdet.datasets.phantoms import write_cell_phantoms
    folder = write_cell_phantoms(tmp_path_factory.mktemp('cells') / 'set', splits={'train': 12, 'val': 8}, size=128)
    classes = tuple(item['name'] for item in json.loads(
        (Path(folder) / 'annotations/val.json').read_text())['categories'])
    return folder, classes


def test_detector(cells, diagnose):
    """Perfect on training images; on validation every box of the second class is called the first, with 0.9."""
    folder, classes = cells
    val = {image['file_name'] for image in json.loads((Path(folder) / 'annotations/val.json').read_text())['images']}

    def answer(sample):
        new = any(sample.img_path.endswith(name) for name in val)
        return boxes_of(sample, lambda box, label: [(box, 0 if new and label == 1 else label, 0.9)])
    report, text = diagnose(TINY, folder, classes, answer)
    content = json.loads((Path(folder) / 'annotations/val.json').read_text())
    numbers = np.bincount([box['category_id'] for box in content['annotations']], minlength=len(classes) + 1)
    ids = [item['id'] for item in content['categories']]
    first, second = (int(numbers[ids[i]]) for i in (0, 1))
    assert report['fit']['train'] == 1 and report['fit']['over'] == [
        name for name, number in zip(classes, ids) if numbers[number]]
    found = {row['class']: row for row in report['per_class']}
    assert found[classes[1]]['score'] == 0 and found[classes[1]]['flag'] and found[classes[1]]['val'] == second
    assert found[classes[0]]['precision'] == pytest.approx(first / (first + second))
    assert found[classes[0]]['recall'] == 1
    types = {row['type']: row for row in report['errors']['types']}
    assert types['classification']['count'] == second == sum(row['count'] for row in types.values())
    assert types['classification']['gain'] == pytest.approx(1 - report['errors']['mAP'])
    assert np.array(report['confusion']['matrix'])[1, 0] == second
    assert report['confusions'][0] == {'true': classes[1], 'predicted': classes[0], 'count': second, 'share': 1.}
    assert {'overfit', 'weak_class', 'classification'} <= set(codes(report))
    assert sum(row['errors'] for row in report['worst']) == second
    assert f'{classes[1]} called {classes[0]}: {second} (100% of its boxes)' in text
    assert 'Overfitting: mAP@0.5 is 1.000 on training images' in text and '-> cxrdet.RoIFocalLoss' in text
    assert report['images'] == {'train': {'total': 12, 'judged': 12}, 'val': {'total': 8, 'judged': 8}}
    ratio = report['imbalance']['ratio'] > 5
    assert report['flags'] | {'low_quality_data': None} == {
        'overfit': True, 'underfit': False, 'imbalance': ratio, 'low_quality_data': None}
    assert report['quality']['images'] == 12 and report['flags']['low_quality_data'] == report['quality']['low']
    assert 'Flags: overfit yes, underfit no, ' in text and 'Annotations of the training set: ' in text


def test_detector_against_the_metric(cells, diagnose):
    """Boxes moved at random, some lost, some made up: mAP as cxrdet.DetectionMetric gives it."""
    from cxrdet.evaluation.metrics import DetectionMetric
    folder, classes = cells
    rng, samples = np.random.default_rng(0), []

    def answer(sample):
        def change(box, label):
            moved = box + rng.normal(0, 3, 4)
            made = [(box + rng.uniform(-60, 60), int(rng.integers(len(classes))), float(rng.random()))]
            kept = [(np.sort(moved.reshape(2, 2), axis=0).ravel(), label, float(rng.random()))]
            return kept[:rng.random() < 0.9] + made
        samples.append(boxes_of(sample, change))
        return samples[-1]
    report, text = diagnose(TINY, folder, classes, answer, '--train-images', '0', '--score-thr', '0.5')
    metric = DetectionMetric()
    metric.dataset_meta = {'classes': classes}
    metric.process(None, [sample.to_dict() | {'pred_instances': dict(sample.pred_instances.items())}
                          for sample in samples])
    values = metric.compute_metrics(metric.results)
    assert report['fit']['val'] == pytest.approx(values['bbox_mAP_50']) == pytest.approx(report['errors']['mAP'])
    assert report['fit']['more']['mAP@0.5:0.95']['val'] == pytest.approx(values['bbox_mAP'])
    for name in ('precision', 'recall', 'F1'):
        assert report['operating'][name] == pytest.approx(values[name])
        for row in report['per_class']:
            assert row[name] == pytest.approx(values[f'{name}_{row["class"]}'], nan_ok=True) or row[name] is None
    assert report['fit']['verdict'] == 'unknown' and 'no training images judged' in text and report['score_thr'] == 0.5


def test_faulty_annotations_set_their_flag(tmp_path, diagnose):
    """Of two training boxes a third is a twin, as the check of data finds it; the fourth flag is set, with advice."""
    for name in ('annotations', 'images'):
        (tmp_path / 'set' / name).mkdir(parents=True)
    for k, split in enumerate(('train', 'val')):
        cv2.imwrite(str(tmp_path / 'set' / 'images' / f'{split}.png'), np.full((96, 96, 3), 90 * k, np.uint8))
        boxes = [[10, 10, 30, 30], [50, 50, 30, 30]] + [[10, 10, 30, 30]] * (1 - k)
        (tmp_path / 'set' / 'annotations' / f'{split}.json').write_text(json.dumps({
            'images': [{'id': 1, 'file_name': f'{split}.png', 'height': 96, 'width': 96}],
            'annotations': [{'id': n, 'image_id': 1, 'category_id': 1, 'bbox': box} for n, box in enumerate(boxes)],
            'categories': [{'id': 1, 'name': 'a'}]}))
    report, text = diagnose(TINY, tmp_path / 'set', ('a',), lambda sample: boxes_of(
        sample, lambda box, label: [(box, label, 0.9)]))
    assert report['flags']['low_quality_data'] and report['quality']['counts']['duplicate_box'] == 1
    assert report['quality']['share'] == pytest.approx(1 / 3) and 'low_quality' in codes(report)
    assert 'low quality data yes' in text and '1 of 3 boxes of the training set are faulty' in text


@pytest.fixture(scope='module')
def crops(tmp_path_factory):
    folder = tmp_path_factory.mktemp('crops')
    lines, names = ['path,label,split'], ('hsil', 'lsil', 'scc')
    for label, name in enumerate(names):
        for split, count in (('train', 30 if label == 0 else 5), ('val', 10)):
            for n in range(count):
                cv2.imwrite(str(folder / f'{name}_{split}_{n}.png'), np.full((20, 20, 3), 60 * label, np.uint8))
                lines.append(f'{name}_{split}_{n}.png,{name},{split}')
    (folder / 'metadata.csv').write_text('\n'.join(lines))
    (folder / 'label2id.json').write_text(json.dumps({name: i for i, name in enumerate(names)}))
    return folder, names


def test_single_label_classifier(crops, diagnose):
    """Right on training images; on validation seven of ten lsil are called hsil, at 0.98 like every answer."""
    folder, names = crops

    def answer(sample):
        number = int(Path(sample.img_path).stem.rpartition('_')[2])
        label = int(sample.gt_label)
        called = 0 if 'lsil_val' in sample.img_path and number < 7 else label
        score = torch.full((3,), 0.01)
        score[called] = 0.98
        return sample.set_pred_score(score)
    report, text = diagnose(CSV, folder, names, answer, multi_label=False)
    assert report['task'] == 'single-label' and report['fit']['train'] == 1
    assert report['fit']['val'] == pytest.approx(23 / 30) and report['fit']['verdict'] == 'overfit'
    assert report['confusion']['matrix'] == [[10, 0, 0], [7, 3, 0], [0, 0, 10]]
    assert [row['score'] for row in report['per_class']] == [1, 0.3, 1]
    assert report['imbalance']['ratio'] == 6 and report['imbalance']['counts'] == {'hsil': 30, 'lsil': 5, 'scc': 5}
    assert report['calibration']['ece'] == pytest.approx(0.98 - 23 / 30, abs=1e-6)
    assert set(codes(report)) == {'overfit', 'imbalance', 'overconfident', 'confusion'}
    assert report['worst'][0]['why'] == 'lsil (0.01) called hsil (0.98)' and len(report['worst']) == 7
    assert 'lsil called hsil: 7 (70% of its images)' in text and report['confounding'] == []
    assert report['flags'] == {'overfit': True, 'underfit': False, 'imbalance': True, 'low_quality_data': False}


def test_what_to_annotate_next(crops, diagnose, tmp_path, monkeypatch):
    """lsil is called right in 3 of 10 (weakness 0.7), scc always: of two images at 1:1, that with lsil comes first."""
    folder, names = crops
    (tmp_path / 'new').mkdir()
    prob = {'sure.png': [.98, .01, .01], 'weak.png': [.5, .5, 0], 'strong.png': [.5, 0, .5], 'most.png': [1 / 3] * 3}
    for k, name in enumerate(prob):
        cv2.imwrite(str(tmp_path / 'new' / name), np.full((20, 20, 3), 40 * k, np.uint8))

    def answer(sample):
        name = Path(sample.img_path).name
        if name in prob:
            return sample.set_pred_score(torch.tensor(prob[name]))
        wrong = 'lsil_val' in name and int(name.split('_')[2].split('.')[0]) < 7
        return sample.set_pred_score(torch.eye(3)[0 if wrong else int(sample.gt_label)])
    table = tmp_path / 'next.csv'
    monkeypatch.setattr(import_module('cxrdet.inference.predict'), 'build_model',
                        lambda *args, **kwargs: (Oracle(answer, False), names))
    _, text = diagnose(CSV, folder, names, answer, '--annotate-next', str(tmp_path / 'new'), '--annotate-csv',
                       str(table), multi_label=False)
    rows = [line.split(',') for line in table.read_text().splitlines()]
    assert rows[0] == ['rank', 'image', 'priority', 'uncertainty', 'class', 'weakness']
    assert [row[1] for row in rows[1:]] == ['most.png', 'weak.png', 'strong.png', 'sure.png']
    half = np.log(2) / np.log(3)
    assert [float(row[2]) for row in rows[1:4]] == pytest.approx(
        [1 + .7 / 3, half * (1 + .7 / 2), half], abs=1e-5)
    assert 'Annotate next' in text and '1. most.png: 1.233, most of it hsil' in text


@pytest.fixture(scope='module')
def films(tmp_path_factory):
    from cxrdet.datasets.phantoms import write_chest_phantoms
    return write_chest_phantoms(tmp_path_factory.mktemp('films') / 'set', num_images=150, size=64)


def test_multi_label_classifier(films, diagnose):
    """It knows everything but effusions, of which it says the contrary."""
    from mmengine.config import Config
    classes = tuple(Config.fromfile(str(CHEST)).phantom_set.metainfo.classes)
    bad = classes.index('Effusion')

    def answer(sample):
        score = sample.gt_score * 0.8 + 0.1
        score[bad] = 1 - score[bad]
        return sample.set_pred_score(score)
    report, text = diagnose(CHEST, films, classes, answer, '--train-images', '20', '--worst', '3', multi_label=True)
    rows = {row['class']: row for row in report['per_class']}
    assert rows['Effusion']['score'] == 0 and rows['Effusion']['flag']
    assert all(row['score'] in (1, None) for name, row in rows.items() if name != 'Effusion')
    assert report['images']['train']['judged'] == 20 < report['images']['train']['total']
    assert report['fit']['verdict'] in ('good', 'underfit') and report['fit']['low'] == 0.75
    assert report['flags']['low_quality_data'] is False and report['quality']['of'] == 'images'
    assert 'weak_class' in codes(report) and 'Weak classes, AUROC below 0.65: Effusion 0.000' in text
    calls = report['wrong_calls']
    assert {call['class'] for part in calls.values() for call in part} == {'Effusion'}
    assert [call['probability'] for call in calls['misses']] == pytest.approx([0.1] * len(calls['misses']), abs=1e-6)
    assert all('Effusion' in row['why'] for row in report['worst'])
    assert report['operating_point'].startswith('0.5 for every class: the checkpoint stores no operating points')


@pytest.mark.parametrize('config', [CSV, CHEST], ids=['single-label', 'multi-label'])
def test_untrained_classifiers_run_through(config, crops, films, tool, tmp_path, capsys):
    """Real models, a real checkpoint, worker processes."""
    import copy

    from mmengine.registry import MODELS, DefaultScope

    from cxrdet.preflight.config import load_config
    from cxrdet.preflight.data import follow_classes
    data = crops[0] if config == CSV else films
    cfg = load_config(config, data_root=data)
    follow = copy.deepcopy(cfg)
    classes = follow_classes(follow)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = MODELS.build(follow.model | {'data_preprocessor': follow.data_preprocessor})
    torch.save({'meta': {'dataset_meta': {'classes': classes}}, 'state_dict': model.state_dict()}, tmp_path / 'a.pth')
    assert tool('diagnose').main([str(config), str(tmp_path / 'a.pth'), '--data-root', str(data), '--workers', '1',
                                  '--train-images', '8', '--out', str(tmp_path / 'a.json')]) == 0
    report = json.loads((tmp_path / 'a.json').read_text())
    assert report['classes'] == list(classes) and report['images']['train']['judged'] == 8
    assert 'Findings: ' in capsys.readouterr().out


def test_help_imports_nothing_heavy():
    code = ('import runpy, sys; sys.argv = ["diagnose.py", "--help"]\n'
            'try:\n    runpy.run_path("tools/diagnose.py", run_name="__main__")\n'
            'except SystemExit as end:\n    print("CODE", end.code)\n'
            'print("HEAVY", sorted({"torch", "mmengine", "numpy", "cv2"} & set(sys.modules)))')
    text = subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert 'CODE 0' in text and 'HEAVY []' in text
    for option in ('--out', '--split', '--train-images', '--seed', '--score-thr', '--worst', '--device', '--workers',
                   '--data-root', '--cfg-options', '--trust-checkpoint'):
        assert option in text


def test_errors_of_the_user(tool, capsys, cells, tmp_path):
    checkpoint = str(tmp_path / 'none.pth')
    for arguments, text in (
            (['no.py', checkpoint], 'error: no.py: no such config file'),
            ([str(TINY), checkpoint, '--data-root', str(tmp_path / 'no')], 'no such folder'),
            ([str(TINY), checkpoint, '--data-root', str(cells[0])], 'none.pth'),
            ([str(TINY), checkpoint, '--annotate-next', str(tmp_path / 'no')], 'no: no such image or folder'),
            ([str(TINY), checkpoint, '--train-images', '-1'], '--train-images: expected a whole number from 0 on'),
            ([str(TINY), checkpoint, '--score-thr', '2'], '--score-thr: expected a number')):
        assert tool('diagnose').main(arguments) == 2
        assert text in capsys.readouterr().err


def test_score_threshold_is_for_detectors(crops, monkeypatch, tmp_path):
    module = import_module('cxrdet.analysis.diagnose')
    from cxrdet.inference.split_predictions import LoadedModel
    loaded = 'cxrdet.inference.split_predictions.load_model'
    monkeypatch.setattr(loaded, lambda cfg, *args, **kwargs: LoadedModel(
        cfg, None, crops[1], 'single-label', {}, 'x.pth'))
    with pytest.raises(ConfigError, match='score_thr is for detectors'):
        module.diagnose(CSV, 'x.pth', score_thr=0.5)
    with pytest.raises(ConfigError, match='split must be one of val, test, got "train"'):
        module.diagnose(CSV, 'x.pth', split='train')


def test_options_of_the_list_need_the_list(tool, capsys):
    assert tool('diagnose').main(['a.py', 'a.pth', '--annotate-csv', 'next.csv']) == 2
    assert 'are for --annotate-next IMAGES' in capsys.readouterr().err
