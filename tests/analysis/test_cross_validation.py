"""Cross-validation: what runs and what does not run again, and figures by hand and by scikit-learn."""
import json
import os
import re
import subprocess
import sys
import time
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from sklearn.metrics import accuracy_score, average_precision_score, balanced_accuracy_score, roc_auc_score

from cxrdet.analysis import cross_validation
from cxrdet.analysis.cross_validation import (
    Plan,
    cross_validate,
    headline,
    metrics_of,
    numbered,
    pool_scores,
    report_text,
    summary_of,
)
from cxrdet.analysis.trainings import cost_of
from cxrdet.core.errors import ConfigError, DataError, TrainingError
from cxrdet.core.sample_files import read_samples, write_samples
from cxrdet.preflight.config import load_config

REPOSITORY = Path(__file__).parents[2]

# --- figures


def test_mean_spread_and_interval_by_hand():
    """0.6, 0.7, 0.8 of three folds: t = 4.3027, sqrt(1/3 + 1/2) = 0.9129, s = 0.1, so 0.7 +- 0.3928."""
    found = summary_of({'fold_0': {'a': .6, 'b': None}, 'fold_1': {'a': .7, 'b': .5}, 'fold_2': {'a': .8}},
                       test_to_train=1 / 2, pooled={'a': .65, 'c': 1.})
    assert list(found) == ['a', 'b']
    assert found['a']['values'] == {'fold_0': .6, 'fold_1': .7, 'fold_2': .8}
    assert [found['a'][key] for key in ('mean', 'sd', 'low', 'high', 'pooled')] == pytest.approx(
        [.7, .1, .7 - .39278, .7 + .39278, .65], abs=1e-5)
    assert found['b'] == {'values': {'fold_0': None, 'fold_1': .5, 'fold_2': None}, 'mean': .5, 'sd': None, 'low': None,
                          'high': None}


def multi_label_folds() -> list[list[dict]]:
    """Three folds of 20, 15 and 10 films of two classes, one with unknown labels."""
    rng, folds = np.random.default_rng(3), []
    for k, count in enumerate((20, 15, 10)):
        true = rng.integers(0, 2, (count, 2)).astype(np.float32)
        true[::7, 1] = np.nan
        score = np.clip(rng.normal(np.nan_to_num(true) * .2 + .4, .2), 0, 1).astype(np.float32)
        folds.append([dict(img_path=f'films/{k}_{i}.png', img_id=i, classes=['a', 'b'], gt_score=torch.tensor(t),
                           pred_score=torch.tensor(s)) for i, (t, s) in enumerate(zip(true, score))])
    return folds


def test_pooled_figures_of_several_labels_equal_those_of_scikit_learn():
    samples = numbered([sample for fold in multi_label_folds() for sample in fold])
    assert [sample['img_id'] for sample in samples] == list(range(1, 46))  # they had been given thrice
    true, score = (np.array([sample[key].numpy() for sample in samples]) for key in ('gt_score', 'pred_score'))
    known = ~np.isnan(true)
    areas, precisions = ([measure(true[known[:, c], c], score[known[:, c], c]) for c in (0, 1)]
                         for measure in (roc_auc_score, average_precision_score))
    scores = {one['name']: one for one in pool_scores(samples, {})['scores']}
    assert scores['mean AUROC']['value'] == pytest.approx(np.mean(areas))
    assert scores['mean AP']['value'] == pytest.approx(np.mean(precisions))
    assert [one['AUROC'] for one in pool_scores(samples, {})['classes'].values()] == pytest.approx(areas)
    assert scores['mean AUROC']['low'] < np.mean(areas) < scores['mean AUROC']['high']
    cfg = Config(dict(default_scope='mmpretrain', test_evaluator=dict(type='cxrdet.MultiLabelMetric', resamples=0)))
    metrics = metrics_of(cfg, samples)
    assert metrics['multi-label/AUROC_b'] == pytest.approx(areas[1])
    assert 'multi-label/F1_macro@0.5' in metrics
    assert not any(key.endswith('@youden') for key in metrics)  # it would be chosen on what is judged


