"""Curves: what is drawn is what was recorded."""
import numpy as np
import pytest

from cxrdet.core.errors import ConfigError
from cxrdet.visualization.curves import compare_histories, draw_history, save_figure

RECORDS = [{'epoch': i, 'iter': 4 * i, 'train': {'loss': 1 / i, 'loss_cls': 0.5 / i},
            'val': {'val/loss': 1.2 / i, 'coco/bbox_mAP': mean, 'coco/AP_WBC': 0.9, 'coco/precision': None,
                    'toy/score': 5 - i},
            'lr': {'backbone': 0.0, 'head': 0.1 / i}, 'time': {'train': 1.0, 'val': 1.0}}
           for i, mean in ((1, 0.2), (2, 0.6), (3, 0.4))]


def lines(axes):
    return {line.get_label(): line.get_ydata() for line in axes.lines if not line.get_label().startswith('_')}


def test_loss_score_and_rate():
    loss, score, rate = draw_history(RECORDS, main='coco/bbox_mAP').axes
    assert set(lines(loss)) == {'train/loss', 'val/loss'}
    np.testing.assert_allclose(lines(loss)['val/loss'], [1.2, 0.6, 0.4])
    assert list(lines(score)) == ['coco/bbox_mAP']  # neither single classes nor what has no value
    assert set(lines(rate)) == {'backbone', 'head'}
    assert rate.get_yscale() == 'log'
    assert loss.get_xlabel() == 'epoch'


@pytest.mark.parametrize(('main', 'rules', 'where'), [
    ('coco/bbox_mAP', None, 2), ('val/loss', None, 3), ('toy/score', {'score': 'less'}, 3), ('toy/score', None, 1)])
def test_the_best_epoch_is_marked(main, rules, where):
    axes = draw_history(RECORDS, main=main, rules=rules).axes[0 if main == 'val/loss' else 1]
    mark = next(line for line in axes.lines if line.get_label().startswith('_'))
    assert list(mark.get_xdata()) == [where, where]


def test_a_run_without_validation_and_one_by_iterations():
    records = [{'iter': 40, 'train': {'loss_a': 1.0, 'loss_b': 2.0}, 'lr': {'all': 0.0}, 'time': {'train': 1.0}}]
    loss, score, _ = draw_history(records).axes
    assert set(lines(loss)) == {'train/loss_a', 'train/loss_b'}
    assert [text.get_text() for text in score.texts] == ['not recorded']
    assert loss.get_xlabel() == 'iteration'


def test_all_panels_show_the_same_epochs():
    """Of four epochs the last alone was validated: its panel has whole epochs below it too, as the others have."""
    records = [dict(RECORDS[0], epoch=i, val=RECORDS[0]['val'] if i == 4 else {}) for i in (1, 2, 3, 4)]
    for axes in draw_history(records, main='coco/bbox_mAP').axes:
        assert axes.get_xlim() == (0.5, 4.5)
        assert [tick for tick in axes.get_xticks() if 0.5 < tick < 4.5] == [1, 2, 3, 4]


def test_many_rates_are_cut_down():
    records = [{'iter': 1, 'lr': {f'layer{i}': 10.0**-i for i in range(20)}}]
    assert set(lines(draw_history(records).axes[2])) == {'layer19', *(f'layer{i}' for i in range(5))}


def test_main_scores_of_classifiers():
    values = {'multi-label/F1_macro@0.5': 0.3, 'multi-label/AUROC_mean': 0.8, 'multi-label/AUROC_mean_low': 0.7,
              'multi-label/AUROC_Mass': 0.9, 'multi-label/AP_mean': 0.4, 'multi-label/undefined_classes': 2.0}
    axes = draw_history([{'epoch': 1, 'iter': 1, 'val': values}]).axes[1]
    assert list(lines(axes)) == ['multi-label/AUROC_mean', 'multi-label/F1_macro@0.5', 'multi-label/AP_mean']


@pytest.mark.parametrize('name', ['accuracy/top1', 'multi-label/accuracy_micro@0.5'])
def test_training_accuracy_is_drawn_beside_that_of_validation(name):
    axes = draw_history([{'epoch': 1, 'iter': 1, 'train': {'loss': 1.0, 'accuracy': 0.9}, 'val': {name: 0.7}}]).axes[1]
    assert {label: values.tolist() for label, values in lines(axes).items()} == {'train/accuracy': [0.9], name: [0.7]}


def test_runs_beside_each_other():
    figure = compare_histories({'a': RECORDS, 'b': RECORDS[:2]})
    assert [axes.get_title() for axes in figure.axes] == ['train/loss', 'val/loss', 'coco/bbox_mAP']
    assert {name: len(values) for name, values in lines(figure.axes[0]).items()} == {'a': 3, 'b': 2}


def test_chosen_keys():
    figure = compare_histories({'a': RECORDS}, ['coco/AP_WBC', 'lr/head', 'train/loss', 'val/loss'])
    assert [axes.get_title() for axes in figure.axes] == ['coco/AP_WBC', 'lr/head', 'train/loss', 'val/loss']


def test_nothing_to_draw():
    with pytest.raises(ConfigError, match='Did you mean "coco/bbox_mAP"'):
        compare_histories({'a': RECORDS}, ['coco/box_mAP'])
    with pytest.raises(ConfigError, match='No run to draw'):
        compare_histories({})


def test_file(tmp_path):
    figure = draw_history(RECORDS, main='coco/bbox_mAP')
    for name in ('plot.png', 'plot.svg'):
        assert save_figure(figure, tmp_path / name).stat().st_size > 5000
    with pytest.raises(ConfigError, match=r'plot.xyz: pictures can be written as .*\.png'):
        save_figure(figure, tmp_path / 'plot.xyz')
    assert sorted(path.name for path in tmp_path.iterdir()) == ['plot.png', 'plot.svg']
