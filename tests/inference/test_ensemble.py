"""Ensembles and test-time augmentation from the command line, on made-up cells with models of random weights."""
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from cxrdet.core.errors import ConfigError, DataError
from cxrdet.core.sample_files import read_samples

pytestmark = pytest.mark.long

CONFIG = 'configs/faster_rcnn_bifpn_cell_tiny.py'
SMALL = ['model.neck.out_channels=16', 'model.neck.num_layers=1', 'model.rpn_head.in_channels=16',
         'model.rpn_head.feat_channels=16', 'model.roi_head.bbox_roi_extractor.out_channels=16',
         'model.roi_head.bbox_head.in_channels=16', 'model.roi_head.bbox_head.fc_out_channels=16',
         'model.backbone.base_channels=16', 'model.backbone.stem_channels=16', 'model.neck.in_channels=[16,32,64,128]',
         'model.test_cfg.rpn.max_per_img=40', 'model.test_cfg.rcnn.max_per_img=30',
         'model.test_cfg.rcnn.score_thr=0.0', 'test_dataloader.dataset.pipeline.2.scale=(160,160)',
         'test_dataloader.num_workers=0',
         'test_dataloader.persistent_workers=False']
CLASSES = ('RBC', 'WBC', 'Platelets')
TURNED = ('Platelets', 'RBC', 'WBC')


NO_WORKERS = ['test_dataloader.num_workers=0', 'test_dataloader.persistent_workers=False']


@pytest.fixture(scope='module', autouse=True)
def plain_texts():
    """Configs are logged as they are: to make them pretty takes most of a short test's time."""
    import yapf.yapflib.yapf_api as module
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, 'FormatCode', lambda text, **_: (text, True))
        yield


@pytest.fixture(scope='module')
def checkpoints(tmp_path_factory):
    """Files of model a, of a with its classes in another order, and of b, whose boxes are near those of a."""
    from mmengine.registry import MODELS, DefaultScope

    from cxrdet.preflight.config import load_config
    from cxrdet.preflight.data import follow_classes
    folder = tmp_path_factory.mktemp('checkpoints')
    cfg = load_config(CONFIG, cfg_options=SMALL)
    follow_classes(cfg, classes=CLASSES)
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmdet'):
        weights = MODELS.build(cfg.model).state_dict()
    head = 'roi_head.bbox_head.fc_'
    for kind in ('weight', 'bias'):
        weights[f'{head}cls.{kind}'].normal_(0, 0.3)  # scores that differ
    files = {'a': save(folder / 'a.pth', weights, CLASSES)}
    turned, order = dict(weights), [CLASSES.index(name) for name in TURNED]
    for kind in ('weight', 'bias'):
        turned[f'{head}cls.{kind}'] = weights[f'{head}cls.{kind}'][[*order, 3]]
        turned[f'{head}reg.{kind}'] = torch.cat([weights[f'{head}reg.{kind}'][4 * i:4 * i + 4] for i in order])
    files['turned'] = save(folder / 'turned.pth', turned, TURNED)
    for kind in ('weight', 'bias'):
        weights[f'{head}cls.{kind}'] += torch.randn_like(weights[f'{head}cls.{kind}']) * 0.05
        weights[f'{head}reg.{kind}'] += torch.randn_like(weights[f'{head}reg.{kind}']) * 0.02
    files['b'] = save(folder / 'b.pth', weights, CLASSES)
    return files


def save(path, weights, classes):
    torch.save({'meta': {'dataset_meta': {'classes': classes}}, 'state_dict': weights}, path)
    return str(path)


@pytest.fixture(scope='module')
def measure(tool, cell_phantoms, tmp_path_factory):
    """Run tools/test.py; returns what stands in its log of metrics, and in the file of --out."""
    def run(*arguments, options=SMALL):
        folder = tmp_path_factory.mktemp('test')
        code = tool('test').main([*arguments, '--data-root', str(cell_phantoms), '--work-dir', str(folder), '--out',
                                  str(folder / 'out.npz'), '--valid-limit', '2', '--cfg-options', *options])
        assert code == 0
        logs = [json.loads(path.read_text().splitlines()[-1]) for path in folder.glob('*/*.json')]
        return (logs or [None])[0], read_samples(folder / 'out.npz'), folder / 'out.npz'
    return run


