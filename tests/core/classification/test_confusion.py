"""Confusion matrix and report against scikit-learn, and what is not defined by hand."""
import numpy as np
import pytest
from sklearn import metrics

from cxrdet.core.classification.confusion import class_report, confusion_matrix, frequent_confusions


@pytest.mark.parametrize(('classes', 'images'), [(2, 50), (3, 200), (11, 233), (30, 2000)])
def test_against_sklearn(classes, images):
    rng = np.random.default_rng(classes)
    true = np.concatenate([np.arange(classes), rng.integers(0, classes, images)])
    predicted = np.where(rng.random(len(true)) < 0.6, true, rng.integers(0, classes, len(true)))
    predicted[:classes] = np.arange(classes)
    matrix = confusion_matrix(true, predicted, classes)
    np.testing.assert_array_equal(matrix, metrics.confusion_matrix(true, predicted, labels=range(classes)))
    report = class_report(matrix)
    expected = metrics.precision_recall_fscore_support(true, predicted, labels=range(classes))
    for ours, theirs in zip(report[:4], expected):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)
    assert report.accuracy == pytest.approx(metrics.accuracy_score(true, predicted), rel=1e-12)
    assert report.balanced_accuracy == pytest.approx(metrics.balanced_accuracy_score(true, predicted), rel=1e-12)
    assert report.macro_f1 == pytest.approx(metrics.f1_score(true, predicted, average='macro'), rel=1e-12)


def test_by_hand_with_an_absent_and_an_idle_class():
    # 0: three images, two found; 1: never predicted; 2: no image, predicted once
    matrix = confusion_matrix([0, 0, 0, 1], [0, 0, 2, 0], 3)
    np.testing.assert_array_equal(matrix, [[2, 0, 1], [1, 0, 0], [0, 0, 0]])
    report = class_report(matrix)
    np.testing.assert_allclose(report.precision, [2 / 3, np.nan, np.nan])
    np.testing.assert_allclose(report.recall, [2 / 3, 0, np.nan])
    np.testing.assert_allclose(report.f1, [2 / 3, 0, np.nan])
    np.testing.assert_array_equal(report.support, [3, 1, 0])
    assert report.accuracy == 0.5
    assert report.balanced_accuracy == pytest.approx(1 / 3)
    assert report.macro_f1 == pytest.approx(1 / 3)


def test_no_image():
    report = class_report(confusion_matrix([], [], 2))
    assert np.isnan([report.accuracy, report.balanced_accuracy, report.macro_f1, *report.precision, *report.f1]).all()
    np.testing.assert_array_equal(report.support, [0, 0])


def test_most_frequent_errors():
    matrix = [[9, 2, 0], [5, 9, 0], [0, 1, 9]]
    found = [(row['true'], row['predicted'], row['count']) for row in frequent_confusions(matrix, 'abc')]
    assert found == [('b', 'a', 5), ('a', 'b', 2), ('c', 'b', 1)]
    assert [row['count'] for row in frequent_confusions(matrix, 'abc', most=1)] == [5]
    assert frequent_confusions(np.eye(3, dtype=int), 'abc') == []


@pytest.mark.parametrize(('true', 'predicted', 'number', 'expected'), [
    ([0, 3], [0, 1], 3, r'y_true: class ids must lie in 0\.\.2, got 0\.\.3'),
    ([0, 1], [0, -1], 3, r'y_pred: class ids must lie in 0\.\.2, got -1\.\.0'),
    ([0, 1], [0], 2, 'expected one prediction for each of 2 labels, got 1'),
    ([0.5], [0], 2, r'y_true: expected \(N,\) whole numbers, got float64'),
    ([[0]], [0], 2, r'y_true: expected .* of shape \(1, 1\)'),
    ([], [], 0, 'num_classes must be 1 or more, got 0'),
])
def test_bad_input(true, predicted, number, expected):
    with pytest.raises(ValueError, match=expected):
        confusion_matrix(true, predicted, number)


@pytest.mark.parametrize('matrix', [[[1, 2]], [1, 2], [[-1, 0], [0, 0]]])
def test_bad_matrix(matrix):
    with pytest.raises(ValueError, match='expected a square matrix of counts'):
        class_report(matrix)


def test_frequent_confusions_have_names_and_shares():
    """The last row and column of a detector are background: counted in the share, no confusion themselves."""
    first, = frequent_confusions([[0, 1, 0], [0, 0, 1], [1, 1, 0]], ['x', 'y'])
    assert first == {'true': 'x', 'predicted': 'y', 'count': 1, 'share': 1.}
    first, = frequent_confusions([[5, 1, 0], [3, 2, 1], [0, 0, 0]], ['x', 'y'], most=1)
    assert first == {'true': 'y', 'predicted': 'x', 'count': 3, 'share': .5}
