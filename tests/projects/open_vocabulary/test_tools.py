"""From a made-up set to boxes for a prompt, over the commands that users type."""
import json
from pathlib import Path

import cv2
import pytest

pytestmark = pytest.mark.long
ROOT = Path(__file__).parents[3]
CONFIG = 'projects/open_vocabulary/configs/open_vocabulary_shapes.py'
SMALL = ['model.neck.out_channels=16', 'model.text_encoder.dims=16', 'model.fusion.dims=16', 'model.decoder.dims=16',
         'model.backbone.base_channels=8', 'model.neck.in_channels=[32]',
         *(f'{split}_dataloader.{option}' for split in ('train', 'val', 'test')
           for option in ('num_workers=0', 'persistent_workers=False', 'batch_size=4'))]


@pytest.fixture(scope='module')
def checkpoint(tool, shapes, tmp_path_factory):
    work_dir = tmp_path_factory.mktemp('run')
    assert tool('train').main([CONFIG, '--data-root', str(shapes), '--work-dir', str(work_dir), '--cfg-options', *SMALL,
                               'max_epochs=1']) == 0
    best, = work_dir.glob('best_grounding_mAP_epoch_1.pth')  # the one that mAP over phrases chose
    return best


def test_training_stores_the_vocabulary(checkpoint):
    import torch
    spelled = torch.load(checkpoint, weights_only=False)['state_dict']['text_encoder.spelled']
    assert bytes(spelled[0].tolist()).rstrip(b'\0') == b'at'


@pytest.mark.parametrize('prompt, classes', [
    ('the red disc . every zebra', ['the red disc', 'every zebra']), (None, ['the red disc', 'the blue ring'])])
def test_boxes_and_pictures_of_a_prompt(tool, checkpoint, shapes, tmp_path, prompt, classes, capfd):
    more = [] if prompt is None else ['--prompt', prompt]
    assert tool('predict').main([CONFIG, str(checkpoint), str(shapes / 'images' / 'test_00000.png'), '--out-dir',
                                 str(tmp_path / 'out'), '--score-thr', '0', *more, '--cfg-options', *SMALL]) == 0
    content = json.loads((tmp_path / 'out' / 'predictions.json').read_text())
    assert content['classes'] == classes
    image, = content['images']
    assert set(image['classes']) == set(classes)
    assert cv2.imread(str(tmp_path / 'out' / 'pictures' / 'test_00000.png')).shape[0] >= 96
    assert ('"zebra"' in ''.join(capfd.readouterr())) == (prompt is not None)  # an unknown word is told


@pytest.mark.parametrize('prompt, place', [(' . ', 'at least one phrase'), ('a . a', 'twice')])
def test_faulty_prompts(tool, checkpoint, shapes, tmp_path, capsys, prompt, place):
    assert tool('predict').main([CONFIG, str(checkpoint), str(shapes / 'images' / 'test_00000.png'), '--out-dir',
                                 str(tmp_path / 'out'), '--prompt', prompt, '--cfg-options', *SMALL]) == 2
    assert place in capsys.readouterr().err


def test_test_and_report(tool, checkpoint, shapes, tmp_path, capsys):
    common = [CONFIG, str(checkpoint), '--data-root', str(shapes)]
    assert tool('test').main([*common, '--work-dir', str(tmp_path / 'test'), '--cfg-options', *SMALL]) == 0
    assert 'recall_1_unseen' in ''.join(capsys.readouterr())
    assert tool('report').main([*common, '--out', str(tmp_path / 'report.html'), '--workers', '0', '--samples', '20',
                                '--pictures', '2', '--cfg-options', *SMALL]) == 0
    assert 'phrase 1' in (tmp_path / 'report.html').read_text()


def test_made_up_set_from_the_command_line(tmp_path, capsys):
    import importlib.util
    file = ROOT / 'projects/open_vocabulary/tools/make_phantoms.py'
    spec = importlib.util.spec_from_file_location('make_phantoms', file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.main([str(tmp_path / 'set'), '--train', '2', '--val', '1', '--test', '1']) == 0
    assert '4 images' in capsys.readouterr().out
    assert module.main([str(tmp_path / 'set'), '--train', '3', '--seed', '5']) == 2  # another set is in the way


def test_prompt_of_a_test(tool, checkpoint, shapes, tmp_path, capsys):
    """The prompt is for sets whose images bring no phrases; a model that takes none is told."""
    common = ['--data-root', str(shapes), '--work-dir', str(tmp_path), '--cfg-options', *SMALL]
    assert tool('test').main([CONFIG, str(checkpoint), '--prompt', 'a . a', *common]) == 2
    assert 'twice' in capsys.readouterr().err
    assert tool('test').main(['configs/faster_rcnn_bifpn_cell_tiny.py', str(checkpoint), '--prompt', 'a']) == 2
    assert 'prompt' in capsys.readouterr().err
