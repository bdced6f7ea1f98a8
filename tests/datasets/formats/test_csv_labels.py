"""Metadata CSV and label2id JSON: what is read, and what is told about each fault, by line."""
import json
import os
import random

import pytest

from cxrdet.core.errors import ConfigError, DataError
from cxrdet.datasets.formats.csv_labels import CsvRow, balanced_choice, read, read_label2id, read_rows, split_rows

CLASSES = ('ascus', 'asch', 'lsil')


@pytest.fixture
def write(tmp_path):
    def _write(text, name='metadata.csv', encoding='utf-8'):
        path = tmp_path / name
        path.write_bytes(text.encode(encoding))
        return path
    return _write


# --- label2id


def test_classes_go_by_id_not_by_place(write):
    assert read_label2id(write('{"lsil": 2, "ascus": 0, "asch": 1}', 'l.json')) == CLASSES


@pytest.mark.parametrize(('text', 'expected'), [
    ('', r'l\.json: the label2id file is empty'),
    ('{"a": 0', r'l\.json: invalid JSON at line 1, column 8'),
    ('["a", "b"]', r'expected an object like \{"normal": 0, "abnormal": 1\}, got \[.a., .b.\]'),
    ('{}', 'expected an object like'),
    ('{"a": 0, "b": 2}', r'the ids of 2 classes must be 0 to 1, each once, got 0, 2'),
    ('{"a": 1, "b": 2}', r'got 1, 2'),
    ('{"a": 0, "b": 0}', r'got 0, 0'),
    ('{"a": 0, "b": "1"}', r'"b" has the id \'1\', expected a whole number'),
    ('{"a": 0, "b": true}', r'"b" has the id True'),
    ('{"a": 0, "b": 1, "a": 2}', r'the class "a" stands in it twice'),
    ('{"a ": 0}', r"without blanks at their ends, got 'a '"),
    ('{"": 0}', r"class names must be given .* got ''"),
])
def test_bad_label2id(write, text, expected):
    with pytest.raises(DataError, match=expected):
        read_label2id(write(text, 'l.json'))


def test_missing_label2id(tmp_path):
    with pytest.raises(DataError, match=r'none\.json: cannot read the label2id file: No such file'):
        read_label2id(tmp_path / 'none.json')


# --- rows


def test_rows_with_all_columns(write):
    path = write('path,label,split,group\na.jpg,asch,train,p1\n\n"b, c.jpg",lsil,val,p2\n')
    assert read_rows(path, CLASSES) == [CsvRow(2, 'a.jpg', 1, 'train', 'p1'), CsvRow(4, 'b, c.jpg', 2, 'val', 'p2')]


def test_labels_as_pandas_writes_whole_numbers(write):
    """``0.0`` is the class 0, unless a class is called so; without a list of classes, too, which is told."""
    path = write('path,label\na.jpg,0.0\nb.jpg,1\n')
    assert [row.label for row in read_rows(path, ('0', '1'))] == [0, 1]
    assert [row.label for row in read_rows(path, ('1', '0.0'))] == [1, 0]
    table = read(path)
    assert table.classes == ('0', '1')
    assert [(finding.level, finding.code) for finding in table.findings] == [('warning', 'no_class_list')]


def test_split_and_group_need_not_be_there(write):
    assert read_rows(write('label,note,path\nascus,x,a.jpg\n'), CLASSES) == [CsvRow(2, 'a.jpg', 0)]


def test_byte_order_mark_and_windows_line_ends(write):
    path = write('\ufeffpath,label\r\na.jpg,ascus\r\nb.jpg,asch\r\n')
    assert [(row.line, row.path, row.label) for row in read_rows(path, CLASSES)] == [(2, 'a.jpg', 0), (3, 'b.jpg', 1)]


def test_columns_under_other_names(write):
    path = write('Image,Finding,Patient,split\na.jpg,ascus,7,train\n')
    columns = {'path': 'Image', 'label': 'Finding', 'group': 'Patient'}
    assert read_rows(path, CLASSES, columns=columns) == [CsvRow(2, 'a.jpg', 0, 'train', '7')]
    assert read_rows(path, CLASSES, columns=columns | {'split': None})[0].split is None


