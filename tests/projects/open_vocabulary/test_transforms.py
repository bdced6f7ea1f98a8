"""Steps of the pipeline that give phrases, or keep them true."""
import numpy as np
import pytest

from cxrdet.core.errors import ConfigError, DataError
from projects.open_vocabulary.open_vocabulary.transforms import ClassPrompts, MirrorPhrases, NegativePhrases


def test_classes_become_phrases():
    results = ClassPrompts('RBC . WBC')({'gt_bboxes_labels': np.array([1, 0, 1])})
    assert results['phrases'] == ('RBC', 'WBC')
    assert results['gt_bboxes_labels'].tolist() == [1, 0, 1]
    assert ClassPrompts(['RBC', 'WBC'])({})['phrases'] == ('RBC', 'WBC')
    assert list(ClassPrompts('RBC . WBC').phrases()) == ['RBC', 'WBC']


def test_synonyms_are_drawn(tmp_path):
    (tmp_path / 's.txt').write_text('RBC: red blood cell, erythrocyte')
    step = ClassPrompts('RBC . WBC', synonyms=str(tmp_path / 's.txt'))
    assert list(step.phrases()) == ['red blood cell', 'erythrocyte', 'WBC']
    drawn = {step({'gt_bboxes_labels': np.array([1])})['phrases'] for _ in range(30)}
    assert drawn == {('red blood cell', 'WBC'), ('erythrocyte', 'WBC')}


def test_synonyms_of_the_project_are_found_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    step = ClassPrompts('RBC . WBC . Platelets', synonyms='projects/open_vocabulary/configs/blood_cells.txt')
    assert 'erythrocyte' in step.phrases()
    with pytest.raises(DataError, match='nowhere.txt'):
        ClassPrompts('RBC', synonyms='nowhere.txt')


def test_order_and_labels_go_together():
    step = ClassPrompts('a . b . c', shuffle=True, drop=0.5, seed=1)
    seen = set()
    for _ in range(200):
        results = step({'gt_bboxes_labels': np.array([2, 0])})
        assert [results['phrases'][label] for label in results['gt_bboxes_labels']] == ['c', 'a']
        seen.add(results['phrases'])
    assert {len(phrases) for phrases in seen} == {2, 3}  # "b" is left out now and then
    assert len(seen) == 8
    assert all(len(ClassPrompts('a . b', drop=1.)({})['phrases']) == 1 for _ in range(3))  # never none


def test_label_that_is_no_class():
    with pytest.raises(DataError, match='x.png.*2 classes'):
        ClassPrompts('a . b')({'img_path': 'x.png', 'gt_bboxes_labels': np.array([0, 2])})


def test_mirrored_images():
    step, phrases = MirrorPhrases(), ('left disc', 'disc')
    assert step({'flip': False, 'flip_direction': None, 'phrases': phrases})['phrases'] == phrases
    assert step({'flip': True, 'flip_direction': 'horizontal', 'phrases': phrases})['phrases'] == ('right disc', 'disc')
    with pytest.raises(ConfigError, match='RandomFlip'):
        step({'phrases': phrases})


def test_negatives_of_other_images():
    step = NegativePhrases(2)
    step.pool = ['a red disc', 'red disc', 'disc', 'blue ring', 'green square', 'a blue ring there']
    for _ in range(20):
        results = step({'phrases': ('a red disc',), 'phrase_groups': ('seen',)})
        assert len(results['phrases']) == 3
        assert set(results['phrases'][1:]) <= {'blue ring', 'green square', 'a blue ring there'}
        assert results['phrase_groups'] == ('seen', None, None)


@pytest.mark.parametrize('known, count, wanted', [(('x', 'y', 'z'), 2, 2), (('x',), 2, 1), (('x',), 0, 0), ((), 2, 0)])
def test_known_negatives_go_first(known, count, wanted):
    results = NegativePhrases(count)({'phrases': ('a',), 'known_negatives': known})
    assert len(results['phrases']) == 1 + wanted
    assert set(results['phrases'][1:]) <= set(known)
