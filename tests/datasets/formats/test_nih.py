"""The tables of NIH ChestX-ray14: both releases, every defect with its line, boxes, and where films lie."""
import gzip
from collections import Counter

import numpy as np
import pytest

from cxrdet.core.errors import DataError
from cxrdet.datasets.formats.nih import NIH_CLASSES, find_images, find_table, read, read_age, read_table

HEADER = ('Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,'
          'OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]')
ROWS = ('00000001_000.png,Cardiomegaly|Emphysema,0,1,58,M,PA,2682,2749,0.143,0.143',
        '00000002_000.png,No Finding,0,2,80,F,AP,2500,2048,0.171,0.171',
        '00000001_001.png,Hernia,1,1,59,M,PA,2682,2749,0.143,0.143')


def table(tmp_path, *rows, header=HEADER, name='Data_Entry_2017_v2020.csv', end='\n'):
    path = tmp_path / name
    path.write_text(end.join([header, *rows, '']))
    return path


def check_three(read):
    assert read.names.tolist() == ['00000001_000.png', '00000002_000.png', '00000001_001.png']
    assert [[name for name, there in zip(NIH_CLASSES, row) if there] for row in read.labels] == [
        ['Cardiomegaly', 'Emphysema'], ['No Finding'], ['Hernia']]
    assert read.patients.tolist() == [1, 2, 1]
    assert read.follow_ups.tolist() == [0, 0, 1]
    assert read.ages.tolist() == [58, 80, 59]
    assert read.sexes.tolist() == ['M', 'F', 'M']
    assert read.views.tolist() == ['PA', 'AP', 'PA']


def test_class_order():
    assert ','.join(NIH_CLASSES) == ('Cardiomegaly,Emphysema,Effusion,Hernia,Nodule,Pneumothorax,Atelectasis,'
                                     'Pleural_Thickening,Mass,Edema,Consolidation,Infiltration,Fibrosis,Pneumonia,'
                                     'No Finding')


def test_newer_release(tmp_path):
    read = read_table(table(tmp_path, *ROWS))
    check_three(read)
    assert read.lines.tolist() == [2, 3, 4]
    assert len(read) == 3
    part = read.take(np.array([False, True, True]))
    assert part.names.tolist() == ['00000002_000.png', '00000001_001.png'] and part.lines.tolist() == [3, 4]


@pytest.mark.parametrize('end', ['\n', '\r\n'])
def test_older_release_ends_lines_with_a_comma_and_marks_years(tmp_path, end):
    rows = [row.replace(',58,', ',058Y,').replace(',80,', ',080Y,').replace(',59,', ',059Y,') + ',' for row in ROWS]
    check_three(read_table(table(tmp_path, *rows, header='\ufeff' + HEADER + ',', name='Data_Entry_2017.csv', end=end)))


def test_gzip_whatever_the_name(tmp_path):
    path = tmp_path / 'films.csv'
    path.write_bytes(gzip.compress(table(tmp_path, *ROWS).read_bytes()))
    check_three(read_table(path))


def test_columns_by_name_in_any_order(tmp_path):
    read = read_table(table(tmp_path, 'Mass,7,a.png', '', 'Nodule|Mass,8,b.png',
                            header='Finding Labels, Patient ID ,Image Index'))
    assert read.names.tolist() == ['a.png', 'b.png']
    assert read.patients.tolist() == [7, 8]
    assert read.lines.tolist() == [2, 4]  # a blank line between
    assert read.views.tolist() == read.sexes.tolist() == ['', '']
    assert read.follow_ups.tolist() == [-1, -1] and np.isnan(read.ages).all()
    assert read_table(table(tmp_path, 'Mass,7,a.png,M', header='Finding Labels,Patient ID,Image Index,Patient Sex')
                      ).sexes.tolist() == ['M']


@pytest.mark.parametrize(('text', 'years'), [('58', 58), ('058Y', 58), ('414Y', 414), ('018M', 1.5), ('000D', 0),
                                             ('Y', None), ('-3', None), ('old', None)])
def test_ages(text, years):
    assert read_age(text) == years
    assert np.isnan(read_age(''))


