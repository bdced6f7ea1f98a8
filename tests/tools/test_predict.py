"""The command line of tools/predict.py; what it calls is tested in tests/apis/test_predict.py."""
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_help_imports_nothing_heavy():
    code = ('import runpy, sys; sys.argv = ["predict.py", "--help"]\n'
            'try:\n    runpy.run_path("tools/predict.py", run_name="__main__")\n'
            'except SystemExit as end:\n    print("CODE", end.code)\n'
            'print("HEAVY", sorted({"torch", "mmengine", "numpy", "cv2"} & set(sys.modules)))')
    text = subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert 'CODE 0' in text and 'HEAVY []' in text
    for option in ('--out-dir', '--score-thr', '--device', '--batch-size', '--cfg-options', '--no-pictures',
                   '--trust-checkpoint', '--operating-point', '--calibrate', '--cam', '--cam-classes', '--cam-layer',
                   '--page', '--skip-errors', '--format', '--prompt'):
        assert option in text


def test_arguments_reach_predict(tool, monkeypatch, capsys, tmp_path):
    module = import_module('cxrdet.inference.predict')
    seen = {}

    def predict(cfg, *args, **options):
        seen.update(cfg=cfg, args=args, options=options)
        return [{'boxes': [1, 2]}, {'boxes': []}]
    monkeypatch.setattr(module, 'predict', predict)
    config = ROOT / 'configs' / 'faster_rcnn_bifpn_cell_tiny.py'
    assert tool('predict').main([str(config), 'a.pth', 'images', '--out-dir', str(tmp_path), '--score-thr', '0.7',
                                 '--device', 'cpu', '--batch-size', '4', '--no-pictures', '--trust-checkpoint',
                                 '--format', 'coco', 'cvat', '--prompt', 'a . b', '--cfg-options',
                                 'model.test_cfg.rcnn.max_per_img=7']) == 0
    assert seen['args'] == ('a.pth', 'images') and seen['cfg'].model.test_cfg.rcnn.max_per_img == 7
    assert seen['options'] == {'out_dir': str(tmp_path), 'score_thr': 0.7, 'device': 'cpu', 'batch_size': 4,
                               'pictures': False, 'trust': True, 'operating_point': None, 'calibrate': False,
                               'cam': None, 'page': None, 'skip_errors': False, 'formats': ['coco', 'cvat'],
                               'prompt': 'a . b'}
    assert capsys.readouterr().out.endswith(f'2 boxes in 2 images: {tmp_path}\n')


def test_arguments_for_classifiers(tool, monkeypatch, capsys, tmp_path):
    module = import_module('cxrdet.inference.predict')
    seen = {}
    monkeypatch.setattr(module, 'predict', lambda *args, **options: seen.update(options) or [
        {'classes': ['Mass'], 'probabilities': [0.9]}, {'classes': [], 'probabilities': [0.1]}])
    call = [str(ROOT / 'configs' / 'faster_rcnn_bifpn_cell_tiny.py'), 'a.pth', 'images', '--out-dir', str(tmp_path)]
    assert tool('predict').main([*call, '--operating-point', 'screening', '--calibrate', '--cam']) == 0
    assert (seen['operating_point'], seen['calibrate'], seen['cam']) == ('screening', True, (None, None))
    assert capsys.readouterr().out.endswith(f'1 finding in 2 images: {tmp_path}\n')
    assert tool('predict').main([*call, '--cam-classes', 'Mass', 'No Finding', '--cam-layer', 'backbone.layer3']) == 0
    assert seen['cam'] == (('Mass', 'No Finding'), 'backbone.layer3') and seen['score_thr'] is None


@pytest.mark.parametrize('arguments, text', [
    (['no.py', 'a.pth', 'images'], 'error: no.py: no such config file'),
    ([str(ROOT / 'configs' / 'faster_rcnn_bifpn_cell_tiny.py'), 'a.pth', 'nowhere'],
     'error: nowhere: no such image or folder'),
])
def test_errors_of_the_user(tool, capsys, tmp_path, arguments, text):
    assert tool('predict').main([*arguments, '--out-dir', str(tmp_path / 'out')]) == 2
    assert text in capsys.readouterr().err
    assert not (tmp_path / 'out').exists()
