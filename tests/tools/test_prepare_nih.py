"""tools/prepare_data.py nih: lists, counts, what is refused; on made-up films, real ones and the whole table."""
import gzip
import json
import os
from collections import Counter

import numpy as np
import pytest

HEADER = ('Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,'
          'OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]')


@pytest.fixture(scope='module')
def run(tool):
    return tool('prepare_data').main


@pytest.fixture
def films(tmp_path):
    """120 films of 40 patients, two of them without an image; lists of the first 90 and the last 30."""
    rng, root = np.random.default_rng(0), tmp_path / 'published'
    (root / 'images_001' / 'images').mkdir(parents=True)
    rows = []
    for k in range(120):
        found = '|'.join(name for name in ('Mass', 'Effusion', 'Hernia') if rng.random() < 0.3) or 'No Finding'
        rows.append(f'{k:03}.png,{found},0,{k // 3},50,{"MF"[k // 3 % 2]},{rng.choice(["PA", "AP"])},1,1,1,1')
        if k not in (5, 117):
            (root / 'images_001' / 'images' / f'{k:03}.png').touch()
    (root / 'Data_Entry_2017.csv').write_text('\n'.join([HEADER, *rows, '']))
    (root / 'train_val_list.txt').write_text('\n'.join(f'{k:03}.png' for k in range(90)))
    (root / 'test_list.txt').write_text('\n'.join(f'{k:03}.png' for k in range(90, 120)))
    return root


def arguments(root, out, *more):
    return ['nih', str(root / 'Data_Entry_2017.csv'), str(root), str(out), *more]


def names(out, part):
    return (out / f'{part}_list.txt').read_text().split()


def patients(listed):
    return {int(name[:3]) // 3 for name in listed}


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob('*')
            if path.is_file() and not {'images', '.cxrdet'} & set(path.relative_to(folder).parts)}


def test_help(run, capsys):
    assert run(['nih', '--help']) == 0
    text = capsys.readouterr().out
    assert all(word in text for word in ('table', 'images', 'out_dir', '--official', '--val-share', '--test-share',
                                         '--folds', '--seed', '--stratify', '--force'))


def test_train_val_and_test(run, films, tmp_path, capsys):
    out = tmp_path / 'out'
    assert run(arguments(films, out, '--val-share', '0.2', '--test-share', '0.1', '--stratify', 'view', 'sex')) == 0
    said = capsys.readouterr().out.splitlines()
    lists = {part: names(out, part) for part in ('train', 'val', 'test')}
    assert sorted(sum(lists.values(), [])) == sorted(f'{k:03}.png' for k in range(120) if k not in (5, 117))
    assert all(listed == sorted(listed) for listed in lists.values())
    assert len(set.union(*(patients(listed) for listed in lists.values()))) == sum(
        len(patients(listed)) for listed in lists.values()) == 40
    rows = {line.split(',')[0]: line.split(',') for line in (films / 'Data_Entry_2017.csv').read_text().splitlines()}
    report = json.loads((out / 'splits.json').read_text())
    assert report['dropped'] == {'no_image': 2}
    for part, share in (('train', 0.7), ('val', 0.2), ('test', 0.1)):
        listed, counted = lists[part], report['lists'][part]
        assert len(listed) == pytest.approx(118 * share, abs=2)
        assert counted['films'] == len(listed) and counted['patients'] == len(patients(listed))
        for view in ('AP', 'PA'):
            assert counted[view] == sum(rows[name][6] == view for name in listed)
        labels = Counter(label for name in listed for label in rows[name][1].split('|'))
        assert all(counted[label] == labels[label] for label in ('Mass', 'Effusion', 'Hernia', 'No Finding', 'Edema'))
    for line, part in zip(said[-4:], ('train', 'val', 'test', 'dropped rows')):
        assert line.startswith(f'{part}: ')
    assert said[-1] == 'dropped rows: no_image 2'
    assert f'train: films {len(lists["train"])}, patients ' in said[-4] and 'No Finding ' in said[-4]


def test_the_folder_is_a_data_root(run, films, tmp_path):
    from cxrdet.datasets.nih import NIHChestXray14
    out = tmp_path / 'out'
    assert run(arguments(films, out)) == 0
    for part in ('train', 'val'):
        dataset = NIHChestXray14(data_root=str(out), split_file=f'{part}_list.txt')
        assert len(dataset) == len(names(out, part))
        assert os.path.isfile(dataset.get_data_info(0)['img_path'])