@pytest.mark.parametrize('given', [{}, {'gt_score': torch.eye(3)}], ids=['label', 'label and scores'])
def test_pooled_figures_of_one_label_equal_those_of_scikit_learn(given):
    rng = np.random.default_rng(0)
    true = rng.integers(0, 3, 40)
    prob = rng.dirichlet(np.ones(3), 40) + np.eye(3)[true] * .3
    prob /= prob.sum(axis=1, keepdims=True)
    samples = [dict(img_path=f'{i}.png', classes=list('abc'), gt_label=torch.tensor([t]), pred_score=torch.tensor(p),
                    pred_label=torch.tensor([p.argmax()]), **{key: rows[t] for key, rows in given.items()})
               for i, (t, p) in enumerate(zip(true.tolist(), prob))]
    scores = {one['name']: one['value'] for one in pool_scores(samples, {})['scores']}
    called = prob.argmax(axis=1)
    expected = accuracy_score(true, called), balanced_accuracy_score(true, called), roc_auc_score(
        true, prob, multi_class='ovr')
    assert [scores[name] for name in ('accuracy', 'balanced accuracy', 'mean AUROC')] == pytest.approx(expected)
    cfg = Config(dict(default_scope='mmpretrain', val_evaluator=dict(type='cxrdet.ConfusionMatrixMetric')))
    assert metrics_of(cfg, samples)['accuracy/top1'] == pytest.approx(expected[0])


def test_pooled_figures_of_boxes_by_hand():
    """Two images of one object each: a hit of score 0.9 and, in the other, a false alarm of score 0.95.

    By score: precision 0, then 1/2 at recall 1/2: COCO counts 51 of 101 levels of recall at 1/2, so 0.2525.
    """
    def sample(path, box, score):
        return dict(img_path=path, img_id=1, ori_shape=(50, 50), classes=['cell'],
                    instances=[dict(bbox=[0, 0, 10, 10], bbox_label=0, ignore_flag=0)],
                    pred_instances=dict(bboxes=torch.tensor([box]), scores=torch.tensor([score]),
                                        labels=torch.tensor([0])))
    samples = numbered([sample('a.png', [0., 0., 10., 10.], .9), sample('b.png', [30., 30., 40., 40.], .95)])
    scores = {one['name']: one['value'] for one in pool_scores(samples, {})['scores']}
    assert scores['mAP at IoU 0.5'] == pytest.approx(51 / 101 / 2)
    assert scores['recall at score 0.50'] == scores['precision at score 0.50'] == .5
    cfg = Config(dict(default_scope='mmdet', test_evaluator=dict(type='cxrdet.DetectionMetric')))
    assert metrics_of(cfg, samples)['coco/bbox_mAP_50'] == pytest.approx(51 / 101 / 2)
    assert pool_scores(samples, {})['classes']['cell']['AP50'] == pytest.approx(51 / 101 / 2)
    for one in samples:
        del one['instances']  # a stock metric reads the annotation file
    assert pool_scores(samples, {})['scores'] == []


def test_intervals_of_the_pool_draw_whole_patients():
    """Of 45 films of three patients: wider than of 45 films, and by patient is what is told."""
    samples = [sample for fold in multi_label_folds() for sample in fold]
    groups = {str(Path(sample['img_path']).absolute()): sample['img_path'][6] for sample in samples}
    by_patient, by_image = pool_scores(samples, groups), pool_scores(samples, {})
    assert (by_patient['unit'], by_image['unit']) == ('patient', 'image')
    assert 'patients' in by_patient['interval_of_classes'] and 'DeLong' in by_image['interval_of_classes']
    assert by_patient['classes']['a']['AUROC'] == by_image['classes']['a']['AUROC']
    assert by_patient['classes']['a']['AUROC_low'] != by_image['classes']['a']['AUROC_low']
    assert by_patient['scores'][0]['value'] == by_image['scores'][0]['value']
    assert by_patient['scores'][0]['low'] != by_image['scores'][0]['low']


def test_a_short_table_shows_what_is_over_all_classes():
    assert headline(['coco/bbox_mAP', 'coco/AP_long cell', 'coco/bbox_AR@100', 'm/AUROC_mean', 'm/AUROC_mean_low',
                     'm/F1_macro@0.5', 'm/temperature', 'time'], ['long cell']) == [
        'coco/bbox_mAP', 'coco/bbox_AR@100', 'm/AUROC_mean']


# --- what runs


@pytest.fixture(scope='module')
def chest(tmp_path_factory) -> Path:
    from cxrdet.datasets.phantoms import write_chest_phantoms
    folder = tmp_path_factory.mktemp('chest') / 'set'
    write_chest_phantoms(folder, num_images=40, size=64)
    return folder


