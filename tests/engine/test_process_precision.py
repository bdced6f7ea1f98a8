"""What 'auto' takes on any processor and GPU, and who asks: the detection is patched in all directions."""
import copy
import logging
import platform
import sys
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from torch import nn

from cxrdet.core.errors import ConfigError
from cxrdet.engine import process
from cxrdet.engine.hooks.precision import PrecisionHook


@pytest.fixture
def machine(monkeypatch):
    """Make this machine another one: ``machine(avx512=…, amx=…, onednn=…, system=…, processor=…, gpu=…)``."""
    def be(*, avx512=False, amx=False, onednn=True, system='linux', processor='x86_64', gpu=None):
        monkeypatch.delenv(process.VARIABLE, raising=False)
        monkeypatch.setattr(sys, 'platform', system)
        monkeypatch.setattr(platform, 'machine', lambda: processor)
        flags = {'avx2', *['avx512_bf16'] * avx512, *['amx_bf16'] * amx}
        monkeypatch.setattr(process, '_kernel_flags', lambda: frozenset(flags))
        monkeypatch.setattr(process, '_onednn_takes_bfloat16', lambda: onednn)
        monkeypatch.setattr(process, 'get_device', lambda: 'cpu' if gpu is None else 'cuda')
        monkeypatch.setattr(torch.cuda, 'get_device_name', lambda *_: 'a GPU')
        monkeypatch.setattr(torch.cuda, 'get_device_capability', lambda *_: gpu)
    return be


OLD = dict(avx512=False, amx=False, onednn=False)


@pytest.mark.parametrize(('facts', 'expected'), [
    (OLD, 'float32'),
    (dict(avx512=True), 'bfloat16'),
    (dict(amx=True), 'bfloat16'),
    (dict(avx512=True, amx=True), 'bfloat16'),
    (dict(onednn=True), 'float32'),  # AVX2-VNNI-2: the forward pass runs, the backward pass raises
    (dict(avx512=True, onednn=False), 'float32'),  # ONEDNN_MAX_CPU_ISA=AVX2
    (dict(avx512=True, processor='aarch64'), 'float32'),
    (dict(avx512=True, processor='arm64', system='darwin'), 'float32'),
    (dict(avx512=True, processor='AMD64', system='win32'), 'float32'),
    (dict(gpu=(7, 0)), 'float16'), (dict(gpu=(7, 5)), 'float16'),  # V100, T4
    (dict(gpu=(8, 0)), 'bfloat16'), (dict(gpu=(9, 0)), 'bfloat16')])
def test_auto_follows_the_hardware(machine, facts, expected):
    machine(**facts)
    chosen = process.choose_precision('auto')
    assert chosen.name == expected and not chosen.emulated
    assert chosen.device == ('cuda' if 'gpu' in facts else 'cpu')


@pytest.mark.parametrize(('facts', 'asked', 'emulated'), [
    (OLD, 'float32', False), (OLD, 'bfloat16', True), (OLD, 'float16', True),
    (dict(avx512=True), 'bfloat16', False), (dict(avx512=True), 'float16', True),
    (dict(gpu=(7, 5)), 'bfloat16', True), (dict(gpu=(7, 5)), 'float16', False), (dict(gpu=(9, 0)), 'float32', False)])
def test_a_named_format_is_obeyed_with_a_warning_where_it_is_emulated(machine, monkeypatch, facts, asked, emulated):
    machine(**facts)
    chosen = process.choose_precision(asked)
    assert (chosen.name, chosen.emulated) == (asked, emulated)
    said = []
    monkeypatch.setattr(process, 'print_log', lambda text, logger, level=logging.INFO: said.append((text, level)))
    chosen.log()
    (text, level), = said  # one line: which and why
    assert asked in text and chosen.reason in text
    assert level == (logging.WARNING if emulated else logging.INFO)


def test_the_flags_of_the_kernel_answer(machine, monkeypatch):
    machine()
    for flags, expected in ((), 'float32'), (('avx2',), 'float32'), (('avx512_bf16',), 'bfloat16'), (
            ('amx_bf16',), 'bfloat16'):
        monkeypatch.setattr(process, '_kernel_flags', lambda flags=flags: frozenset(flags))
        assert process.choose_precision().name == expected


def test_unknown_devices_take_float32(machine):
    machine(avx512=True)
    assert process.choose_precision('auto', 'mps').name == 'float32'


@pytest.mark.parametrize(('variable', 'config', 'expected'), [
    (None, None, None), (None, 'auto', 'auto'), (None, 'float16', 'float16'), ('bfloat16', None, 'bfloat16'),
    ('float32', 'bfloat16', 'float32'), ('', 'bfloat16', 'bfloat16')])
def test_the_environment_goes_before_the_config(monkeypatch, variable, config, expected):
    monkeypatch.delenv(process.VARIABLE, raising=False)
    if variable is not None:
        monkeypatch.setenv(process.VARIABLE, variable)
    said = []
    monkeypatch.setattr(process, 'print_log', lambda text, **_: said.append(text))
    process._tell_difference.cache_clear()
    assert process.asked_precision({} if config is None else dict(precision=config)) == expected
    assert len(said) == bool(variable and config and variable != config)


@pytest.mark.parametrize(('variable', 'config', 'place'), [
    ('bf16', None, 'CXRDET_PRECISION must be .* got "bf16"'),
    (None, 'fp16', 'precision must be .*float16, got "fp16"')])
