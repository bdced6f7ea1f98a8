"""A comparison detector trained, resumed, predicted with, adapted, by the tools that serve any detector."""
import importlib.util
import json
import shutil
from pathlib import Path

import pytest
import torch

from cxrdet.checkpoints.checkpoint import Checkpoint
from cxrdet.core.errors import CheckpointError, ConfigError, DataError
from cxrdet.preflight.config import load_config
from projects.comparison_detector.comparison_detector.adaptation import adapt, parse_renames

pytestmark = pytest.mark.long
REPOSITORY = Path(__file__).parents[3]
PROTOTYPES = 'roi_head.bbox_head.fc_cls.prototypes'
CLASSES = ('RBC', 'WBC', 'Platelets')


def model_with(config, weights):
    from mmengine.registry import MODELS, init_default_scope
    cfg = load_config(config)
    init_default_scope('mmdet')
    cfg.model.roi_head.bbox_head.num_classes = 3
    model = MODELS.build(cfg.model)
    model.load_state_dict(weights)
    model.load_references(CLASSES)
    return model


@pytest.mark.parametrize('name', ['epoch_1', 'best'])
def test_prototypes_of_a_checkpoint_belong_to_its_averaged_weights(config, trained, name):
    """The state dict holds EMA's averages, and the prototypes are of these, not of the weights of the last step."""
    path, = trained.glob(f'{name}*.pth')
    read = Checkpoint.read(path)
    stored = read.weights[PROTOTYPES]
    expected = model_with(config, read.weights).computed_prototypes()[PROTOTYPES]
    torch.testing.assert_close(stored, expected, rtol=1e-4, atol=1e-4)
    last = {key.removeprefix('module.'): value for key, value in read.content['ema_state_dict'].items()
            if key.startswith('module.')}
    other = model_with(config, last).computed_prototypes()[PROTOTYPES]
    assert (stored - other).abs().max() > 100 * (stored - expected).abs().max()
    assert {name: len(files) for name, files in read.meta['references']['files'].items()} == dict.fromkeys(CLASSES, 2)


def predicted(config, checkpoint, images, out, **options):
    from cxrdet.apis import predict
    return predict(str(config), str(checkpoint), str(images), out_dir=str(out), score_thr=0.0, device='cpu', **options)


@pytest.fixture
def no_references(config, tmp_path):
    """The same config on a machine that has no reference image."""
    path = tmp_path / 'elsewhere.py'
    path.write_text(f"_base_ = '{config}'\nmodel = dict(references=dict(root='nowhere'))\n")
    return path


@pytest.fixture
def image(cell_phantoms):
    return cell_phantoms / 'images' / 'val_00000.jpg'


def test_predict_needs_no_reference_image(no_references, trained, image, tmp_path):
    record, = predicted(no_references, trained / 'epoch_1.pth', image, tmp_path / 'out')
    assert record['boxes'] and set(record['classes']) <= set(CLASSES)
    assert len(record['unknown_scores']) == len(record['boxes'])
    written = json.loads((tmp_path / 'out' / 'predictions.json').read_text())
    assert written['images'][0]['unknown_scores'] == record['unknown_scores']


def test_test_tta_and_an_ensemble_run_on_it(tool, no_references, trained, cell_phantoms, tmp_path):
    checkpoint = str(trained / 'epoch_1.pth')
    common = ['--data-root', str(cell_phantoms), '--valid-limit', '2', '--work-dir', str(tmp_path / 'run')]
    assert tool('test').main([str(no_references), checkpoint, *common]) == 0
    assert tool('test').main([str(no_references), checkpoint, *common, '--tta']) == 0
    assert tool('test').main(['--ensemble', *[f'{no_references}:{checkpoint}'] * 2, *common]) == 0


def test_report_and_publish(tool, no_references, trained, cell_phantoms, image, tmp_path):
    out = tmp_path / 'report.html'
    assert tool('report').main([str(no_references), str(trained / 'epoch_1.pth'), '--out', str(out), '--data-root',
                                str(cell_phantoms), '--workers', '0', '--samples', '5', '--pictures', '2',
                                '--train-images', '2']) == 0
    assert 'ComparisonBBoxHead' in out.read_text() or 'ComparisonDetector' in out.read_text()
    from cxrdet.checkpoints.checkpoint import publish
    lean = publish(trained / 'epoch_1.pth', tmp_path / 'model.pth')
    first, second = (predicted(no_references, path, image, tmp_path / path.stem) for path in (
        trained / 'epoch_1.pth', lean))
    assert first == second


