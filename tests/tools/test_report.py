"""The report from the command line: of a detector and of a classifier, made-up and real, opened in a browser."""
import re

import pytest

BCCD, NIH = 'configs/faster_rcnn_bifpn_bccd.py', 'configs/ablations/nih/resnet18_half_nih_160.py'
LOADERS = [f'{split}_dataloader.{option}' for split in ('train', 'val', 'test')
           for option in ('num_workers=0', 'persistent_workers=False')]
SMALL = [*LOADERS, 'model.neck.out_channels=16', 'model.neck.num_layers=1', 'model.rpn_head.in_channels=16',
         'model.rpn_head.feat_channels=16', 'model.roi_head.bbox_roi_extractor.out_channels=16',
         'model.roi_head.bbox_head.in_channels=16', 'model.roi_head.bbox_head.fc_out_channels=16',
         'model.backbone.base_channels=16', 'model.backbone.stem_channels=16', 'model.neck.in_channels=[16,32,64,128]']
ONE_EPOCH = ['train_cfg.max_epochs=1', 'train_cfg.val_interval=1', 'param_scheduler=[]']


def train(tool, config, data, work_dir, options, limits=('8', '8')):
    assert tool('train').main([config, '--data-root', str(data), '--work-dir', str(work_dir), '--train-limit',
                               limits[0], '--valid-limit', limits[1], '--cfg-options', *options, *ONE_EPOCH]) == 0
    return work_dir / 'epoch_1.pth'


def report(tool, config, checkpoint, data, out, options, *more):
    return tool('report').main([config, str(checkpoint), '--out', str(out), '--data-root', str(data), '--workers', '0',
                                '--samples', '20', *more, '--cfg-options', *options])


def check_page(browser, path, *, parts):
    """Opens without network or a line on the console, has its parts, and sorts."""
    driver = browser.open(path, width=390)
    assert driver.execute_script('return document.documentElement.scrollWidth') == 390
    driver = browser.open(path)
    assert browser.console() == [] and browser.requests() == [path.as_uri()]
    found = [section.get_attribute('id') for section in driver.find_elements('css selector', 'main > section')]
    assert set(parts) <= set(found), found
    broken = driver.execute_script('return [...document.images].filter(image => !image.naturalWidth).length')
    assert broken == 0 and driver.find_elements('css selector', '.card')
    head = driver.find_elements('css selector', '#classes thead button')[2]
    head.click()
    values = [float(cell.get_attribute('data-value')) for cell in
              driver.find_elements('css selector', '#classes tbody td:nth-child(3)')]
    assert values == sorted(values, reverse=True) and len(values) > 1
    return driver


def test_detector_of_made_up_cells(tool, cell_phantoms, tmp_path, capsys):
    config = 'configs/faster_rcnn_bifpn_cell_tiny.py'
    checkpoint = train(tool, config, cell_phantoms, tmp_path / 'run', [*SMALL, 'val_cfg.fp16=False'])
    capsys.readouterr()
    out = tmp_path / 'new' / 'report.html'
    assert report(tool, config, checkpoint, cell_phantoms, out, SMALL, '--pictures', '3', '--curves',
                  str(tmp_path / 'curves')) == 0
    assert re.search(r'report.html: \d\.\d MB', capsys.readouterr().out)
    text = out.read_text()
    assert 'cxrdet report configs/faster_rcnn_bifpn_cell_tiny.py' in text
    assert 'backbone: ResNet; neck: BiFPN' in text and '1 epochs, ' in text
    assert sorted(path.name for path in (tmp_path / 'curves').glob('[!.]*')) == [
        'calibration.png', 'froc_at_iou_05.png', 'precision_and_recall_of_boxes_at_iou_05.png']


@pytest.mark.parametrize('more, text', [
    (['--out', 'x.txt'], 'expected .html or .htm at the end'), ([], 'none.pth'),
    (['--samples', '0'], '--samples: expected a whole number from 1 on')])
def test_errors_are_one_line(more, text, tool, cell_phantoms, tmp_path, capsys):
    out = [] if '--out' in more else ['--out', str(tmp_path / 'x.html')]
    code = tool('report').main(['configs/faster_rcnn_bifpn_cell_tiny.py', str(tmp_path / 'none.pth'), *out,
                                '--data-root', str(cell_phantoms), *more])
    message = capsys.readouterr().err
    assert code == 2 and text in message and 'Traceback' not in message
    assert not list(tmp_path.iterdir())


@pytest.mark.long
def test_real_blood_smears(real_data, tool, browser, tmp_path):
    checkpoint = train(tool, BCCD, real_data / 'bccd', tmp_path / 'run', SMALL, ('16', '8'))
    out = tmp_path / 'bccd.html'
    assert report(tool, BCCD, checkpoint, real_data / 'bccd', out, SMALL, '--train-images', '8', '--score-thr', '0.1',
                  '--valid-limit', '12') == 0
    driver = check_page(browser, out, parts=['training', 'curves', 'confusion', 'errors', 'calibration', 'pictures'])
    facts = driver.find_element('id', 'data').text
    assert '12 validation images' in facts and '640 × 480 pixels' in facts
    assert 'RBC' in driver.find_element('id', 'classes').text


@pytest.mark.long
def test_real_chest_films(real_data, tool, browser, tmp_path):
    splits = [f'{split}_dataloader.dataset.split_file=configs/splits/nih_cxr14_779/fold0_{name}_list.txt'
              for split, name in (('train', 'train'), ('val', 'val'), ('test', 'val'))]
    options = [*LOADERS, *splits, 'model.backbone.base_channels=16', 'model.backbone.stem_channels=16',
               'model.head.in_channels=128']
    checkpoint = train(tool, NIH, real_data / 'nih_cxr14', tmp_path / 'run', options, ('48', '48'))
    out = tmp_path / 'nih.html'
    assert report(tool, NIH, checkpoint, real_data / 'nih_cxr14', out, options, '--train-images', '24', '--pictures',
                  '12', '--valid-limit', '60') == 0
    driver = check_page(browser, out, parts=['training', 'curves', 'confusion', 'errors', 'calibration', 'pictures'])
    facts = driver.find_element('id', 'data').text
    assert '60 validation images, ' in facts and ' patients' in facts and 'Views' in facts
    assert 'Grad-CAM' in driver.find_element('id', 'pictures').text