@pytest.fixture(scope='module')
def alone(measure, checkpoints):
    return {name: measure(CONFIG, checkpoints[name]) for name in ('a', 'b')}


def boxes_of(records, classes=CLASSES):
    """Boxes with score and label, sorted, of each image by its name."""
    tables = {}
    for record in records:
        found = record['pred_instances']
        assert tuple(record['classes']) == classes
        table = torch.cat([found['bboxes'].double(), found['scores'][:, None].double(), found['labels'][:, None]], 1)
        table = table.numpy()
        tables[record['img_path'].rpartition('/')[2]] = table[np.lexsort((table[:, 0], -table[:, 4].round(6)))]
    assert len(tables) == 2
    return tables


def same(one, other, atol=1e-3):
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_allclose(one[name], other[name], atol=atol, rtol=0)


KEEP_ALL = ['--fusion', 'nms', '--fusion-options', 'iou_thr=1.0']


def test_ensemble_of_one_is_that_model(measure, checkpoints, alone):
    """Its own resizing and normalising give it what the plain pipeline does."""
    log, records, _ = measure('--ensemble', f'{CONFIG}:{checkpoints["a"]}', *KEEP_ALL)
    same(boxes_of(records), boxes_of(alone['a'][1]))
    assert log['coco/bbox_mAP'] == pytest.approx(alone['a'][0]['coco/bbox_mAP'], abs=1e-6)


def test_classes_go_by_name(measure, checkpoints, alone):
    _, records, _ = measure('--ensemble', f'{CONFIG}:{checkpoints["a"]}', f'{CONFIG}:{checkpoints["turned"]}',
                            '--fusion', 'voting', '--fusion-options', 'iou_thr=0.999')
    same(boxes_of(records), boxes_of(alone['a'][1]))


@pytest.mark.parametrize('fusion', ['wbf', 'soft_nms'])
def test_saved_predictions_give_what_the_models_give(measure, checkpoints, alone, fusion):
    options = ['--fusion', fusion, '--weights', '2', '1', '--fusion-options', 'iou_thr=0.5']
    live, records, _ = measure('--ensemble', *(f'{CONFIG}:{checkpoints[name]}' for name in 'ab'), *options)
    _, saved, _ = measure(CONFIG, '--ensemble-predictions', *(str(alone[name][2]) for name in 'ab'), *options)
    one, other = boxes_of(records), boxes_of(saved)
    same(one, other, atol=2e-3)
    assert sum(map(len, one.values())) < sum(len(record['pred_instances']['scores'])
                                             for name in 'ab' for record in alone[name][1])
    assert live['coco/bbox_mAP'] >= 0


def test_bundle_is_one_model_for_every_tool(measure, checkpoints, tool, cell_phantoms, tmp_path, monkeypatch):
    """Config and checkpoint of the ensemble predict what it predicted, with the members' files gone."""
    _, records, _ = measure('--ensemble', *(f'{CONFIG}:{checkpoints[name]}' for name in 'ab'), '--bundle',
                            str(tmp_path / 'two'))
    config, checkpoint = tmp_path / 'two' / 'ensemble.py', tmp_path / 'two' / 'ensemble.pth'
    assert str(checkpoints['a']) not in config.read_text()
    _, again, _ = measure(str(config), str(checkpoint), options=NO_WORKERS)
    same(boxes_of(records), boxes_of(again), atol=1e-4)
    code = tool('predict').main([str(config), str(checkpoint), str(cell_phantoms / 'images'), '--out-dir',
                                 str(tmp_path / 'out'), '--score-thr', '0', '--no-pictures', '--device', 'cpu'])
    assert code == 0
    content = json.loads((tmp_path / 'out' / 'predictions.json').read_text())
    assert tuple(content['classes']) == CLASSES
    found = {image['file']: np.array(image['boxes']) for image in content['images']}
    for record in records:
        boxes = record['pred_instances']['bboxes'].numpy()
        np.testing.assert_allclose(found[record['img_path'].rpartition('/')[2]], boxes, atol=2e-3)
    _, files, _ = measure(CONFIG, '--ensemble-predictions', str(tmp_path / 'out' / 'predictions.json'), *KEEP_ALL)
    assert [len(a['pred_instances']['scores']) for a in files] == [len(a['pred_instances']['scores']) for a in records]