def test_again_the_same_and_nothing_else(run, films, tmp_path, capsys):
    out = tmp_path / 'out'
    assert run(arguments(films, out, '--seed', '1')) == 0
    before = contents(out)
    assert set(before) == {'Data_Entry_2017.csv', 'train_list.txt', 'val_list.txt', 'splits.json', 'prepared.json'}
    (out / 'val_list.txt').unlink()
    assert run(arguments(films, out, '--seed', '1')) == 0
    assert contents(out) == before
    assert run(arguments(films, out, '--seed', '2')) == 2
    assert "another prepared set (seed: 1 there, 2 asked for)" in capsys.readouterr().err
    assert contents(out) == before
    assert run(arguments(films, out, '--folds', '2', '--seed', '2', '--force')) == 0
    assert 'train_list.txt' not in contents(out) and 'folds/fold1_val_list.txt' in contents(out)
    assert (films / 'images_001' / 'images' / '000.png').exists()  # only the link was taken away
    other = tmp_path / 'other'
    other.mkdir()
    (other / 'thesis.txt').touch()
    assert run(arguments(films, other, '--force')) == 2
    assert 'not written by prepare_data' in capsys.readouterr().err
    assert run(arguments(films, films)) == 2  # among the published files


def test_folds(run, films, tmp_path):
    out = tmp_path / 'out'
    assert run(arguments(films, out, '--folds', '4', '--test-share', '0.2')) == 0
    test, vals = names(out, 'test'), [names(out, f'folds/fold{k}_val') for k in range(4)]
    assert len(test) == pytest.approx(24, abs=2)
    assert sorted(test + sum(vals, [])) == sorted(set(test + sum(vals, []))) and len(test + sum(vals, [])) == 118
    for k, val in enumerate(vals):
        train = names(out, f'folds/fold{k}_train')
        assert sorted(train + val + test) == sorted(test + sum(vals, []))
        assert not patients(train) & patients(val) and not patients(train) & patients(test)


def test_official_lists(run, films, tmp_path, capsys):
    out = tmp_path / 'out'
    official = ['--official', str(films / 'train_val_list.txt'), str(films / 'test_list.txt')]
    assert run(arguments(films, out, *official)) == 0
    assert names(out, 'test') == [f'{k:03}.png' for k in range(90, 120) if k != 117]
    assert len(names(out, 'val')) == pytest.approx(18, abs=2)
    assert patients(names(out, 'train')) | patients(names(out, 'val')) == set(range(30))
    assert not patients(names(out, 'train')) & patients(names(out, 'val'))
    (films / 'train_val_list.txt').write_text('\n'.join(f'{k:03}.png' for k in range(30, 90)))
    assert run(arguments(films, tmp_path / 'fewer', *official)) == 0
    assert capsys.readouterr().out.splitlines()[-1] == 'dropped rows: no_image 2, in_no_official_list 29'


def test_other_official_lists_are_another_set(run, films, tmp_path, capsys):
    out, content = tmp_path / 'out', (films / 'train_val_list.txt').read_text()
    official = ['--official', str(films / 'train_val_list.txt'), str(films / 'test_list.txt')]
    assert run(arguments(films, out, *official)) == 0
    before = contents(out)
    assert run(arguments(films, out, *official)) == 0
    (films / 'train_val_list.txt').write_text(content.replace('000.png', '').lstrip())
    assert run(arguments(films, out, *official)) == 2
    assert 'another prepared set (official: ' in capsys.readouterr().err
    assert contents(out) == before
    assert run(arguments(films, out, *official, '--force')) == 0
    assert '000.png' in before['train_list.txt'].decode() + before['val_list.txt'].decode()
    assert '000.png' not in names(out, 'train') + names(out, 'val')


@pytest.mark.parametrize(('kept', 'lost'), [(range(90), 'test_list.txt'), (range(90, 120), 'train_val_list.txt')])
def test_an_official_list_without_any_film(run, films, tmp_path, capsys, kept, lost):
    for path in (films / 'images_001' / 'images').iterdir():
        if int(path.stem) not in kept:
            path.unlink()
    official = ['--official', str(films / 'train_val_list.txt'), str(films / 'test_list.txt')]
    assert run(arguments(films, tmp_path / 'out', *official)) == 2
    error = capsys.readouterr().err
    assert f'none of the {120 - len(kept)} films of {films / lost} is there' in error
    assert not (tmp_path / 'out').exists()


