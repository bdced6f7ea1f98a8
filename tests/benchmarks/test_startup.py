"""benchmarks/startup.py: both trainings come to the end of their first iteration, and the large set is what it says."""
import json

import pytest


@pytest.mark.long
def test_both_come_to_the_first_iteration(benchmark, tmp_path):
    startup = benchmark('startup')
    startup.make_set(tmp_path / 'set')
    (tmp_path / 'first_iteration.py').write_text(startup.HOOK)
    commands = dict(startup.prepare(tmp_path, tmp_path / 'set', None))
    assert list(commands) == ['ours', 'stock']
    for command in commands.values():
        figures = startup.first_iteration(*command)
        assert list(figures) == ['wall s', 'processor s', 'peak MiB', 'PSS MiB'] and min(figures.values()) > 0


def test_links_of_one_file(benchmark, tmp_path):
    for folder in ('images', 'annotations'):
        (tmp_path / folder).mkdir()
    file = tmp_path / 'annotations' / 'train.json'
    file.write_text(json.dumps({'categories': [{'id': 4, 'name': 'cell'}, {'id': 7, 'name': 'nucleus'}]}))
    benchmark('startup').write_links(tmp_path, 5, 15)
    content, files = json.loads(file.read_text()), sorted((tmp_path / 'images').iterdir())
    assert [image['file_name'] for image in content['images']] == [path.name for path in files]
    assert len({path.stat().st_ino for path in files}) == 1 and len(files) == 5
    assert [box['image_id'] for box in content['annotations']] == [number // 3 for number in range(15)]
    assert {box['category_id'] for box in content['annotations']} == {4, 7}