def test_tta(measure, checkpoints, alone):
    log, records, _ = measure(CONFIG, checkpoints['a'], '--tta')
    found = boxes_of(records)
    assert all(np.isfinite(table).all() and len(table) for table in found.values())
    assert any(len(found[name]) != len(table) for name, table in boxes_of(alone['a'][1]).items())
    assert log['coco/bbox_mAP'] >= 0


def test_how_the_views_are_fused_is_an_option(measure, checkpoints, tmp_path):
    """As with the same words in tta_model of the config."""
    (tmp_path / 'nms.py').write_text(
        f"_base_ = '{Path(CONFIG).absolute()}'\ncustom_hooks = [dict(type='cxrdet.TTAHook')]\n"
        "tta_model = dict(type='cxrdet.WBFTTAModel', fusion='nms', fusion_cfg=dict(iou_thr=0.3))\n")
    _, records, _ = measure(str(tmp_path / 'nms.py'), checkpoints['a'])
    _, found, _ = measure(CONFIG, checkpoints['a'], '--tta', '--fusion', 'nms', '--fusion-options', 'iou_thr=0.3')
    same(boxes_of(found), boxes_of(records), atol=0)


def test_tta_without_other_views_changes_nothing(measure, checkpoints, alone, tmp_path):
    (tmp_path / 'plain.py').write_text(
        f"_base_ = '{Path(CONFIG).absolute()}'\ncustom_hooks = [dict(type='cxrdet.TTAHook', flips=[], scales=[])]\n"
        "tta_model = dict(type='cxrdet.WBFTTAModel', fusion='nms', fusion_cfg=dict(iou_thr=1.0))\n")
    _, records, _ = measure(str(tmp_path / 'plain.py'), checkpoints['a'])
    same(boxes_of(records), boxes_of(alone['a'][1]))


def test_ensemble_with_tta(measure, checkpoints, tmp_path):
    """The views of each member are fused, then the members: as from the files of both with views, and in a bundle."""
    pairs = [f'{CONFIG}:{checkpoints[name]}' for name in 'ab']
    _, records, _ = measure('--ensemble', *pairs, '--tta', '--bundle', str(tmp_path))
    _, again, _ = measure(str(tmp_path / 'ensemble.py'), str(tmp_path / 'ensemble.pth'), options=NO_WORKERS)
    same(boxes_of(records), boxes_of(again), atol=1e-4)
    files = [str(measure(CONFIG, checkpoints[name], '--tta')[2]) for name in 'ab']
    _, saved, _ = measure(CONFIG, '--ensemble-predictions', *files)
    one, other = boxes_of(records), boxes_of(saved)
    for name in one:
        np.testing.assert_allclose(one[name][:20], other[name][:20], atol=2e-3)


def test_how_the_views_of_members_are_fused_is_an_option(measure, checkpoints, tmp_path):
    """By default as the member's own config says; --tta-fusion goes before it."""
    (tmp_path / 'nms.py').write_text(
        f"_base_ = '{Path(CONFIG).absolute()}'\ntta_model = dict(type='cxrdet.WBFTTAModel', fusion='nms')\n")
    _, alone, _ = measure(CONFIG, checkpoints['a'], '--tta', '--fusion', 'nms')
    for config, more in ((tmp_path / 'nms.py', []), (CONFIG, ['--tta-fusion', 'nms'])):
        _, found, _ = measure('--ensemble', f'{config}:{checkpoints["a"]}', '--tta', *KEEP_ALL, *more)
        same(boxes_of(found), boxes_of(alone))


