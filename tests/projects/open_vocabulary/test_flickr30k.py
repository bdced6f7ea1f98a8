"""A made-up miniature in the layout of Flickr30k Entities, through the converter and the reader."""
import importlib.util
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.registry import DefaultScope

from cxrdet.core.errors import DataError
from projects.open_vocabulary.open_vocabulary.flickr30k import convert_flickr30k, read_boxes, read_sentence
from projects.open_vocabulary.open_vocabulary.grounding_dataset import GroundingDataset

SENTENCES = {
    '1001': ['[/EN#11/people Two young men] in [/EN#12/clothing green shirts] watch [/EN#0/notvisual each other] .',
             '[/EN#11/people Two men] , [/EN#11/people two men] and [/EN#13/scene a street] .',
             'Nothing is marked here .'],
    '1002': ['[/EN#21/people/other A child] .']}
OBJECT = '<object><name>{}</name>{}</object>'
BOX = '<bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox>'
OBJECTS = {
    '1001': [OBJECT.format(11, BOX.format(1, 2, 11, 22)), OBJECT.format('11</name><name>12', BOX.format(30, 5, 60, 40)),
             OBJECT.format(13, '<scene>1</scene><nobndbox>0</nobndbox>')],
    '1002': [OBJECT.format(21, BOX.format(5, 5, 50, 30))]}


def xml(objects):
    return ('<annotation><filename>x.jpg</filename><size><width>60</width><height>40</height><depth>3</depth></size>'
            f'{"".join(objects)}</annotation>')


@pytest.fixture
def miniature(tmp_path):
    source = tmp_path / 'flickr30k_entities'
    for folder in ('Sentences', 'Annotations', 'images'):
        (source / folder).mkdir(parents=True)
    for name, lines in SENTENCES.items():
        (source / 'Sentences' / f'{name}.txt').write_text('\n'.join(lines) + '\n')
        (source / 'Annotations' / f'{name}.xml').write_text(xml(OBJECTS[name]))
        cv2.imwrite(str(source / 'images' / f'{name}.jpg'), np.zeros((40, 60, 3), np.uint8))
    (source / 'train.txt').write_text('1001\n')
    (source / 'val.txt').write_text('1002\n')
    (source / 'test.txt').write_text('1002\n1001\n')
    return source


def tool():
    file = Path(__file__).parents[3] / 'projects/open_vocabulary/tools/convert_flickr30k.py'
    spec = importlib.util.spec_from_file_location('convert_flickr30k', file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize('link', [False, True])
def test_miniature_end_to_end(miniature, tmp_path, link, capsys):
    out = tmp_path / 'out'
    assert tool().main([str(miniature), str(out), '--images', str(miniature / 'images'), *['--link'] * link]) == 0
    assert str(out) in capsys.readouterr().out
    assert (out / 'images' / '1001.jpg').is_symlink() is link
    content = json.loads((out / 'annotations' / 'train.json').read_text())
    assert [entry['caption'] for entry in content['images']] == [
        'Two young men in green shirts watch each other .', 'Two men , two men and a street .']
    with DefaultScope.overwrite_default_scope('mmdet'):
        dataset = GroundingDataset(
            data_root=str(out), ann_file='annotations/train.json', data_prefix=dict(img='images/'), pipeline=[
                dict(type='cxrdet.LoadImage'), dict(type='LoadAnnotations', with_bbox=True),
                dict(type='PackDetInputs', meta_keys=('phrases', 'phrase_groups'))])
    sample = dataset[0]['data_samples']
    assert sample.phrases == ('Two young men', 'green shirts')
    assert sample.phrase_groups == ('people', 'clothing')
    assert sample.gt_instances.labels.tolist() == [0, 0, 1]
    assert sample.gt_instances.bboxes.tensor.tolist() == [[0, 1, 10, 21], [29, 4, 59, 39], [29, 4, 59, 39]]
    assert dataset[1]['data_samples'].phrases == ('Two men',)  # said twice; a street has no box
    assert len(json.loads((out / 'annotations' / 'test.json').read_text())['images']) == 3


def test_sentence_loses_its_marks():
    caption, phrases = read_sentence('A [/EN#7/bodyparts/x  red  hat] , [/EN#0/notvisual it]', 'x')
    assert caption == 'A red hat , it'
    assert [caption[start:end] for start, end, *_ in phrases] == ['red hat', 'it']
    assert [phrase[2:] for phrase in phrases] == [('7', 'bodyparts'), ('0', 'notvisual')]


@pytest.mark.parametrize('line', ['[/EN#7 hat]', '[/EN#7/x hat', 'a hat]', '[EN#7/x hat]', '[/EN#x/y hat]'])
def test_faulty_marks_are_named(line):
    with pytest.raises(DataError, match='file, line 3'):
        read_sentence(line, 'file, line 3')


@pytest.mark.parametrize('text, place', [
    (xml([OBJECT.format('x', BOX.format(1, 1, 9, 9))]), 'object 0.*chain'),
    (xml([OBJECT.format(1, '')]), 'object 0.*bndbox'),
    (xml([OBJECT.format(1, BOX.format(1, 1, 9, 9)), OBJECT.format(1, BOX.format(9, 1, 9, 9))]), 'object 1.*no box'),
    (xml([OBJECT.format(1, BOX.format(1, 1, 61, 9))]), 'object 0.*no box'),
    (xml([OBJECT.format(1, BOX.format('a', 1, 9, 9))]), 'object 0.*xmin'),
    ('<annotation></annotation>', 'size'), ('<annotation>', 'malformed'),
    ('<!DOCTYPE a [<!ENTITY b "c">]><annotation>&b;</annotation>', 'refused')])
def test_faulty_annotations_are_named(tmp_path, text, place):
    (tmp_path / 'a.xml').write_text(text)
    with pytest.raises(DataError, match=f'a.xml.*{place}'):
        read_boxes(tmp_path / 'a.xml')


@pytest.mark.parametrize('break_it, place', [
    (lambda source: (source / 'Sentences' / '1001.txt').unlink(), '1001.txt'),
    (lambda source: (source / 'images' / '1001.jpg').unlink(), '1001.jpg'),
    (lambda source: (source / 'train.txt').write_text('../1001'), 'train.txt'),
    (lambda source: (source / 'train.txt').unlink(), 'train.txt'),
    (lambda source: (source / 'Sentences' / '1001.txt').write_text('nothing'), 'train.txt.*no caption')])
def test_what_is_missing_is_named(miniature, tmp_path, break_it, place):
    break_it(miniature)
    with pytest.raises((DataError, FileNotFoundError), match=place):
        convert_flickr30k(miniature, tmp_path / 'out', images=miniature / 'images')
