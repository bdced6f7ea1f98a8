"""Points as a config writes them and as a checkpoint keeps them."""
import numpy as np
import pytest

from cxrdet.core.classification.operating_points import DEFAULT_POINTS, check_points, choose_points, read_points
from cxrdet.core.errors import CheckpointError, ConfigError

TRUE = np.array([[1, 1], [0, 1], [1, 1], [0, 1.]])
SCORE = np.array([[.9, .9], [.6, .5], [.5, .4], [.1, .2]])
CLASSES = ('Mass', 'Nodule')


@pytest.fixture
def points():
    return choose_points(check_points({'0.5': 0.5, 'own': [0.2, 0.3], 'youden': 'youden', 'best': 'F1'}), TRUE, SCORE,
                         CLASSES)


def test_chosen(points):
    assert {name: values.tolist() for name, values in points.thresholds.items() if name in ('0.5', 'own')} == {
        '0.5': [.5, .5], 'own': [.2, .3]}
    np.testing.assert_array_equal(points.thresholds['youden'], [.9, np.nan])
    np.testing.assert_array_equal(points.thresholds['best'], [.5, np.nan])
    assert points.rules == {'0.5': '0.5', 'own': '0.2, 0.3', 'youden': 'youden', 'best': 'F1'}
    assert points.images == 4 and 0.01 <= points.temperature <= 100


def test_there_and_back(points):
    content = points.to_dict()
    again = read_points(content, CLASSES, 'best.pth')
    assert again.to_dict()['rules'] == content['rules'] and again.temperature == points.temperature
    swapped = read_points(content, CLASSES[::-1], 'best.pth')
    assert swapped.thresholds['own'].tolist() == [.3, .2] and swapped.classes == CLASSES[::-1]
    assert all(type(value) is float for values in content['thresholds'].values() for value in values)


def test_pick(points):
    assert points.pick()[0] == 'youden' and points.pick('own')[1].tolist() == [.2, .3]
    assert points._replace(rules={'own': '0.2, 0.3'}).pick()[0] == 'own'
    with pytest.raises(ConfigError, match='operating point .*"yuden".*"youden"'):
        points.pick('yuden')


def test_default_points_are_valid():
    assert list(check_points(DEFAULT_POINTS)) == ['0.5', 'screening', 'surgery', 'youden', 'diagnosis', 'sensitive']
    assert [DEFAULT_POINTS[name] for name in ('screening', 'diagnosis', 'surgery')] == [0.3, 'F1', 0.7]


@pytest.mark.parametrize(('given', 'message'), [
    ({'a': 'best'}, 'youden, F1 or sensitivity'),
    ({'a': 1.2}, r'"a": expected a threshold in \[0, 1\], one for each class or a rule, got 1.2'),
    ({'a': [0.1, np.nan]}, 'expected a threshold in'),
    ({'a/b': 0.5}, "without \"/\" for an operating point, got 'a/b'"),
])
def test_bad_points(given, message):
    with pytest.raises(ValueError, match=message):
        check_points(given)


def test_wrong_number_of_thresholds():
    with pytest.raises(ValueError, match='"own": expected one threshold or 2, one a class, got 3'):
        choose_points(check_points({'own': [.1, .2, .3]}), TRUE, SCORE, CLASSES)


@pytest.mark.parametrize('change', [
    lambda content: content.pop('thresholds'),
    lambda content: content.update(classes=['Mass', 'Edema']),
    lambda content: content.update(classes=['Mass', 'Nodule', 'Edema']),
    lambda content: content.update(temperature='x'),
    lambda content: content['thresholds'].update(own=[.1]),
    lambda content: content.update(thresholds={}, rules={}),
])
def test_unusable_content(points, change):
    content = points.to_dict()
    change(content)
    with pytest.raises(CheckpointError, match=r'best.pth: its operating points \(meta.operating_points\) cannot'):
        read_points(content, CLASSES, 'best.pth')