def test_three_backbones_on_phantoms(tool, cell_phantoms, tmp_path, monkeypatch):
    """The ensemble's config with random weights in files; what each merging gives, by ensemble-boxes."""
    from mmengine.registry import MODELS, DefaultScope
    from mmengine.structures import InstanceData
    from torchvision.ops import batched_nms

    from cxrdet.models.detectors import DetectorEnsemble
    from cxrdet.preflight.config import load_config
    from cxrdet.preflight.data import follow_classes
    peer, config = pytest.importorskip('ensemble_boxes'), Path('configs/ensemble_r50_r101_efficientnet_b4_cell.py')
    torch.manual_seed(0)
    for i, name in enumerate(load_config(config).names):
        cfg = load_config(f'configs/{name}.py')
        follow_classes(cfg, classes=CLASSES)
        with DefaultScope.overwrite_default_scope('mmdet'):
            weights = MODELS.build(cfg.model).state_dict()
        weights['roi_head.bbox_head.fc_cls.weight'].normal_(0, 0.3)  # scores that differ
        save(tmp_path / f'{i}.pth', weights, CLASSES)
    (tmp_path / 'small.py').write_text(
        f"_base_ = '{config.absolute()}'\nstep = dict(type='Resize', scale=(64, 64), keep_ratio=True)\n"
        "model = dict(members=[dict(member, pipeline=[step, _base_.val_pipeline[-1]]) for member in "
        '_base_.model.members])\n')
    seen, fused = [], DetectorEnsemble._fused
    monkeypatch.setattr(DetectorEnsemble, '_fused', lambda self, views: seen.append(
        (self, views, fused(self, views))) or seen[-1][2])
    code = tool('test').main([
        str(tmp_path / 'small.py'), '--data-root', str(cell_phantoms), '--work-dir', str(tmp_path), '--valid-limit',
        '1', '--cfg-options', *NO_WORKERS, *(f'{name}={tmp_path}/{i}.pth' for i, name in enumerate(
            ('resnet50', 'resnet101', 'efficientnet_b4')))])
    assert code == 0
    (ensemble, views, found), = seen
    assert [type(member.model.backbone).__name__ for member in ensemble.members] == [
        'ResNet', 'ResNet', 'EfficientNet']
    assert [type(member.model.neck).__name__ for member in ensemble.members] == ['BiFPN', 'FPN', 'BiFPN']
    parts = [[(view.bboxes / 96).tolist() for view in views], [view.scores.tolist() for view in views],
             [view.labels.tolist() for view in views]]
    every = InstanceData.cat(views)
    for name, expected in dict(
            wbf=peer.weighted_boxes_fusion(*parts)[1],
            wbf_confident=peer.weighted_boxes_fusion(*parts, iou_thr=0.5, skip_box_thr=0.3)[1],
            nms=every.scores[batched_nms(every.bboxes, every.scores, every.labels, 0.5)].numpy()).items():
        ensemble.fusion = name
        scores = fused(ensemble, views).scores.numpy()
        np.testing.assert_allclose(scores, np.sort(expected)[::-1][:300], atol=1e-5, err_msg=name)
    ensemble.fusion = 'voting'
    assert 0 < len(fused(ensemble, views)) <= len(found) <= 300


def test_members_in_a_config(checkpoints, measure, alone, tmp_path):
    """An ensemble that a config builds from files, tested without a checkpoint of its own."""
    from mmengine.registry import MODELS

    from cxrdet.preflight.check import config_problems
    from cxrdet.preflight.config import load_config
    cfg = load_config(CONFIG, cfg_options=SMALL)
    cfg.dump(tmp_path / 'small.py')
    load, *_, pack = cfg.test_dataloader.dataset.pipeline
    cfg.test_dataloader.dataset.pipeline = [load, pack]
    cfg.pop('model')
    cfg['model'] = dict(type='cxrdet.DetectorEnsemble', fusion='voting', fusion_cfg=dict(iou_thr=0.999), members=[
        dict(config=str(tmp_path / 'small.py'), checkpoint=checkpoints[name]) for name in ('a', 'turned')])
    assert config_problems(cfg) == []
    cfg.dump(tmp_path / 'ensemble.py')
    _, records, _ = measure(str(tmp_path / 'ensemble.py'), options=NO_WORKERS)
    same(boxes_of(records), boxes_of(alone['a'][1]))
    cfg.model.members[0].chekpoint = 'x'
    with pytest.raises(ConfigError, match='members.0: .*"chekpoint".*"checkpoint"'):
        MODELS.build(cfg.model)


