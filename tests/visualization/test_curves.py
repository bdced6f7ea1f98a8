"""Curves: what is drawn is what was recorded."""
import numpy as np
import pytest

from cxrdet.core.errors import ConfigError
from cxrdet.visualization.curves import compare_histories, history_panels

RECORDS = [{'epoch': i, 'iter': 4 * i, 'train': {'loss': 1 / i, 'loss_cls': 0.5 / i},
            'val': {'val/loss': 1.2 / i, 'coco/bbox_mAP': mean, 'coco/AP_WBC': 0.9, 'coco/precision': None,
                    'toy/score': 5 - i},
            'lr': {'backbone': 0.0, 'head': 0.1 / i}, 'time': {'train': 1.0, 'val': 1.0}}
           for i, mean in ((1, 0.2), (2, 0.6), (3, 0.4))]


def lines(panel):
    return {line.name: line.y for line in panel.lines}


def test_loss_score_and_rate():
    loss, score, rate = history_panels(RECORDS, main='coco/bbox_mAP')
    assert set(lines(loss)) == {'train/loss', 'val/loss'}
    np.testing.assert_allclose(lines(loss)['val/loss'], [1.2, 0.6, 0.4])
    assert list(lines(score)) == ['coco/bbox_mAP']  # neither single classes nor what has no value
    assert set(lines(rate)) == {'backbone', 'head'}
    assert rate.log_y and not score.log_y and (loss.title, loss.x_label) == ('loss', 'epoch')


@pytest.mark.parametrize(('main', 'rules', 'best'), [
    ('coco/bbox_mAP', None, (2, 0.6)), ('val/loss', None, (3, 0.4)), ('toy/score', {'score': 'less'}, (3, 2)),
    ('toy/score', None, (1, 4)), (None, None, None)])
def test_the_best_epoch_is_marked(main, rules, best):
    loss, score, _ = history_panels(RECORDS, main=main, rules=rules)
    marked, other = (loss, score) if main == 'val/loss' else (score, loss)
    assert marked.best == (best and pytest.approx(best)) and other.best is None


def test_a_run_without_validation_and_one_by_iterations():
    records = [{'iter': 40, 'train': {'loss_a': 1.0, 'loss_b': 2.0}, 'lr': {'all': 0.0}, 'time': {'train': 1.0}}]
    loss, score, rate = history_panels(records)
    assert set(lines(loss)) == {'train/loss_a', 'train/loss_b'} and not rate.log_y
    assert (score.lines, score.note, loss.x_label) == ([], 'not recorded', 'iteration')


def test_all_panels_show_the_same_epochs():
    """Of four epochs the last alone was validated: its panel has whole epochs below it too, as the others have."""
    records = [dict(RECORDS[0], epoch=i, val=RECORDS[0]['val'] if i == 4 else {}) for i in (1, 2, 3, 4)]
    for panel in history_panels(records, main='coco/bbox_mAP'):
        assert panel.x_range == (0.5, 4.5) and panel.whole_x


def test_many_rates_are_cut_down():
    records = [{'iter': 1, 'lr': {f'layer{i}': 10.0**-i for i in range(20)}}]
    assert set(lines(history_panels(records)[2])) == {'layer19', *(f'layer{i}' for i in range(5))}


def test_main_scores_of_classifiers():
    values = {'multi-label/F1_macro@0.5': 0.3, 'multi-label/AUROC_mean': 0.8, 'multi-label/AUROC_mean_low': 0.7,
              'multi-label/AUROC_Mass': 0.9, 'multi-label/AP_mean': 0.4, 'multi-label/undefined_classes': 2.0}
    score = history_panels([{'epoch': 1, 'iter': 1, 'val': values}])[1]
    assert list(lines(score)) == ['multi-label/AUROC_mean', 'multi-label/F1_macro@0.5', 'multi-label/AP_mean']


@pytest.mark.parametrize('name', ['accuracy/top1', 'multi-label/accuracy_micro@0.5'])
def test_training_accuracy_is_drawn_beside_that_of_validation(name):
    score = history_panels([{'epoch': 1, 'iter': 1, 'train': {'loss': 1.0, 'accuracy': 0.9}, 'val': {name: 0.7}}])[1]
    assert {label: values.tolist() for label, values in lines(score).items()} == {'train/accuracy': [0.9], name: [0.7]}


def test_runs_beside_each_other():
    panels = compare_histories({'a': RECORDS, 'b': RECORDS[:2]})
    assert [panel.title for panel in panels] == ['train/loss', 'val/loss', 'coco/bbox_mAP']
    assert {name: len(values) for name, values in lines(panels[0]).items()} == {'a': 3, 'b': 2}


def test_chosen_keys():
    panels = compare_histories({'a': RECORDS}, ['coco/AP_WBC', 'lr/head', 'train/loss', 'val/loss'])
    assert [panel.title for panel in panels] == ['coco/AP_WBC', 'lr/head', 'train/loss', 'val/loss']


def test_nothing_to_draw():
    with pytest.raises(ConfigError, match='Did you mean "coco/bbox_mAP"'):
        compare_histories({'a': RECORDS}, ['coco/box_mAP'])
    with pytest.raises(ConfigError, match='No run to draw'):
        compare_histories({})