@pytest.mark.parametrize(('row', 'message'), [
    ('a.png,Hernai,0,1,58,M,PA,1,1,1,1', r'line 3 \(a.png\): unknown finding "Hernai". Did you mean "Hernia"\?'),
    ('a.png,Mass|,0,1,58,M,PA,1,1,1,1', r'line 3 \(a.png\): unknown finding ""'),
    ('a.png,,0,1,58,M,PA,1,1,1,1', r'line 3 \(a.png\): no finding is given; a film without any is marked "No Finding"'),
    ('a.png,Mass|Mass,0,1,58,M,PA,1,1,1,1', r'line 3 \(a.png\): a finding is named twice in "Mass\|Mass"'),
    ('a.png,No Finding|Mass,0,1,58,M,PA,1,1,1,1', 'line 3 .*"No Finding" cannot stand beside a finding'),
    ('00000001_000.png,Mass,0,1,58,M,PA,1,1,1,1', r'line 3 .*: repeats 00000001_000.png, which line 2 has already'),
    ('00000001_000.png ,Mass,0,1,58,M,PA,1,1,1,1', r'line 3 .*: repeats 00000001_000.png, which line 2 has already'),
    ('a.png,Mass,0,12345678901234567890,58,M,PA,1,1,1,1', 'line 3 .* must be a number of at most 18 digits, got "1234'),
    (' ,Mass,0,1,58,M,PA,1,1,1,1', r'line 3: names no image'),
    (',Mass,0,1,58,M,PA,1,1,1,1', r'line 3: names no image \(column "Image Index"\)'),
    ('a.png,Mass,0,,58,M,PA,1,1,1,1', r'line 3 \(a.png\): Patient ID must be a number of at most 18 digits, got ""'),
    ('a.png,Mass,0,x1,58,M,PA,1,1,1,1', 'line 3 .*Patient ID must be a number of at most 18 digits, got "x1"'),
    ('a.png,Mass,0,1,old,M,PA,1,1,1,1', 'line 3: Patient Age cannot be "old"'),
    ('a.png,Mass,one,1,58,M,PA,1,1,1,1', 'line 3: Follow-up # cannot be "one"'),
    ('a.png,Mass,0,1', 'line 3: 4 cells, but the header has 11'),
    ('a.png,Mass,0,1,58,M,PA,1,1,1,1,7', 'line 3: 12 cells, but the header has 11'),
    ('a.png,"Mass\n,0,1,58', 'line 3'),
])
def test_bad_rows_are_named_by_their_line(tmp_path, row, message):
    path = table(tmp_path, ROWS[0], row)
    with pytest.raises(DataError, match=message) as caught:
        read_table(path)
    assert str(caught.value).startswith(f'{path}: line ')


@pytest.mark.parametrize(('content', 'message'), [
    (b'', 'the table is empty'), (b'a,b\n', "no column 'Image Index', 'Finding Labels', 'Patient ID'"),
    (b'Image Index,Finding Lables,Patient ID\n', "no column 'Finding Labels'. Did you mean \"Finding Lables\""),
    (b'Image Index,Finding Labels,Patient ID\n', 'there is a header, but no film below it'),
    (b'\xff\xfe\x00,\n', r'not UTF-8 text \(byte 0\)'),
    (gzip.compress(b'Image Index' * 1000, mtime=0)[:40], 'cannot read the table: Compressed file ended'),
    (b'\x1f\x8bnothing', 'cannot read the table: '),
])
def test_no_table(tmp_path, content, message):
    path = tmp_path / 'Data_Entry_2017.csv'
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_table(path)


def test_no_file(tmp_path):
    with pytest.raises(DataError, match='none.csv: cannot read the table: No such file'):
        read_table(tmp_path / 'none.csv')


def test_find_table(tmp_path):
    with pytest.raises(DataError, match='no table of films. Expected one of Data_Entry_2017_v2020.csv, '):
        find_table(tmp_path)
    for name in ('Data_Entry_2017.csv', 'Data_Entry_2017_v2020.csv.gz', 'Data_Entry_2017_v2020.csv'):
        (tmp_path / name).touch()
        assert find_table(tmp_path).name == name


def test_images_in_one_folder_or_in_twelve(tmp_path):
    places = {'a.png': '.', 'b.png': 'images', 'c.png': 'images_001', 'd.PNG': 'images_012/images', 'e.jpeg': 'images',
              'f.png': 'images/images_003/images'}
    for name, place in places.items():
        (tmp_path / place).mkdir(parents=True, exist_ok=True)
        (tmp_path / place / name).touch()
    (tmp_path / 'others').mkdir()
    (tmp_path / 'others' / 'g.png').touch()
    (tmp_path / 'images' / 'notes.txt').touch()
    found = find_images(tmp_path)
    assert found.keys() == places.keys()
    assert {name: (tmp_path / place / name).resolve() for name, place in places.items()} == {
        name: tmp_path.joinpath(path).resolve() for name, path in found.items()}
    assert find_images(tmp_path / 'others').keys() == {'g.png'}
    (tmp_path / 'images_001' / 'b.png').touch()
    with pytest.raises(DataError, match=r'b\.png .*images/b\.png and .*images_001/b\.png'):
        find_images(tmp_path)


