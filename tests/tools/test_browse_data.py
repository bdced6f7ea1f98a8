"""The command line of tools/browse_data.py; what it calls is tested in tests/apis/test_browse.py."""
from pathlib import Path

ROOT = Path(__file__).parents[2]




def test_command(tool, cell_phantoms, tmp_path, capsys):
    run = tool('browse_data').main
    config = str(ROOT / 'configs' / 'faster_rcnn_bifpn_cell_tiny.py')
    call = [config, '--data-root', str(cell_phantoms), '--out-dir', str(tmp_path / 'out')]
    assert run([*call, '--number', '2', '--split', 'val', '--columns', '2', '--seed', '3']) == 0
    said = capsys.readouterr()
    assert said.out.endswith(f'2 samples: {tmp_path / "out" / "val_00.png"}\n')
    assert (tmp_path / 'out' / 'val_00.png').stat().st_size > 10000
    assert run([*call, '--cfg-options', 'train_dataloader.dataset.pipeline.0.type=cxrdet.LoadImag']) == 2
    assert 'Did you mean "cxrdet.LoadImage"?' in capsys.readouterr().err
    assert run([config, '--data-root', str(tmp_path / 'nowhere'), '--out-dir', str(tmp_path / 'out')]) == 2
    assert 'nowhere' in capsys.readouterr().err
