"""Reference images: found in folders and CSVs, chosen by a seed, refused where something is wrong with them."""
import shutil

import cv2
import numpy as np
import pytest
import torch

from cxrdet.core.errors import ConfigError, DataError
from projects.comparison_detector.comparison_detector.adaptation import adapt
from projects.comparison_detector.comparison_detector.references import (
    draw_references,
    find_references,
    read_references,
)


@pytest.fixture
def folder(tmp_path):
    """Two images of class a, three of class "b c"; image i of class k has the value 10 k + i everywhere."""
    for k, (name, number) in enumerate([('a', 2), ('b c', 3)]):
        (tmp_path / name).mkdir()
        for i in range(number):
            cv2.imwrite(str(tmp_path / name / f'{i}.png'), np.full((20, 30, 3), 10 * k + i, np.uint8))
    return tmp_path


def test_a_folder_a_class(folder):
    listed = find_references(folder, per_class=2)
    assert listed.classes == ('a', 'b c')
    assert set(listed.files['a']) == {'a/0.png', 'a/1.png'}
    assert len(listed.files['b c']) == 2
    assert find_references(folder, per_class=2, every=True).as_dict()['files'].keys() == {'a', 'b c'}
    assert len(find_references(folder, per_class=2, every=True).files['b c']) == 3
    assert find_references(folder, ['b c'], per_class=3).classes == ('b c',)


def test_the_choice_goes_by_the_seed(folder):
    chosen = [tuple(find_references(folder, per_class=1, seed=seed).files['b c']) for seed in range(20)]
    assert len(set(chosen)) > 1
    assert chosen == [tuple(find_references(folder, per_class=1, seed=seed).files['b c']) for seed in range(20)]


def test_a_csv_names_the_classes(folder):
    (folder / 'metadata.csv').write_text('path,label,split\na/0.png,x,train\nb c/1.png,y,train\nb c/2.png,y,val\n')
    (folder / 'label2id.json').write_text('{"x": 0, "y": 1}')
    assert find_references(folder, ['y', 'x'], per_class=1).files == {'y': ['b c/1.png'], 'x': ['a/0.png']}
    with pytest.raises(DataError, match='"y" has 1 '):
        find_references(folder, ['y'], per_class=2)


@pytest.mark.parametrize('linked', [False, True])
def test_a_csv_may_tell_absolute_names(folder, linked, tmp_path_factory, monkeypatch):
    (folder / 'metadata.csv').write_text(f'path,label\n{folder}/a/0.png,x\na/1.png,x\n')
    root = folder.name
    monkeypatch.chdir(folder.parent)
    if linked:
        root = tmp_path_factory.mktemp('elsewhere') / 'link'
        root.symlink_to(folder)
    assert find_references(root, per_class=2, every=True, seed=1).files.keys() == {'x'}
    assert sorted(find_references(root, per_class=2).files['x']) == ['a/0.png', 'a/1.png']


def test_an_empty_name_is_not_the_current_folder(folder, monkeypatch):
    monkeypatch.chdir(folder)
    with pytest.raises(DataError, match='no such folder'):
        find_references('')


def test_what_lies_outside_is_told_once(folder):
    (folder / 'metadata.csv').write_text('path,label\n../a/0.png,x\n')
    with pytest.raises(DataError, match='line 2') as caught:
        find_references(folder)
    assert 'errors' not in str(caught.value)


def test_what_prepare_data_writes(references):
    assert {name: len(files) for name, files in find_references(references).files.items()} == {
        'RBC': 3, 'WBC': 3, 'Platelets': 3}


def test_images_are_resized_whatever_their_shape(folder):
    images, labels = read_references(find_references(folder, per_class=2, every=True), size=8)
    assert images.shape == (5, 3, 8, 8) and images.dtype == torch.uint8 and labels.tolist() == [0, 0, 1, 1, 1]
    assert sorted(images[:, 0, 0, 0].tolist()) == [0, 1, 10, 11, 12]