def test_a_link_to_itself_ends(tmp_path):
    (tmp_path / 'images').symlink_to(tmp_path, target_is_directory=True)
    assert find_images(tmp_path) == {}


def test_no_folder_of_images(tmp_path):
    with pytest.raises(DataError, match='nowhere: no such folder of images. Check data_root and data_prefix'):
        find_images(tmp_path / 'nowhere')


BOX_HEADER = 'Image Index,Finding Label,Bbox [x,y,w,h]'


def with_boxes(tmp_path, *rows, header=BOX_HEADER):
    """A set of two films, a.png and b.png, with a list of boxes."""
    table(tmp_path, 'Mass,7,a.png', 'Mass,8,b.png', header='Finding Labels,Patient ID,Image Index')
    table(tmp_path, *rows, header=header, name='BBox_List_2017.csv')
    for name in ('a.png', 'b.png'):
        (tmp_path / name).touch()
    return read(tmp_path)


def test_boxes(tmp_path):
    """x, y, w, h at 1024 px; of a film that is not there a box is counted."""
    found = with_boxes(tmp_path, 'a.png,Infiltrate,100,200,40,80,,,', 'c.png,Mass,1,1,1,1,,,',
                       'b.png,Mass,0.5,1.5,2,4,,,', header=BOX_HEADER + ',,,')
    assert found.boxes.tolist() == [[100, 200, 140, 280], [0.5, 1.5, 2.5, 5.5]]
    assert [NIH_CLASSES[label] for label in found.box_label] == ['Infiltration', 'Mass']
    assert found.box_image.tolist() == [0, 1] and [place.number for place in found.box_places] == [2, 4]
    assert [(finding.code, finding.level) for finding in found.findings] == [('boxes_without_image', 'info')]
    assert found.sizes.tolist() == [[1024, 1024]] * 2


@pytest.mark.parametrize(('row', 'message'), [
    ('a.png,Infiltrates,1,1,1,1', 'line 2 .*unknown finding "Infiltrates". Did you mean "Infiltration"'),
    ('a.png,No Finding,1,1,1,1', 'unknown finding "No Finding"'),
    ('a.png,Mass,1,1,0,1', 'line 2 .*expected a box x, y, w, h with w and h above 0, got 1, 1, 0, 1'),
    ('a.png,Mass,1,nan,1,1', 'got 1, nan, 1, 1'),
    ('a.png,Mass,1,one,1,1', 'got 1, one, 1, 1'),
])
def test_bad_boxes(tmp_path, row, message):
    with pytest.raises(DataError, match=message):
        with_boxes(tmp_path, row).raise_errors()


def test_published_table(real_data):
    """112,120 films of 30,805 patients; numbers of each label as counted in the text of the file."""
    path = real_data / 'nih_cxr14' / 'Data_Entry_2017_v2020.csv.gz'
    read = read_table(path)
    assert (len(read), len(np.unique(read.patients))) == (112120, 30805)
    lines = gzip.decompress(path.read_bytes()).decode().splitlines()[1:]
    expected = Counter(name for line in lines for name in line.split(',')[1].split('|'))
    assert dict(zip(NIH_CLASSES, read.labels.sum(axis=0).tolist())) == expected
    assert Counter(read.views.tolist()) == {'PA': 67310, 'AP': 44810}
    assert sum(column.nbytes for key, column in vars(read).items() if key != 'path') < 16e6


def test_published_boxes(real_data, tmp_path):
    """984 boxes of 880 films, all within their film."""
    boxes = real_data / 'nih_cxr14' / 'BBox_List_2017.csv'
    names = sorted({line.split(',')[0] for line in boxes.read_text().splitlines()[1:]})
    table(tmp_path, *(f'Mass,{number},{name}' for number, name in enumerate(names)),
          header='Finding Labels,Patient ID,Image Index').with_name(boxes.name).write_bytes(boxes.read_bytes())
    for name in names:
        (tmp_path / name).touch()
    found = read(tmp_path)
    found.raise_errors()
    assert len(found.boxes) == 984 and len(set(found.box_image.tolist())) == len(names) == 880
    assert Counter(NIH_CLASSES[label] for label in found.box_label) == {
        'Atelectasis': 180, 'Effusion': 153, 'Cardiomegaly': 146, 'Infiltration': 123, 'Pneumonia': 120,
        'Pneumothorax': 98, 'Mass': 85, 'Nodule': 79}
    assert found.boxes.min() >= 0 and found.boxes.max() <= 1024