def stock(cfg, classes):
    """Make the sets of a config MMDetection's own, which keep to the classes that they are given."""
    for name in ('train', 'val', 'test'):
        dataset = cfg[f'{name}_dataloader'].dataset
        cfg[f'{name}_dataloader'].dataset = dict(
            type='CocoDataset', metainfo=dict(classes=classes), test_mode=True, pipeline=dataset.pipeline,
            ann_file=dataset.ann_file, data_prefix=dataset.data_prefix)
    cfg.model.roi_head.bbox_head.num_classes = len(classes)
    return cfg


def test_classes_in_the_order_of_a_data_set_that_keeps_to_its_own(checkpoints, measure, alone, tmp_path):
    """Whichever member is the first: its labels are not those of the ground truth."""
    from cxrdet.inference.ensemble import Fusion, ensemble_config
    from cxrdet.preflight.config import load_config
    pairs = [f'{CONFIG}:{checkpoints[name]}' for name in ('turned', 'a')]
    cfg = load_config(CONFIG, cfg_options=SMALL)
    assert ensemble_config(pairs, config=cfg, cfg_options=SMALL).model.classes == list(TURNED)
    found = ensemble_config(pairs, config=stock(cfg, CLASSES), cfg_options=SMALL)
    assert found.model.classes == list(CLASSES)
    found.model.update(fusion='voting', fusion_cfg=dict(iou_thr=0.999))
    found.model.pop('classes')  # as written by hand: set by the test
    found.dump(tmp_path / 'ensemble.py')
    log, records, _ = measure(str(tmp_path / 'ensemble.py'), options=NO_WORKERS)
    same(boxes_of(records), boxes_of(alone['a'][1]))
    assert log['coco/bbox_mAP'] == pytest.approx(alone['a'][0]['coco/bbox_mAP'], abs=1e-6)
    with pytest.raises(ConfigError, match='test set .*RBC, WBC, .*Platelets, RBC, WBC'):
        ensemble_config(pairs, config=stock(cfg, CLASSES[:2]), cfg_options=SMALL)
    few = ensemble_config(pairs, config=cfg, cfg_options=SMALL, fusion=Fusion(allow_missing=True))
    assert few.model.classes == ['RBC', 'WBC']


@pytest.mark.parametrize(('arguments', 'message'), [
    ([], 'a config is needed'),
    ([CONFIG], 'A checkpoint is needed: only an ensemble whose members all name theirs'),
    (['--ensemble', 'a.pth'], 'expected CONFIG:CHECKPOINT'),
    (['--ensemble', 'faster_rcnn_bifpn_cell_tiny:none.pth'], 'none.pth: no such checkpoint file'),
    (['--ensemble', 'none.py:a.pth'], 'none.py: no such config file'),
    (['--ensemble', f'{CONFIG}:none.pth'], 'none.pth: no such checkpoint file'),
    ([CONFIG, '{a}', '--ensemble', f'{CONFIG}:{{a}}'], 'an ensemble takes no checkpoint beside'),
    (['--ensemble', f'{CONFIG}:{{a}}', '--weights', '1', '2'], 'expected 1 weights >= 0, one per member'),
    (['--ensemble', f'{CONFIG}:{{a}}', '--fusion-options', 'iou_tr=0.5'], 'Did you mean "iou_thr"'),
    ([CONFIG, '--ensemble-predictions', '{a}'], 'no file of predictions as cxrdet test --out'),
    ([CONFIG, '--ensemble-predictions', 'none.npz'], 'none.npz: cannot read the predictions: No such file'),
    ([CONFIG, '--ensemble-predictions', 'none.npz', '--tta'], 'need models, not saved predictions'),
    ([CONFIG, '{a}', '--fusion', 'nms'], 'are for --ensemble and --ensemble-predictions, all but the last also for'),
    ([CONFIG, '{a}', '--tta-fusion', 'nms'], '--tta-fusion and --tta-scales are for --tta'),
    ([CONFIG, '{a}', '--tta-scales', '0.9'], '--tta-fusion and --tta-scales are for --tta'),
    ([CONFIG, '{a}', '--tta', '--tta-fusion', 'nms'], 'those of a single detector take --fusion'),
    ([CONFIG, '{a}', '--tta', '--weights', '1', '2'], 'WBFTTAModel: 2 weights for 5 views'),
])
def test_what_is_refused(tool, checkpoints, cell_phantoms, capsys, arguments, message):
    arguments = [argument.replace('{a}', checkpoints['a']) for argument in arguments]
    assert tool('test').main([*arguments, '--data-root', str(cell_phantoms), '--cfg-options', *SMALL]) == 2
    assert message in capsys.readouterr().err