def test_unknown_precision(monkeypatch, variable, config, place):
    monkeypatch.setenv(process.VARIABLE, variable or '')
    with pytest.raises(ConfigError, match=place):
        process.asked_precision(dict(precision=config))
    with pytest.raises(ConfigError, match='precision must be .* got "half"'):
        process.choose_precision('half')


OURS, PLAIN, STOCK = process.OURS, 'OptimWrapper', 'AmpOptimWrapper'


@pytest.mark.parametrize(('wrapper', 'asked', 'amp', 'gpu', 'expected'), [
    (dict(type=PLAIN), None, False, None, dict(type=PLAIN)),  # a stock config stays as it is
    (dict(), None, False, None, dict()),
    (dict(type=PLAIN), None, True, None, dict(type=OURS, precision='auto')),
    (dict(), None, True, None, dict(type=OURS, precision='auto')),
    (dict(type=PLAIN), 'bfloat16', False, None, dict(type=OURS, precision='bfloat16')),
    (dict(type=PLAIN), 'float32', True, None, dict(type=OURS, precision='float32')),
    (dict(type=OURS), None, False, None, dict(type=OURS, precision='auto')),
    (dict(type=OURS, precision='bfloat16'), None, True, None, dict(type=OURS, precision='bfloat16')),
    (dict(type=OURS, precision='bfloat16'), 'float32', False, None, dict(type=OURS, precision='float32')),
    (dict(type=STOCK, dtype='bfloat16', loss_scale=2.), None, False, None,
     dict(type=OURS, precision='auto', loss_scale=2.)),
    (dict(type=STOCK, dtype='bfloat16'), None, False, (8, 0), dict(type=STOCK, dtype='bfloat16')),
    (dict(type=STOCK), 'float32', False, (8, 0), dict(type=OURS, precision='float32')),
    (dict(type='OptimWrapperDict'), None, True, None, dict(type='OptimWrapperDict'))])
def test_the_wrapper_of_a_training(machine, wrapper, asked, amp, gpu, expected):
    machine(gpu=gpu)
    cfg = Config(dict(optim_wrapper=wrapper, precision=asked))
    process.set_training_precision(cfg, amp=amp)
    assert cfg.optim_wrapper == expected


@pytest.mark.parametrize('cfg', [{}, dict(optim_wrapper=None), dict(optim_wrapper='SGD')])
def test_a_config_without_a_wrapper_is_left_to_its_check(machine, cfg):
    machine()
    before = copy.deepcopy(cfg)
    process.set_training_precision(Config(cfg), amp=True)
    assert cfg == before


def test_a_wrapper_that_decides_itself_is_not_overruled_silently(machine):
    machine()
    with pytest.raises(ConfigError, match='OptimWrapperDict'):
        process.set_training_precision(Config(dict(optim_wrapper=dict(type='OptimWrapperDict'), precision='float32')))


@pytest.mark.parametrize(('facts', 'asked', 'fp16', 'expected'), [
    (dict(avx512=True), None, False, 'float32'), (dict(avx512=True), 'auto', False, 'float32'),
    (dict(avx512=True), None, True, 'bfloat16'), (OLD, None, True, 'float32'),
    (dict(gpu=(7, 5)), None, True, 'float16'),
    (dict(avx512=True), 'float32', True, 'float32'), (OLD, 'bfloat16', False, 'bfloat16')])
def test_evaluation(machine, facts, asked, fp16, expected):
    machine(**facts)
    assert process.evaluation_precision(dict(precision=asked), fp16=fp16).name == expected


class Steps(nn.Module):
    """Gives the type that its layer computes in."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 2)

    def test_step(self, data, scale=1):
        return self.layer(data * scale).dtype

    val_step = test_step


@pytest.mark.parametrize('name', ['float32', 'bfloat16'])
def test_the_steps_of_a_model_run_in_it_whatever_stands_around(name):
    model = Steps()
    process.evaluate_in(model, process.Precision(name, 'cpu', ''))
    data = torch.ones(1, 2)
    for around in (False, True):
        with torch.autocast('cpu', torch.bfloat16, enabled=around):
            assert model.test_step(data, scale=2) == model.val_step(data) == getattr(torch, name)
    twin = copy.deepcopy(model)
    twin.layer = nn.Identity()  # the copy's own layer is called, not that of the original
    assert twin.test_step(data) == torch.float32


def test_training_precision_by_wrapper():
    class Wrapper:
        pass
    stock, several, own = Wrapper(), Wrapper(), Wrapper()
    stock.cast_dtype, own.precision = None, process.Precision('bfloat16', 'cpu', '')
    several.optim_wrappers = dict(a=own, b=Wrapper())
    assert process.training_precision(Wrapper()) == 'float32'
    assert process.training_precision(stock) == 'float16'
    stock.cast_dtype = torch.bfloat16
    assert process.training_precision(stock) == process.training_precision(own) == 'bfloat16'
    assert process.training_precision(several) == 'bfloat16, float32'


@pytest.mark.parametrize(('before', 'resume', 'told'), [
    ('bfloat16', True, True), ('float32', True, False), (None, True, False), ('bfloat16', False, False)])
def test_checkpoints_name_it_and_a_resume_in_another_is_told(before, resume, told):
    said = []
    runner = SimpleNamespace(optim_wrapper=object(), _resume=resume, logger=SimpleNamespace(warning=said.append))
    hook, checkpoint = PrecisionHook(), dict(meta={} if before is None else dict(precision=before))
    hook.after_load_checkpoint(runner, checkpoint)
    assert bool(said) is told
    assert not told or ('bfloat16' in said[0] and 'float32' in said[0])
    hook.before_save_checkpoint(runner, checkpoint)
    assert checkpoint['meta']['precision'] == 'float32'
