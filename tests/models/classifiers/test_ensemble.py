"""ClassifierEnsemble against means by hand, in a test by the command line, and from saved predictions."""
import itertools
import json

import cv2
import numpy as np
import pytest
import torch
from mmengine.registry import MODELS

import cxrdet  # noqa: F401
from cxrdet.core.errors import ConfigError
from cxrdet.core.sample_files import read_samples, write_samples

pytestmark = pytest.mark.long

CLASSES = ('lsil', 'hsil', 'scc')
CONFIG = 'configs/ablations/crops/resnet18_crops_64.py'
QUICK = ['test_dataloader.num_workers=0', 'test_dataloader.persistent_workers=False']


class Fixed(torch.nn.Module):
    """A backbone that knows the logits, plus the light of the image."""

    def __init__(self, logits):
        super().__init__()
        self.logits = torch.tensor(logits)

    def forward(self, inputs):
        return (self.logits[None] + inputs.mean((1, 2, 3))[:, None], )


def member(*logits, classes=CLASSES, multi=False, light=100.):
    from mmpretrain.models.heads import ClsHead, MultiLabelClsHead

    class Head(MultiLabelClsHead if multi else ClsHead):
        def forward(self, feats):
            return feats[-1]
    preprocessor = dict(mean=[light] * 3, std=[50.] * 3)
    return dict(model=dict(type='ImageClassifier', backbone=dict(type=Fixed, logits=list(logits)),
                           head=dict(type=Head), data_preprocessor=preprocessor), classes=classes, scope='mmpretrain')


def build(*members, **more):
    return MODELS.build(dict(type='cxrdet.ClassifierEnsemble', members=list(members), **more))


def predict(ensemble):
    from mmpretrain.structures import DataSample
    data = dict(inputs=[torch.full((3, 8, 8), 100, dtype=torch.uint8)] * 2,
                data_samples=[DataSample().set_gt_label(1), DataSample().set_gt_label(0)])
    first, second = ensemble.test_step(data)
    assert (first.gt_label.item(), second.gt_label.item()) == (1, 0)
    assert first.pred_score.tolist() == second.pred_score.tolist()
    return first.pred_score.numpy(), first.pred_label.tolist()


def softmax(logits):
    powers = np.exp(np.array(logits, np.float64))
    return powers / powers.sum()


X, Y = (2., -1., 0.5), (-3., 1., 0.7)


@pytest.mark.parametrize('weights', [None, [3, 1]])
def test_mean_of_probabilities_and_of_logits(weights):
    a, b = np.array(weights or [1, 1]) / sum(weights or [1, 1])
    score, label = predict(build(member(*X), member(*Y), weights=weights))
    np.testing.assert_allclose(score, a * softmax(X) + b * softmax(Y), rtol=1e-5)
    assert label == [int(np.argmax(score))]
    score, label = predict(build(member(*X), member(*Y), weights=weights, mean='logits'))
    np.testing.assert_allclose(score, softmax(a * np.array(X) + b * np.array(Y)), rtol=1e-5)
    assert label == [int(np.argmax(score))]


@pytest.mark.parametrize('mean', ['probs', 'logits'])
def test_multi_label(mean):
    score, label = predict(build(member(*X, multi=True), member(*Y, multi=True), mean=mean, thr=0.4))
    x, y = np.array(X), np.array(Y)
    expected = (1 / (1 + np.exp(-x)) + 1 / (1 + np.exp(-y))) / 2 if mean == 'probs' else 1 / (1 + np.exp(-(x + y) / 2))
    np.testing.assert_allclose(score, expected, rtol=1e-5)
    assert label == np.flatnonzero(expected >= 0.4).tolist()


