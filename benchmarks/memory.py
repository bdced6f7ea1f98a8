"""What the memory of a training step goes to: the model with its optimizer, and what each image adds.

Run: python benchmarks/memory.py

Counted, not sampled: 16 bytes a parameter under Adam (weight, gradient, two moments; frozen ones 4), and what the loss
keeps for the backward pass of two images, less that of one, each with twenty boxes (or a label). The figures hold on
every device but for kernels that keep other things, the working memory of single layers, and what CUDA takes for
itself. Takes 4 GB.
"""
import argparse
from functools import partial
from pathlib import Path

import torch
from cost import count_saved_bytes
from mmengine.registry import MODELS, DefaultScope
from mmengine.structures import InstanceData

import cxrdet  # noqa: F401
from cxrdet.preflight.config import load_config

CONFIGS = Path(__file__).parents[1] / 'configs'
CASES = [('faster_rcnn_bifpn_cell', 640), ('faster_rcnn_bifpn_cell', 480), ('faster_rcnn_bifpn_cell', 320),
         ('faster_rcnn_fpn_cell', 320), ('faster_rcnn_bifpn_efficientnet_b4_cell', 320),
         ('faster_rcnn_bifpn_cell_tiny', 256), ('densenet121_nih', 224), ('resnet34_nih', 224), ('vit_b16_nih', 224)]


def measure(config: str, size: int, *, mixed: bool) -> tuple[int, int]:
    """(bytes of model and optimizer, bytes that an image adds), in float32 or with bfloat16 by autocast."""
    cfg = load_config(CONFIGS / f'{config}.py')
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        if cfg.get('data_preprocessor') is not None:
            cfg.model.setdefault('data_preprocessor', cfg.data_preprocessor)
        model = MODELS.build(cfg.model)
        model.train()

        def loss(images: int) -> object:
            data = dict(inputs=[torch.zeros(3, size, size, dtype=torch.uint8)] * images,
                        data_samples=[_sample(cfg.default_scope, cfg.model, size) for _ in range(images)])
            with torch.autocast('cpu', torch.bfloat16, enabled=mixed):
                return model(**model.data_preprocessor(data, True), mode='loss')
        one, two = (count_saved_bytes(model, partial(loss, images)) for images in (1, 2))
    return sum(p.numel() * (16 if p.requires_grad else 4) for p in model.parameters()), two - one


def _sample(scope: str, model: dict, size: int) -> object:
    if scope == 'mmpretrain':
        from mmpretrain.structures import DataSample
        return DataSample().set_gt_score(torch.zeros(model.head.num_classes))
    from mmdet.structures import DetDataSample
    corners = torch.rand(20, 2) * 0.8 * size
    sample = DetDataSample(metainfo=dict(img_shape=(size, size), scale_factor=(1., 1.)))
    boxes, labels = torch.cat([corners, corners + 0.1 * size], 1), torch.zeros(20, dtype=torch.long)
    sample.gt_instances = InstanceData(bboxes=boxes, labels=labels)
    return sample


def main() -> None:
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    print('| config | px | model and optimizer | an image | an image with --amp | batch of 8 |\n' + 6 * '| --- ' + '|')
    for config, size in CASES:
        (model, image), (_, mixed) = (measure(config, size, mixed=mixed) for mixed in (False, True))
        cells = [f'{value / 2 ** 20:,.0f} MiB' for value in (model, image, mixed)]
        print(f'| {config} | {size} | {" | ".join(cells)} | {(model + 8 * image) / 2 ** 30:.1f} GiB |', flush=True)


if __name__ == '__main__':
    main()
