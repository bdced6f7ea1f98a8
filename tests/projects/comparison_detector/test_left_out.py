"""A class left out: what is prepared for the training, and the scores that tell its objects."""
import csv
import importlib.util
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from cxrdet.core.errors import ConfigError, DataError
from cxrdet.preflight.config import load_config
from projects.comparison_detector.comparison_detector import left_out
from projects.comparison_detector.comparison_detector.left_out import precision_by_chance, region_logits, unknown_areas
from projects.comparison_detector.comparison_detector.training_sets import prepare_left_out, prepare_subset

PROJECT = Path(__file__).parents[3] / 'projects' / 'comparison_detector'
BOX = '<object><name>{}</name><bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox></object>'


def script(name):
    spec = importlib.util.spec_from_file_location(f'comparison_{name}', PROJECT / f'{name}.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def voc(tmp_path):
    """Six training images with a cell each, of which the last two show a platelet too, and one of validation."""
    root = tmp_path / 'voc'
    for folder in ('Annotations', 'JPEGImages', 'ImageSets/Main'):
        (root / folder).mkdir(parents=True)
    for number in range(7):
        objects = BOX.format('RBC', 10, 10, 40, 40)
        objects += BOX.format('Platelets', 70, 70, 82, 80) if number in (4, 5) else ''
        cv2.imwrite(str(root / 'JPEGImages' / f'{number}.png'), np.full((100, 120, 3), 10 * number, np.uint8))
        (root / 'Annotations' / f'{number}.xml').write_text(
            f'<annotation><filename>{number}.png</filename><size><width>120</width><height>100</height></size>{objects}'
            '</annotation>')
    (root / 'ImageSets' / 'Main' / 'train.txt').write_text('\n'.join('012345'))
    (root / 'ImageSets' / 'Main' / 'val.txt').write_text('6')
    return root


def rows(folder):
    with open(folder / 'metadata.csv', newline='') as file:
        return [(row['label'], row['image']) for row in csv.DictReader(file)]


def test_what_is_prepared(voc, tmp_path):
    out = tmp_path / 'out'
    for _ in range(2):  # the same again
        assert prepare_left_out(voc, out, 'Platelets', per_class=2) == {'images without it': 4, 'training images': 6}
        assert (out / 'set' / 'ImageSets' / 'Main' / 'train.txt').read_text().split() == list('0123')
        assert {label for label, _ in rows(out / 'references')} == {'RBC'}
        assert {image for _, image in rows(out / 'references')} < set('0123')
        assert sorted(rows(out / 'new')) == [('Platelets', '4'), ('Platelets', '5')]
        assert [label for label, _ in rows(out / 'windows')] == ['Platelets'] * 2
    for file in (out / 'windows').glob('*/*.png'):
        assert cv2.imread(str(file)).shape == (12, 15, 3)  # 1.2 times 12 x 10


def test_a_smaller_draw_lies_within_a_larger_one(voc, tmp_path):
    lists = {}
    more = BOX.format('Platelets', 50, 70, 62, 80)
    for file in (voc / 'Annotations').glob('*.xml'):  # platelets in all of them
        file.write_text(file.read_text().replace('</annotation>', f'{more}</annotation>'))
    for seed in (0, 1):
        for images in (2, 4, 6):
            out = tmp_path / f'{seed}_{images}'
            assert prepare_subset(voc, out, images, per_class=1, seed=seed) == {
                'images drawn': images, 'training images': 6}
            lists[seed, images] = (out / 'set' / 'ImageSets' / 'Main' / 'train.txt').read_text().split()
            assert {image for _, image in rows(out / 'references')} <= set(lists[seed, images])
        assert set(lists[seed, 2]) < set(lists[seed, 4]) < set(lists[seed, 6]) == set('012345')
        assert lists[seed, 4] == sorted(lists[seed, 4])  # in the set's order
    assert lists[0, 4] != lists[1, 4]
    with pytest.raises(DataError, match='7 training images'):
        prepare_subset(voc, tmp_path / 'out', 7)


def test_what_cannot_be_prepared(voc, tmp_path, capsys):
    with pytest.raises(ConfigError, match='Did you mean "Platelets"'):
        prepare_left_out(voc, tmp_path / 'out', 'Platelet')
    with pytest.raises(DataError, match='every training image shows "RBC"'):
        prepare_left_out(voc, tmp_path / 'out', 'RBC')
    main = script('prepare_set').main
    assert main([str(voc), str(tmp_path / 'out'), '--without', 'Platelets', '--per-class', '3']) == 2
    assert 'Platelets (2)' in capsys.readouterr().err
    assert main([str(voc), str(tmp_path / 'out'), '--without', 'Platelets', '--per-class', '2']) == 0
    assert 'images without it: 4' in capsys.readouterr().out


def test_a_preparation_leaves_alone_what_is_not_its_own(voc, tmp_path):
    out = tmp_path / 'out'
    with pytest.raises(DataError, match='too few'):
        prepare_subset(voc, out, 6, per_class=3)
    assert not out.exists() and len(list((voc / 'JPEGImages').iterdir())) == 7
    prepare_left_out(voc, out, 'Platelets', per_class=2)
    before = (out / 'set/ImageSets/Main/train.txt').read_bytes()
    for change in (dict(per_class=1), dict(per_class=2, seed=1)):
        with pytest.raises(DataError, match='another preparation'):
            prepare_left_out(voc, out, 'Platelets', **change)
    with pytest.raises(DataError, match='another preparation'):
        prepare_subset(voc, out, 6, per_class=2)
    assert (out / 'set/ImageSets/Main/train.txt').read_bytes() == before
    with pytest.raises(DataError, match='folder of its source'):
        prepare_left_out(voc, voc / 'new', 'Platelets', per_class=2)
    (tmp_path / 'mine').mkdir()
    (tmp_path / 'mine' / 'notes.txt').touch()
    with pytest.raises(DataError, match=r'notes\.txt'):
        prepare_left_out(voc, tmp_path / 'mine', 'Platelets', per_class=2)
    assert [file.name for file in (tmp_path / 'mine').iterdir()] == ['notes.txt']


def test_links_into_another_set_are_not_taken(voc, tmp_path):
    """As a folder has that was prepared before it told what from."""
    out = tmp_path / 'out'
    prepare_left_out(voc, out, 'Platelets', per_class=2)
    (out / 'prepared.json').unlink()
    prepare_left_out(voc, out, 'Platelets', per_class=2)
    (out / 'prepared.json').unlink()
    voc.rename(tmp_path / 'moved')
    with pytest.raises(DataError, match='another set'):
        prepare_left_out(tmp_path / 'moved', out, 'Platelets', per_class=2)


def test_precision_by_chance():
    """Of ten boxes that hit and ten that do not, in any order, about every second is a hit."""
    boxes = np.arange(20)[:, None] * 50. + [[0, 0, 20, 20]]
    found = [{'boxes': boxes, 'scores': np.linspace(1, 0, 20), 'labels': np.full(20, 1)}]
    truth = [{'boxes': boxes[:10], 'labels': np.full(10, 1)}]
    assert precision_by_chance(found, truth, 1, shuffles=200) == pytest.approx(0.6, abs=0.08)
    assert precision_by_chance(found, [{'boxes': boxes[:10] + 900, 'labels': np.full(10, 1)}], 1) < 0.6


@pytest.fixture
def without_platelets(build, trained, tmp_path):
    """A checkpoint of the tiny detector that knows RBC and WBC only, of random weights."""
    torch.manual_seed(0)
    model = build(classes=2)
    model.load_references(['RBC', 'WBC'])
    model.refresh_prototypes()
    torch.save({'state_dict': model.state_dict(), 'meta': {'dataset_meta': {'classes': ('RBC', 'WBC')}}},
               tmp_path / 'two.pth')
    return tmp_path / 'two.pth'


def test_scores_of_objects_of_a_class_left_out(config, without_platelets, cell_phantoms):
    cfg = load_config(config, data_root=cell_phantoms)
    found = unknown_areas(cfg, without_platelets, 'Platelets', samples=20, device='cpu')
    assert [line['score'] for line in found] == ['distance', 'softmax', 'background']
    for line in found:
        assert 0 <= line['low'] <= line['AUROC'] <= line['high'] <= 1
        assert line['left_out'] > 0 and line['known'] > 0
    with pytest.raises(ConfigError, match='"RBC"'):
        unknown_areas(cfg, without_platelets, 'RBC', device='cpu')
    with pytest.raises(ConfigError, match='class left out'):
        unknown_areas(cfg, without_platelets, 'Blast', device='cpu')


def test_stages_at_which_objects_are_lost(config, build, cell_phantoms, tmp_path, monkeypatch):
    """All are proposed, moved by a third of their width, an IoU of 1/2; platelets by half, 1/3. All are named RBC."""
    model = build()
    model.load_references(('RBC', 'WBC', 'Platelets'))
    model.refresh_prototypes()
    torch.save({'state_dict': model.state_dict(), 'meta': {'dataset_meta': {'classes': ('RBC', 'WBC', 'Platelets')}}},
               tmp_path / 'three.pth')

    def propose(self, levels, samples, rescale):
        truth = samples[0].gt_instances
        boxes = truth.bboxes.tensor if hasattr(truth.bboxes, 'tensor') else truth.bboxes
        moved = (boxes[:, 2] - boxes[:, 0]) * torch.where(truth.labels == 2, 0.5, 0.32)
        return [type(truth)(bboxes=boxes + torch.stack([moved, moved * 0] * 2, dim=1))]

    monkeypatch.setattr(type(model.rpn_head), 'predict', propose)
    background = 0.
    monkeypatch.setattr(left_out, 'region_logits', lambda detector, levels, boxes: [
        torch.tensor([[2., 0, 1, background]]).repeat(len(own), 1) for own in boxes])
    found = left_out.stages(load_config(config, data_root=cell_phantoms), tmp_path / 'three.pth', device='cpu')
    boxes = json.loads((cell_phantoms / 'annotations' / 'val.json').read_text())['annotations']
    assert sum(line['boxes'] for line in found) == len(boxes)
    assert [tuple(line[key] for key in ('class', 'proposed', 'nearest', 'named')) for line in found] == [
        ('RBC', 1, 1, 1), ('WBC', 1, 0, 0), ('Platelets', 0, 0, 0)]
    background = 3.
    found = left_out.stages(load_config(config, data_root=cell_phantoms), tmp_path / 'three.pth', device='cpu')
    assert [(line['nearest'], line['named']) for line in found] == [(1, 0), (0, 0), (0, 0)]


def test_logits_of_given_regions_are_those_that_predictions_come_from(build):
    model = build().eval()
    model.load_references(('RBC', 'WBC', 'Platelets'))
    model.refresh_prototypes()
    inputs, box = torch.randn(2, 3, 64, 64), torch.tensor([[4., 4, 40, 40]])
    with torch.no_grad():
        both = region_logits(model, model.extract_feat(inputs), [box, torch.cat([box, box + 10])])
        alone, = region_logits(model, model.extract_feat(inputs[1:]), [box])
    assert [len(logits) for logits in both] == [1, 2]
    torch.testing.assert_close(both[1][:1], alone, rtol=1e-3, atol=1e-4)


# --- the tables


@pytest.mark.parametrize('options, text', [
    (['--data', '{folder}'], 'bccd'), (['--data', '{folder}', '--try', '0'], '--try'), ([], '--data'),
    (['--data', '{folder}/b', '--rows', 'plain, 21*'], 'plain, 20 images'),
    (['--data', '{folder}/b', '--runs', 'sed 0'], 'seed 0'), (['--data', '{folder}/b', '--tables', 'new'], '--tables')])
def test_a_wrong_option_is_told_before_any_training(options, text, tmp_path, capsys):
    (tmp_path / 'b' / 'bccd').mkdir(parents=True)
    with pytest.raises(SystemExit) as end:
        script('tables').main([*[each.format(folder=tmp_path) for each in options], '--work', str(tmp_path / 'work')])
    said = capsys.readouterr().err
    assert end.value.code == 2 and text in said and said.count('\n') == 1
    assert not (tmp_path / 'work').exists()


def test_the_data_may_be_named_from_any_folder(tmp_path, monkeypatch):
    """The trainings change the folder."""
    import zoo
    (tmp_path / 'here' / 'data' / 'bccd').mkdir(parents=True)
    monkeypatch.chdir(tmp_path / 'here')
    tables, seen = script('tables'), []

    def train(argv):
        seen.append(Path(argv[argv.index('--data') + 1]))
        monkeypatch.chdir(tmp_path)
        return 0
    monkeypatch.setattr(zoo, 'main', train)
    monkeypatch.setattr(tables, 'measure_left_out', lambda results, data, work: seen.append(data))
    assert tables.main(['--data', 'data', '--work', str(tmp_path / 'work'), '--try', '1']) == 0
    assert set(seen) == {tmp_path / 'here' / 'data'} and len(seen) == 3


def test_tables_are_described_and_shortened(tmp_path):
    from zoo import jobs_of, read_table
    tables = script('tables')
    out = tables.shortened(tables.RESULTS, 2, tmp_path)
    for name in tables.TABLES:
        whole, short = (read_table(folder / f'{name}.yml') for folder in (tables.RESULTS, out))
        assert list(whole['rows']) == list(short['rows'])
        for job in jobs_of(whole, tmp_path):
            if 'config' in job.spec:
                cfg = load_config(job.spec['config'], cfg_options=list(job.options))
                assert cfg.train_cfg.max_iters == 500 and not cfg.default_hooks.early_stopping.enabled
                assert cfg.test_evaluator.intervals == 200
        for job in jobs_of(short, tmp_path):
            if 'config' in job.spec:
                assert load_config(job.spec['config'], cfg_options=list(job.options)).train_cfg.max_iters == 2


def test_the_page_of_what_was_measured(tmp_path):
    tables = script('tables')
    results = tables.shortened(tables.RESULTS, 2, tmp_path)
    assert tables.page(results).count('Not measured yet.') == 4
    (results / 'unknown.csv').write_text(
        'row,run,score,AUROC,low,high,left_out,known\ntwelve reference images,seed 0,distance,0.75,0.5,1,83,9\n'
        'twelve reference images,seed 0,chance,0.125,,,83,\n')
    page = tables.page(results)
    assert '| twelve reference images | seed 0 | distance | 0.750 (0.500 to 1.000) |' in page
    assert '| twelve reference images | seed 0 | 0.125 |' in page
    assert (tables.RESULTS / 'README.md').read_text() == tables.page(tables.RESULTS)
