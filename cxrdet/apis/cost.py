"""What models cost: parameters, multiply-adds and time of one image, measured side by side."""
import copy
import time
from collections.abc import Callable, Mapping
from functools import partial

import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS, MODELS, DefaultScope
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from cxrdet.apis.check import check_config
from cxrdet.apis.classes import follow_classes

__all__ = ['count_multiply_adds', 'measure_costs']


def measure_costs(configs: Mapping[str, Config], *, rounds: int = 20) -> dict[str, dict[str, float]]:
    """Measure models with random weights on the first image of their test sets, on one thread of the CPU.

    The models take turns, so that whatever else the machine does meets all of them alike.

    Args:
        configs: a config, with its data in place, for each name.
        rounds: turns of each model; the first one more warms up.

    Returns: for each name ``parameters`` (those of the model as it predicts), ``multiply_adds`` (of convolutions and
        matrix products in one prediction, as papers count them; suppression and sampling of boxes are not counted) and
        ``ms`` (least processor time of one prediction, with the normalisation of the image, without reading it).
    """
    with torch.random.fork_rng():
        torch.manual_seed(0)
        models = {name: _model_and_image(cfg) for name, cfg in configs.items()}
    costs = {name: {'parameters': sum(p.numel() for p in model.parameters()),
                    'multiply_adds': count_multiply_adds(partial(model.test_step, dict(image))), 'ms': float('inf')}
             for name, (model, image) in models.items()}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for turn in range(rounds + 1):
            for name, (model, image) in models.items():
                start = time.process_time()
                _predict(model, image)
                if turn:
                    costs[name]['ms'] = min(costs[name]['ms'], 1e3 * (time.process_time() - start))
    finally:
        torch.set_num_threads(threads)
    return costs


def count_multiply_adds(run: Callable[[], object]) -> int:
    """Multiply-adds of the convolutions and matrix products in a call, as papers count them.

    The fused attention kernel is unfolded into matrix products, so that it is counted.
    """
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops() // 2


def _model_and_image(cfg: Config) -> tuple[torch.nn.Module, dict]:
    cfg = copy.deepcopy(cfg)
    check_config(cfg, mode='test')
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmdet')):
        follow_classes(cfg)
        if cfg.get('data_preprocessor') is not None:
            cfg.model.setdefault('data_preprocessor', cfg.data_preprocessor)
        model, data = MODELS.build(cfg.model), DATASETS.build(cfg.test_dataloader.dataset)
    return model.eval(), pseudo_collate([data[0]])


def _predict(model: torch.nn.Module, image: dict) -> None:
    with torch.inference_mode():
        model.test_step(dict(image))
