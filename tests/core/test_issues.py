"""Findings as text."""
import pytest

from cxrdet.core.errors import DataError
from cxrdet.core.issues import Finding, raise_errors, told


@pytest.mark.parametrize('text, end', [('no such class. Did you mean "a"?', '"a"?'), ('empty', 'empty.'),
                                       ('empty.', 'empty.')])
def test_a_sentence_ends_once(text, end):
    finding = Finding('error', 'fault', text, file='set.csv', row='line 2')
    assert told([finding])['fault'].endswith(end)
    with pytest.raises(DataError, match='line 2') as caught:
        raise_errors([finding])
    assert f'{end} Mend' in str(caught.value)
