"""All backbones of configs/_base_/backbones under BiFPN side by side; writes docs/backbones.md.

Run: python benchmarks/backbones.py

Each is measured in turn and its line kept in benchmarks/tables/backbones.csv, so that a run that was cut off goes on
where it was; to measure one anew, remove its line. What is measured is the backbone with a BiFPN as in
faster_rcnn_bifpn_no_cbam_cell.py on one image; the heads behind it are the same for all.
"""
import argparse
import csv
import io
import platform
from pathlib import Path

import torch
from cost import count_multiply_adds, count_saved_bytes, least_times
from md_table import table
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope

import cxrdet  # noqa: F401
from cxrdet.core.files import write_atomic

ROOT = Path(__file__).parents[1]
PIECES = ROOT / 'configs' / '_base_' / 'backbones'
NECK = dict(type='cxrdet.BiFPN', out_channels=256, num_layers=3, num_outs=5)
SIZE = 320
FIELDS = ('backbone', 'strides', 'channels', 'parameters', 'parameters_with_bifpn', 'multiply_adds', 'ms', 'train_mib',
          'hardware')
TEXT = """# Backbones under BiFPN

Every backbone of `configs/_base_/backbones/` with a BiFPN of three layers of 256 channels, on one image of
{size}x{size} px; the heads of a detector, the same for all, come on top. Two lines of a config change the backbone, see
[Write a variant](../README.md#write-a-variant).

{table}

- Channels are those at the strides, from fine to coarse. Parameters are without and with BiFPN.
- Multiply-adds are those of convolutions and matrix products, as papers count them.
- ms is the least processor time of {rounds} predictions on one thread in float32, on {hardware}. The machine had other
  work: differences below a tenth are noise.
- MiB to train is what one image adds to the memory of a training step: what is kept for the gradients, in float32, with
  the layers frozen that the config freezes. It grows with the area of the image: at 640x640 px four times as much. For
  the memory of a whole step see [Troubleshooting](troubleshooting.md#memory).

Made by `python benchmarks/backbones.py`.
"""


def measure(name: str, *, rounds: int) -> dict[str, object]:
    """The line of a backbone."""
    piece = Config.fromfile(PIECES / f'{name}.py')
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmdet'):
        backbone = MODELS.build({key: value for key, value in piece.backbone.items() if key != '_delete_'})
        neck = MODELS.build(NECK | {'in_channels': piece.backbone_channels})
    net, image = torch.nn.Sequential(backbone, neck), torch.randn(1, 3, SIZE, SIZE)
    net.train()
    saved = count_saved_bytes(net, lambda: net(torch.cat([image, image]))) // 2  # batch norm of 1x1 px needs two
    net.eval()
    sides = [level.shape[-1] for level in backbone(image)]

    @torch.inference_mode()
    def predict() -> object:
        return net(image)
    return dict(zip(FIELDS, (
        name, ' '.join(str(round(SIZE / side)) for side in sides), ' '.join(map(str, piece.backbone_channels)),
        *(sum(p.numel() for p in part.parameters()) for part in (backbone, net)),
        count_multiply_adds(lambda: net(image)), round(least_times({name: predict}, rounds=rounds)[name], 1),
        round(saved / 2 ** 20, 1), hardware()), strict=True))


def hardware() -> str:
    """Processor and version of torch."""
    cpuinfo = Path('/proc/cpuinfo')
    names = [line.partition(':')[2].strip() for line in cpuinfo.read_text().splitlines()
             if line.startswith('model name')] if cpuinfo.is_file() else []
    return f'{names[0] if names else platform.processor()}, {torch.backends.cpu.get_cpu_capability()}, ' \
           f'torch {torch.__version__.partition("+")[0]}'


def page(rows: list[dict], *, rounds: int) -> str:
    """The text of docs/backbones.md, the cheapest backbone first."""
    rows = sorted(rows, key=lambda row: int(row['multiply_adds']))
    lines = [[f'[{row["backbone"]}](../configs/_base_/backbones/{row["backbone"]}.py)',
              *(row[key].replace(' ', '/') for key in ('strides', 'channels')),
              *(f'{int(row[key]) / 1e6:.1f} M' for key in ('parameters', 'parameters_with_bifpn')),
              f'{int(row["multiply_adds"]) / 1e9:.1f} G', f'{float(row["ms"]):.0f}', f'{float(row["train_mib"]):.0f}']
             for row in rows]
    return TEXT.format(size=SIZE, rounds=rounds, hardware=' or '.join(sorted({row['hardware'] for row in rows})),
                       table=table(['backbone', 'strides', 'channels', 'parameters', 'with BiFPN', 'multiply-adds',
                                    'ms an image', 'MiB to train'], lines))


def read(path: Path) -> list[dict]:
    """The lines that were measured before."""
    return list(csv.DictReader(path.read_text().splitlines())) if path.is_file() else []


def write(path: Path, rows: list[dict]) -> None:
    """Keep the lines for :func:`read`."""
    text = io.StringIO(newline='')
    lines = csv.DictWriter(text, FIELDS, lineterminator='\n')
    lines.writeheader()
    lines.writerows(rows)
    write_atomic(path, text.getvalue())


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--table', type=Path, default=ROOT / 'benchmarks' / 'tables' / 'backbones.csv')
    parser.add_argument('--out', type=Path, default=ROOT / 'docs' / 'backbones.md')
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--only', nargs='+', help='measure these backbones only')
    args = parser.parse_args(argv)
    rows = read(args.table)
    for name in sorted(path.stem for path in PIECES.glob('*.py')):
        if (args.only is None or name in args.only) and name not in {row['backbone'] for row in rows}:
            rows.append(measure(name, rounds=args.rounds))
            write(args.table, rows)
            print(', '.join(f'{key} {value}' for key, value in rows[-1].items()), flush=True)
    write_atomic(args.out, page(read(args.table), rounds=args.rounds))


if __name__ == '__main__':
    main()