#: In place of cxrdet: notes how it was called, trains for nothing, and predicts what it should, or the contrary.
FAKE = """import json, sys
from pathlib import Path
here = Path({here!r})
tool, config, *rest = sys.argv[1:]
with open(here / 'calls', 'a') as log:
    log.write(json.dumps(sys.argv[1:]) + chr(10))
work = Path(rest[rest.index('--work-dir') + 1])
if tool == 'train':
    (work / 'epoch_1.pth').touch()
    if (here / 'broken').exists() and 'fold_1' in config:
        print('error: the disk is full')
        sys.exit(2)
    (work / 'last_checkpoint').write_text(str(work / 'epoch_1.pth'))
else:
    (work / 'now').mkdir(parents=True, exist_ok=True)
    part = Path(config).stem
    value = {{'fold_0': .5, 'fold_1': .7, 'fold_2': .9}}.get(part, .5) + (.1 if 'against' in config else 0)
    (work / 'now' / 'now.json').write_text(json.dumps({{'multi-label/AUROC_mean': value}}))
    Path(rest[rest.index('--out') + 1]).write_bytes((here / 'samples.npz').read_bytes())
"""


@pytest.fixture
def fake(tmp_path, monkeypatch, chest):
    """Cross-validate a config of chest films with made-up trainings; ``calls`` gives the commands since it last did."""
    script = tmp_path / 'fake.py'
    script.write_text(FAKE.format(here=str(tmp_path)))
    write_samples(tmp_path / 'samples.npz', [
        dict(img_path=f'{i}.png', img_id=i, classes=['a', 'b'], pred_score=torch.tensor([.2, .8]),
             gt_score=torch.tensor([float(i), 1. - i])) for i in (0, 1)])
    monkeypatch.setattr(cross_validation, 'COMMAND', (sys.executable, str(script)))

    def run(*, names=('plain',), options=(), **plan):
        cfgs = {name: load_config('resnet18_chest_phantom', data_root=chest, cfg_options=list(options))
                for name in names}
        for cfg in cfgs.values():
            cfg.test_evaluator = dict(type='cxrdet.MultiLabelMetric', resamples=0)
        return cross_validate(cfgs, tmp_path / 'work', Plan(jobs=1, **plan))

    def calls():
        file = tmp_path / 'calls'
        lines = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
        file.unlink(missing_ok=True)
        return [(call[0], Path(call[1]).parent.name, Path(call[1]).stem) for call in lines]
    run.calls, run.folder = calls, tmp_path
    return run


def test_each_fold_once_and_what_was_cut_off_goes_on(fake):
    """One of three folds fails: the others are run, all is told; the same command runs what is left, and then none."""
    (fake.folder / 'broken').touch()
    with pytest.raises(TrainingError, match='1 of 3 runs .*\n.*plain, fold_1.*the disk is full'):
        fake(folds=3)
    assert fake.calls() == [('train', 'plain', 'fold_0'), ('test', 'plain', 'fold_0'), ('train', 'plain', 'fold_1'),
                            ('train', 'plain', 'fold_2'), ('test', 'plain', 'fold_2')]
    (fake.folder / 'broken').unlink()
    result = fake(folds=3)
    assert fake.calls() == [('train', 'plain', 'fold_1'), ('test', 'plain', 'fold_1')]
    assert fake(folds=3) == result == json.loads((fake.folder / 'work' / 'cross_validation.json').read_text())
    assert fake.calls() == []
    found = result['configs']['plain']
    assert found['metrics']['multi-label/AUROC_mean']['values'] == {'fold_0': .5, 'fold_1': .7, 'fold_2': .9}
    assert found['metrics']['multi-label/AUROC_mean']['mean'] == pytest.approx(.7)
    assert len(read_samples(fake.folder / 'work' / 'plain' / 'out_of_fold.npz')) == 6
    assert (result['folds'], result['images'], result['unit']) == (3, 40, 'patient')
    assert 'plain: 3 folds of 40 images of' in report_text(result)


def test_trainings_resume_with_the_seed_in_their_config(fake):
    fake(folds=2, seed=5, train=('--from-scratch',))
    call = json.loads((fake.folder / 'calls').read_text().splitlines()[0])
    assert '--resume' in call and call[-1] == '--from-scratch'
    assert Config.fromfile(call[1]).randomness.seed == 5


def test_a_second_config_is_compared_on_the_same_folds(fake):
    """It is 0.1 better in each of three folds; the first one's runs are taken from before."""
    fake(folds=3)
    fake.calls()
    result = fake(names=('plain', 'against'), folds=3)
    assert {name for _, name, _ in fake.calls()} == {'against'}
    assert (result['difference']['of'], result['difference']['from']) == ('against', 'plain')
    assert result['difference']['metrics']['multi-label/AUROC_mean'] == {
        key: pytest.approx(.1) for key in ('mean', 'low', 'high')}
    assert 'against minus plain, paired' in report_text(result)
    folds = [Config.fromfile(fake.folder / 'work' / name / 'fold_1.py') for name in ('plain', 'against')]
    assert len({cfg.val_dataloader.dataset.split_file for cfg in folds}) == 1