def test_resumed_as_unbroken(tool, config, cell_phantoms, tmp_path):
    """With references drawn anew at each step."""
    def train(folder, epochs, *more):
        assert tool('train').main([
            str(config), '--data-root', str(cell_phantoms), '--work-dir', str(folder), *more, '--train-limit', '4',
            '--valid-limit', '1', '--deterministic', '--cfg-options', f'train_cfg.max_epochs={epochs}',
            'model.references.redraw=True', 'model.references.per_class=1']) == 0
        return Checkpoint.read(folder / f'epoch_{epochs}.pth').weights
    whole = train(tmp_path / 'whole', 2)
    train(tmp_path / 'parts', 1)
    parts = train(tmp_path / 'parts', 2, '--resume')
    assert all(torch.equal(value, parts[name]) for name, value in whole.items())


@pytest.mark.parametrize('options, text', [
    (['model.references.root=nowhere'], 'nowhere'), (['model.references.per_class=9'], 'has 3 reference images'),
    (['custom_hooks=[]'], 'PrototypeHook'), (['model.references.root=None'], 'references.root')])
def test_what_is_missing_is_told_before_the_first_step(tool, config, cell_phantoms, options, text, tmp_path, capsys):
    assert tool('train').main([str(config), '--data-root', str(cell_phantoms), '--work-dir', str(tmp_path),
                               '--cfg-options', *options]) == 2
    assert text in capsys.readouterr().err
    assert not list(tmp_path.glob('*.pth'))


def test_a_hook_for_other_models(tool, config, cell_phantoms, tmp_path, capsys):
    path = tmp_path / 'x.py'
    path.write_text(f"_base_ = '{REPOSITORY}/configs/faster_rcnn_bifpn_cell_tiny.py'\ncustom_imports = dict(imports=["
                    "'cxrdet', 'projects.comparison_detector.comparison_detector'])\n"
                    "custom_hooks = [dict(type='cxrdet.PrototypeHook')]\n")
    assert tool('train').main([str(path), '--data-root', str(cell_phantoms), '--work-dir', str(tmp_path / 'w')]) == 2
    assert 'PrototypeHook is for a ComparisonDetector' in capsys.readouterr().err


# --- adapt


@pytest.fixture
def others(references, tmp_path):
    """References of a known class, and of one that was never trained on."""
    root = tmp_path / 'others'
    for name, like in (('WBC', 'RBC'), ('blast', 'WBC')):
        shutil.copytree(references / like, root / name)
    return root


def test_exchanged_and_added(no_references, trained, others, image, tmp_path):
    new = tmp_path / 'new.pth'
    told = adapt(no_references, trained / 'epoch_1.pth', new, references=others, rename={'RBC': 'red'}, device='cpu')
    assert told == {'red': 'kept', 'WBC': 'exchanged', 'Platelets': 'kept', 'blast': 'added'}
    before, after = Checkpoint.read(trained / 'epoch_1.pth'), Checkpoint.read(new)
    assert after.classes == ('red', 'WBC', 'Platelets', 'blast') and after.lacks
    old, fresh = before.weights[PROTOTYPES], after.weights[PROTOTYPES]
    assert len(fresh) == 4 and torch.equal(fresh[[0, 2]], old[[0, 2]]) and not torch.equal(fresh[1], old[1])
    assert {name: len(files) for name, files in after.meta['references']['files'].items()} == {
        'red': 2, 'WBC': 3, 'Platelets': 2, 'blast': 3}
    record, = predicted(no_references, new, image, tmp_path / 'out')
    assert set(record['classes']) <= set(after.classes) and 'blast' in record['classes']
    assert max(record['labels']) == 3


