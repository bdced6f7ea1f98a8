"""What models cost: parameters, multiply-adds, time of one image, memory for its gradients; measured side by side."""
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

from cxrdet.preflight.data import check_run, follow_classes

__all__ = ['count_multiply_adds', 'count_saved_bytes', 'least_times', 'measure_costs']


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
                    'multiply_adds': count_multiply_adds(partial(model.test_step, dict(image)))}
             for name, (model, image) in models.items()}
    times = least_times({name: partial(_predict, *pair) for name, pair in models.items()}, rounds=rounds)
    return {name: cost | {'ms': times[name]} for name, cost in costs.items()}


def least_times(runs: Mapping[str, Callable[[], object]], *, rounds: int) -> dict[str, float]:
    """Least processor time of each call in ms, on one thread; they take turns, and the first one more warms up."""
    least = dict.fromkeys(runs, float('inf'))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for turn in range(rounds + 1):
            for name, run in runs.items():
                start = time.process_time()
                run()
                if turn:
                    least[name] = min(least[name], 1e3 * (time.process_time() - start))
    finally:
        torch.set_num_threads(threads)
    return least


def count_multiply_adds(run: Callable[[], object]) -> int:
    """Multiply-adds of the convolutions and matrix products in a call, as papers count them.

    The fused attention kernel is unfolded into matrix products, so that it is counted.
    """
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops() // 2


def count_saved_bytes(model: torch.nn.Module, run: Callable[[], object]) -> int:
    """Bytes that a call of ``model`` keeps for the backward pass, each tensor once, without parameters and buffers.

    It is what grows with the batch in a training step; the same on every device but for kernels that keep other things.
    ``run`` must return what the backward pass would start from.
    """
    own = {value.untyped_storage().data_ptr() for value in (*model.parameters(), *model.buffers())}
    saved: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            saved[storage.data_ptr()] = storage.nbytes()
        return tensor.detach()  # with its own graph, what a layer keeps of its output would hold that layer for ever

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        result = run()
    del result  # it held them all until here, so that no two have had one address
    return sum(saved.values())


def _model_and_image(cfg: Config) -> tuple[torch.nn.Module, dict]:
    cfg = copy.deepcopy(cfg)
    found = check_run(cfg, mode='test')
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmdet')):
        follow_classes(found)
        if cfg.get('data_preprocessor') is not None:
            cfg.model.setdefault('data_preprocessor', cfg.data_preprocessor)
        model, data = MODELS.build(cfg.model), DATASETS.build(cfg.test_dataloader.dataset)
    return model.eval(), pseudo_collate([data[0]])


def _predict(model: torch.nn.Module, image: dict) -> None:
    with torch.inference_mode():
        model.test_step(dict(image))