def test_seeds_differ_in_nothing_else_and_more_can_be_asked_for(fake):
    result = fake(seeds=2)
    assert fake.calls() == [(tool, 'plain', f'seed_{seed}') for seed in (0, 1) for tool in ('train', 'test')]
    assert 'pool' not in result['configs']['plain'] and 'folds' not in result
    fake(seeds=3)
    assert fake.calls() == [('train', 'plain', 'seed_2'), ('test', 'plain', 'seed_2')]
    seeds = [Config.fromfile(fake.folder / 'work' / 'plain' / f'seed_{k}.py') for k in (0, 1, 2)]
    assert [cfg.randomness.pop('seed') for cfg in seeds] == [0, 1, 2]
    assert seeds[0].to_dict() == seeds[1].to_dict()


def test_another_cross_validation_is_not_mixed_with_this_one(fake):
    fake(folds=2)
    fake.calls()
    for other in (dict(folds=3), dict(folds=2, seed=1), dict(seeds=2), dict(folds=2, checkpoint='best'),
                  dict(folds=2, options=['train_cfg.max_epochs=3'])):
        with pytest.raises(ConfigError, match='another cross-validation'):
            fake(**other)
    assert fake.calls() == []


def test_folds_of_an_earlier_run_are_used_again(fake, tmp_path):
    fake(folds=2, seed=3)
    table = tmp_path / 'folds.csv'
    table.write_text((tmp_path / 'work' / 'folds.csv').read_text())
    (tmp_path / 'work').rename(tmp_path / 'before')
    fake(folds=table)
    assert (tmp_path / 'work' / 'folds.csv').read_text() == table.read_text()


def test_two_configs_of_different_images_are_not_compared(fake, chest, tmp_path):
    cfgs = {name: load_config('resnet18_chest_phantom', data_root=chest) for name in 'ab'}
    for loader in ('val_dataloader', 'test_dataloader'):
        names = (chest / 'test_list.txt').read_text().splitlines()[:-1]
        (tmp_path / 'fewer.txt').write_text('\n'.join(names))
        cfgs['b'][loader].dataset.split_file = str(tmp_path / 'fewer.txt')
    with pytest.raises(DataError, match='^b: .* 39 images'):
        cross_validate(cfgs, tmp_path / 'work', Plan(folds=2))


def test_what_cannot_run_is_refused_and_leaves_no_folder(fake, chest, tmp_path):
    no_training = dict.fromkeys(('train_dataloader', 'train_cfg', 'optim_wrapper', 'param_scheduler'))
    plain = load_config('resnet18_chest_phantom', data_root=chest)
    for change, plan, kind, said in (
            ({}, Plan(folds=41), DataError, r'^41 folds: .* \d+ patients'),
            (no_training, Plan(folds=2), ConfigError, 'train_dataloader: missing'),
            ({'model': {'members': []}}, Plan(folds=2), ConfigError, '^plain: an ensemble'),
            ({}, Plan(folds=2, fusion='wbf'), ConfigError, '--fusion: expected one of probs'),
            ({}, Plan(), ConfigError, 'folds or seeds')):
        cfg = deepcopy(plain)
        cfg.merge_from_dict(change)
        with pytest.raises(kind, match=said):
            cross_validate({'plain': cfg}, tmp_path / 'work', plan)
        assert not (tmp_path / 'work').exists()
    assert fake.calls() == []


def test_a_class_of_fewer_patients_than_folds_is_told_of(fake, monkeypatch):
    told = []
    monkeypatch.setattr(cross_validation, 'print_log', lambda text, **_: told.append(text))
    monkeypatch.setattr(cross_validation, '_run_all', lambda *_: ['not run'])
    with pytest.raises(TrainingError, match='not run'):
        fake(folds=20)
    assert len(told) == 1 and 'fewer patients than folds' in told[0]


@pytest.mark.parametrize(('arguments', 'said'), [
    (['--folds', '1'], '--folds.* from 2 on'), (['--folds', '2', '--seeds', '2'], 'not allowed with'),
    ([], 'required'), (['--seeds', '1'], '--seeds'), (['--folds', 'nofile.csv'], 'table of folds')])
def test_wrong_options(capsys, arguments, said):
    from cxrdet.cli import run_command
    assert run_command('cross-validate', ['resnet18_chest_phantom', *arguments]) == 2
    assert re.search(said, capsys.readouterr().err)