@pytest.mark.parametrize(('columns', 'error', 'expected'), [
    ({'path': 'paht'}, DataError, r'no column "paht" for the path\. Did you mean "path"\? The header has: path, label'),
    ({'split': 'fold'}, DataError, r'no column "fold" for the split.*Name it with columns=dict\(split='),
    ({'lable': 'label'}, ConfigError, r'unknown key "lable", expected path, .*\. Did you mean "label"\?'),
])
def test_columns_that_are_not_there(write, columns, error, expected):
    with pytest.raises(error, match=expected):
        read_rows(write('path,label\na.jpg,ascus\n'), CLASSES, columns=columns)


@pytest.mark.parametrize(('text', 'expected'), [
    ('', r'metadata\.csv: the metadata file is empty \(0 characters\)'),
    ('path,label\n', 'there is a header, but no row below it'),
    ('path,label,path\na,ascus,b\n', 'line 1: the header names the column "path" twice'),
    ('path|label\na.jpg|ascus\n', 'no column "path" for the path'),
    ('path,label\na.jpg,"ascus\n', r'line 2: not readable as CSV'),
    ('path,label\na.jpg,ascus,train\n', r'metadata\.csv: line 2: 3 cells, but the header has 2'),
    ('path,label\na.jpg\n', r'line 2: 1 cells, but the header has 2'),
    ('path,label\na.jpg,\n', r'line 2: the cell of the label is empty'),
    ('path,label\n ,ascus\n', r'line 2: the cell "path" is empty'),
    ('path,label,group\na.jpg,ascus,\n', r'line 2: the cell of the group \(patient\) is empty'),
    ('path,label\na.jpg,Asch \n', r'line 2: label "Asch" is no class of the label2id file\. Did you mean "asch"\?'),
    ('path,label,split\na.jpg,asch,tain\n', r'line 2: unknown split "tain", expected train or val or test\. '
                                            r'Did you mean "train"\?'),
    ('path,label\nx/a.jpg,asch\nb.jpg,asch\nx/./a.jpg,asch\n', r'line 4: "x/\./a\.jpg" is listed before, in line 2'),
    ('path,label,split,group\na,asch,train,7\nb,asch,train,7\nc,asch,val,7\nd,asch,test,7\n',
     r'line 2: patient "7" has 2 images in train and 1 in val'),
])
def test_bad_rows(write, text, expected):
    with pytest.raises(DataError, match=expected):
        read_rows(write(text), CLASSES)


def test_not_utf8(write):
    with pytest.raises(DataError, match=r'not UTF-8 text \(byte 11\)'):
        read_rows(write('path,label\n\xff.jpg,ascus\n', encoding='latin-1'), CLASSES)


def test_all_faults_are_counted_and_ten_are_named(write):
    rows = [f'{n}.jpg,wrong{n}' for n in range(25)]
    with pytest.raises(DataError) as error:
        read_rows(write('\n'.join(['path,label', *rows])), CLASSES)
    lines = str(error.value).splitlines()
    assert 'metadata.csv: line 2: ' in lines[0] and lines[0].endswith('the first of 25 errors (25 unknown_label):')
    assert [line.split(':')[0].strip() for line in lines[1:10]] == [f'line {n}' for n in range(3, 12)]
    assert lines[10:] == ['  … and 15 more']


def test_faults_of_several_kinds_come_together_in_order(write, tmp_path):
    (tmp_path / 'a.jpg').write_bytes(b'x')
    (tmp_path / 'hollow.jpg').touch()
    path = write('path,label\na.jpg,asch\nb.jpg,asch\na.jpg,ash\nhollow.jpg,lsil\n')
    with pytest.raises(DataError) as error:
        read_rows(path, CLASSES, folder=tmp_path)
    first, *others = str(error.value).splitlines()
    assert f'metadata.csv: line 3: no such image file: {tmp_path}/b.jpg.' in first
    assert [line.strip() for line in others] == [
        'line 4: label "ash" is no class of the label2id file. Did you mean "asch"?',
        'line 4: "a.jpg" is listed before, in line 2, with another label.',
        f'line 5: the image file is empty (0 bytes): {tmp_path}/hollow.jpg.']


