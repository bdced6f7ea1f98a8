"""A classifier of chest films learns, from the made-up films on disk to the AUROC in the log."""
import json

import pytest

CONFIG = 'configs/resnet18_chest_phantom.py'
# A quarter of the width on 64 px, with strides that leave its maps as large as those of 128 px.
SMALL = ['model.backbone.base_channels=16', 'model.backbone.stem_channels=16', 'model.backbone.strides=[1,1,2,2]',
         'model.head.in_channels=128', 'train_dataloader.dataset.pipeline.1.scale=64',
         'val_dataloader.dataset.pipeline.1.scale=64', 'test_dataloader.dataset.pipeline.1.scale=64',
         'train_dataloader.num_workers=0', 'train_dataloader.persistent_workers=False',
         'val_dataloader.num_workers=0', 'val_dataloader.persistent_workers=False',
         'test_dataloader.num_workers=0', 'test_dataloader.persistent_workers=False']


@pytest.mark.long
def test_it_learns(tool, tmp_path):
    """Mean AUROC of eight findings and No Finding on 115 films of other patients; guessing gives 0.5."""
    from cxrdet.datasets.phantoms import write_chest_phantoms
    write_chest_phantoms(tmp_path / 'chest', num_images=600, size=64)
    code = tool('train').main([
        CONFIG, '--data-root', str(tmp_path / 'chest'), '--work-dir', str(tmp_path / 'run'), '--cfg-options', *SMALL,
        'train_cfg.max_epochs=20', 'train_cfg.val_interval=20', 'param_scheduler.1.end=20',
        'param_scheduler.0.end=20', 'optim_wrapper.optimizer.lr=3e-3'])
    assert code == 0
    log, = (tmp_path / 'run').glob('*/vis_data/scalars.json')
    last = [json.loads(line) for line in log.read_text().splitlines()][-1]
    assert last['multi-label/AUROC_mean'] >= 0.75
    assert last['multi-label/AUROC_mean_low'] > 0.6
    assert last['multi-label/AUROC_No Finding'] >= 0.8
    assert tool('test').main([CONFIG, str(tmp_path / 'run' / 'epoch_20.pth'), '--data-root', str(tmp_path / 'chest'),
                              '--work-dir', str(tmp_path / 'test'), '--valid-limit', '40', '--cfg-options',
                              *SMALL]) == 0
    assert {path.name for path in (tmp_path / 'test').glob('*/curves/*')} == {'metrics.json', 'pr.png', 'roc.png'}