@pytest.mark.long
def test_two_folds_killed_and_taken_up_again(cell_phantoms, tmp_path, capsys):
    """``kill -9`` in the training of the first fold. The same command goes on, pools, and the ensemble predicts."""
    from cxrdet.cli import run_command
    work, name = tmp_path / 'cv', 'faster_rcnn_bifpn_cell_tiny'
    command = [name, '--folds', '2', '--data-root', str(cell_phantoms), '--work-dir', str(work), '--jobs', '1',
               '--train-limit', '4', '--cfg-options', 'train_cfg.max_epochs=3', 'train_dataloader.num_workers=0',
               'val_dataloader.num_workers=0', 'test_dataloader.num_workers=0']
    parent = subprocess.Popen([*cross_validation.COMMAND, 'cross-validate', *command], stdout=subprocess.DEVNULL,
                              env=os.environ | {'PYTHONPATH': str(REPOSITORY)})
    while not (work / name / 'fold_0' / 'epoch_1.pth').exists():
        assert parent.poll() is None
        time.sleep(.05)
    parent.kill()
    parent.wait()
    assert not (work / 'cross_validation.json').exists()

    assert run_command('cross-validate', command) == 0  # at once: the training was told, and may still be saving
    log = work / name / 'fold_0' / 'train.log'
    assert 'To go on from the newest checkpoint' in log.read_text()
    assert 'coco/bbox_mAP' in capsys.readouterr().out
    assert [cost_of(work / name / f'fold_{k}')['interrupted'] for k in (0, 1)] == [1, 0]
    assert [log.read_text().count(f'Epoch(train) [{epoch}]') for epoch in (1, 2, 3)] == [1, 1, 1]
    result = json.loads((work / 'cross_validation.json').read_text())['configs'][name]
    samples = read_samples(work / name / 'out_of_fold.npz')
    assert len({Path(sample['img_path']).name for sample in samples}) == len(samples) == 12
    pooled = average_precisions(samples, cell_phantoms)
    assert [result['metrics'][key]['pooled'] for key in ('coco/bbox_mAP', 'coco/bbox_mAP_50')] == pytest.approx(pooled)
    assert [score['value'] for score in result['pool']['scores'][:2]] == pytest.approx(pooled)
    assert 'metrics' not in result['ensemble']  # its test set is what it was trained on
    image = next((cell_phantoms / 'images').rglob('*.jpg'))
    assert run_command('predict', [result['ensemble']['config'], result['ensemble']['checkpoint'], str(image),
                                   '--out-dir', str(tmp_path / 'out'), '--device', 'cpu']) == 0
    before = {path: path.stat().st_mtime_ns for path in work.rglob('*') if path.suffix in ('.pth', '.npz', '.log')}
    content = (work / 'cross_validation.json').read_bytes()
    del before[work / name / 'out_of_fold.npz']
    assert run_command('cross-validate', command) == 0
    assert (work / 'cross_validation.json').read_bytes() == content
    assert {path: path.stat().st_mtime_ns for path in before} == before


def average_precisions(samples: list[dict], root: Path) -> list[float]:
    """mAP and mAP at IoU 0.5 by pycocotools, of the annotation files that the folds were made of."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval
    truth, found = {'images': [], 'annotations': []}, []
    for side in ('train', 'val'):
        content = json.loads((root / 'annotations' / f'{side}.json').read_text())
        own = {image['id']: len(truth['images']) + i for i, image in enumerate(content['images'], 1)}
        truth['images'] += [image | {'id': own[image['id']]} for image in content['images']]
        truth['annotations'] += [box | {'image_id': own[box['image_id']]} for box in content['annotations']]
        truth['categories'] = content['categories']
    truth['annotations'] = [box | {'id': i} for i, box in enumerate(truth['annotations'], 1)]
    image_ids = {Path(image['file_name']).name: image['id'] for image in truth['images']}
    for sample in samples:
        boxes = sample['pred_instances']
        ids = [{one['name']: one['id'] for one in truth['categories']}[name] for name in sample['classes']]
        found += [dict(image_id=image_ids[Path(sample['img_path']).name], score=float(score), category_id=ids[label],
                       bbox=[float(x1), float(y1), float(x2 - x1), float(y2 - y1)])
                  for (x1, y1, x2, y2), score, label in zip(boxes['bboxes'], boxes['scores'], boxes['labels'])]
    coco = COCO()
    coco.dataset = truth
    coco.createIndex()
    judged = COCOeval(coco, coco.loadRes(found), 'bbox')
    judged.evaluate()
    judged.accumulate()
    judged.summarize()
    return judged.stats[:2].tolist()
