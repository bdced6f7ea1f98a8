"""Prompts, captions and synonyms."""
import pytest

from cxrdet.core.errors import ConfigError, DataError
from projects.open_vocabulary.open_vocabulary.prompts import (
    mirrored,
    phrases_by_span,
    read_prompt,
    read_synonyms,
    words_of,
)


@pytest.mark.parametrize('prompt, phrases', [
    ('white blood cell . platelet', ('white blood cell', 'platelet')),
    ('RBC.WBC. Platelets .', ('RBC', 'WBC', 'Platelets')),
    ('  one  phrase ', ('one phrase',)),
    ('white_blood_cell.platelet', ('white blood cell', 'platelet')),
    (['no. 1 cell', 'x'], ('no. 1 cell', 'x')),
])
def test_prompt_is_read(prompt, phrases):
    assert read_prompt(prompt) == phrases


@pytest.mark.parametrize('prompt', ['', ' . ', [], 'a . - . b', 'cell . cell', 'red disc . Red-Disc', ['']])
def test_prompt_without_a_phrase_is_refused(prompt):
    with pytest.raises(ConfigError, match='phrase|prompt'):
        read_prompt(prompt)


@pytest.mark.parametrize('phrase, words', [
    ('The red-brown cell', ['the', 'red', 'brown', 'cell']), ("a man's hat", ['a', "man's", 'hat']),
    ('T_2 ÜBER', ['t', '2', 'über']),
    ('…', [])])
def test_words(phrase, words):
    assert words_of(phrase) == words


def test_phrases_of_a_caption():
    assert phrases_by_span('Two cells touch.', [[0, 9], [4, 9]], 'x') == ('Two cells', 'cells')


@pytest.mark.parametrize('span', [[0, 99], [3, 3], [5, 2], [-1, 3], [0], [3, 4], [0., 3.]])
def test_faulty_span_is_refused(span):
    with pytest.raises(DataError, match=r'file: phrase 1'):
        phrases_by_span('Two cells', [[0, 3], span], 'file')


def test_synonyms(tmp_path):
    path = tmp_path / 'synonyms.txt'
    path.write_text('# blood\nRBC: red blood cell, erythrocyte\n\nWBC: leukocyte # white\n')
    assert read_synonyms(path, ('WBC', 'RBC', 'Platelets')) == {
        'WBC': ('leukocyte',), 'RBC': ('red blood cell', 'erythrocyte'), 'Platelets': ('Platelets',)}


@pytest.mark.parametrize('text, place', [
    ('RCB: cell', 'line 1.*Did you mean "RBC"'), ('RBC cell', 'line 1'), ('RBC:', 'line 1'),
    ('\nRBC: a\nRBC: b', 'line 3'),
    ('RBC: cell\nWBC: Cell', 'RBC.*WBC|WBC.*RBC')])
def test_faulty_synonyms_are_refused(tmp_path, text, place):
    path = tmp_path / 'synonyms.txt'
    path.write_text(text)
    with pytest.raises(DataError, match=place):
        read_synonyms(path, ('RBC', 'WBC'))


def test_missing_file_of_synonyms(tmp_path):
    with pytest.raises(DataError, match='absent'):
        read_synonyms(tmp_path / 'absent.txt', ('RBC',))


@pytest.mark.parametrize('direction, phrase', [
    ('horizontal', 'the disc on the right, below'), ('vertical', 'the disc on the Left, above'),
    ('diagonal', 'the disc on the right, above')])
def test_phrase_of_a_mirrored_image(direction, phrase):
    assert mirrored('the disc on the Left, below', direction) == phrase