def test_a_split_that_fails_its_own_check(run, films, tmp_path, capsys, monkeypatch):
    import cxrdet.curation.prepare_nih as module

    def careless(labels, groups, shares, **options):  # validation and test are told apart by film
        return np.where(groups < 30, 0, 1 + np.arange(len(groups)) % 2)
    monkeypatch.setattr(module, 'grouped_split', careless)
    assert run(arguments(films, tmp_path / 'out', '--test-share', '0.1')) == 2
    assert 'val and test share 10 patients: 30, 31' in capsys.readouterr().err
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize(('last', 'message'), [
    (91, r'train_val_list.txt and .*test_list.txt share 1 patients: 30'),
    ('x', 'train_val_list.txt: 1 of 91 names are not in .*Data_Entry_2017.csv: x'),
    (3, 'lines 4 and 91 both name "003.png"'),
])
def test_spoiled_official_lists(run, films, tmp_path, capsys, last, message):
    import re
    path = films / 'train_val_list.txt'
    path.write_text(path.read_text() + '\n' + (f'{last:03}.png' if isinstance(last, int) else f'{last}'))
    official = ['--official', str(path), str(films / 'test_list.txt')]
    assert run(arguments(films, tmp_path / 'out', *official)) == 2
    assert re.search(message, capsys.readouterr().err)
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize(('more', 'message'), [
    (['--folds', '1'], 'folds: expected 0 (a single split) or at least 2, got 1'),
    (['--folds', '5', '--val-share', '0.2'], 'val_share and folds exclude each other'),
    (['--val-share', '0'], '--val-share: expected a number in (0, 1)'),
    (['--val-share', '0.5', '--test-share', '0.5'], 'something left for training, got 0.5 and 0.5'),
    (['--test-share', '1'], '--test-share: expected a number in [0, 1)'),
    (['--stratify', 'veiw'], 'stratify: expected view or sex, got "veiw". Did you mean "view"?'),
    (['--official', 'a', 'b', '--test-share', '0.1'], 'test_share and the official lists exclude each other'),
    (['--official', 'a', 'b'], 'a: cannot read the list of images'),
    (['--folds', '99'], '40 groups (patients) cannot be split into 99 parts'),
])
def test_wrong_options(run, films, tmp_path, capsys, more, message):
    assert run(arguments(films, tmp_path / 'out', *more)) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / 'out').exists()


def test_bad_tables_and_folders(run, films, tmp_path, capsys):
    path = films / 'Data_Entry_2017.csv'
    assert run(['nih', str(path), str(tmp_path / 'none'), str(tmp_path / 'out')]) == 2
    assert 'none: no such folder of images' in capsys.readouterr().err
    (tmp_path / 'hollow').mkdir()
    assert run(['nih', str(path), str(tmp_path / 'hollow'), str(tmp_path / 'out')]) == 2
    assert 'none of the films of' in capsys.readouterr().err
    path.write_text(path.read_text() + '000.png,Mass,0,0,50,M,PA,1,1,1,1\n')
    assert run(arguments(films, tmp_path / 'out')) == 2
    assert 'line 122 (000.png): repeats 000.png, which line 2 has already' in capsys.readouterr().err
    assert not (tmp_path / 'out').exists()


@pytest.mark.long
def test_the_whole_table_with_the_official_lists(run, real_data, tmp_path, capsys):
    """86,524 and 25,596 films; labels of each list as counted in the text of the table."""
    root, out = real_data / 'nih_cxr14', tmp_path / 'out'
    official = ['--official', str(root / 'train_val_list.txt'), str(root / 'test_list.txt')]
    assert run(['nih', str(root / 'Data_Entry_2017_v2020.csv.gz'), '-', str(out), '--val-share', '0.1', *official]) == 0
    lists = {part: set(names(out, part)) for part in ('train', 'val', 'test')}
    assert len(lists['train'] | lists['val']) == len(lists['train']) + len(lists['val']) == 86524
    assert lists['test'] == set((root / 'test_list.txt').read_text().split()) and len(lists['test']) == 25596
    report = json.loads((out / 'splits.json').read_text())['lists']
    rows = gzip.decompress((root / 'Data_Entry_2017_v2020.csv.gz').read_bytes()).decode().splitlines()[1:]
    for part, listed in lists.items():
        cells = [row.split(',') for row in rows if row.split(',')[0] in listed]
        labels = Counter(label for row in cells for label in row[1].split('|'))
        assert {key: value for key, value in report[part].items() if key in labels} == labels
        assert report[part]['patients'] == len({row[3] for row in cells})
    assert sum(report[part]['patients'] for part in lists) == 30805
    for label, number in report['val'].items():
        if label not in ('films', 'patients', 'AP', 'PA'):
            assert number == pytest.approx(0.1 * (number + report['train'][label]), abs=1)
    assert 'test: films 25596, patients 2797, AP ' in capsys.readouterr().out