def test_checkpoints_that_an_ensemble_lacks_are_named():
    from mmengine.config import Config

    from cxrdet.inference.ensemble import ensemble_classes
    with pytest.raises(ConfigError, match='here model.members.1.checkpoint would be needed'):
        ensemble_classes(Config(dict(model=dict(members=[dict(checkpoint='a.pth'), dict(checkpoint=None)]))))


@pytest.mark.parametrize(('method', 'told'), [
    (None, True), ('wbf', True), ('wbf_one_per_model', False), ('nms', False)])
def test_members_that_end_in_soft_nms(checkpoints, monkeypatch, method, told):
    """Their lowered boxes beside each object draw the scores of the paper's fusion down, which is told."""
    import cxrdet.inference.ensemble as module
    lines = []
    monkeypatch.setattr(module, 'print_log', lambda text, **_: lines.append(text))
    members = [f'configs/faster_rcnn_fpn_bccd.py:{checkpoints["a"]}'] * 2
    module.ensemble_config(members, fusion=module.Fusion(method=method))
    assert any('soft-NMS' in line and 'wbf_one_per_model' in line for line in lines) == told


def test_an_ensemble_is_not_trained():
    from cxrdet.apis import train
    from cxrdet.preflight.config import load_config
    with pytest.raises(ConfigError, match='An ensemble is not trained: train its members'):
        train(load_config('configs/ensemble_r50_r101_efficientnet_b4_cell.py'))


def test_classes_that_a_member_lacks(checkpoints, tmp_path):
    from cxrdet.inference.ensemble import Fusion, ensemble_config
    content = torch.load(checkpoints['b'], weights_only=True)
    content['meta']['dataset_meta']['classes'] = ('RBC', 'WBC', 'Platelet')
    torch.save(content, tmp_path / 'other.pth')
    pairs = [f'{CONFIG}:{checkpoints["a"]}', f'{CONFIG}:{tmp_path / "other.pth"}']
    with pytest.raises(ConfigError, match='it lacks Platelets and has Platelet beside. Did you mean "Platelet"'):
        ensemble_config(pairs, cfg_options=SMALL)
    cfg = ensemble_config(pairs, cfg_options=SMALL, fusion=Fusion(allow_missing=True))
    assert cfg.model.members[1].classes == ['RBC', 'WBC', 'Platelet']


class Harm:
    def __reduce__(self):
        return (open, ('harm.txt', 'w'))


def test_files_of_predictions_are_not_executed(tmp_path, monkeypatch):
    from cxrdet.inference.ensemble_files import read_predictions
    monkeypatch.chdir(tmp_path)
    for name in ('bad.pkl', 'bad.npz'):
        (tmp_path / name).write_bytes(pickle.dumps([Harm()]))
        with pytest.raises(DataError, match=rf'{name}: this is a pickle.*cxrdet test --out FILE.npz'):
            read_predictions(tmp_path / name)
    assert not (tmp_path / 'harm.txt').exists()
