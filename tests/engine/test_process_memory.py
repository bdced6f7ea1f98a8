"""Too little memory ends in one error that names what takes less, whoever raises it and whatever the run does."""
import re
from importlib import import_module

import numpy as np
import pytest
import torch

from cxrdet.core.errors import MemoryShortageError
from cxrdet.engine.process import memory_told
from cxrdet.preflight.config import load_config

CONFIG = 'configs/faster_rcnn_bifpn_cell_tiny.py'
# as torch 2.12 words it
GPU = ('CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total capacity of 15.77 GiB of which 1.02 GiB is '
       'free. Process 4 has 14.7 GiB memory in use. Of the allocated memory 14.1 GiB is allocated by PyTorch, and 20 '
       'MiB is reserved by PyTorch but unallocated.')


def out_of_memory(*args, **kwargs):
    raise torch.cuda.OutOfMemoryError(GPU)


@pytest.mark.parametrize('mode, batch, precision', [
    ('train', 'train_dataloader.batch_size=N (now 8)', '--amp'),
    ('test', 'test_dataloader.batch_size=N (now 4)', 'CXRDET_PRECISION=auto'),
    ('predict', '--batch-size N', 'CXRDET_PRECISION=auto')])
def test_the_switches_of_each_run(mode, batch, precision):
    cfg = dict(train_dataloader=dict(batch_size=8), test_dataloader=dict(batch_size=4),
               model=dict(backbone=dict(type='mmdet.ResNet')))
    with pytest.raises(MemoryShortageError) as caught, memory_told(mode, cfg):
        out_of_memory()
    lines = str(caught.value).splitlines()
    assert 'The GPU' in lines[0] and 'Tried to allocate 2.50 GiB' in lines[0] and '1.02 GiB is free.' in lines[0]
    said = dict(re.findall(r'^    (\w+): (.*)$', str(caught.value), re.MULTILINE))
    assert list(said) == ['batch', 'size', 'backbone', 'precision']
    assert batch in said['batch'] and precision in said['precision'] and 'mmdet.ResNet' in said['backbone']
    assert isinstance(caught.value.__cause__, torch.cuda.OutOfMemoryError)


@pytest.mark.parametrize('allocate', [lambda: torch.empty(2 ** 55, dtype=torch.uint8),
                                      lambda: np.zeros(2 ** 55, np.uint8)], ids=['torch', 'numpy'])
def test_memory_of_the_machine(allocate):
    """What the allocators really raise, for 32 PiB."""
    asked = r'The machine has too little.*(34,359,738,368 MiB|32\.0 PiB)'
    with pytest.raises(MemoryShortageError, match=asked) as caught, memory_told('train'):
        allocate()
    assert 'num_workers=0' in str(caught.value)


@pytest.mark.parametrize('error', [RuntimeError('shapes cannot be multiplied'), ValueError('out of memory')])
def test_other_errors_pass(error):
    with pytest.raises(type(error)) as caught, memory_told('test'):
        raise error
    assert caught.value is error


def test_training_ends_with_the_message_alone(tool, cell_phantoms, tmp_path, monkeypatch, capfd):
    train = tool('train')
    monkeypatch.setattr('cxrdet.engine.runner.GuardedRunner.train', out_of_memory)
    assert train.main([CONFIG, '--data-root', str(cell_phantoms), '--work-dir', str(tmp_path)]) == 2
    error = capfd.readouterr().err
    assert error.count('error: The GPU has too little memory') == 1 and 'Traceback' not in error
    assert not (tmp_path / 'training.lock').exists()


def test_testing_and_predicting_end_with_it(cell_phantoms, tmp_path, monkeypatch):
    from cxrdet.apis import predict, test
    cfg = load_config(CONFIG, data_root=cell_phantoms, work_dir=tmp_path)
    monkeypatch.setattr('cxrdet.engine.runner.TestRunner.from_cfg', out_of_memory)
    monkeypatch.setattr(import_module('cxrdet.inference.predict'), 'build_model', out_of_memory)
    torch.save(dict(state_dict={}, meta=dict(dataset_meta=dict(classes=['a']))), tmp_path / 'any.pth')
    with pytest.raises(MemoryShortageError, match='test_dataloader.batch_size'):
        test(cfg, tmp_path / 'any.pth')
    image = next((cell_phantoms / 'images').iterdir())
    with pytest.raises(MemoryShortageError, match='--batch-size N'):
        predict(CONFIG, tmp_path / 'any.pth', image, out_dir=tmp_path / 'out')
