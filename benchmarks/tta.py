"""What test-time augmentation costs and brings, for a trained model: one table, both tests in one run.

Run: python benchmarks/tta.py CONFIG CHECKPOINT --data-root DIR [--fusion wbf_one_per_model]

Time is processor time of this process per image: reading, views, prediction, fusion; without start-up, and without the
computation of the metric. Both tests run on the same images, in one thread unless OMP_NUM_THREADS says otherwise.
"""
import argparse
import copy
import os
import tempfile
import time

os.environ.setdefault('OMP_NUM_THREADS', '1')


def timed(cfg, checkpoint: str, tta: bool, fusion: str | None) -> tuple[dict, float]:
    """The metrics of a test, and processor milliseconds an image between the first batch and the last."""
    from mmengine.hooks import Hook
    from mmengine.registry import HOOKS

    from cxrdet.apis import test
    from cxrdet.inference.ensemble import Fusion
    from cxrdet.inference.tta import enable_tta
    clock = {}

    @HOOKS.register_module(force=True)
    class Clock(Hook):
        def before_test_iter(self, runner, batch_idx, data_batch=None) -> None:
            clock.setdefault('start', time.process_time())

        def after_test_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
            clock['end'] = time.process_time()
            clock['images'] = clock.get('images', 0) + len(outputs)

    cfg = copy.deepcopy(cfg)
    cfg.custom_hooks = [*(cfg.get('custom_hooks') or []), dict(type='Clock')]
    if tta:
        enable_tta(cfg, Fusion(fusion))
    metrics = test(cfg, checkpoint)
    return metrics, 1e3 * (clock['end'] - clock['start']) / clock['images']


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('config')
    parser.add_argument('checkpoint')
    parser.add_argument('--data-root')
    parser.add_argument('--valid-limit', type=int, metavar='N', help='use N images only')
    parser.add_argument('--metrics', nargs='+', default=['bbox_mAP', 'bbox_mAP_50', 'top1', 'AUROC_mean'],
                        help='which metrics to show, by the end of their names')
    parser.add_argument('--fusion', help='how the views of a detector are fused, as in tools/test.py')
    args = parser.parse_args()
    from cxrdet.apis import load_config
    with tempfile.TemporaryDirectory() as folder:
        cfg = load_config(args.config, data_root=args.data_root, work_dir=folder, valid_limit=args.valid_limit,
                          cfg_options=['test_dataloader.num_workers=0', 'test_dataloader.persistent_workers=False'])
        found = {name: timed(cfg, args.checkpoint, tta, args.fusion) for name, tta in (('plain', False), ('TTA', True))}
    shown = [key for key in found['plain'][0] if key.rpartition('/')[2] in args.metrics]
    print(f'| | {" | ".join(shown)} | ms an image |\n|{"---|" * (len(shown) + 2)}')
    for name, (metrics, ms) in found.items():
        print(f'| {name} | {" | ".join(f"{metrics[key]:.4f}" for key in shown)} | {ms:.0f} |')
    print(f'\nTTA takes {found["TTA"][1] / found["plain"][1]:.2f} times as long.')


if __name__ == '__main__':
    main()