def test_one_image_by_two_kinds_of_path(write, tmp_path, monkeypatch):
    (tmp_path / 'a.jpg').write_bytes(b'x')
    path = write(f'path,label\na.jpg,asch\n{tmp_path}/a.jpg,lsil\n')
    monkeypatch.chdir(tmp_path)
    for folder in (tmp_path, '', '.', os.path.relpath(tmp_path)):
        with pytest.raises(DataError, match=r'line 3: ".*/a.jpg" is listed before, in line 2, with another label'):
            read_rows(path, CLASSES, folder=folder)


def test_images_of_other_splits_are_not_looked_for(write, tmp_path):
    (tmp_path / 'b.jpg').write_bytes(b'x')
    path = write('path,label,split\na.jpg,asch,train\nb.jpg,asch,val\n')
    assert len(read_rows(path, CLASSES, split='val', folder=tmp_path)) == 2
    with pytest.raises(DataError, match=r'line 2: no such image file'):
        read_rows(path, CLASSES, split='train', folder=tmp_path)


# --- splits and choices


def made_up_rows(seed=0):
    """300 images of 60 patients, each patient with one to nine images; classes 0, 1, 2 about 6 : 3 : 1."""
    rng = random.Random(seed)
    rows = []
    for line in range(300):
        label, patient = rng.choices([0, 1, 2], [6, 3, 1])[0], rng.randrange(60)
        rows.append(CsvRow(line + 2, f'{line}.jpg', label, None, f'p{patient}'))
    return rows


def test_split_keeps_groups_whole_and_classes_balanced():
    rows = made_up_rows()
    parts = split_rows(rows, {'train': 0.8, 'val': 0.2})
    sides = {}
    for row, part in zip(rows, parts):
        sides.setdefault(row.group, set()).add(part)
    assert all(len(side) == 1 for side in sides.values())
    for label in range(3):
        mine = [part for row, part in zip(rows, parts) if row.label == label]
        assert mine.count('val') / len(mine) == pytest.approx(0.2, abs=0.05)


def test_split_depends_on_the_seed_and_not_on_the_order():
    rows = made_up_rows()
    first = dict(zip((row.path for row in rows), split_rows(rows, {'train': 3, 'val': 1})))
    mixed = random.Random(1).sample(rows, len(rows))
    assert dict(zip((row.path for row in mixed), split_rows(mixed, {'train': 3, 'val': 1}))) == first
    assert split_rows(rows, {'train': 3, 'val': 1}, seed=1) != list(first.values())


def test_split_without_groups_goes_by_image():
    rows = [CsvRow(n, f'{n}.jpg', n % 2) for n in range(40)]
    parts = split_rows(rows, {'train': 0.5, 'val': 0.25, 'test': 0.25})
    assert sorted(parts.count(name) for name in ('train', 'val', 'test')) == [10, 10, 20]


def test_too_few_groups_for_a_split():
    with pytest.raises(DataError, match=r'1 groups \(patients\) cannot be split into 2 parts'):
        split_rows([CsvRow(2, 'a', 0, None, 'p'), CsvRow(3, 'b', 1, None, 'p')], {'train': 0.8, 'val': 0.2})


def test_balanced_choice_draws_in_turns():
    labels = [0] * 50 + [1] * 50 + [2] * 2  # sorted by class, as files often are
    chosen = balanced_choice(labels, 9)
    assert chosen == sorted(chosen)
    assert sum(labels[i] == 2 for i in chosen) == 2
    assert {sum(labels[i] == c for i in chosen) for c in (0, 1)} <= {3, 4}
    assert set(balanced_choice(labels, 6)) < set(chosen)
    assert chosen != list(range(9))
    assert balanced_choice(labels, 1000) == list(range(102))
    assert balanced_choice([], 5) == []
    assert balanced_choice(labels, 9, seed=1) != chosen


def test_real_crops(real_data):
    classes = read_label2id(real_data / 'cervical_crops' / 'label2id.json')
    assert dict(zip(classes, range(11))) == json.loads((real_data / 'cervical_crops' / 'label2id.json').read_text())
    rows = read_rows(real_data / 'cervical_crops' / 'metadata.csv', classes, folder=real_data / 'cervical_crops')
    assert [sum(row.split == split for row in rows) for split in ('train', 'val')] == [1023, 233]
