"""The family of errors and the hint for misspelt names."""
import pickle

import pytest

from cxrdet.core.errors import (
    CheckpointError,
    ConfigError,
    CxrdetError,
    DataError,
    check_choice,
    check_numbers,
    did_you_mean,
    error_text,
)


@pytest.mark.parametrize(('error', 'builtin'), [
    (ConfigError, ValueError), (DataError, ValueError), (CheckpointError, RuntimeError)])
def test_errors_are_caught_as_ours_and_as_the_builtin(error, builtin):
    for parent in (CxrdetError, builtin):
        with pytest.raises(parent, match='^what came$'):
            raise error('what came')


def test_errors_survive_the_way_out_of_a_worker_process():
    copy = pickle.loads(pickle.dumps(DataError('a.json: broken')))
    assert type(copy) is DataError
    assert str(copy) == 'a.json: broken'


def test_check_choice():
    check_choice('Loss: over', 'samples', ('samples', None))
    with pytest.raises(ConfigError, match='over .*"sample".*"samples"'):
        check_choice('Loss: over', 'sample', ('samples', None))


@pytest.mark.parametrize(('name', 'choices', 'hint'), [
    ('modle', ['model', 'work_dir'], ' Did you mean "model"?'),
    ('BiFNP', ['FPN', 'BiFPN', 'PAFPN'], ' Did you mean "BiFPN"?'),
    ('rbc', ['RBC', 'WBC', 'Platelets'], ' Did you mean "RBC"?'),
    ('platelet', ('RBC', 'WBC', 'Platelets'), ' Did you mean "Platelets"?'),
    ('zzz', ['model', 'work_dir'], ''),
    ('model', [], ''),
    ('', ['model'], ''),
])
def test_did_you_mean(name, choices, hint):
    assert did_you_mean(name, choices) == hint


def test_text_of_an_error_from_a_worker_process():
    from torch._utils import ExceptionWrapper  # what a DataLoader sends an error home in
    try:
        raise DataError('b.png: empty (0 bytes).\nCopy it again.')
    except DataError:
        parcel = ExceptionWrapper(where='in DataLoader worker process 0')
    with pytest.raises(DataError, match='Original Traceback') as caught:
        parcel.reraise()
    assert error_text(caught.value) == 'b.png: empty (0 bytes).\nCopy it again.'


@pytest.mark.parametrize('text', ['a.json: line 3: broken', '', 'Caught in the rain', 'x: Original Traceback'])
def test_text_of_any_other_error_is_its_own(text):
    assert error_text(DataError(text)) == text


@pytest.mark.parametrize('value, interval, fits', [
    (0, '[0, 1]', True), (1, '[0, 1]', True), (0, '(0, 1]', False), (1, '[0, 1)', False), (0.5, '(0, 1)', True),
    (-1e-9, '[0, inf)', False), (10 ** 9, '[0, inf)', True), (float('inf'), '[0, inf)', False),
    (float('nan'), '(-inf, inf)', False), ('1', '[0, 2]', False), (None, '[0, 2]', False)])
def test_numbers_within_intervals(value, interval, fits):
    if fits:
        check_numbers('Part', one=(1, '[1, 2]'), other=(value, interval))
        return
    with pytest.raises(ConfigError) as caught:
        check_numbers('Part', one=(1, '[1, 2]'), other=(value, interval))
    assert str(caught.value) == f'Part: other must lie in {interval}, got {value!r}.'