def test_classes_go_by_name_and_preprocessing_is_its_own():
    turned = member(X[2], X[0], X[1], classes=('scc', 'lsil', 'hsil'))
    np.testing.assert_allclose(predict(build(member(*X), turned))[0], softmax(X), rtol=1e-5)
    np.testing.assert_allclose(predict(build(turned, classes=CLASSES))[0], softmax(X), rtol=1e-5)
    lighter = member(*X, multi=True, light=50.)  # (100 - 50) / 50 is added to the logits
    np.testing.assert_allclose(predict(build(lighter))[0], 1 / (1 + np.exp(-(np.array(X) + 1))), rtol=1e-5)


@pytest.mark.parametrize(('members', 'more', 'message'), [
    ([member(*X), member(*Y, multi=True)], {}, 'some members are multi-label'),
    ([member(*X), member(*Y, classes=('lsil', 'hsil', 'SCC'))], {}, 'it lacks scc and has SCC beside'),
    ([member(*X)], dict(mean='median'), 'mean must be one of probs, logits, got "median"'),
    ([member(*X)], dict(mean='logits', tta=True), '"logits" is not to be had with tta'),
    ([], {}, 'An ensemble needs members'),
])
def test_what_is_refused(members, more, message):
    with pytest.raises(ConfigError, match=message):
        build(*members, **more)


def test_steps_inside_the_loading_belong_to_the_member():
    """The data set of an ensemble gives the image as it is in the file; each member's CLAHE is its own."""
    from mmengine.config import Config
    from mmengine.registry import DefaultScope

    from cxrdet.inference.ensemble import _strip
    from cxrdet.inference.predict import build_pipeline
    from cxrdet.models.ensemble_members import inner_pipeline
    load, clahe, pack = dict(type='cxrdet.LoadImage', cache=True), dict(type='cxrdet.CLAHE'), dict(type='PackInputs')
    resize = dict(type='Resize', scale=32)
    folded = [dict(load, transforms=[clahe]), resize, pack]
    assert inner_pipeline(folded) == inner_pipeline([load, clahe, resize, pack]) == [clahe, resize, pack]
    assert inner_pipeline([load, resize, pack]) == [resize, pack]
    cfg = Config(dict(test_dataloader=dict(dataset=dict(pipeline=folded)), default_scope='mmpretrain'))
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        loads, prepares = build_pipeline(cfg)
    assert loads.transforms[0].transforms == []
    assert [type(step).__name__ for step in prepares.transforms] == ['CLAHE', 'Resize', 'PackInputs']
    _strip(cfg)
    assert cfg.test_dataloader.dataset.pipeline == [load, pack]


def test_it_only_predicts():
    with pytest.raises(ConfigError, match='An ensemble is not trained'):
        build(member(*X)).forward(torch.zeros(1, 3, 8, 8), mode='loss')


# --- from the command line


@pytest.fixture(scope='module')
def crops(tmp_path_factory):
    """Six images of three classes, and two networks of random weights."""
    from mmengine.registry import DefaultScope

    from cxrdet.preflight.config import load_config
    from cxrdet.preflight.data import follow_classes
    folder, rng = tmp_path_factory.mktemp('crops'), np.random.default_rng(0)
    rows = ['path,label,split']
    for i in range(6):
        cv2.imwrite(str(folder / f'{i}.png'), rng.integers(0, 256, (40 + i, 30, 3), np.uint8))
        rows.append(f'{i}.png,{CLASSES[i % 3]},{"val" if i < 4 else "train"}')
    (folder / 'metadata.csv').write_text('\n'.join(rows))
    (folder / 'label2id.json').write_text(json.dumps({name: i for i, name in enumerate(CLASSES)}))
    for name in 'ab':
        cfg = load_config(CONFIG)
        follow_classes(cfg, classes=CLASSES)
        with DefaultScope.overwrite_default_scope('mmpretrain'):
            weights = MODELS.build(cfg.model).state_dict()
        weights['head.fc.weight'].normal_(0, 0.3)
        torch.save({'meta': {'dataset_meta': {'classes': CLASSES}}, 'state_dict': weights}, folder / f'{name}.pth')
    return folder