def test_reference_files_are_told_after_several_adaptations(no_references, trained, others, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = [tmp_path / f'{number}.pth' for number in range(3)]
    adapt(no_references, trained / 'epoch_1.pth', names[0], references=others.name, device='cpu')
    adapt(no_references, names[0], names[1], rename={'blast': 'x'}, device='cpu')
    (others / 'blast').rename(tmp_path / 'RBC')
    (tmp_path / 'more').mkdir()
    (tmp_path / 'RBC').rename(tmp_path / 'more' / 'RBC')
    adapt(no_references, names[1], names[2], references='more', device='cpu')
    old = Checkpoint.read(trained / 'epoch_1.pth').meta['references']
    told = Checkpoint.read(names[2]).meta['references']
    found = {name: [Path(told['root'], file) for file in files] for name, files in told['files'].items()}
    assert sorted(found['WBC']) == [Path('others', 'WBC', f'00{number}.png') for number in range(3)]
    assert sorted(found['RBC']) == [Path('more', 'RBC', f'00{number}.png') for number in range(3)]
    assert found['Platelets'] == [Path(old['root'], file) for file in old['files']['Platelets']]
    assert {file.parent for file in found['x']} == {Path('others', 'blast')}


def test_the_same_references_give_the_same_prototypes(config, trained, references, tmp_path):
    listed = Checkpoint.read(trained / 'epoch_1.pth').meta['references']
    for name, files in listed['files'].items():
        for file in files:
            (tmp_path / 'same' / name).mkdir(parents=True, exist_ok=True)
            shutil.copy(references / file, tmp_path / 'same' / name)
    adapt(config, trained / 'epoch_1.pth', tmp_path / 'new.pth', references=tmp_path / 'same', device='cpu')
    old, new = (Checkpoint.read(path).weights for path in (trained / 'epoch_1.pth', tmp_path / 'new.pth'))
    torch.testing.assert_close(new[PROTOTYPES], old[PROTOTYPES], rtol=1e-4, atol=1e-4)
    assert all(torch.equal(value, new[name]) for name, value in old.items() if name != PROTOTYPES)


@pytest.fixture
def command():
    spec = importlib.util.spec_from_file_location('adapt', REPOSITORY / 'projects/comparison_detector/adapt.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


@pytest.mark.parametrize('options, text', [
    (['--per-class', 'x'], '--per-class'), (['--per-class', '0'], '--per-class'), (['--out', ''], '--out'),
    (['--out', '{folder}'], '--out'), (['--device', 'cpu', '--refs', 'x'], '--refs')])
def test_a_wrong_option_is_told_in_one_line(command, options, text, tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        command(['x.py', 'x.pth', '--rename', 'a=b', '--out', 'x.pth', *[each.format(folder=tmp_path)
                                                                         for each in options]])
    said = capsys.readouterr().err
    assert end.value.code == 2 and text in said and said.count('\n') == 1


def test_renames_may_be_given_one_by_one(command, no_references, trained, tmp_path, capsys):
    call = [str(no_references), str(trained / 'epoch_1.pth'), '--out', str(tmp_path / 'new.pth'), '--device', 'cpu']
    assert command([*call, '--rename', 'RBC=red', '--rename', 'WBC=white', 'Platelets=plates']) == 0
    assert Checkpoint.read(tmp_path / 'new.pth').classes == ('red', 'white', 'plates')


def test_command(command, no_references, trained, others, tmp_path, capsys):
    call = [str(no_references), str(trained / 'epoch_1.pth'), '--out', str(tmp_path / 'new.pth'), '--device', 'cpu']
    assert command([*call, '--references', str(others), '--rename', 'RBC=red']) == 0
    assert 'red (kept), WBC (exchanged), Platelets (kept), blast (added)' in capsys.readouterr().out
    assert command(call) == 2
    assert 'nothing to do' in capsys.readouterr().err
    assert command([*call, '--rename', 'RBC']) == 2


@pytest.mark.parametrize('options, kind, text', [
    (dict(rename={'RCB': 'x'}), ConfigError, 'Did you mean "RBC"'), (dict(rename={'RBC': 'WBC'}), ConfigError, 'WBC'),
    (dict(rename={'RBC': 'wbc'}), ConfigError, 'wbc and WBC'), (dict(rename={'RBC': ' '}), ConfigError, "' '"),
    (dict(references='', rename={'WBC': 'white'}), ConfigError, '--rename calls "white"'),
    (dict(references='', rename={'Platelets': 'Blast'}), ConfigError, 'the model has "Blast"'),
    (dict(references='nowhere'), DataError, 'nowhere'), (dict(references='', per_class=9), DataError, '9 are needed')])
def test_what_cannot_be_adapted(no_references, trained, others, options, kind, text, tmp_path):
    if options.get('references') == '':
        options = options | dict(references=others)
    with pytest.raises(kind, match=text):
        adapt(no_references, trained / 'epoch_1.pth', tmp_path / 'new.pth', device='cpu', **options)
    assert not (tmp_path / 'new.pth').exists()


def test_prototypes_per_image_take_their_number_of_images(build, no_references, trained, others, tmp_path):
    path = tmp_path / 'images.py'
    path.write_text(f"_base_ = '{no_references}'\nmodel = dict(roi_head=dict(bbox_head=dict(per_image=2)))\n")
    torch.save({'state_dict': build(head=dict(per_image=2)).state_dict(),
                'meta': Checkpoint.read(trained / 'epoch_1.pth').meta}, tmp_path / 'images.pth')
    with pytest.raises(ConfigError, match='per_image'):
        adapt(path, tmp_path / 'images.pth', tmp_path / 'new.pth', references=others, per_class=3, device='cpu')
    assert not (tmp_path / 'new.pth').exists()


@pytest.mark.parametrize('told', ['x', dict(files='x'), dict(root=5)])
def test_a_damaged_list_of_references_is_told(told, no_references, trained, tmp_path):
    content = torch.load(trained / 'epoch_1.pth', weights_only=False)
    content['meta']['references'] = told
    torch.save(content, tmp_path / 'odd.pth')
    with pytest.raises(CheckpointError, match=r'odd\.pth: meta\.references'):
        adapt(no_references, tmp_path / 'odd.pth', tmp_path / 'new.pth', rename={'RBC': 'red'}, device='cpu')


def test_the_old_checkpoint_stays(no_references, trained, others, tmp_path):
    path = trained / 'epoch_1.pth'
    with pytest.raises(ConfigError, match='in the place|take the place'):
        adapt(no_references, path, path, references=others, device='cpu')
    with pytest.raises(CheckpointError):
        adapt(no_references, tmp_path / 'none.pth', tmp_path / 'x.pth', references=others, device='cpu')
    with pytest.raises(ConfigError, match='ComparisonDetector'):
        adapt(REPOSITORY / 'configs/faster_rcnn_bifpn_cell_tiny.py', path, tmp_path / 'x.pth', references=others)


@pytest.mark.parametrize('head, text', [('reg_class_agnostic=False', 'reg_class_agnostic'),
                                        ('background="stacked"', 'background')])
def test_models_bound_to_their_number_of_classes(build, no_references, trained, others, head, text, tmp_path):
    path = tmp_path / 'bound.py'
    path.write_text(f"_base_ = '{no_references}'\nmodel = dict(roi_head=dict(bbox_head=dict({head})))\n")
    key, value = head.split('=')
    weights = build(head={key: eval(value)}).state_dict()
    torch.save({'state_dict': weights, 'meta': Checkpoint.read(trained / 'epoch_1.pth').meta}, tmp_path / 'bound.pth')
    with pytest.raises(ConfigError, match=text):
        adapt(path, tmp_path / 'bound.pth', tmp_path / 'new.pth', references=others, device='cpu')
    shutil.rmtree(others / 'blast')
    told = adapt(path, tmp_path / 'bound.pth', tmp_path / 'new.pth', references=others, device='cpu')
    assert told == {'RBC': 'kept', 'WBC': 'exchanged', 'Platelets': 'kept'}


def test_renames():
    assert parse_renames(['a=b', 'c d=e']) == {'a': 'b', 'c d': 'e'}
    with pytest.raises(ConfigError, match='OLD=NEW'):
        parse_renames(['a=b', 'a=c'])


# --- the published config


def test_published_config_on_phantoms_in_eleven_classes(tool, cell_phantoms, tmp_path):
    """In the layout of its set, shrunk: 64 px, a ResNet-50 without weights, one epoch of four images."""
    from cxrdet.curation.references import cut_references
    from cxrdet.datasets.formats.tfrecord import CDETECTOR_CLASSES
    root = tmp_path / 'set'
    (root / 'annotations').mkdir(parents=True)
    shutil.copytree(cell_phantoms / 'images', root / 'images')
    for split, name in (('train', 'train_small'), ('val', 'test')):
        content = json.loads((cell_phantoms / 'annotations' / f'{split}.json').read_text())
        content['categories'] = [{'id': i, 'name': name} for i, name in enumerate(CDETECTOR_CLASSES, 1)]
        for number, box in enumerate(content['annotations']):
            box['category_id'] = number % 11 + 1
        (root / 'annotations' / f'{name}.json').write_text(json.dumps(content))
    cut_references(root, tmp_path / 'references', per_class=1, min_size=1, split='train_small')
    assert tool('train').main([
        str(REPOSITORY / 'projects/comparison_detector/configs/comparison_r50_fpn_cdetector_small.py'),
        '--data-root', str(root), '--work-dir', str(tmp_path / 'run'), '--from-scratch', '--train-limit', '2',
        '--valid-limit', '1', '--cfg-options', f'model.references.root={tmp_path / "references"}',
        'model.references.per_class=1', 'model.references.size=32', 'train_cfg.max_epochs=1',
        'train_cfg.val_interval=1',
        'train_dataloader.num_workers=0', 'train_dataloader.persistent_workers=False', 'val_dataloader.num_workers=0',
        'val_dataloader.persistent_workers=False', 'model.roi_head.bbox_head.fc_out_channels=16',
        'train_dataloader.dataset.pipeline.2.scale=(96,96)', 'val_dataloader.dataset.pipeline.2.scale=(96,96)',
        'model.test_cfg.rpn.max_per_img=20', 'model.train_cfg.rpn_proposal.max_per_img=20']) == 0
    read = Checkpoint.read(tmp_path / 'run' / 'epoch_1.pth')
    assert read.classes == CDETECTOR_CLASSES and read.weights[PROTOTYPES].shape == (11, 256, 7, 7)
    assert read.weights['roi_head.bbox_head.fc_reg.weight'].shape[0] == 44