def test_steps_of_a_pipeline(folder):
    listed = find_references(folder, ['a'], per_class=1)
    images, _ = read_references(listed, size=8, pipeline=[dict(type='cxrdet.LoadImage'),
                                                          dict(type='mmcv.Pad', size=(40, 60), pad_val=dict(img=99))])
    assert images[0, :, -1, -1].tolist() == [99, 99, 99]
    with pytest.raises(ConfigError, match='references.pipeline'):
        read_references(listed, pipeline=[dict(type='cxrdet.LoadImage'),
                                          dict(type='mmdet.PackDetInputs', meta_keys=())])


def test_a_draw_takes_each_class_as_often():
    labels = torch.tensor([0, 1, 1, 1, 0, 0, 1])
    torch.manual_seed(0)
    draws = [draw_references(labels, 2).tolist() for _ in range(20)]
    assert all(labels[rows].tolist() == [0, 0, 1, 1] and len(set(rows)) == 4 for rows in draws)
    assert len(set(map(tuple, draws))) > 5


def missing_class(folder):
    shutil.rmtree(folder / 'a')
    return '"a" has no reference image'


def misspelt(folder):
    (folder / 'a').rename(folder / 'A')
    return 'Did you mean "A"'


def too_few(folder):
    (folder / 'a' / '0.png').unlink()
    return '"a" has 1 reference images, 2 are needed'


def no_folder(folder):
    shutil.rmtree(folder)
    return 'no such folder'


def nothing_in_it(folder):
    shutil.rmtree(folder / 'a'), shutil.rmtree(folder / 'b c')
    return 'no image'


def loose_image(folder):
    shutil.copy(folder / 'a' / '0.png', folder / 'z.png')
    return 'z.png: a reference image lies in the folder of its class'


def too_deep(folder):
    shutil.move(folder / 'a', folder / 'b c' / 'a')
    return r'b c/a/0\.png: a reference image lies in the folder of its class'


def below_a_split(folder):
    (folder / 'train').mkdir()
    shutil.move(folder / 'a', folder / 'train'), shutil.move(folder / 'b c', folder / 'train')
    return r'train/a/0\.png'


def gone_from_the_csv(folder):
    (folder / 'metadata.csv').write_text('path,label\na/0.png,a\na/7.png,a\n')
    (folder / 'label2id.json').write_text('{"a": 0}')
    return 'line 3'


def boxes(folder):
    (folder / 'train.json').write_text('{"images": [], "annotations": [], "categories": []}')
    return 'coco'


@pytest.mark.parametrize('break_it', [missing_class, misspelt, too_few, no_folder, nothing_in_it, loose_image,
                                      too_deep, below_a_split, gone_from_the_csv, boxes])
def test_faults_are_told(break_it, folder):
    text = break_it(folder)
    with pytest.raises(DataError, match=text):
        find_references(folder, ['a', 'b c'], per_class=2)


@pytest.mark.parametrize('content', [b'', b'no image', None])
def test_an_unreadable_file_is_named(content, folder):
    file = folder / 'a' / '1.png'
    file.write_bytes(file.read_bytes()[:60] if content is None else content)
    with pytest.raises(DataError, match=r'a/1\.png'):
        read_references(find_references(folder, per_class=2))


@pytest.mark.parametrize('there, options, fault', [(True, {}, 'new.pth'), (False, {'per_class': 0}, 'per_class')])
def test_adapting_replaces_no_file_and_takes_no_impossible_number(tmp_path, there, options, fault):
    new = tmp_path / 'new.pth'
    if there:
        new.write_bytes(b'kept')
    with pytest.raises(ConfigError, match=fault):
        adapt(tmp_path / 'config.py', tmp_path / 'none.pth', new, references=tmp_path, **options)
    assert new.read_bytes() == b'kept' if there else not new.exists()