def test_tool(crops, tool, tmp_path, monkeypatch):
    """Each alone, both together, from the files of both, and one with its images turned and mirrored."""
    monkeypatch.setattr('yapf.yapflib.yapf_api.FormatCode', lambda text, **_: (text, True))  # takes most of the time
    def run(*arguments):
        out = tmp_path / 'out.npz'
        code = tool('test').main([*map(str, arguments), '--data-root', str(crops), '--work-dir', str(tmp_path / 'run'),
                                  '--out', str(out), '--cfg-options', *QUICK])
        assert code == 0
        records = read_samples(out)
        assert all(record['pred_label'].tolist() == [record['pred_score'].argmax()] for record in records)
        return np.array([record['pred_score'].tolist() for record in records])
    alone = []
    for name in 'ab':
        alone.append(run(CONFIG, crops / f'{name}.pth'))
        (tmp_path / 'out.npz').rename(tmp_path / f'{name}.npz')
    assert alone[0].shape == (4, 3)
    pairs = [f'{CONFIG}:{crops / name}.pth' for name in 'ab']
    np.testing.assert_allclose(run('--ensemble', *pairs), (alone[0] + alone[1]) / 2, atol=1e-5)
    files = [tmp_path / 'a.npz', tmp_path / 'b.npz']
    np.testing.assert_allclose(run(CONFIG, '--ensemble-predictions', *files, '--weights', 3, 1),
                               (3 * alone[0] + alone[1]) / 4, atol=1e-6)
    np.testing.assert_allclose(run(CONFIG, '--ensemble-predictions', *files, '--fusion', 'logits'),
                               run('--ensemble', *pairs, '--fusion', 'logits'), atol=1e-5)
    views = run(CONFIG, crops / 'a.pth', '--tta')
    assert np.abs(views - alone[0]).max() > 1e-4
    images = {path: cv2.imread(str(path)) for path in (crops / f'{i}.png' for i in range(4))}
    scores = []
    for turns, step in itertools.product(range(4), (1, -1)):  # the eight ways to lay a square
        for path, image in images.items():
            cv2.imwrite(str(path), np.rot90(image, turns)[:, ::step])
        scores.append(run(CONFIG, crops / 'a.pth'))
    np.testing.assert_allclose(np.mean(scores, 0), views, atol=2e-3)


@pytest.mark.parametrize('turned', [False, True])
def test_labels_of_saved_predictions_go_by_name(crops, tmp_path, turned):
    """The labels stand in a file whose classes have another order than those of the file that may come first."""
    from cxrdet.inference.ensemble_files import test_predictions as evaluate
    from cxrdet.preflight.config import load_config
    order = CLASSES[1:] + CLASSES[:1]
    records, images = [], []
    for i in range(4):  # image i shows class i % 3, and both files know it
        label = torch.tensor([i % 3])
        score = torch.full((3, ), 0.15).index_fill(0, label, 0.7)
        records.append(dict(img_path=f'{i}.png', classes=CLASSES, gt_label=label, pred_label=label, pred_score=score))
        images.append(dict(file=f'{i}.png', probabilities=[0.9 if name == CLASSES[i % 3] else 0.05 for name in order]))
    write_samples(tmp_path / 'a.npz', records)
    (tmp_path / 'b.json').write_text(json.dumps(dict(classes=order, images=images)))
    files = [tmp_path / 'a.npz', tmp_path / 'b.json']
    metrics = evaluate(load_config(CONFIG, data_root=str(crops)), files[::-1] if turned else files,
                       out=tmp_path / 'out.npz')
    assert metrics['accuracy/top1'] == 1.0
    for i, record in enumerate(read_samples(tmp_path / 'out.npz')):
        assert tuple(record['classes']) == CLASSES
        assert record['pred_score'].tolist() == pytest.approx([0.8 if k == i % 3 else 0.1 for k in range(3)])
        assert record['pred_label'].tolist() == record['gt_label'].tolist() == [i % 3]
